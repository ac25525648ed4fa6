//! What the checks hear of what the engine says: through its journal, and in its log.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_core::kind::BoxFuture;
use holdfast_core::plan::Plan;
use holdfast_core::report::{Context, Report, Status, StatusState};
use holdfast_core::scrub::Scrubber;
use holdfast_engine::ports::{Epoch, Journal, JournalError, Known, Lease, RunId};
use tracing::field::{Field, Visit};
use tracing::span;

use crate::checks::Checks;
use crate::truth::Truth;
use crate::wire::Wire;

/// So many deaths while it was read, and a commit is not read any more.
const DEADLY: u32 = 2;

/// Whether a first run leaves what no manifest declares, and tells of it.
pub(crate) fn is_first(notices: &BTreeSet<String>) -> bool {
    notices.iter().any(|notice| notice.contains("a first run removes nothing"))
}

/// A journal that tells the checks what goes into it.
pub(crate) struct NotedJournal {
    pub(crate) inner: Arc<dyn Journal>,
    pub(crate) checks: Checks,
    pub(crate) truth: Truth,
    pub(crate) process: u8,
}

impl Journal for NotedJournal {
    fn set_status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.inner.set_status(commit, context, status).await?;
            // Where that fails, no lane gets the commit.
            if let (Context::Environment(environment), StatusState::Pending) = (context, status.state) {
                self.checks.taken(self.truth.now(), self.process, environment, commit);
            }
            Ok(())
        })
    }

    fn status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Option<Status>, JournalError>> {
        self.inner.status(commit, context)
    }

    fn pending(&self) -> BoxFuture<'_, Result<Vec<(CommitId, Context)>, JournalError>> {
        self.inner.pending()
    }

    fn lease<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        holder: &'a str,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Lease, JournalError>> {
        Box::pin(async move {
            let lease = self.inner.lease(environment, holder, lasts).await?;
            if let Lease::Held(epoch) = lease {
                self.checks.leased(self.process, environment, epoch);
            }
            Ok(lease)
        })
    }

    fn epoch<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<Epoch>, JournalError>> {
        self.inner.epoch(environment)
    }

    fn attempt<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<u32, JournalError>> {
        Box::pin(async move {
            let deaths = self.inner.attempt(commit).await?;
            if deaths >= DEADLY {
                self.checks.quarantined(commit);
            }
            Ok(deaths)
        })
    }

    fn attempt_ended<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.inner.attempt_ended(commit)
    }

    fn known<'a>(&'a self, environment: &'a EnvironmentName) -> BoxFuture<'a, Result<Known, JournalError>> {
        self.inner.known(environment)
    }

    fn removing<'a>(
        &'a self,
        commit: &'a CommitId,
        id: &'a ResourceId,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        self.inner.removing(commit, id)
    }

    fn removed<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<BTreeSet<ResourceId>, JournalError>> {
        self.inner.removed(environment, commit)
    }

    fn converged<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>> {
        self.inner.converged(environment)
    }

    fn begun<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>> {
        self.inner.begun(environment)
    }

    fn run_started<'a>(
        &'a self,
        commit: &'a CommitId,
        plan: &'a Plan,
    ) -> BoxFuture<'a, Result<RunId, JournalError>> {
        Box::pin(async move {
            // The branch may move while it is recorded.
            let head = self.checks.head_of(commit);
            let run = self.inner.run_started(commit, plan).await?;
            self.checks.run_started(self.process, commit, head, plan);
            self.truth.run_started(self.process, commit, &plan.environment, is_first(&plan.notices));
            Ok(run)
        })
    }

    fn run_finished<'a>(
        &'a self,
        run: RunId,
        report: &'a Report,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            if status.state == StatusState::Success {
                self.truth.success(self.process, report).await;
            }
            self.inner.run_finished(run, report, status).await?;
            self.checks.run_finished(report);
            self.checks.run_over(self.process, &report.environment);
            Ok(())
        })
    }
}

/// The service's log: what it says is searched for secrets, after the scrubber as in the service.
pub(crate) struct Log {
    pub(crate) wire: Wire,
    pub(crate) checks: Checks,
    pub(crate) scrubber: Scrubber,
    pub(crate) spans: AtomicU64,
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("holdfast") && *metadata.level() <= tracing::Level::INFO
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut line = Line::default();
        attributes.record(&mut line);
        self.say(&line.0);
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut line = Line::default();
        values.record(&mut line);
        self.say(&line.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.say(&line.0);
        self.wire.aside(&line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Log {
    fn say(&self, line: &str) {
        self.checks.said(self.wire.now(), "the log", &self.scrubber.clean(line));
    }
}

/// One line of it.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let done = if field.name() == "message" {
            write!(self.0, " {value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
        done.expect("a text takes everything");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value}", field.name()).expect("a text takes everything");
    }
}
