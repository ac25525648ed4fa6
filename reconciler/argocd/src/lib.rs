//! The target Argo CD: its objects in one namespace of one Kubernetes cluster.

pub mod application;
mod client;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use std::fmt;
use std::sync::Arc;

use holdfast_core::any_kind::{AnyKind, KindInfo};
use holdfast_core::mark::Realm;
use secrecy::SecretString;

use crate::application::Application;
use crate::client::Client;

/// The kinds of this target, without a connection.
pub fn kinds() -> Vec<KindInfo> {
    vec![KindInfo::of::<Application>()]
}

/// How the Kubernetes API is reached. Nothing else is read: no kubeconfig, no plugin, no variable.
pub struct Settings {
    /// `https://kube.lan:6443`, without a path.
    pub url: String,
    /// The token of a service account.
    pub token: SecretString,
    /// The only certificate authorities that are trusted, in PEM; those of the system where absent.
    pub ca_pem: Option<Vec<u8>>,
    /// The namespace of Argo CD's objects, usually `argocd`.
    pub namespace: String,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.url)
            .field("namespace", &self.namespace)
            .field("private_ca", &self.ca_pem.is_some())
            .finish_non_exhaustive()
    }
}

/// What is wrong with [`Settings`], as a phrase; never with a part of the token in it.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the url of the kubernetes api must be like `https://kube.lan:6443`: {0}")]
    Url(String),
    #[error("the token of the kubernetes api is empty, or holds characters that cannot be in one")]
    Token,
    #[error("the certificate authority of the kubernetes api is not PEM: {0}")]
    Ca(String),
    #[error("the namespace `{0}` of argo cd is no name of a namespace")]
    Namespace(String),
    #[error("the client for the kubernetes api could not be made")]
    Client(#[source] kube::Error),
}

/// A connection to one Argo CD.
pub struct ArgoCd {
    client: Arc<Client>,
}

impl ArgoCd {
    /// Checks the settings. Nothing is sent before it is needed.
    ///
    /// It must be called within a tokio runtime, since the client of kube starts a task.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Ok(Self { client: Arc::new(Client::new(settings)?) })
    }

    /// The kinds, bound to one environment.
    pub fn kinds(&self, realm: &Realm) -> Vec<Arc<dyn AnyKind>> {
        vec![Arc::new(Application::new(Arc::clone(&self.client), realm.clone()))]
    }
}
