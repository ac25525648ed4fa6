//! The table of statuses: what is wanted on each commit, and what of it still has to be posted.

use std::collections::BTreeSet;

use holdfast_core::ident::CommitId;
use holdfast_core::report::{Context, Problem, Report, Status};
use holdfast_forge::outbox::{self, Row};
use holdfast_forge::ports::Due;
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection, SqliteExecutor};
use tracing::error;

use super::Sqlite;
use crate::clock::now;

/// Wants a status, by the outbox's rules.
pub(super) async fn want(
    connection: &mut SqliteConnection,
    commit: &CommitId,
    context: &Context,
    status: &Status,
    now: i64,
) -> Result<(), sqlx::Error> {
    let row = find(&mut *connection, commit, context).await?;
    match outbox::want(row.as_ref(), status, now) {
        Some(row) => store(connection, commit, context, &row, now).await,
        None => Ok(()),
    }
}

pub(super) async fn find(
    executor: impl SqliteExecutor<'_>,
    commit: &CommitId,
    context: &Context,
) -> Result<Option<Row>, sqlx::Error> {
    let found: Option<String> =
        sqlx::query_scalar("SELECT outbox FROM statuses WHERE commit_id = $1 AND context = $2")
            .bind(commit.as_str())
            .bind(context.key())
            .fetch_optional(executor)
            .await?;
    found.map(|json| read(&json)).transpose()
}

async fn store(
    connection: &mut SqliteConnection,
    commit: &CommitId,
    context: &Context,
    row: &Row,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO statuses (commit_id, context, state, description, changed_at, outbox, due)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (commit_id, context) DO UPDATE SET
           changed_at = CASE WHEN state = $3 AND description = $4 THEN changed_at ELSE $5 END,
           state = $3, description = $4, outbox = $6, due = $7",
    )
    .bind(commit.as_str())
    .bind(context.key())
    .bind(row.wanted.state.as_str())
    .bind(&row.wanted.description)
    .bind(now)
    .bind(serde_json::to_string(row).expect("a row is plain data"))
    .bind(row.due_at().is_some())
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets go of everything that a worker claimed who is not alive any more.
pub(super) async fn let_go(connection: &mut SqliteConnection, now: i64) -> Result<(), sqlx::Error> {
    for Due { commit, context, row } in due(&mut *connection).await? {
        if row.claim.is_some() {
            store(connection, &commit, &context, &row.let_go(now), now).await?;
        }
    }
    Ok(())
}

pub(super) async fn pending(
    executor: impl SqliteExecutor<'_>,
) -> Result<Vec<(CommitId, Context)>, sqlx::Error> {
    let rows =
        sqlx::query("SELECT commit_id, context FROM statuses WHERE state = 'pending' ORDER BY changed_at")
            .fetch_all(executor)
            .await?;
    Ok(rows.iter().filter_map(key).collect())
}

/// Forgets the oldest statuses that are final and posted; far older ones also where they could never be posted.
pub(super) async fn trim(connection: &mut SqliteConnection, keep: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM statuses WHERE state <> 'pending' AND rowid <= (SELECT MAX(rowid) FROM statuses)
           - CASE WHEN due = 0 THEN $1 ELSE 2 * $1 END",
    )
    .bind(keep)
    .execute(connection)
    .await?;
    Ok(())
}

/// How the newest commit of a context stands, for `holdfast status`.
#[derive(Debug, Serialize)]
pub(crate) struct Latest {
    pub(crate) context: String,
    pub(crate) commit: CommitId,
    pub(crate) state: String,
    pub(crate) description: String,
    /// Seconds since 1970.
    pub(crate) changed_at: i64,
    /// Whether the forge has it.
    pub(crate) posted: bool,
    /// What the last run toward this commit left wrong, whatever its status says.
    pub(crate) problems: Vec<Problem>,
    /// What else a person should know.
    pub(crate) notices: BTreeSet<String>,
}

impl Sqlite {
    /// Everything that has to be posted, with its time; the newest first.
    pub(super) async fn all_due(&self) -> Result<Vec<Due>, sqlx::Error> {
        due(&self.pool).await
    }

    /// Takes up what an earlier life of the service left to be posted.
    pub(super) async fn take_up_due(&self, now: i64) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        // In the transaction itself: it may have the last connection.
        for due in due(transaction.connection()).await? {
            // What is wanted may have changed since.
            if let Some(row) = find(transaction.connection(), &due.commit, &due.context).await? {
                store(transaction.connection(), &due.commit, &due.context, &row.at_start(now), now).await?;
            }
        }
        transaction.commit().await
    }

    /// Notes a forge's answer to one post.
    pub(super) async fn note_answer(
        &self,
        due: &Due,
        answer: &Result<(), holdfast_forge::PostError>,
        now: i64,
        jitter: f64,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        // What is wanted may have changed while the forge was asked.
        if let Some(row) = find(transaction.connection(), &due.commit, &due.context).await? {
            let row = row.answered(&due.row, answer, now, jitter);
            store(transaction.connection(), &due.commit, &due.context, &row, now).await?;
        }
        transaction.commit().await
    }

    /// Takes what is due for one worker alone.
    pub(super) async fn claim_due(&self, due: &Due, by: &str, now: i64) -> Result<Option<Due>, sqlx::Error> {
        let Due { commit, context, row: read } = due;
        let mut transaction = self.begin().await?;
        let row = find(transaction.connection(), commit, context).await?;
        let row = row.and_then(|row| row.claimed(read, by, now));
        if let Some(row) = &row {
            store(transaction.connection(), commit, context, row, now).await?;
        }
        transaction.commit().await?;
        Ok(row.map(|row| Due { row, ..due.clone() }))
    }

    /// Notes what the forge shows and what stays of it.
    pub(super) async fn note_shown(&self, due: &Due, shown: &Status, now: i64) -> Result<(), sqlx::Error> {
        let Due { commit, context, row: read } = due;
        let mut transaction = self.begin().await?;
        let row = find(transaction.connection(), commit, context).await?;
        if let Some(row) = row.and_then(|row| row.stands(read, shown, now)) {
            store(transaction.connection(), commit, context, &row, now).await?;
        }
        transaction.commit().await
    }

    /// Wants an end for a status of which nothing is known.
    pub(super) async fn close_unknown(
        &self,
        commit: &CommitId,
        context: &Context,
        end: &Status,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        if find(transaction.connection(), commit, context).await?.is_none() {
            want(transaction.connection(), commit, context, end, now()).await?;
        }
        transaction.commit().await
    }

    /// Notes that what an earlier journal left has its end.
    pub(super) async fn note_closed(&self) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        sqlx::query("INSERT INTO closed (at) VALUES ($1)")
            .bind(now())
            .execute(transaction.connection())
            .await?;
        transaction.commit().await
    }

    /// Whether what an earlier journal may have left was not looked for yet: a first start, or one after it was lost.
    pub(crate) async fn is_new(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT NOT EXISTS (SELECT 1 FROM closed)").fetch_one(&self.pool).await
    }

    /// The newest commit of each context, contexts by name.
    pub(crate) async fn latest(&self) -> Result<Vec<Latest>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT commit_id, context, state, description, changed_at, outbox FROM statuses AS one
             WHERE rowid = (SELECT MAX(rowid) FROM statuses AS other WHERE other.context = one.context)
             ORDER BY context <> 'validate', context",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut latest = Vec::new();
        for row in &rows {
            let Some((commit, context)) = key(row) else { continue };
            let report = self.last_report(&commit, &context).await?;
            latest.push(Latest {
                problems: report.as_ref().map(Report::problems).unwrap_or_default(),
                notices: report.map(|report| report.notices).unwrap_or_default(),
                context: row.get("context"),
                commit,
                state: row.get("state"),
                description: row.get("description"),
                changed_at: row.get("changed_at"),
                posted: read(&row.get::<String, _>("outbox")).is_ok_and(|row| row.number <= row.acknowledged),
            });
        }
        Ok(latest)
    }

    /// What the last run of an environment brought, if it was one toward this commit.
    async fn last_report(&self, commit: &CommitId, context: &Context) -> Result<Option<Report>, sqlx::Error> {
        let Context::Environment(environment) = context else { return Ok(None) };
        let json: Option<String> = sqlx::query_scalar(
            "SELECT report FROM runs WHERE environment = $1 AND report IS NOT NULL ORDER BY id DESC LIMIT 1",
        )
        .bind(environment.as_str())
        .fetch_optional(&self.pool)
        .await?;
        // One of another version may read differently.
        let report: Option<Report> = json.and_then(|json| serde_json::from_str(&json).ok());
        Ok(report.filter(|report| report.commit == *commit))
    }
}

async fn due(executor: impl SqliteExecutor<'_>) -> Result<Vec<Due>, sqlx::Error> {
    let rows =
        sqlx::query("SELECT commit_id, context, outbox FROM statuses WHERE due = 1 ORDER BY rowid DESC")
            .fetch_all(executor)
            .await?;
    let one = |row: &SqliteRow| {
        let (commit, context) = key(row)?;
        match read(&row.get::<String, _>("outbox")) {
            Ok(row) => Some(Due { commit, context, row }),
            // One row that nobody can read must not keep all others from being posted.
            Err(error) => {
                error!(commit = commit.short(), error = %error, "a status of the outbox cannot be read");
                None
            }
        }
    };
    Ok(rows.iter().filter_map(one).collect())
}

/// The key of a row; `None` for one that no version of ours wrote.
fn key(row: &SqliteRow) -> Option<(CommitId, Context)> {
    let commit = CommitId::new(row.get::<String, _>("commit_id")).ok()?;
    Some((commit, Context::of_key(&row.get::<String, _>("context"))?))
}

fn read(json: &str) -> Result<Row, sqlx::Error> {
    serde_json::from_str(json).map_err(|error| sqlx::Error::Decode(error.into()))
}
