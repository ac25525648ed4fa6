//! Wakes the poll when a repository of this machine gets a push.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, timeout, timeout_at};

/// A push is many events; it is over when none came for this long.
const QUIET: Duration = Duration::from_millis(200);
/// Nobody is kept waiting longer than this by a repository that is never quiet.
const LONGEST: Duration = Duration::from_secs(2);

/// Watches the references of a local repository. It only wakes: what changed is for the fetch to find.
pub struct Watcher {
    events: Receiver<()>,
    /// Dropping it ends the events.
    _watcher: RecommendedWatcher,
}

impl Watcher {
    pub(crate) fn new(repository: &Path) -> notify::Result<Self> {
        let git = git_dir(repository);
        // One place is enough: a wake that is already due says everything that a second one would.
        let (send, events) = channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| matters(&event)) {
                // Full means that a wake is due already.
                let _is_due_already = send.try_send(());
            }
        })?;
        // `packed-refs` and `HEAD` lie in the folder itself; files there are replaced, so the folder is watched.
        watcher.watch(&git, RecursiveMode::NonRecursive)?;
        for (folder, mode) in
            [("refs/heads", RecursiveMode::Recursive), ("reftable", RecursiveMode::Recursive)]
        {
            let folder = git.join(folder);
            if folder.is_dir() {
                watcher.watch(&folder, mode)?;
            }
        }
        Ok(Self { events, _watcher: watcher })
    }

    /// Waits until references changed and the repository is quiet again. May be dropped and called anew:
    /// nothing is lost in between.
    pub async fn changed(&mut self) {
        if self.events.recv().await.is_none() {
            // The system stopped watching; the poll goes on without it.
            std::future::pending::<()>().await;
        }
        let latest = Instant::now() + LONGEST;
        while timeout_at(latest, timeout(QUIET, self.events.recv())).await.is_ok_and(|event| event.is_ok()) {}
    }
}

/// The folder with the references: of a work tree it is `.git`, which may also be a file that names it.
fn git_dir(repository: &Path) -> PathBuf {
    let dot_git = repository.join(".git");
    if dot_git.is_dir() {
        return dot_git;
    }
    let named = std::fs::read_to_string(&dot_git).ok();
    let named = named.as_deref().and_then(|text| text.strip_prefix("gitdir:")).map(str::trim);
    named.map_or_else(|| repository.to_owned(), |path| repository.join(path))
}

/// Reading raises events as well, and so do the lock files of every write.
fn matters(event: &Event) -> bool {
    let named = |path: &PathBuf| {
        path.extension().is_none_or(|extension| extension != "lock")
            && ["refs", "reftable", "packed-refs", "HEAD"]
                .iter()
                .any(|part| path.components().any(|component| component.as_os_str() == *part))
    };
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(named)
}
