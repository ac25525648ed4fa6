//! The client: one thin layer over the HTTP client of vaultrs, by which everything is read and written.
//!
//! vaultrs logs in, renews and revokes. What is compared needs unknown fields, LIST, PATCH, `Retry-After`
//! and bounded bodies, which vaultrs does not give, so it goes past it.

mod answer;
mod over_vaultrs;
mod session;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::kind::{TargetError, chain};
use holdfast_core::scrub::Scrubber;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use zeroize::Zeroizing;

pub(crate) use answer::Answer;

use crate::{Settings, SettingsError};
use session::Session;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole request with its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// A thousand policies of 8 KiB fit twice.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// One connection: the HTTP client, where it goes, and who it is there.
pub(crate) struct Client {
    http: reqwest::Client,
    address: Url,
    session: Arc<Session>,
}

/// One request. `path` is without `v1/` and not encoded.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    /// What is being done, for messages.
    pub(crate) doing: &'a str,
}

impl<'a> Ask<'a> {
    pub(crate) fn get(path: impl Into<String>, doing: &'a str) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, doing }
    }

    pub(crate) fn list(path: impl Into<String>, doing: &'a str) -> Self {
        let method = Method::from_bytes(b"LIST").expect("LIST is a token, which is what a method is");
        Self { method, path: path.into(), body: None, doing }
    }

    pub(crate) fn with_body(method: Method, path: impl Into<String>, body: Value, doing: &'a str) -> Self {
        Self { method, path: path.into(), body: Some(body), doing }
    }

    fn url(&self, address: &Url) -> Url {
        let mut url = address.clone();
        url.path_segments_mut()
            .expect("an http url has a path")
            .clear()
            .push("v1")
            .extend(self.path.split('/'));
        url
    }
}

impl Client {
    pub(crate) fn new(settings: Settings) -> Result<Self, SettingsError> {
        let Settings { url, auth, ca_pem } = settings;
        let address = read_address(&url)?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Only ever fails when another thread was first, with the project's one provider.
            drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        }
        let http = http_client(&address, ca_pem.as_deref())?;
        let session = Arc::new(Session::new(auth, http.clone(), address.clone())?);
        Ok(Self { http, address, session })
    }

    /// Sends one request and gives what Vault said, for all answers that say something about what was asked:
    /// 2xx, 400, 403, 404, 405. A token that died meanwhile is replaced once.
    pub(crate) async fn call(&self, ask: &Ask<'_>) -> Result<Answer, TargetError> {
        let token = self.session.token(ask.doing).await?;
        let answer = self.send(ask, token.secret()).await?;
        if !answer.says_dead_token() {
            return Ok(answer);
        }
        let Some(fresh) = self.session.replace(&token, ask.doing).await? else {
            return Ok(answer);
        };
        let answer = self.send(ask, fresh.secret()).await?;
        if answer.says_dead_token() {
            self.session.replacing_is_futile().await;
        }
        Ok(answer)
    }

    /// [`crate::Vault::teach`].
    pub(crate) fn teach(&self, scrubber: Scrubber) {
        self.session.teach(scrubber);
    }

    /// The policies of the token that is in use; `None` where it may not look itself up.
    pub(crate) async fn own_policies(&self, doing: &str) -> Result<Option<BTreeSet<String>>, TargetError> {
        Ok(self.session.token(doing).await?.policies().cloned())
    }

    pub(crate) async fn close(&self) {
        self.session.close().await;
    }

    async fn send(&self, ask: &Ask<'_>, token: &SecretString) -> Result<Answer, TargetError> {
        send(&self.http, &self.address, ask, token).await
    }
}

/// Without redirects (a token is sent where the config says, and nowhere else) and without proxies of the
/// environment.
fn http_client(address: &Url, ca_pem: Option<&[u8]>) -> Result<reqwest::Client, SettingsError> {
    let builder = reqwest::Client::builder()
        .tls_backend_rustls()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT);
    let builder = match ca_pem {
        Some(pem) => {
            builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem).map_err(SettingsError::Ca)?)
        }
        // Without TLS none are needed, and a machine without system CAs could not build the client.
        None if address.scheme() == "http" => builder.tls_certs_only(Vec::new()),
        None => builder,
    };
    builder.build().map_err(SettingsError::Http)
}

fn read_address(text: &str) -> Result<Url, SettingsError> {
    let wrong = |why: &str| SettingsError::Url(why.to_owned());
    let url = Url::parse(text.trim()).map_err(|error| SettingsError::Url(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("it is no http url"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds a user or password"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it has a path, query or fragment"));
    }
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() == "http" && !loopback {
        tracing::warn!(url = %url, "the connection to vault is not encrypted");
    }
    Ok(url)
}

async fn send(
    http: &reqwest::Client,
    address: &Url,
    ask: &Ask<'_>,
    token: &SecretString,
) -> Result<Answer, TargetError> {
    let mut header = HeaderValue::from_str(token.expose_secret()).map_err(|_| {
        TargetError::rejected(ask.doing, "the token holds characters that no header can hold")
    })?;
    header.set_sensitive(true);
    let mut request = http
        .request(ask.method.clone(), ask.url(address))
        .header("X-Vault-Token", header)
        .header("X-Vault-Request", "true");
    if let Some(body) = &ask.body {
        let kind =
            if ask.method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        request = request.header(CONTENT_TYPE, kind).body(body.to_string());
    }
    let response = request.send().await.map_err(|error| unreachable(ask.doing, error))?;
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get("Retry-After")
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let body = read_body(response, ask.doing).await?;
    Answer::read(ask.doing, status, retry_after, &body)
}

/// The buffer is wiped, since secrets pass through it.
async fn read_body(mut response: reqwest::Response, doing: &str) -> Result<Zeroizing<Vec<u8>>, TargetError> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(doing, error))? {
        if body.len() + chunk.len() > BODY_LIMIT {
            let why = format!("the answer is larger than {} MiB", BODY_LIMIT / (1024 * 1024));
            return Err(TargetError::rejected(doing, why));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(doing: &str, error: reqwest::Error) -> TargetError {
    TargetError::unavailable(doing, chain(&error.without_url()))
}
