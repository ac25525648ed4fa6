//! The journal as a durable store: what a call wrote is durable once it returned, and a crash inside leaves it whole or
//! absent. It breaks as files break: torn, full, lost, put back from a backup.

mod store;
mod tables;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::plan::Plan;
use holdfast_core::report::{Context, Report, Status, history};
use holdfast_engine::ports::{Clock, Epoch, Journal, JournalError, Known, Lease, RunId};
use holdfast_forge::PostError;
use holdfast_forge::ports::{Due, Rows};
use tokio::sync::Notify;

use super::carry;
use crate::wire::{Call, Port, Wire};

pub use store::{Backup, Store};
use store::{File, lock};
pub use tables::Run;
use tables::Tables;

/// One process's open journal.
pub struct SimJournal {
    store: Store,
    file: Arc<Mutex<File>>,
    wire: Wire,
    clock: Arc<dyn Clock>,
    process: u8,
    /// Woken when something is to be posted.
    posts: Notify,
}

/// Why nothing could be done with the file, in the database's words.
type Broken = &'static str;
const TORN: Broken = "database disk image is malformed";
const FULL: Broken = "database or disk is full";

impl SimJournal {
    /// Opens it, or makes it. A broken one is put aside, and a new one begun.
    pub fn open(store: &Store, wire: &Wire, clock: Arc<dyn Clock>, process: u8) -> Self {
        let file = {
            let mut disk = store.disk();
            if lock(&disk.file).torn {
                disk.file = Arc::default();
                disk.put_aside += 1;
            }
            disk.file.clone()
        };
        Self { store: store.clone(), file, wire: wire.clone(), clock, process, posts: Notify::new() }
    }

    /// Whether what an earlier journal may have left was not looked for yet: a first start, or one after it was lost.
    pub fn is_new(&self) -> bool {
        lock(&self.file).tables.is_new()
    }

    /// Lets go of what an earlier process held. Only where the lock of the state folder says that nobody else is alive.
    ///
    /// # Errors
    /// Where it cannot be written: then the process does not start.
    pub async fn end_leases(&self) -> Result<(), JournalError> {
        self.write("taking over from the last process", "end leases".to_owned(), Tables::end_leases).await
    }

    /// One transaction that writes. The function gets the time at which it happens.
    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        what: String,
        mut change: impl FnMut(&mut Tables, i64) -> T + Send + 'static,
    ) -> Result<T, JournalError> {
        let call = Call { port: Port::Journal, process: self.process, write: true, what };
        let (store, file, clock) = (self.store.clone(), self.file.clone(), self.clock.clone());
        let effect = move || {
            if store.disk().full {
                return Err(FULL);
            }
            let mut file = lock(&file);
            if file.torn {
                return Err(TORN);
            }
            Ok(change(&mut file.tables, clock.now().0))
        };
        flatten(doing, carry(&self.wire, &call, effect).await)
    }

    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        what: String,
        read: impl Fn(&Tables) -> T + Send + 'static,
    ) -> Result<T, JournalError> {
        let call = Call { port: Port::Journal, process: self.process, write: false, what };
        let file = self.file.clone();
        let effect = move || {
            let file = lock(&file);
            if file.torn { Err(TORN) } else { Ok(read(&file.tables)) }
        };
        flatten(doing, carry(&self.wire, &call, effect).await)
    }

    async fn set(&self, commit: &CommitId, context: &Context, status: &Status) -> Result<(), JournalError> {
        self.store.tell(|| status.description.clone());
        let what = format!("set {} {} {}", commit.short(), context.key(), status.state.as_str());
        let (commit, context, status) = (commit.clone(), context.clone(), status.clone());
        let want = move |tables: &mut Tables, now| tables.want(&commit, &context, &status, now);
        self.write("recording a status", what, want).await?;
        self.posts.notify_one();
        Ok(())
    }
}

/// Gives an error its place, as the service does.
fn flatten<T>(doing: &str, done: Result<Result<T, Broken>, TargetError>) -> Result<T, JournalError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| JournalError {
        doing: format!("{doing} in the journal"),
        source,
    };
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(broken)) => Err(failed(broken.into())),
        Err(struck) => Err(failed(struck.into())),
    }
}

impl Journal for SimJournal {
    fn set_status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(self.set(commit, context, status))
    }

    fn status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Option<Status>, JournalError>> {
        let what = format!("status {} {}", commit.short(), context.key());
        let (commit, context) = (commit.clone(), context.clone());
        Box::pin(self.read("reading a status", what, move |tables| tables.status(&commit, &context)))
    }

    fn pending(&self) -> BoxFuture<'_, Result<Vec<(CommitId, Context)>, JournalError>> {
        Box::pin(self.read("reading what is pending", "pending".to_owned(), Tables::pending))
    }

    fn lease<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        holder: &'a str,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Lease, JournalError>> {
        let (what, environment, holder) =
            (format!("lease {environment}"), environment.clone(), holder.to_owned());
        let take = move |tables: &mut Tables, now| tables.lease(&environment, &holder, lasts, now);
        Box::pin(self.write("taking the lease", what, take))
    }

    fn epoch<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<Epoch>, JournalError>> {
        let (what, environment) = (format!("epoch {environment}"), environment.clone());
        Box::pin(self.read("reading the lease", what, move |tables| tables.epoch(&environment)))
    }

    fn attempt<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<u32, JournalError>> {
        let (what, commit) = (format!("attempt {}", commit.short()), commit.clone());
        Box::pin(self.write("recording an attempt", what, move |tables, now| tables.attempt(&commit, now)))
    }

    fn attempt_ended<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<(), JournalError>> {
        let (what, commit) = (format!("attempt ended {}", commit.short()), commit.clone());
        Box::pin(self.write("recording an attempt", what, move |tables, _| tables.attempt_ended(&commit)))
    }

    fn known<'a>(&'a self, environment: &'a EnvironmentName) -> BoxFuture<'a, Result<Known, JournalError>> {
        let (what, environment) = (format!("known {environment}"), environment.clone());
        Box::pin(self.read("reading what is known", what, move |tables| tables.known(&environment)))
    }

    fn removing<'a>(
        &'a self,
        commit: &'a CommitId,
        id: &'a ResourceId,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        let what = format!("removing {id} for {}", commit.short());
        let (commit, id) = (commit.clone(), id.clone());
        Box::pin(self.write("recording a removal", what, move |tables, _| tables.removing(&commit, &id)))
    }

    fn removed<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<BTreeSet<ResourceId>, JournalError>> {
        let what = format!("removed {environment} {}", commit.short());
        let (environment, commit) = (environment.clone(), commit.clone());
        let read = move |tables: &Tables| tables.removed(&environment, &commit);
        Box::pin(self.read("reading what was removed", what, read))
    }

    fn converged<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>> {
        let (what, environment) = (format!("converged {environment}"), environment.clone());
        let read = move |tables: &Tables| tables.converged(&environment);
        Box::pin(self.read("reading the last converged commit", what, read))
    }

    fn begun<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>> {
        let (what, environment) = (format!("begun {environment}"), environment.clone());
        Box::pin(self.read("reading the last run", what, move |tables| tables.begun(&environment)))
    }

    fn run_started<'a>(
        &'a self,
        commit: &'a CommitId,
        plan: &'a Plan,
    ) -> BoxFuture<'a, Result<RunId, JournalError>> {
        self.store.tell(|| history::of_plan(plan));
        let what = format!("run started {} {}", plan.environment, commit.short());
        let (plan, commit) = (plan.clone(), commit.clone());
        let start = move |tables: &mut Tables, now| tables.run_started(&commit, &plan, now);
        Box::pin(self.write("recording a run", what, start))
    }

    fn run_finished<'a>(
        &'a self,
        run: RunId,
        report: &'a Report,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        self.store.tell(|| history::of_report(report));
        self.store.tell(|| status.description.clone());
        let what = format!(
            "run finished {} {} {}",
            report.environment,
            report.commit.short(),
            status.state.as_str()
        );
        let (report, status) = (report.clone(), status.clone());
        let finish = move |tables: &mut Tables, now| tables.run_finished(run, &report, &status, now);
        Box::pin(async move {
            self.write("recording the end of a run", what, finish).await?;
            self.posts.notify_one();
            Ok(())
        })
    }
}

impl Rows for SimJournal {
    type Error = JournalError;

    fn due(&self) -> BoxFuture<'_, Result<Vec<Due>, JournalError>> {
        Box::pin(self.read("reading the outbox", "due".to_owned(), Tables::due))
    }

    fn claim<'a>(
        &'a self,
        due: &'a Due,
        by: &'a str,
        now: i64,
    ) -> BoxFuture<'a, Result<Option<Due>, JournalError>> {
        let what = format!("claim {} {}", due.commit.short(), due.context.key());
        let (due, by) = (due.clone(), by.to_owned());
        Box::pin(self.write("claiming a status", what, move |tables, _| tables.claim(&due, &by, now)))
    }

    fn take_up(&self, now: i64) -> BoxFuture<'_, Result<(), JournalError>> {
        let take_up = move |tables: &mut Tables, _| tables.take_up(now);
        Box::pin(self.write("taking up the outbox", "take up".to_owned(), take_up))
    }

    fn answered<'a>(
        &'a self,
        due: &'a Due,
        answer: &'a Result<(), PostError>,
        now: i64,
        jitter: f64,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        let what = format!("answered {} {}", due.commit.short(), due.context.key());
        let (due, answer) = (due.clone(), answer.clone());
        let note = move |tables: &mut Tables, _| tables.answered(&due, &answer, now, jitter);
        Box::pin(self.write("recording the forge's answer", what, note))
    }

    fn stands<'a>(
        &'a self,
        due: &'a Due,
        status: &'a Status,
        now: i64,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        let what = format!("stands {} {}", due.commit.short(), due.context.key());
        let (due, status) = (due.clone(), status.clone());
        let note = move |tables: &mut Tables, _| tables.stands(&due, &status, now);
        Box::pin(self.write("recording what the forge shows", what, note))
    }

    fn close<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
        end: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        self.store.tell(|| end.description.clone());
        let what = format!("close {} {}", commit.short(), context.key());
        let (commit, context, end) = (commit.clone(), context.clone(), end.clone());
        let close = move |tables: &mut Tables, now| tables.close(&commit, &context, &end, now);
        Box::pin(async move {
            self.write("recording a status", what, close).await?;
            self.posts.notify_one();
            Ok(())
        })
    }

    fn closed(&self) -> BoxFuture<'_, Result<(), JournalError>> {
        let note = |tables: &mut Tables, _| tables.closed = true;
        Box::pin(self.write("recording that all has its end", "closed".to_owned(), note))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.posts.notified())
    }
}

#[cfg(test)]
mod tests;
