//! Leases: who may write in an environment, as one row with an epoch that only grows.

use std::time::Duration;

use holdfast_core::ident::EnvironmentName;
use holdfast_engine::ports::{Epoch, Lease};
use sqlx::{Row as _, SqlitePool};

use super::Sqlite;
use crate::clock::now;

impl Sqlite {
    /// Lets go of what an earlier process held: environments, and statuses that it was posting. Only for who has the lock of the state folder: with it nobody else can
    /// be alive, and a start need not wait until a lease of the dead runs out.
    pub(crate) async fn end_leases(&self) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE environments SET holder = NULL").execute(transaction.connection()).await?;
        super::statuses::let_go(transaction.connection(), now()).await?;
        transaction.commit().await
    }

    pub(super) async fn take_lease(
        &self,
        environment: &EnvironmentName,
        holder: &str,
        lasts: Duration,
    ) -> Result<Lease, sqlx::Error> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query("SELECT holder, epoch, expires_at FROM environments WHERE name = $1")
            .bind(environment.as_str())
            .fetch_optional(transaction.connection())
            .await?;
        let (had, epoch, expires_at) = match row {
            Some(row) => (row.try_get::<Option<String>, _>(0)?, row.try_get(1)?, row.try_get(2)?),
            // Epochs of a journal that was lost must not come again: this one begins where time is.
            None => (None, now(), 0_i64),
        };
        let lasts = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
        // One that would last much longer than any lease does comes from a clock that was wrong then.
        let lives = |until: i64| (1..=lasts.saturating_mul(2)).contains(&until.saturating_sub(now()));
        let epoch = match had {
            Some(by) if by == holder => epoch,
            Some(by) if lives(expires_at) => {
                // Ended as one that wrote, so that the connection stays.
                transaction.commit().await?;
                return Ok(Lease::Taken { by });
            }
            _ => epoch + 1,
        };
        let until = now().saturating_add(lasts);
        sqlx::query(
            "INSERT INTO environments (name, holder, epoch, expires_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE SET holder = $2, epoch = $3, expires_at = $4",
        )
        .bind(environment.as_str())
        .bind(holder)
        .bind(epoch)
        .bind(until)
        .execute(transaction.connection())
        .await?;
        transaction.commit().await?;
        Ok(Lease::Held(Epoch(epoch.unsigned_abs())))
    }
}

pub(super) async fn epoch(
    pool: &SqlitePool,
    environment: &EnvironmentName,
) -> Result<Option<Epoch>, sqlx::Error> {
    let epoch: Option<i64> = sqlx::query_scalar("SELECT epoch FROM environments WHERE name = $1")
        .bind(environment.as_str())
        .fetch_optional(pool)
        .await?;
    Ok(epoch.map(|epoch| Epoch(epoch.unsigned_abs())))
}
