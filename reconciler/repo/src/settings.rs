//! What the service's config says about the repository, checked before anything is fetched.

use std::fmt;
use std::path::{Path, PathBuf};

use gix::refs::FullName;
use secrecy::{ExposeSecret as _, SecretString};

use crate::http::Login;
use crate::process::Key;
use crate::remote::{Remote, RemoteError, Ssh};

/// Where the infra repository is, and who we are there.
#[derive(Clone)]
pub struct Settings {
    /// `https://…`, `ssh://…`, `user@host:path`, `file:///…` or an absolute path.
    pub url: String,
    /// The branch that is watched, such as `main`.
    pub branch: String,
    /// A folder of our own; it is created.
    pub mirror_dir: PathBuf,
    /// For https. Without it `x-access-token`, which every forge takes beside a token.
    pub username: Option<String>,
    /// For https a token or password, for ssh an OpenSSH private key.
    pub secret: Option<SecretString>,
    /// For ssh: the file that holds the server's host key. Keys are never learned.
    pub known_hosts: Option<PathBuf>,
    /// For https: the certificates that are trusted, instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it is not checked yet, and people write passwords into URLs.
        f.debug_struct("Settings")
            .field("branch", &self.branch)
            .field("mirror_dir", &self.mirror_dir)
            .finish_non_exhaustive()
    }
}

/// Why settings cannot be used. The texts name keys of the config and never repeat a URL.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("`url` {0}")]
    Url(#[from] RemoteError),
    #[error("`branch` is not a name of a branch")]
    Branch,
    #[error("`username` must not hold `:` or control characters")]
    Username,
    #[error("`credential` is needed for ssh: the file of an OpenSSH private key without passphrase")]
    NoKey,
    #[error("`credential` is not a private key: ssh needs an OpenSSH private key, without passphrase")]
    NotAKey,
    #[error("`known_hosts` is needed for ssh: a file with the server's host key, as `ssh-keyscan` prints it")]
    NoKnownHosts,
    #[error("`{key}` must be an absolute path without quotes, `%`, `$` and control characters")]
    Path { key: &'static str },
    #[error("`ca` holds no certificate in PEM form")]
    Ca,
    #[error("the folder of the mirror cannot be used")]
    Folder(#[source] std::io::Error),
    #[error("the https client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Settings that were checked.
pub(crate) struct Checked {
    pub(crate) remote: Remote,
    /// The watched branch's full name, such as `refs/heads/main`.
    pub(crate) reference: FullName,
    pub(crate) access: Access,
}

/// How the remote is reached: all that a transport needs.
pub(crate) enum Access {
    Http { url: String, client: reqwest::Client, login: Option<Login> },
    Ssh { ssh: Ssh, key: Key, known_hosts: PathBuf },
    Local(PathBuf),
}

impl Settings {
    pub(crate) fn check(&self) -> Result<Checked, SettingsError> {
        let remote = Remote::parse(&self.url)?;
        let reference = FullName::try_from(format!("refs/heads/{}", self.branch))
            .map_err(|_not_a_name| SettingsError::Branch)?;
        let access = match &remote {
            Remote::Http(url) => {
                let client = self.client(url.starts_with("https:"))?;
                Access::Http { url: url.clone(), client, login: self.login()? }
            }
            Remote::Ssh(ssh) => self.ssh(ssh.clone())?,
            Remote::Local(path) => Access::Local(path.clone()),
        };
        Ok(Checked { remote, reference, access })
    }

    fn login(&self) -> Result<Option<Login>, SettingsError> {
        let username = self.username.as_deref().unwrap_or("x-access-token");
        if username.is_empty() || username.chars().any(|c| c == ':' || c.is_control()) {
            return Err(SettingsError::Username);
        }
        Ok(self.secret.clone().map(|password| Login { username: username.to_owned(), password }))
    }

    fn client(&self, https_only: bool) -> Result<reqwest::Client, SettingsError> {
        // No proxy: where the token goes is said by `url` alone, not by the environment.
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .https_only(https_only)
            .referer(false)
            .connect_timeout(crate::http::CONNECT)
            .read_timeout(crate::http::SILENCE);
        if let Some(pem) = &self.ca_pem {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| SettingsError::Ca)?;
            if certificates.is_empty() {
                return Err(SettingsError::Ca);
            }
            builder = builder.tls_certs_only(certificates);
        }
        builder.build().map_err(SettingsError::Client)
    }

    fn ssh(&self, ssh: Ssh) -> Result<Access, SettingsError> {
        let secret = self.secret.as_ref().ok_or(SettingsError::NoKey)?;
        if !secret.expose_secret().contains("PRIVATE KEY-----") {
            return Err(SettingsError::NotAKey);
        }
        let known_hosts = self.known_hosts.clone().ok_or(SettingsError::NoKnownHosts)?;
        plain(&known_hosts, "known_hosts")?;
        plain(&self.mirror_dir, "state")?;
        Ok(Access::Ssh { ssh, key: Key(secret.clone()), known_hosts })
    }
}

/// ssh expands `%` and `$` in the paths it is given, and reads quotes.
fn plain(path: &Path, key: &'static str) -> Result<(), SettingsError> {
    let text = path.to_str().ok_or(SettingsError::Path { key })?;
    let odd = |c: char| c.is_control() || matches!(c, '"' | '\'' | '\\' | '%' | '$');
    if path.is_absolute() && !text.chars().any(odd) { Ok(()) } else { Err(SettingsError::Path { key }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Settings {
        Settings {
            url: url.to_owned(),
            branch: "main".to_owned(),
            mirror_dir: PathBuf::from("/var/lib/holdfast/mirror"),
            username: None,
            secret: None,
            known_hosts: None,
            ca_pem: None,
        }
    }

    fn problem(settings: &Settings) -> String {
        settings.check().err().map_or_else(|| "none".to_owned(), |error| error.to_string())
    }

    #[test]
    fn ssh_needs_a_key_and_a_known_host() {
        let mut ssh = settings("git@git.lan:me/infra.git");
        assert!(problem(&ssh).starts_with("`credential` is needed for ssh"));
        ssh.secret = Some(SecretString::from("hunter2"));
        assert!(problem(&ssh).starts_with("`credential` is not a private key"));
        ssh.secret = Some(SecretString::from("-----BEGIN OPENSSH PRIVATE KEY-----"));
        assert!(problem(&ssh).starts_with("`known_hosts` is needed for ssh"));
        ssh.known_hosts = Some(PathBuf::from("/etc/known\" -o ProxyCommand=x"));
        assert!(problem(&ssh).starts_with("`known_hosts` must be an absolute path"));
        ssh.known_hosts = Some(PathBuf::from("/etc/holdfast/known_hosts"));
        assert_eq!(problem(&ssh), "none");
    }

    #[test]
    fn a_branch_must_be_a_branch() {
        let mut local = settings("/srv/git/infra.git");
        for wrong in ["", "a..b", "-x/", "a b", "../../kept/core", "x.lock"] {
            local.branch = wrong.to_owned();
            assert_eq!(problem(&local), "`branch` is not a name of a branch", "{wrong}");
        }
    }

    #[test]
    fn debug_shows_neither_url_nor_secret() {
        let mut settings = settings("https://me:hunter2@git.lan/infra.git");
        settings.secret = Some(SecretString::from("hunter2"));
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(!problem(&settings).contains("hunter2"));
    }
}
