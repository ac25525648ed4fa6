//! What the service's config says about the cluster: where it is, who we are there, and whom we trust.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

/// How to reach a cluster. The secret is already read; `Debug` does not show it.
#[derive(Clone)]
pub struct Settings {
    /// The base URL of any node, such as `https://pve1.lan:8006`.
    pub url: String,
    /// `user@realm!name`, as `pveum user token list` shows it.
    pub token_id: String,
    /// The token's secret, as it was shown when the token was made.
    pub token: SecretString,
    /// The certificates to trust, in PEM: the cluster's own `/etc/pve/pve-root-ca.pem`. Without it and
    /// without fingerprints the system's authorities are trusted.
    pub ca_pem: Option<Vec<u8>>,
    /// SHA-256 fingerprints of server certificates to trust, `AA:BB:…`, whoever signed them.
    pub fingerprints: Vec<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.url)
            .field("token_id", &self.token_id)
            .field("ca_pem", &self.ca_pem.is_some())
            .field("fingerprints", &self.fingerprints)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("`url` must be a base URL such as `https://pve1.lan:8006`, without user, query and fragment")]
    Url,
    #[error("`url` is plain http, over which the token would be readable: use https")]
    PlainHttp,
    #[error("`token_id` must read `user@realm!name`")]
    TokenId,
    #[error("the token's secret is empty or has characters that a header cannot carry")]
    Token,
    #[error("`ca` holds no certificate that can be read")]
    Ca,
    #[error("`{0}` is not a SHA-256 fingerprint of 32 pairs of hexadecimal digits")]
    Fingerprint(String),
    #[error("no rustls crypto provider is installed in this process")]
    NoProvider,
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
}

impl Settings {
    /// The base URL without a slash at its end. Plain http is for loopback alone.
    pub(crate) fn base(&self) -> Result<Url, SettingsError> {
        let url = Url::parse(self.url.trim_end_matches('/')).map_err(|_| SettingsError::Url)?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        match url.scheme() {
            _ if !plain || url.host_str().is_none() => Err(SettingsError::Url),
            "https" => Ok(url),
            "http" if is_loopback(&url) => Ok(url),
            "http" => Err(SettingsError::PlainHttp),
            _ => Err(SettingsError::Url),
        }
    }

    /// The value of the `Authorization` header, marked sensitive.
    pub(crate) fn authorization(&self) -> Result<reqwest::header::HeaderValue, SettingsError> {
        let id_fits = self.token_id.split_once('@').is_some_and(|(user, rest)| {
            let (realm, name) = rest.split_once('!').unwrap_or_default();
            [user, realm, name].iter().all(|part| {
                !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b':' | b'/' | b'=' | b'%'))
            })
        });
        if !id_fits {
            return Err(SettingsError::TokenId);
        }
        let secret = self.token.expose_secret().trim();
        if secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(SettingsError::Token);
        }
        let text = SecretString::from(format!("PVEAPIToken={}={secret}", self.token_id));
        let mut value =
            reqwest::header::HeaderValue::from_str(text.expose_secret()).map_err(|_| SettingsError::Token)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Settings {
        Settings {
            url: url.to_owned(),
            token_id: "holdfast@pve!main".to_owned(),
            token: SecretString::from("0f9c2b1e-secret\n"),
            ca_pem: None,
            fingerprints: Vec::new(),
        }
    }

    #[test]
    fn a_token_never_travels_over_plain_http_beyond_this_machine() {
        for loopback in ["http://127.0.0.1:8006", "http://[::1]:1", "http://localhost:8006/"] {
            assert!(settings(loopback).base().is_ok(), "{loopback}");
        }
        for far in ["http://pve1.lan:8006", "http://10.0.0.1", "http://127.0.0.1.example.org"] {
            assert!(matches!(settings(far).base(), Err(SettingsError::PlainHttp)), "{far}");
        }
        for wrong in
            ["pve1.lan:8006", "ftp://pve1.lan", "https://me:pw@pve1.lan", "https://pve1.lan/?x=1", ""]
        {
            assert!(matches!(settings(wrong).base(), Err(SettingsError::Url)), "{wrong}");
        }
    }

    #[test]
    fn the_secret_is_in_the_header_and_nowhere_else() {
        let settings = settings("https://pve1.lan:8006");
        let header = settings.authorization().unwrap();
        assert_eq!(header.as_bytes(), b"PVEAPIToken=holdfast@pve!main=0f9c2b1e-secret");
        assert!(!format!("{header:?}").contains("secret"));
        assert!(!format!("{settings:?}").contains("0f9c"));
    }

    #[test]
    fn a_token_without_its_name_is_refused() {
        for wrong in ["holdfast@pve", "holdfast!main", "@pve!main", "holdfast@pve!main=secret", "a b@pve!x"] {
            let settings = Settings { token_id: wrong.to_owned(), ..settings("https://pve1.lan") };
            assert!(matches!(settings.authorization(), Err(SettingsError::TokenId)), "{wrong}");
        }
    }
}
