//! A transaction that writes, and that leaves no connection behind in a state that nobody knows.

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

/// It takes its turn at once: one that first reads and then wants to write is refused, without any wait, where
/// somebody wrote in between.
///
/// Where it is dropped before [`Writing::commit`] went through, its connection is closed, and the database takes everything
/// back. (On a full disk it ends a transaction by itself, whereupon sqlx's own counts it as open for ever, and every
/// later use of the connection fails.)
pub(super) struct Writing {
    connection: PoolConnection<Sqlite>,
    committed: bool,
}

impl Writing {
    pub(super) async fn begin(pool: &SqlitePool) -> Result<Self, sqlx::Error> {
        let mut writing = Self { connection: pool.acquire().await?, committed: false };
        sqlx::query("BEGIN IMMEDIATE").execute(writing.connection()).await?;
        Ok(writing)
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        sqlx::query("COMMIT").execute(self.connection()).await?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.committed {
            self.connection.close_on_drop();
        }
    }
}
