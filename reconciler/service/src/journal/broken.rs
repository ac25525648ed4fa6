//! A database file that is broken: how it is recognised, and where it goes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sqlx::SqlitePool;

/// `SQLITE_CORRUPT` and `SQLITE_NOTADB` (<https://sqlite.org/rescode.html>).
const BROKEN: [u32; 2] = [11, 26];

/// The file holds something else than a sound database.
#[derive(Debug, thiserror::Error)]
#[error("a check of the file found: {0}")]
struct Unsound(String);

/// Whether the file itself is to blame, and not its place, its disk or its permissions.
pub(super) fn is_broken(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<Unsound>()
            || cause.downcast_ref::<sqlx::Error>().and_then(code).is_some_and(|code| BROKEN.contains(&code))
    })
}

/// The primary result code.
fn code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Reads the whole file once.
pub(super) async fn check(pool: &SqlitePool) -> anyhow::Result<()> {
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await?;
    if found == "ok" { Ok(()) } else { Err(Unsound(found).into()) }
}

/// Renames the file, and what lies beside it. One that was put aside before is replaced.
pub(super) fn put_aside(path: &Path) -> anyhow::Result<PathBuf> {
    let with = |ending: &str| {
        let mut name: OsString = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    for ending in ["", "-wal", "-shm"] {
        let aside = with(&format!(".broken{ending}"));
        match std::fs::rename(with(ending), &aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("putting {} aside", with(ending).display()));
            }
            _ => {}
        }
    }
    Ok(with(".broken"))
}
