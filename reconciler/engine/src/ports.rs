//! What the engine needs of the world, as traits: the repository, the targets, the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::any_kind::AnyKind;
use holdfast_core::desired::Site;
use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::manifest::Tree;
use holdfast_core::plan::Plan;
use holdfast_core::report::{Report, Status};
use holdfast_core::schedule::Moment;
use holdfast_core::secret::SecretStore;

pub use holdfast_core::report::Context;

/// The infra repository, through its local mirror.
pub trait Repository: Send + Sync {
    /// Brings the mirror up to date and gives the newest commit of the watched branch; `None` where the
    /// repository is empty or has no such branch. An unchanged repository costs one round trip.
    fn fetch(&self) -> BoxFuture<'_, Result<Option<CommitId>, TargetError>>;

    /// Reads the files of a commit that the mirror has.
    fn tree<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<Tree, TargetError>>;

    /// Whether `old` is an ancestor of `new`, or `new` itself. Rejected where the mirror does not have `new`: a history
    /// that was rewritten does not come back by asking again.
    fn descends<'a>(
        &'a self,
        old: &'a CommitId,
        new: &'a CommitId,
    ) -> BoxFuture<'a, Result<bool, TargetError>>;

    /// Keeps a commit from ever leaving the mirror: the last one that an environment converged to.
    fn keep<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<(), TargetError>>;

    /// What [`Repository::keep`] kept last for an environment.
    fn kept<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, TargetError>>;

    /// What is kept of all environments.
    fn all_kept(&self) -> BoxFuture<'_, Result<BTreeMap<EnvironmentName, CommitId>, TargetError>>;
}

/// The systems that are converged, with their connections.
pub trait Targets: Send + Sync {
    /// The kinds, bound to one environment. A kind whose connection is not configured is left out.
    fn kinds(&self, environment: &EnvironmentName) -> Vec<Arc<dyn AnyKind>>;

    /// Where secrets are read.
    fn secrets(&self) -> Arc<dyn SecretStore>;
}

/// Reads and checks the files of a commit.
pub trait Manifests: Send + Sync {
    fn read(&self, tree: Tree) -> BoxFuture<'_, Result<Site, Refused>>;
}

/// Why a commit is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// One line, for the commit.
    pub headline: String,
    /// Everything, for the log.
    pub whole: String,
}

impl Refused {
    /// Where the line says all.
    pub fn once(line: impl Into<String>) -> Self {
        let headline = line.into();
        Self { whole: headline.clone(), headline }
    }
}

/// The world's clock, for what is meant in its time: schedules and windows. Waiting goes by the runtime's clock.
pub trait Clock: Send + Sync {
    fn now(&self) -> Moment;
}

/// The pause that an operator asks for on the machine itself.
pub trait Halt: Send + Sync {
    /// Why nothing may be changed, if so.
    fn reason(&self) -> Option<String>;
}

/// Durable history and the outbox of statuses. It is never authority: without it nothing but history is lost.
pub trait Journal: Send + Sync {
    /// Wants a status to stand on a commit. Returns once it is durable; posting goes on by itself. An equal
    /// status is no change, after a terminal one nothing is taken any more, and after a failure or an error
    /// success alone.
    fn set_status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>>;

    /// The status that was wanted last.
    fn status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Option<Status>, JournalError>>;

    /// All that are wanted as `pending`: what a start has to finish or tell superseded.
    fn pending(&self) -> BoxFuture<'_, Result<Vec<(CommitId, Context)>, JournalError>>;

    /// Takes an environment over for `holder`, or goes on having it, until `lasts` from now. Every change of hands
    /// raises the epoch. A holder that lets its time pass keeps it while nobody else takes it.
    fn lease<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        holder: &'a str,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Lease, JournalError>>;

    /// The newest epoch of an environment: what a write is checked against.
    fn epoch<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<Epoch>, JournalError>>;

    /// Notes, durably, that a commit is about to be read or planned, and gives how often that was begun and never
    /// ended: a commit that takes the process with it each time is poison. After a day without one this is forgotten:
    /// power cuts and kills may fall into the same moment by chance.
    fn attempt<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<u32, JournalError>>;

    /// Notes that it ended, however it did.
    fn attempt_ended<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<(), JournalError>>;

    /// What an environment holds as far as anybody knows: what makes an empty answer implausible. It may make us hold,
    /// and never act.
    fn known<'a>(&'a self, environment: &'a EnvironmentName) -> BoxFuture<'a, Result<Known, JournalError>>;

    /// Notes, durably, that a resource is about to be removed because a commit does not declare it: nobody is astonished
    /// any more if it is gone ([`Journal::known`]). What was noted for another commit of the environment is forgotten.
    fn removing<'a>(
        &'a self,
        commit: &'a CommitId,
        id: &'a ResourceId,
    ) -> BoxFuture<'a, Result<(), JournalError>>;

    /// What [`Journal::removing`] noted for a commit: it counts for the prune brake, whoever removed it.
    fn removed<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<BTreeSet<ResourceId>, JournalError>>;

    /// The commit of the last run of an environment that converged.
    fn converged<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>>;

    /// The commit of the newest run of an environment, whatever became of it.
    fn begun<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>>;

    /// Records a run that begins; the plan is the one made from the first look.
    fn run_started<'a>(
        &'a self,
        commit: &'a CommitId,
        plan: &'a Plan,
    ) -> BoxFuture<'a, Result<RunId, JournalError>>;

    /// Records how it ended, and the status that follows from it, in one transaction.
    fn run_finished<'a>(
        &'a self,
        run: RunId,
        report: &'a Report,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>>;
}

/// What asking for an environment gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    Held(Epoch),
    /// Another one has it.
    Taken {
        by: String,
    },
}

/// What an environment holds as far as anybody knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The resources that the last converged run found or made, but for what was begun to be removed since.
    pub resources: BTreeSet<ResourceId>,
    /// What may be there beside that: what runs planned since, and what the last one that came to its end found too much
    /// or could not settle.
    pub maybe_there: BTreeSet<ResourceId>,
}

impl Known {
    /// A run begins: what it may make.
    pub fn begins(&mut self, plan: &Plan) {
        let new = plan.items.iter().map(|item| &item.id).filter(|id| !self.resources.contains(*id));
        self.maybe_there.extend(new.cloned());
    }

    /// Something is about to be removed: nobody is astonished if it is gone.
    pub fn removes(&mut self, id: &ResourceId) {
        self.resources.remove(id);
        self.maybe_there.insert(id.clone());
    }

    /// A run came to its end.
    pub fn ends(&mut self, report: &Report) {
        if report.converged() {
            self.resources = report.there().cloned().collect();
        }
        self.maybe_there.clone_from(&report.maybe_there);
    }
}

/// How often an environment changed hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A run in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(pub i64);

/// The journal could not be written or read: a full disk, a broken file.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct JournalError {
    pub doing: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
