//! The wall clock, read in one place: history and the outbox need it, decisions never do.

/// Seconds since 1970 (UTC).
#[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
