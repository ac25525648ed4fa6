//! The engine's ports, fitted to the repository's mirror and the targets' clients. Nothing is decided here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_argocd::ArgoCd;
use holdfast_core::any_kind::AnyKind;
use holdfast_core::desired::Site;
use holdfast_core::ident::{CommitId, EnvironmentName, SiteName};
use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::manifest::{self, Tree, Validators};
use holdfast_core::mark::Realm;
use holdfast_core::plan::Kinds;
use holdfast_core::report::cut;
use holdfast_core::scrub::Scrubber;
use holdfast_core::secret::{SecretDocument, SecretStore};
use holdfast_engine::ports::{Halt, Manifests, Refused, Repository, Targets};
use holdfast_engine::scrubbed::LearningStore;
use holdfast_forge::ports::Commits;
use holdfast_host::Hosts;
use holdfast_proxmox::Proxmox;
use holdfast_vault::Vault;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};

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

impl Commits for Mirror {
    fn newest(&self, count: usize) -> BoxFuture<'_, Result<Vec<CommitId>, TargetError>> {
        Box::pin(async move {
            match self.0.fetch().await? {
                Some(head) => self.0.recent(&head, count).await,
                None => Ok(Vec::new()),
            }
        })
    }
}

/// Reads commits, on a thread of its own: one may be large.
pub(crate) struct Reader {
    pub(crate) site: SiteName,
    pub(crate) kinds: Arc<(Kinds, Validators)>,
}

impl Manifests for Reader {
    fn read(&self, tree: Tree) -> BoxFuture<'_, Result<Site, Refused>> {
        let (site, kinds) = (self.site.clone(), self.kinds.clone());
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read(&site, &kinds.0, &kinds.1, &tree));
            read.await.unwrap_or_else(|panicked| {
                error!(error = %panicked, "reading the commit broke off");
                Err(Refused::once("internal error: reading this commit broke off; see the service's log"))
            })
        })
    }
}

/// Reads and checks a commit, for this service's site.
fn read(site: &SiteName, kinds: &Kinds, validators: &Validators, tree: &Tree) -> Result<Site, Refused> {
    let checked = manifest::read(tree, kinds, validators)
        .and_then(|manifest| manifest.expect_site(site, tree).map(|()| manifest));
    match checked {
        Ok(manifest) => {
            for warning in &manifest.warnings {
                warn!(warning = %warning.title, path = warning.path, "the commit is valid, but");
            }
            Ok(manifest.site)
        }
        Err(problems) => {
            Err(Refused { headline: problems.headline().to_owned(), whole: problems.render(tree) })
        }
    }
}

/// The pause that an operator asks for by a file in the state folder: its text says why.
pub(crate) struct PauseFile(PathBuf);

impl PauseFile {
    pub(crate) fn new(state: &Path) -> Self {
        Self(state.join("pause"))
    }
}

impl Halt for PauseFile {
    fn reason(&self) -> Option<String> {
        let text = match std::fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            // Somebody wanted a pause, whatever else is wrong with the file.
            Err(error) => return Some(format!("{} cannot be read: {error}", self.0.display())),
        };
        let line = cut(&text, 100);
        Some(if line.is_empty() { "the file `pause` is in its state folder".to_owned() } else { line })
    }
}

/// The clients of all configured targets.
pub(crate) struct Connections {
    pub(crate) site: SiteName,
    pub(crate) proxmox: Option<Proxmox>,
    pub(crate) vault: Option<Vault>,
    pub(crate) argocd: Option<ArgoCd>,
    pub(crate) hosts: Option<Hosts>,
    pub(crate) scrubber: Scrubber,
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
        let Self { site: _, proxmox, vault, argocd, hosts, scrubber: _ } = self;
        let mut kinds = Vec::new();
        kinds.extend(proxmox.iter().flat_map(|proxmox| proxmox.kinds(&realm)));
        kinds.extend(hosts.iter().flat_map(|hosts| hosts.kinds(&realm)));
        kinds.extend(vault.iter().flat_map(|vault| vault.kinds(&realm)));
        kinds.extend(argocd.iter().flat_map(|argocd| argocd.kinds(&realm)));
        kinds
    }

    fn secrets(&self) -> Arc<dyn SecretStore> {
        let store =
            self.vault.as_ref().map_or_else(|| Arc::new(NoVault) as Arc<dyn SecretStore>, Vault::secrets);
        Arc::new(LearningStore::new(store, self.scrubber.clone()))
    }
}

/// What answers for secrets where no Vault is configured.
struct NoVault;

impl SecretStore for NoVault {
    fn target(&self) -> &'static str {
        "secrets"
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<SecretDocument, TargetError>> {
        let error = TargetError::rejected(
            format!("reading the secret {path}"),
            "the service's config has no section [vault]; add it",
        );
        Box::pin(async { Err(error) })
    }
}
