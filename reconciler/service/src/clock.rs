//! The wall clock, read in one place: history, schedules and the outbox need it, decisions never do.

use holdfast_core::schedule::Moment;
use holdfast_engine::ports::Clock;

/// Seconds since 1970 (UTC).
#[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The machine's clock as the engine's port.
pub(crate) struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Moment {
        Moment(now())
    }
}
