//! How vaultrs is used: over our own HTTP client, and with its errors in our words.

use holdfast_core::kind::TargetError;
use reqwest::Url;
use vaultrs::client::{VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;

use super::answer;

/// A client of vaultrs over our own HTTP client. vaultrs would make one from settings that it reads from
/// the environment and from files, so it gets a placeholder and everything is put in place afterwards.
pub(super) fn client(
    http: &reqwest::Client,
    address: &Url,
    token: &str,
    doing: &str,
) -> Result<VaultClient, TargetError> {
    let settings = VaultClientSettingsBuilder::default()
        .address("http://127.0.0.1")
        .ca_certs(Vec::new())
        .identity(None)
        .timeout(Some(super::REQUEST_TIMEOUT))
        .token(token)
        .verify(true)
        .version(1)
        .wrapping(false)
        .namespace(None)
        .build()
        .map_err(|_| TargetError::rejected(doing, "the settings of vaultrs are not complete"))?;
    let mut client = VaultClient::new(settings)
        .map_err(|_| TargetError::rejected(doing, "the client of vaultrs could not be made"))?;
    client.settings.address = address.clone();
    client.http.http = http.clone();
    client.http.base = address.to_string();
    Ok(client)
}

/// An error of vaultrs in our words. Neither its `Debug` nor its texts are used where a body may be in them.
pub(super) fn words_of(doing: &str, error: &ClientError) -> TargetError {
    if let ClientError::APIError { code, errors } = error {
        let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
        return match answer::by_state(*code, &errors) {
            Some(why) => TargetError::unavailable(doing, why),
            None => TargetError::rejected(doing, answer::words(*code, &errors)),
        };
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(transport) = cause.downcast_ref::<reqwest::Error>() {
            return TargetError::unavailable(doing, transport_words(transport));
        }
        source = cause.source();
    }
    TargetError::unavailable(doing, "vault gave an answer that could not be read")
}

/// The innermost cause says it: `connection refused`. The url is known, and the layers between say nothing.
fn transport_words(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    format!("vault could not be reached: {innermost}")
}
