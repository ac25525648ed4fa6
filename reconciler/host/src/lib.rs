//! Hosts: Linux machines, converged over SSH with nothing on them but a POSIX shell and their own tools.
//!
//! A look at a whole host is one script, and so is a change. `ssh` carries scripts; `host` writes them, reads
//! what they answer, and decides.

mod host;
mod ssh;

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::any_kind::{AnyKind, KindInfo};
use holdfast_core::mark::Realm;
use russh::keys::PrivateKey;
use secrecy::{ExposeSecret as _, SecretString};

#[cfg(any(test, fuzzing))]
pub use host::fuzzing;
pub use host::{Host, HostSpec, HostState, HostStep, ledger, mode, names, spec, state, step};

/// The kinds of this target, known without any connection.
pub fn kinds() -> Vec<KindInfo> {
    vec![KindInfo::of::<Host>()]
}

/// How hosts are reached. From the service's configuration alone.
#[derive(Debug)]
pub struct Settings {
    /// The private key that logs in, in OpenSSH's form and without a passphrase.
    pub key: SecretString,
    /// Where an address is really reached, as `ssh_config`'s `HostName` and `Port` say it.
    pub hosts: BTreeMap<String, HostAlias>,
}

/// Where an address is really reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAlias {
    pub hostname: String,
    /// Instead of the manifest's.
    pub port: Option<u16>,
}

/// Why hosts cannot be reached with these settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the SSH key is not a private key in OpenSSH's form (`ssh-keygen -t ed25519` makes one)")]
    Key(#[source] russh::keys::ssh_key::Error),
    #[error("the SSH key has a passphrase, which nobody could type: use one without")]
    Passphrase,
    #[error("the SSH key is an {0} key, which is not supported: use an ed25519 one")]
    Algorithm(String),
}

/// The connections to all hosts.
pub struct Hosts {
    shared: Arc<host::Shared>,
}

impl Hosts {
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let key = PrivateKey::from_openssh(settings.key.expose_secret()).map_err(SettingsError::Key)?;
        if key.is_encrypted() {
            return Err(SettingsError::Passphrase);
        }
        if key.algorithm().is_rsa() || key.algorithm().is_dsa() {
            return Err(SettingsError::Algorithm(key.algorithm().to_string()));
        }
        Ok(Self { shared: Arc::new(host::Shared::new(ssh::Ssh::new(key), settings.hosts)) })
    }

    /// The kinds of this target, bound to one environment.
    pub fn kinds(&self, realm: &Realm) -> Vec<Arc<dyn AnyKind>> {
        vec![Arc::new(Host::new(Arc::clone(&self.shared), realm.clone()))]
    }
}
