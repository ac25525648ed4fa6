//! What the tests of the simulators share: a plain HTTP client.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

/// A client that trusts nobody's certificates and gives up after ten seconds.
pub(crate) fn client() -> reqwest::Client {
    // Already installed by another test: the same one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .tls_certs_only(Vec::new())
        .build()
        .expect("a client without certificates can be built")
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) code: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Sends a request and reads the answer.
pub(crate) async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<String>,
) -> Result<Got, reqwest::Error> {
    let mut request = client().request(Method::from_bytes(method.as_bytes()).unwrap(), url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.body(body);
    }
    let response = request.send().await?;
    let (code, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Got { code, headers, text: response.text().await? })
}
