//! The infra repository: the remote that people push to, the local mirror, and the engine's port to both.

mod history;
mod mirror;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::manifest::Tree;
use holdfast_engine::ports::Repository;
use holdfast_forge::ports::Commits;

use super::carry;
use super::manifests::Catalogue;
use crate::wire::{Call, Port, Verdict, Wire};

pub use history::{Commit, History};
use mirror::Local;

/// How long the real mirror waits for a server, and then for its own fetch to end.
const DEADLINE: Duration = Duration::from_secs(122);

const FETCHING: &str = "fetching the repository";

/// What is wrong with the server for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Every answer ends before its end.
    Truncated,
    /// No answer comes.
    Hangs,
    /// It answers from a replica that has not seen the last moves of the branch, so many.
    Behind(usize),
}

/// The repository that people push to.
#[derive(Clone)]
pub struct Remote(Arc<Mutex<Server>>);

struct Server {
    history: History,
    trouble: Option<Trouble>,
}

impl Remote {
    /// An empty repository.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Server { history: History::new(seed), trouble: None })))
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the history, or pushes.
    pub fn with<T>(&self, work: impl FnOnce(&mut History) -> T) -> T {
        work(&mut self.server().history)
    }

    /// Where the branch stands.
    pub fn head(&self) -> Option<CommitId> {
        self.server().history.head().cloned()
    }

    /// Whether `old` is an ancestor of `new`, or `new` itself: the truth, for the checks.
    pub fn descends(&self, old: &CommitId, new: &CommitId) -> bool {
        self.server().history.reachable(new).contains(old)
    }

    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        self.server().trouble = trouble;
    }
}

/// A machine's mirror of it. A crash leaves it as it is.
#[derive(Clone, Default)]
pub struct Mirror(Arc<Mutex<Local>>);

impl Mirror {
    fn local(&self) -> MutexGuard<'_, Local> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state folder is lost, and with it what was kept.
    pub fn lose(&self) {
        *self.local() = Local::default();
    }

    /// The disk loses a commit. The next fetch after somebody needed it clones anew.
    pub fn damage(&self, lost: &CommitId) {
        self.local().damage(lost);
    }

    /// It had too many packs, and is replaced by a fresh clone.
    pub fn clone_anew(&self, remote: &Remote) {
        let server = remote.server();
        self.local().clone_anew(&server.history, server.history.head());
    }

    /// What is kept, for the checks.
    pub fn kept(&self) -> BTreeMap<EnvironmentName, CommitId> {
        self.local().kept()
    }
}

/// One process's port to the repository.
#[derive(Clone)]
pub struct SimRepository {
    pub remote: Remote,
    pub mirror: Mirror,
    pub catalogue: Catalogue,
    pub wire: Wire,
    pub process: u8,
}

impl SimRepository {
    fn call(&self, write: bool, what: String) -> Call {
        Call { port: Port::Git, process: self.process, write, what }
    }

    /// Works on the mirror, as the wire lets it.
    async fn local<T: 'static>(
        &self,
        write: bool,
        what: String,
        mut work: impl FnMut(&History, &mut Local) -> Result<T, TargetError> + Send + 'static,
    ) -> Result<T, TargetError> {
        let (remote, mirror) = (self.remote.clone(), self.mirror.clone());
        let effect = move || work(&remote.server().history, &mut mirror.local());
        carry(&self.wire, &self.call(write, what), effect).await?
    }

    /// Takes in where the branch stood `behind` moves ago.
    fn receive(&self, behind: usize) -> Option<CommitId> {
        let server = self.remote.server();
        let tip = server.history.head_before(behind);
        self.mirror.local().receive(&server.history, tip);
        tip.cloned()
    }

    /// What the server makes of it where the wire does nothing to it.
    async fn exchange(&self) -> Result<Option<CommitId>, TargetError> {
        let trouble = self.remote.server().trouble;
        match trouble {
            None => Ok(self.receive(0)),
            Some(Trouble::Behind(moves)) => Ok(self.receive(moves)),
            Some(Trouble::Truncated) => {
                Err(TargetError::unavailable(FETCHING, "the answer cannot be used: it ended early"))
            }
            Some(Trouble::Hangs) => {
                tokio::time::sleep(DEADLINE).await;
                Err(TargetError::unavailable(FETCHING, "the server did not answer in time"))
            }
        }
    }

    async fn fetch_once(&self) -> Result<Option<CommitId>, TargetError> {
        match self.wire.decide(&self.call(false, "fetch".to_owned())).await {
            Verdict::Pass | Verdict::Twice | Verdict::Lie => self.exchange().await,
            Verdict::Stale => Ok(self.receive(1)),
            // No branch is listed.
            Verdict::Short | Verdict::Empty => {
                let server = self.remote.server();
                self.mirror.local().receive(&server.history, None);
                Ok(None)
            }
            Verdict::ErrorBefore(error) => Err(error),
            Verdict::ErrorAfter(error) => {
                self.receive(0);
                Err(error)
            }
            Verdict::Zombie { error, after } => {
                let this = self.clone();
                self.wire.later(self.wire.now() + after, Box::new(move || drop(this.receive(0))));
                Err(error)
            }
            Verdict::CrashBefore => std::future::pending().await,
            Verdict::CrashAfter => {
                self.receive(0);
                std::future::pending().await
            }
        }
    }
}

impl Repository for SimRepository {
    fn fetch(&self) -> BoxFuture<'_, Result<Option<CommitId>, TargetError>> {
        Box::pin(self.fetch_once())
    }

    fn tree<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<Tree, TargetError>> {
        let (id, catalogue) = (commit.clone(), self.catalogue.clone());
        let doing = format!("reading commit {}", commit.short());
        Box::pin(self.local(false, format!("tree {}", commit.short()), move |history, local| {
            let payload = local.find(history, &doing, &id)?.payload;
            catalogue.tree(payload).map_err(|why| TargetError::rejected(doing.clone(), why))
        }))
    }

    fn descends<'a>(
        &'a self,
        old: &'a CommitId,
        new: &'a CommitId,
    ) -> BoxFuture<'a, Result<bool, TargetError>> {
        let what = format!("descends {} {}", old.short(), new.short());
        let (old, new) = (old.clone(), new.clone());
        Box::pin(self.local(false, what, move |history, local| local.descends(history, &old, &new)))
    }

    fn keep<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<(), TargetError>> {
        let what = format!("keep {environment} {}", commit.short());
        let (environment, commit) = (environment.clone(), commit.clone());
        Box::pin(self.local(true, what, move |history, local| local.keep(history, &environment, &commit)))
    }

    fn kept<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, TargetError>> {
        let (what, environment) = (format!("kept {environment}"), environment.clone());
        Box::pin(self.local(false, what, move |_, local| Ok(local.kept().remove(&environment))))
    }

    fn all_kept(&self) -> BoxFuture<'_, Result<BTreeMap<EnvironmentName, CommitId>, TargetError>> {
        Box::pin(self.local(false, "kept all".to_owned(), |_, local| Ok(local.kept())))
    }
}

impl Commits for SimRepository {
    fn newest(&self, count: usize) -> BoxFuture<'_, Result<Vec<CommitId>, TargetError>> {
        Box::pin(async move {
            let Some(head) = self.fetch_once().await? else { return Ok(Vec::new()) };
            let what = format!("recent {}", head.short());
            let recent = move |history: &History, local: &mut Local| {
                local.find(history, "listing the commits", &head)?;
                Ok(history.recent(&head, count))
            };
            self.local(false, what, recent).await
        })
    }
}

#[cfg(test)]
mod tests;
