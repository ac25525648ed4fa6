//! The clock of a simulator: real time, which a test may move forward.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

/// Real time plus what was added by [`Clock::advance`], so that lifetimes and delays need no waiting.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicU64>,
    frozen: Arc<RwLock<Option<Timestamp>>>,
}

impl Clock {
    /// The present moment.
    pub fn now(&self) -> Timestamp {
        let base = self.frozen.read().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Timestamp::now);
        let ahead = Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed));
        base.checked_add(ahead).unwrap_or(base)
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.ahead_ms.fetch_add(by, Ordering::Relaxed);
    }

    /// Stops the clock at a moment; only [`Clock::advance`] moves it from then on.
    pub fn freeze(&self, at: Timestamp) {
        *self.frozen.write().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// The present moment in whole seconds, as the APIs write it: `2026-11-24T20:43:49Z`.
    pub fn stamp(&self) -> String {
        stamp(self.now())
    }
}

/// A moment in whole seconds, as the APIs write it.
pub(crate) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
