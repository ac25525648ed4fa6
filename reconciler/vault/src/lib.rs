//! The target Vault (and OpenBao): one client, the kinds that it converges, and the store that secrets are
//! read from.

mod client;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod policy;
mod secrets;

use std::fmt;
use std::sync::Arc;

use holdfast_core::any_kind::{AnyKind, KindInfo};
use holdfast_core::mark::Realm;
use holdfast_core::scrub::Scrubber;
use holdfast_core::secret::SecretStore;
use secrecy::SecretString;

use crate::client::Client;
use crate::policy::VaultPolicy;
use crate::secrets::KvStore;

/// The system that everything here is part of.
const TARGET: &str = "vault";

/// The kinds of this target, without a connection.
pub fn kinds() -> Vec<KindInfo> {
    vec![KindInfo::of::<VaultPolicy>()]
}

/// How Vault is reached. Nothing else is read: no `VAULT_*` variable, no file, no proxy setting.
pub struct Settings {
    /// `https://vault.lan:8200`, without a path.
    pub url: String,
    pub auth: Auth,
    /// The only certificate authorities that are trusted, in PEM; those of the system where absent.
    pub ca_pem: Option<Vec<u8>>,
}

/// Who Holdfast is for Vault.
pub enum Auth {
    /// A token that somebody else made. It is renewed, and never revoked.
    Token(SecretString),
    /// An `AppRole` at `auth/approle`. One login serves the whole process, and is revoked at its end.
    AppRole { role_id: String, secret_id: SecretString },
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let auth = match &self.auth {
            Auth::Token(_) => "token",
            Auth::AppRole { .. } => "approle",
        };
        let private_ca = self.ca_pem.is_some();
        f.debug_struct("Settings")
            .field("url", &self.url)
            .field("auth", &auth)
            .field("private_ca", &private_ca)
            .finish()
    }
}

/// What is wrong with [`Settings`], as a phrase; never with a part of a secret in it.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the url of vault must be like `https://vault.lan:8200`: {0}")]
    Url(String),
    #[error("the {0} of vault is empty, or holds characters that cannot be in one")]
    Credential(&'static str),
    #[error("the certificate authority of vault is not PEM")]
    Ca(#[source] reqwest::Error),
    #[error("the http client for vault could not be made")]
    Http(#[source] reqwest::Error),
}

/// A connection to one Vault.
pub struct Vault {
    client: Arc<Client>,
}

impl Vault {
    /// Checks the settings. Nothing is sent before it is needed.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Ok(Self { client: Arc::new(Client::new(settings)?) })
    }

    /// The kinds, bound to one environment.
    pub fn kinds(&self, realm: &Realm) -> Vec<Arc<dyn AnyKind>> {
        vec![Arc::new(VaultPolicy::new(Arc::clone(&self.client), realm.clone()))]
    }

    /// Where secrets are read: the KV v2 engines that the token may read.
    pub fn secrets(&self) -> Arc<dyn SecretStore> {
        Arc::new(KvStore::new(Arc::clone(&self.client)))
    }

    /// Lets a scrubber learn the token of every login from now on. The first one that is given stays.
    pub fn teach(&self, scrubber: Scrubber) {
        self.client.teach(scrubber);
    }

    /// Revokes the token of an `AppRole` login. Afterwards every call fails; it is for the end of the process.
    pub async fn close(&self) {
        self.client.close().await;
    }
}
