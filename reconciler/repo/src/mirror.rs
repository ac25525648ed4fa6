//! The mirror as the service sees it: async, bounded in time, safe against panics in what it is built on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use gix::refs::FullName;
use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::kind::TargetError;
use holdfast_core::manifest::Tree;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, timeout, timeout_at};

use crate::call::{Call, StopOnDrop};
use crate::clone::Health;
use crate::read::{self, ReadError};
use crate::remote::Remote;
use crate::settings::{Access, Settings, SettingsError};
use crate::store::Store;
use crate::watch::Watcher;
use crate::{kept, tree};

/// How long one fetch may take, the first clone included.
pub const DEFAULT_DEADLINE: Duration = Duration::from_mins(2);
/// How long one read may take.
const READ: Duration = Duration::from_secs(30);
/// How long a stopped fetch may take to end before its caller is let go.
const GRACE: Duration = Duration::from_secs(2);

/// A bare mirror of the infra repository.
///
/// # Guarantees
/// - [`Mirror::fetch`] of an unchanged repository is one round trip: one GET over http, one connection else.
/// - The mirror follows the remote: branches that are gone go, a force-push is taken. What is kept stays.
/// - A damaged mirror is replaced by a fresh clone, as is one of more than 100 packs, at most once in ten
///   minutes. What was kept is carried over.
/// - Every call ends: after its deadline the transport is cut, and the next fetch starts afresh.
/// - Nothing is checked out, no configuration of the host's git is read, no redirect is followed.
pub struct Mirror {
    core: Arc<Core>,
    /// Held by the fetch that runs, on its blocking thread.
    busy: Arc<tokio::sync::Mutex<()>>,
    deadline: Duration,
}

/// What the blocking threads share.
pub(crate) struct Core {
    pub(crate) remote: Remote,
    pub(crate) reference: FullName,
    pub(crate) access: Access,
    pub(crate) store: Store,
    /// Read while the mirror is read, written while it is replaced.
    pub(crate) swapping: RwLock<()>,
    health: Mutex<Health>,
}

impl Core {
    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mirror {
    /// Checks the settings and creates the folder; nothing is fetched yet.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let checked = settings.check()?;
        let store = Store::new(&settings.mirror_dir).map_err(SettingsError::Folder)?;
        let core = Core {
            remote: checked.remote,
            reference: checked.reference,
            access: checked.access,
            store,
            swapping: RwLock::new(()),
            health: Mutex::new(Health::default()),
        };
        Ok(Self { core: Arc::new(core), busy: Arc::default(), deadline: DEFAULT_DEADLINE })
    }

    /// Changes how long one fetch may take.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Brings the mirror up to date and gives the newest commit of the watched branch; `None` where the
    /// repository is empty or has no such branch.
    pub async fn fetch(&self) -> Result<Option<CommitId>, TargetError> {
        let doing = format!("fetching {}", self.core.remote);
        let deadline = Instant::now() + self.deadline;
        let Ok(busy) = timeout_at(deadline, Arc::clone(&self.busy).lock_owned()).await else {
            return Err(TargetError::unavailable(doing, "the fetch before has not ended yet"));
        };
        let call = Call::new(deadline);
        let _stop = StopOnDrop(Arc::clone(&call));
        let core = Arc::clone(&self.core);
        let mut task = spawn_blocking({
            let call = Arc::clone(&call);
            move || {
                let _busy = busy;
                core.refresh(&call)
            }
        });
        let done = match timeout_at(deadline, &mut task).await {
            Ok(done) => Some(done),
            Err(_late) => {
                call.stop();
                timeout(GRACE, &mut task).await.ok()
            }
        };
        match done {
            Some(Ok(result)) => result.map_err(|failure| failure.explain(&doing, &self.core.remote)),
            Some(Err(error)) => Err(self.core.panicked(&doing, None, &error)),
            None => Err(TargetError::unavailable(doing, "the server did not answer in time")),
        }
    }

    /// The commit that a person means by a short id, a branch, or anything else that git would understand.
    pub async fn resolve(&self, text: &str) -> Result<CommitId, TargetError> {
        let (doing, text) = (format!("looking up the commit `{text}`"), text.to_owned());
        self.read(doing, None, move |repository| read::resolve(repository, &text)).await
    }

    /// The newest commits from `newest` on, itself first.
    pub async fn recent(&self, newest: &CommitId, count: usize) -> Result<Vec<CommitId>, TargetError> {
        let doing = format!("listing the commits before {}", newest.short());
        let from = newest.clone();
        self.read(doing, Some(newest), move |repository| read::recent(repository, &from, count)).await
    }

    /// Reads the files of a commit that can matter. A commit over the budgets is `Rejected`.
    pub async fn tree(&self, commit: &CommitId) -> Result<Tree, TargetError> {
        let doing = format!("reading commit {}", commit.short());
        let wanted = commit.clone();
        self.read(doing, Some(commit), move |repository| tree::read(repository, &wanted)).await
    }

    /// Whether `old` is an ancestor of `new`, or `new` itself.
    pub async fn descends(&self, old: &CommitId, new: &CommitId) -> Result<bool, TargetError> {
        let doing = format!("comparing commits {} and {}", old.short(), new.short());
        let (old, wanted) = (old.clone(), new.clone());
        self.read(doing, Some(new), move |repository| read::descends(repository, &old, &wanted)).await
    }

    /// Keeps a commit from ever leaving the mirror: the last one that an environment converged to.
    pub async fn keep(&self, environment: &EnvironmentName, commit: &CommitId) -> Result<(), TargetError> {
        let doing = format!("keeping commit {} of {environment}", commit.short());
        let (environment, wanted) = (environment.clone(), commit.clone());
        self.read(doing, None, move |repository| kept::keep(repository, &environment, &wanted)).await
    }

    /// What [`Mirror::keep`] kept last for an environment. `None` also before the first fetch.
    pub async fn kept(&self, environment: &EnvironmentName) -> Result<Option<CommitId>, TargetError> {
        if !self.core.store.current().exists() {
            return Ok(None);
        }
        let doing = format!("looking up the last converged commit of {environment}");
        let environment = environment.clone();
        self.read(doing, None, move |repository| kept::kept(repository, &environment)).await
    }

    /// What is kept of all environments. Nothing before the first fetch.
    pub async fn all_kept(&self) -> Result<BTreeMap<EnvironmentName, CommitId>, TargetError> {
        if !self.core.store.current().exists() {
            return Ok(BTreeMap::new());
        }
        self.read("looking up the last converged commits".to_owned(), None, kept::all).await
    }

    /// Wakes when a repository of this machine gets a push. `None` for a remote one, and where the system
    /// cannot watch: the poll finds everything, only later.
    pub fn watcher(&self) -> Option<Watcher> {
        let Access::Local(path) = &self.core.access else { return None };
        Watcher::new(path)
            .inspect_err(
                |error| tracing::warn!(%error, "the local repository cannot be watched, only polled"),
            )
            .ok()
    }

    async fn read<T: Send + 'static>(
        &self,
        doing: String,
        commit: Option<&CommitId>,
        work: impl FnOnce(&gix::Repository) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, TargetError> {
        let core = Arc::clone(&self.core);
        match timeout(READ, spawn_blocking(move || core.read(work))).await {
            Ok(Ok(result)) => result.map_err(|error| self.core.explain(&doing, commit, error)),
            Ok(Err(error)) => Err(self.core.panicked(&doing, commit, &error)),
            Err(_late) => Err(TargetError::unavailable(doing, "the mirror was not read in time")),
        }
    }
}

impl Core {
    /// A panic is a failed read: objects that nobody could foresee must not end the service.
    fn panicked(&self, doing: &str, commit: Option<&CommitId>, error: &JoinError) -> TargetError {
        if error.is_panic() {
            return self.explain(doing, commit, ReadError::Damaged("reading it panicked".to_owned()));
        }
        TargetError::unavailable(doing, "the service is ending")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_read_is_a_failed_read() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            url: folder.path().join("none.git").display().to_string(),
            branch: "main".to_owned(),
            mirror_dir: folder.path().join("mirror"),
            username: None,
            secret: None,
            known_hosts: None,
            ca_pem: None,
        };
        let mirror = Mirror::new(&settings).unwrap();
        crate::store::open_or_create(&mirror.core.store.current()).unwrap();
        let commit = CommitId::new("1".repeat(40)).unwrap();
        let poison = async || {
            let work = |_: &gix::Repository| -> Result<(), ReadError> { panic!("a poisonous object") };
            mirror.read("reading x".to_owned(), Some(&commit), work).await.unwrap_err()
        };
        assert!(poison().await.is_unavailable());
        assert!(mirror.core.is_damaged(), "the next fetch clones anew");
        // As a clone does at its end.
        let unreadable = mirror.core.health().unreadable.take();
        mirror.core.health().unreadable_before_clone = unreadable;
        assert!(!poison().await.is_unavailable(), "poison even in a fresh clone is the commit's own fault");
        assert_eq!(
            mirror.kept(&EnvironmentName::new("core").unwrap()).await,
            Ok(None),
            "others are still read"
        );
    }
}
