//! The engine's ports, fitted to the repository's mirror and the targets' clients. Nothing is decided here.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_argocd::ArgoCd;
use holdfast_core::any_kind::AnyKind;
use holdfast_core::ident::{CommitId, EnvironmentName, SiteName};
use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::manifest::Tree;
use holdfast_core::mark::Realm;
use holdfast_core::secret::{SecretDocument, SecretStore};
use holdfast_engine::ports::{Repository, Targets};
use holdfast_host::Hosts;
use holdfast_proxmox::Proxmox;
use holdfast_vault::Vault;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;

/// The mirror of the infra repository.
pub(crate) struct Mirror(holdfast_repo::Mirror);

impl Mirror {
    pub(crate) fn new(config: &Config) -> Result<Self, holdfast_repo::SettingsError> {
        holdfast_repo::Mirror::new(&config.repository).map(Self)
    }

    /// The commit that a person means by `text`. Fetch first.
    pub(crate) async fn resolve(&self, text: &str) -> Result<CommitId, TargetError> {
        self.0.resolve(text).await
    }

    /// The newest commits from `newest` on, itself first.
    pub(crate) async fn recent(&self, newest: &CommitId, count: usize) -> Result<Vec<CommitId>, TargetError> {
        self.0.recent(newest, count).await
    }

    /// Wakes the poll at once when a repository on this machine gets a push.
    pub(crate) fn wake_on_change(&self, wake: Arc<Notify>) -> Option<AbortOnDropHandle<()>> {
        let mut watcher = self.0.watcher()?;
        Some(AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                watcher.changed().await;
                wake.notify_one();
            }
        })))
    }
}

impl Repository for Mirror {
    fn fetch(&self) -> BoxFuture<'_, Result<Option<CommitId>, TargetError>> {
        Box::pin(self.0.fetch())
    }

    fn tree<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<Tree, TargetError>> {
        Box::pin(self.0.tree(commit))
    }

    fn descends<'a>(
        &'a self,
        old: &'a CommitId,
        new: &'a CommitId,
    ) -> BoxFuture<'a, Result<bool, TargetError>> {
        Box::pin(self.0.descends(old, new))
    }

    fn keep<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<(), TargetError>> {
        Box::pin(self.0.keep(environment, commit))
    }

    fn kept<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, TargetError>> {
        Box::pin(self.0.kept(environment))
    }

    fn all_kept(&self) -> BoxFuture<'_, Result<BTreeMap<EnvironmentName, CommitId>, TargetError>> {
        Box::pin(self.0.all_kept())
    }
}

/// The clients of all configured targets.
pub(crate) struct Connections {
    pub(crate) site: SiteName,
    pub(crate) proxmox: Option<Proxmox>,
    pub(crate) vault: Option<Vault>,
    pub(crate) argocd: Option<ArgoCd>,
    pub(crate) hosts: Option<Hosts>,
}

impl Connections {
    /// Ends what should not outlive the service: Vault's token.
    pub(crate) async fn close(&self) {
        if let Some(vault) = &self.vault {
            vault.close().await;
        }
    }
}

impl Targets for Connections {
    fn kinds(&self, environment: &EnvironmentName) -> Vec<Arc<dyn AnyKind>> {
        let realm = Realm { site: self.site.clone(), environment: environment.clone() };
        // A forgotten target would be a kind that never converges: no `..` here.
        let Self { site: _, proxmox, vault, argocd, hosts } = self;
        let mut kinds = Vec::new();
        kinds.extend(proxmox.iter().flat_map(|proxmox| proxmox.kinds(&realm)));
        kinds.extend(hosts.iter().flat_map(|hosts| hosts.kinds(&realm)));
        kinds.extend(vault.iter().flat_map(|vault| vault.kinds(&realm)));
        kinds.extend(argocd.iter().flat_map(|argocd| argocd.kinds(&realm)));
        kinds
    }

    fn secrets(&self) -> Arc<dyn SecretStore> {
        self.vault.as_ref().map_or_else(|| Arc::new(NoVault) as Arc<dyn SecretStore>, Vault::secrets)
    }
}

/// What answers for secrets where no Vault is configured.
struct NoVault;

impl SecretStore for NoVault {
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<SecretDocument, TargetError>> {
        let error = TargetError::rejected(
            format!("reading the secret {path}"),
            "the service's config has no section [vault]; add it",
        );
        Box::pin(async { Err(error) })
    }
}
