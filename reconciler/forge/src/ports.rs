//! What the outbox's worker needs of the world, as traits: the rows, the forge, the history of the repository.

use holdfast_core::ident::CommitId;
use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::report::{Context, Status};

use crate::outbox::Row;
use crate::{Forge, PostError};

/// The outbox's rows, kept durably: one a commit and context, changed only by the rules of [`crate::outbox`].
pub trait Rows: Send + Sync + 'static {
    type Error: std::error::Error + Send + Sync + 'static;

    /// Everything that is wanted and not yet taken by the forge, the newest first.
    fn due(&self) -> BoxFuture<'_, Result<Vec<Due>, Self::Error>>;

    /// Takes what is due for one worker alone, as it was read ([`Row::claimed`]), in one transaction. `None` where it is
    /// another one's, or changed since: then it is looked at again.
    fn claim<'a>(
        &'a self,
        due: &'a Due,
        by: &'a str,
        now: i64,
    ) -> BoxFuture<'a, Result<Option<Due>, Self::Error>>;

    /// Takes up what an earlier life of the service left to be posted ([`Row::at_start`]).
    fn take_up(&self, now: i64) -> BoxFuture<'_, Result<(), Self::Error>>;

    /// Notes the forge's answer to one post ([`Row::answered`]), and lets go of it.
    fn answered<'a>(
        &'a self,
        due: &'a Due,
        answer: &'a Result<(), PostError>,
        now: i64,
        jitter: f64,
    ) -> BoxFuture<'a, Result<(), Self::Error>>;

    /// Notes that the forge shows what stays of it ([`Row::stands`]).
    fn stands<'a>(
        &'a self,
        due: &'a Due,
        status: &'a Status,
        now: i64,
    ) -> BoxFuture<'a, Result<(), Self::Error>>;

    /// Wants an end for what an earlier journal left, unless this one knows of it: then it has its own.
    fn close<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
        end: &'a Status,
    ) -> BoxFuture<'a, Result<(), Self::Error>>;

    /// Notes that whatever an earlier journal left has its end: it is not looked for at the next start.
    fn closed(&self) -> BoxFuture<'_, Result<(), Self::Error>>;

    /// Returns once something new was wanted since it returned last.
    fn changed(&self) -> BoxFuture<'_, ()>;
}

/// One status that has to be posted.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    pub commit: CommitId,
    pub context: Context,
    pub row: Row,
}

/// The statuses of one repository's commits, where people see them.
pub trait Statuses: Send + Sync + 'static {
    /// Posts a status under a context's whole name. Repeating an equal one is harmless.
    fn post<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a str,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), PostError>>;

    /// Our own statuses of a commit, the newest of each context.
    fn statuses<'a>(
        &'a self,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<Vec<(String, Status)>, PostError>>;
}

impl Statuses for Forge {
    fn post<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a str,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), PostError>> {
        Box::pin(Self::post(self, commit, context, status, None))
    }

    fn statuses<'a>(
        &'a self,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<Vec<(String, Status)>, PostError>> {
        Box::pin(Self::statuses(self, commit))
    }
}

/// The history of the watched branch.
pub trait Commits: Send + Sync + 'static {
    /// Fetches, and gives the newest commits, the very newest first; none where the repository is empty.
    fn newest(&self, count: usize) -> BoxFuture<'_, Result<Vec<CommitId>, TargetError>>;
}
