//! One authenticated connection to a host that is known by its pinned key.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Preferred, client::Config};

use super::error::SshError;

/// For the connection, the exchange of keys and the log-in together.
const CONNECT: Duration = Duration::from_secs(10);

/// A host as manifests name it, and where the service's configuration says that it is reached.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// As the manifest names it: what messages show.
    pub address: String,
    /// Where the connection goes.
    pub hostname: String,
    pub port: u16,
    pub user: String,
    pub host_key: PublicKey,
}

/// Accepts the pinned key and nothing else.
pub(crate) struct Pinned {
    address: String,
    key: PublicKey,
}

impl client::Handler for Pinned {
    type Error = SshError;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        let address = self.address.clone();
        match offered {
            // Type and blob; the comment says nothing.
            PublicKeyOrCertificate::PublicKey { key, .. } if key.key_data() == self.key.key_data() => {
                Ok(true)
            }
            PublicKeyOrCertificate::PublicKey { key, .. } => Err(SshError::HostKeyChanged {
                address,
                pinned: self.key.fingerprint(HashAlg::Sha256).to_string(),
                offered: key.fingerprint(HashAlg::Sha256).to_string(),
            }),
            PublicKeyOrCertificate::Certificate(_) => Err(SshError::Certificate { address }),
        }
    }
}

/// Connects and logs in.
pub(super) async fn connect(at: &Endpoint, key: &Arc<PrivateKey>) -> Result<Handle<Pinned>, SshError> {
    match tokio::time::timeout(CONNECT, log_in(at, key)).await {
        Ok(result) => result,
        Err(_) => Err(SshError::ConnectTimeout { address: at.address.clone(), limit: CONNECT }),
    }
}

async fn log_in(at: &Endpoint, key: &Arc<PrivateKey>) -> Result<Handle<Pinned>, SshError> {
    let broken =
        |source: russh::Error| SshError::Connect { address: at.address.clone(), source: Box::new(source) };
    let handler = Pinned { address: at.address.clone(), key: at.host_key.clone() };
    let place = (at.hostname.as_str(), at.port);
    let mut handle = client::connect(Arc::new(config(&at.host_key)), place, handler).await.map_err(
        |error| match error {
            SshError::Protocol(source) => broken(source),
            ours => ours,
        },
    )?;
    let credential = PrivateKeyWithHashAlg::new(Arc::clone(key), None);
    let answer = handle.authenticate_publickey(&at.user, credential).await.map_err(broken)?;
    if answer.success() {
        return Ok(handle);
    }
    Err(SshError::Authentication {
        address: at.address.clone(),
        user: at.user.clone(),
        key: key.public_key().fingerprint(HashAlg::Sha256).to_string(),
    })
}

fn config(host_key: &PublicKey) -> Config {
    // The host is asked for the kind of key that is pinned; only if it has none does it offer another, which
    // is then told as a changed key.
    let pinned = host_key.algorithm();
    let others = Preferred::DEFAULT.key.iter().filter(|algorithm| **algorithm != pinned).cloned();
    let key: Vec<_> = std::iter::once(pinned.clone()).chain(others).collect();
    Config {
        nodelay: true,
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 3,
        inactivity_timeout: None,
        preferred: Preferred { key: key.into(), ..Preferred::DEFAULT },
        ..Config::default()
    }
}
