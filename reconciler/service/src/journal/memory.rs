//! What the journal remembers of an environment and of commits, for who comes later: it may make a run hold, and never act.

use std::collections::BTreeSet;

use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_engine::ports::Known;
use sqlx::{SqliteConnection, SqliteExecutor, SqlitePool};

use super::Sqlite;
use crate::clock::now;

/// In seconds: attempts longer ago are forgotten.
const DAY: i64 = 24 * 60 * 60;

pub(super) async fn known(
    executor: impl SqliteExecutor<'_>,
    environment: &EnvironmentName,
) -> Result<Known, sqlx::Error> {
    let row: Option<(Option<String>, Option<String>)> =
        sqlx::query_as("SELECT known, maybe_there FROM environments WHERE name = $1")
            .bind(environment.as_str())
            .fetch_optional(executor)
            .await?;
    let (known, maybe_there) = row.unwrap_or_default();
    // What cannot be read is what nobody knows.
    let of =
        |json: Option<String>| json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    Ok(Known { resources: of(known), maybe_there: of(maybe_there) })
}

pub(super) async fn note_known(
    connection: &mut SqliteConnection,
    environment: &EnvironmentName,
    known: &Known,
) -> Result<(), sqlx::Error> {
    let json = |ids: &BTreeSet<ResourceId>| serde_json::to_string(ids).expect("ids are plain data");
    sqlx::query("UPDATE environments SET known = $1, maybe_there = $2 WHERE name = $3")
        .bind(json(&known.resources))
        .bind(json(&known.maybe_there))
        .bind(environment.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn converged(
    pool: &SqlitePool,
    environment: &EnvironmentName,
) -> Result<Option<CommitId>, sqlx::Error> {
    let id: Option<Option<String>> = sqlx::query_scalar("SELECT converged FROM environments WHERE name = $1")
        .bind(environment.as_str())
        .fetch_optional(pool)
        .await?;
    Ok(id.flatten().and_then(|id| CommitId::new(id).ok()))
}

pub(super) async fn note_converged(
    connection: &mut SqliteConnection,
    environment: &EnvironmentName,
    commit: &CommitId,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE environments SET converged = $1 WHERE name = $2")
        .bind(commit.as_str())
        .bind(environment.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn removed(
    pool: &SqlitePool,
    environment: &EnvironmentName,
    commit: &CommitId,
) -> Result<BTreeSet<ResourceId>, sqlx::Error> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT resource FROM removals WHERE environment = $1 AND commit_id = $2")
            .bind(environment.as_str())
            .bind(commit.as_str())
            .fetch_all(pool)
            .await?;
    Ok(ids.iter().filter_map(|id| ResourceId::parse_in(environment, id).ok()).collect())
}

impl Sqlite {
    pub(super) async fn note_removal(&self, commit: &CommitId, id: &ResourceId) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM removals WHERE environment = $1 AND commit_id <> $2")
            .bind(id.environment.as_str())
            .bind(commit.as_str())
            .execute(transaction.connection())
            .await?;
        sqlx::query("INSERT OR IGNORE INTO removals (environment, commit_id, resource) VALUES ($1, $2, $3)")
            .bind(id.environment.as_str())
            .bind(commit.as_str())
            .bind(id.short())
            .execute(transaction.connection())
            .await?;
        let mut known = known(transaction.connection(), &id.environment).await?;
        known.removes(id);
        note_known(transaction.connection(), &id.environment, &known).await?;
        transaction.commit().await
    }

    pub(super) async fn begin_attempt(&self, commit: &CommitId) -> Result<u32, sqlx::Error> {
        let mut transaction = self.begin().await?;
        let count: i64 = sqlx::query_scalar(
            "INSERT INTO attempts (commit_id, count, begun_at) VALUES ($1, 1, $2)
             ON CONFLICT (commit_id) DO UPDATE SET
                 count = CASE WHEN begun_at BETWEEN $2 - $3 AND $2 THEN count + 1 ELSE 1 END, begun_at = $2
             RETURNING count",
        )
        .bind(commit.as_str())
        .bind(now())
        .bind(DAY)
        .fetch_one(transaction.connection())
        .await?;
        transaction.commit().await?;
        // This one is not over yet, and those before it never were.
        Ok(u32::try_from(count - 1).unwrap_or(u32::MAX))
    }

    pub(super) async fn end_attempt(&self, commit: &CommitId) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM attempts WHERE commit_id = $1")
            .bind(commit.as_str())
            .execute(transaction.connection())
            .await?;
        transaction.commit().await
    }
}
