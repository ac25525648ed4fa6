//! What the service's config says about the forge, checked before anything is sent.

use std::fmt;
use std::net::IpAddr;

use secrecy::{ExposeSecret as _, SecretString};

use crate::dialect::Dialect;
use crate::gitea::Gitea;
use crate::github::GitHub;

/// The forges that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeKind {
    Gitea,
    Forgejo,
    GitHub,
}

impl ForgeKind {
    /// How each is spoken to: one line a forge.
    pub(crate) fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Gitea | Self::Forgejo => &Gitea,
            Self::GitHub => &GitHub,
        }
    }
}

/// Where statuses are posted.
#[derive(Clone)]
pub struct Settings {
    pub kind: ForgeKind,
    /// The forge's address, such as `https://git.lan`; of GitHub the API's, `https://api.github.com`.
    pub url: String,
    /// `owner/name`.
    pub repository: String,
    pub token: SecretString,
    /// The certificates that are trusted, instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it is not checked yet, and people write passwords into URLs.
        f.debug_struct("Settings")
            .field("kind", &self.kind)
            .field("repository", &self.repository)
            .finish_non_exhaustive()
    }
}

/// Why settings cannot be used. The texts name keys of the config and never repeat a URL.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("`url` is not an https address")]
    Url,
    #[error(
        "`url` must not have a user name, password, query or fragment: the token belongs into `credential`"
    )]
    UrlParts,
    #[error("`url` is plain http to another machine, which would show the token to the network: use https")]
    PlainHttp,
    #[error("`repository` must be written `owner/name`")]
    Repository,
    #[error("`credential` holds no token")]
    Token,
    #[error("`ca` holds no certificate in PEM form")]
    Ca,
    #[error("the https client cannot be set up")]
    Client(#[source] reqwest::Error),
}

impl Settings {
    /// The address of the repository in the API, without a slash at the end.
    pub(crate) fn repository_url(&self) -> Result<String, SettingsError> {
        let url = reqwest::Url::parse(&self.url).map_err(|_| SettingsError::Url)?;
        let host = url.host_str().ok_or(SettingsError::Url)?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(host) => {}
            "http" => return Err(SettingsError::PlainHttp),
            _ => return Err(SettingsError::Url),
        }
        let extra = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
        if extra || url.fragment().is_some() {
            return Err(SettingsError::UrlParts);
        }
        let part = |text: &str| {
            !matches!(text, "" | "." | "..")
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let parts = self.repository.split_once('/');
        if !parts.is_some_and(|(owner, name)| part(owner) && part(name)) {
            return Err(SettingsError::Repository);
        }
        let base = url.as_str().trim_end_matches('/');
        Ok(format!("{base}{}/repos/{}", self.kind.dialect().prefix(), self.repository))
    }

    /// The value of the header `Authorization`, which no log shows.
    pub(crate) fn authorization(&self) -> Result<reqwest::header::HeaderValue, SettingsError> {
        let token = self.token.expose_secret().trim();
        if token.is_empty() {
            return Err(SettingsError::Token);
        }
        let text = self.kind.dialect().authorization(token);
        let mut value = reqwest::header::HeaderValue::from_str(&text).map_err(|_| SettingsError::Token)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: ForgeKind, url: &str, repository: &str) -> Settings {
        let token = SecretString::from("hunter2");
        Settings { kind, url: url.to_owned(), repository: repository.to_owned(), token, ca_pem: None }
    }

    #[test]
    fn addresses_are_built_from_checked_parts() {
        let built = |kind, url, repository| {
            settings(kind, url, repository).repository_url().unwrap_or_else(|error| error.to_string())
        };
        assert_eq!(
            built(ForgeKind::GitHub, "https://api.github.com", "me/infra"),
            "https://api.github.com/repos/me/infra"
        );
        assert_eq!(
            built(ForgeKind::GitHub, "https://ghe.lan/api/v3/", "me/infra"),
            "https://ghe.lan/api/v3/repos/me/infra"
        );
        assert_eq!(
            built(ForgeKind::Forgejo, "http://127.0.0.1:3000", "me/in.fra_1"),
            "http://127.0.0.1:3000/api/v1/repos/me/in.fra_1"
        );
        for (url, expected) in [
            ("https://me:hunter2@git.lan", SettingsError::UrlParts),
            ("https://git.lan?token=hunter2", SettingsError::UrlParts),
            ("http://git.lan", SettingsError::PlainHttp),
            ("git.lan", SettingsError::Url),
            ("ssh://git.lan", SettingsError::Url),
        ] {
            assert_eq!(built(ForgeKind::Gitea, url, "me/infra"), expected.to_string(), "{url}");
        }
        for wrong in ["infra", "me/", "/infra", "me/infra/x", "../infra", "me/..", "me/in fra", "me/a?b"] {
            let built = built(ForgeKind::Gitea, "https://git.lan", wrong);
            assert_eq!(built, SettingsError::Repository.to_string(), "{wrong}");
        }
    }

    #[test]
    fn the_token_is_never_shown() {
        let settings = settings(ForgeKind::Gitea, "https://me:hunter2@git.lan", "me/infra");
        assert!(!format!("{settings:?}").contains("hunter2"));
        let value = settings.authorization().unwrap();
        assert!(!format!("{value:?}").contains("hunter2"));
        assert_eq!(value, "token hunter2");
    }
}
