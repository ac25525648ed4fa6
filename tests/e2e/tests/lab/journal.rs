//! The journal as another process has it: read and written while the service runs, or while it does not.

use std::time::Duration;

use holdfast_lab::home::Home;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use super::support::PATIENCE;

async fn open(home: &Home) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(home.state().join("journal.sqlite"))
        .busy_timeout(Duration::from_secs(30));
    SqliteConnection::connect_with(&options).await
}

/// Runs a statement, and gives how many rows it changed.
pub(crate) async fn write(home: &Home, statement: &str) -> u64 {
    let mut connection = open(home).await.expect("the journal opens");
    let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
    done.expect("the journal is written").rows_affected()
}

/// The number that a query gives; `None` without a row, or without a journal yet.
pub(crate) async fn number(home: &Home, query: &str) -> Option<i64> {
    let mut connection = open(home).await.ok()?;
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_optional(&mut connection).await.ok()?
}

/// Waits until a query gives this number.
pub(crate) async fn until(home: &Home, query: &str, wanted: i64) {
    let found = async {
        let mut connection = open(home).await.expect("the journal opens");
        loop {
            let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(query.to_owned()));
            if matches!(query.fetch_optional(&mut connection).await, Ok(Some(found)) if found == wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, found).await.is_ok();
    assert!(in_time, "`{query}` never gave {wanted}, but {:?}", number(home, query).await);
}
