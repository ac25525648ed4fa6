//! The journal: runs and statuses in a database file. Written durably, read as history and as the outbox, never as authority.

mod broken;
mod lease;
mod memory;
mod rows;
mod statuses;
mod writing;

use std::collections::BTreeSet;
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_core::kind::BoxFuture;
use holdfast_core::plan::Plan;
pub(crate) use holdfast_core::report::history;
use holdfast_core::report::{Context, Report, Status};
use holdfast_engine::ports::{Epoch, Journal, JournalError, Known, Lease, RunId};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::Notify;
use tracing::error;

use crate::clock::now;

pub(crate) use statuses::Latest;
use writing::Writing;

/// Runs that are kept of each environment.
const KEEP_RUNS: i64 = 500;
/// Statuses that are kept.
const KEEP_STATUSES: i64 = 5_000;

/// The journal's database.
pub(crate) struct Sqlite {
    pool: SqlitePool,
    /// Woken when something is to be posted.
    posts: Notify,
}

impl Sqlite {
    /// Opens the journal in the state folder, or makes it. A broken one is put aside: with it nothing but history
    /// is lost, and a home without a service would be worse.
    pub(crate) async fn open(state: &Path) -> anyhow::Result<Self> {
        let path = state.join("journal.sqlite");
        let opened = match Self::open_file(&path).await {
            Err(error) if broken::is_broken(&error) => {
                let aside = broken::put_aside(&path)?;
                error!(error = %format!("{error:#}"), aside = %aside.display(), "the journal is broken; it was put aside, and a new one is begun");
                Self::open_file(&path).await
            }
            opened => opened,
        };
        opened.with_context(|| format!("opening the journal {}", path.display()))
    }

    async fn open_file(path: &Path) -> anyhow::Result<Self> {
        // What SQLite puts beside it gets the same permissions.
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // What was recorded survives a power cut: a status that is told final has to stay so.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let journal = Self::connect(options, 4).await?;
        broken::check(&journal.pool).await?;
        Ok(journal)
    }

    /// Opens it to be read, beside a service that runs.
    pub(crate) async fn open_read_only(state: &Path) -> anyhow::Result<Self> {
        let path = state.join("journal.sqlite");
        let context = || format!("reading the journal {}", path.display());
        if !path.try_exists().with_context(context)? {
            anyhow::bail!("there is no journal at {}; did the service ever run here?", path.display());
        }
        // Permissions are told better by the system than by SQLite.
        std::fs::File::open(&path).with_context(context)?;
        let options = SqliteConnectOptions::new().filename(&path).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1);
        let opened = match pool.clone().connect_with(options.clone()).await {
            // Where the folder cannot be written, SQLite cannot make the index that several readers share. Nobody
            // writes then, unless it is there already.
            Err(_) if !path.with_extension("sqlite-wal").exists() => {
                pool.connect_with(options.immutable(true)).await
            }
            opened => opened,
        };
        Ok(Self { pool: opened.with_context(context)?, posts: Notify::new() })
    }

    /// A journal for a command that needs none afterwards.
    pub(crate) async fn in_memory() -> anyhow::Result<Self> {
        Self::connect(SqliteConnectOptions::from_str("sqlite::memory:")?, 1).await
    }

    async fn connect(options: SqliteConnectOptions, connections: u32) -> anyhow::Result<Self> {
        let pool = SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(30))
            // One in memory is gone with its connection.
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        sqlx::migrate!("./migrations").run(&pool).await.map_err(|error| match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => anyhow::anyhow!(
                "it is of another version of Holdfast; move it away, and a new one is begun (only history is lost)"
            ),
            other => other.into(),
        })?;
        Ok(Self { pool, posts: Notify::new() })
    }

    /// Begins a transaction that writes.
    async fn begin(&self) -> Result<Writing, sqlx::Error> {
        Writing::begin(&self.pool).await
    }
}

/// Gives an error its place.
fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> JournalError {
    move |source| JournalError { doing: format!("{doing} in the journal"), source: source.into() }
}

impl Journal for Sqlite {
    fn set_status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let mut transaction = self.begin().await.map_err(failed("recording a status"))?;
            statuses::want(transaction.connection(), commit, context, status, now())
                .await
                .map_err(failed("recording a status"))?;
            transaction.commit().await.map_err(failed("recording a status"))?;
            self.posts.notify_one();
            Ok(())
        })
    }

    fn status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Option<Status>, JournalError>> {
        Box::pin(async move {
            let row =
                statuses::find(&self.pool, commit, context).await.map_err(failed("reading a status"))?;
            Ok(row.map(|row| row.wanted))
        })
    }

    fn pending(&self) -> BoxFuture<'_, Result<Vec<(CommitId, Context)>, JournalError>> {
        Box::pin(
            async move { statuses::pending(&self.pool).await.map_err(failed("reading what is pending")) },
        )
    }

    fn lease<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        holder: &'a str,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Lease, JournalError>> {
        Box::pin(async move {
            self.take_lease(environment, holder, lasts).await.map_err(failed("taking the lease"))
        })
    }

    fn epoch<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<Epoch>, JournalError>> {
        Box::pin(
            async move { lease::epoch(&self.pool, environment).await.map_err(failed("reading the lease")) },
        )
    }

    fn attempt<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<u32, JournalError>> {
        Box::pin(async move { self.begin_attempt(commit).await.map_err(failed("recording an attempt")) })
    }

    fn attempt_ended<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.end_attempt(commit).await.map_err(failed("recording an attempt")) })
    }

    fn known<'a>(&'a self, environment: &'a EnvironmentName) -> BoxFuture<'a, Result<Known, JournalError>> {
        Box::pin(async move {
            memory::known(&self.pool, environment).await.map_err(failed("reading what is known"))
        })
    }

    fn removing<'a>(
        &'a self,
        commit: &'a CommitId,
        id: &'a ResourceId,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.note_removal(commit, id).await.map_err(failed("recording a removal")) })
    }

    fn removed<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<BTreeSet<ResourceId>, JournalError>> {
        Box::pin(async move {
            let removed = memory::removed(&self.pool, environment, commit).await;
            removed.map_err(failed("reading what was removed"))
        })
    }

    fn converged<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>> {
        Box::pin(async move {
            let converged = memory::converged(&self.pool, environment).await;
            converged.map_err(failed("reading the last converged commit"))
        })
    }

    fn begun<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>> {
        Box::pin(async move {
            let id: Option<String> = sqlx::query_scalar(
                "SELECT commit_id FROM runs WHERE environment = $1 ORDER BY id DESC LIMIT 1",
            )
            .bind(environment.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("reading the last run"))?;
            Ok(id.and_then(|id| CommitId::new(id).ok()))
        })
    }

    fn run_started<'a>(
        &'a self,
        commit: &'a CommitId,
        plan: &'a Plan,
    ) -> BoxFuture<'a, Result<RunId, JournalError>> {
        Box::pin(async move {
            let id = self.start(commit, plan).await.map_err(failed("recording a run"))?;
            Ok(RunId(id))
        })
    }

    fn run_finished<'a>(
        &'a self,
        run: RunId,
        report: &'a Report,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.finish(run, report, status).await.map_err(failed("recording the end of a run"))?;
            self.posts.notify_one();
            Ok(())
        })
    }
}

impl Sqlite {
    /// The beginning of a run, and what it may make.
    async fn start(&self, commit: &CommitId, plan: &Plan) -> Result<i64, sqlx::Error> {
        let mut transaction = self.begin().await?;
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO runs (environment, commit_id, started_at, plan) VALUES ($1, $2, $3, $4) RETURNING id",
        )
        .bind(plan.environment.as_str())
        .bind(commit.as_str())
        .bind(now())
        .bind(history::of_plan(plan))
        .fetch_one(transaction.connection())
        .await?;
        let mut known = memory::known(transaction.connection(), &plan.environment).await?;
        let before = known.maybe_there.len();
        known.begins(plan);
        if known.maybe_there.len() > before {
            memory::note_known(transaction.connection(), &plan.environment, &known).await?;
        }
        transaction.commit().await?;
        Ok(id)
    }

    /// The end of a run and the status that follows from it, in one transaction; and the history is trimmed.
    async fn finish(&self, run: RunId, report: &Report, status: &Status) -> Result<(), sqlx::Error> {
        let context = Context::Environment(report.environment.clone());
        let json = history::of_report(report);
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE runs SET finished_at = $1, report = $2 WHERE id = $3")
            .bind(now())
            .bind(json)
            .bind(run.0)
            .execute(transaction.connection())
            .await?;
        sqlx::query("DELETE FROM runs WHERE environment = $1 AND id <= $2")
            .bind(report.environment.as_str())
            .bind(run.0 - KEEP_RUNS)
            .execute(transaction.connection())
            .await?;
        let mut known = memory::known(transaction.connection(), &report.environment).await?;
        known.ends(report);
        if report.converged() {
            memory::note_converged(transaction.connection(), &report.environment, &report.commit).await?;
        }
        memory::note_known(transaction.connection(), &report.environment, &known).await?;
        statuses::want(transaction.connection(), &report.commit, &context, status, now()).await?;
        statuses::trim(transaction.connection(), KEEP_STATUSES).await?;
        transaction.commit().await
    }
}

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
