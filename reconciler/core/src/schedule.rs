//! Schedules and windows of time: cron expressions in a time zone, as values of a function of time.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of the world's clock, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

/// When something is done again and again: a cron expression with five fields, or `@daily` and the like, in a
/// time zone. Placeholder: every `minutes` minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
}

impl Schedule {
    /// Reads a cron expression; `zone` is a name of the IANA database such as `Europe/Berlin`.
    ///
    /// # Errors
    /// What is wrong with it, as a phrase.
    pub fn new(text: &str, zone: &str) -> Result<Self, String> {
        let _ = zone;
        Ok(Self { text: text.to_owned() })
    }

    /// The first time after `after`; `None` where there is none any more.
    pub fn next(&self, after: Moment) -> Option<Moment> {
        let _ = after;
        None
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A window that opens again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub opens: Schedule,
    /// How long it stays open.
    pub lasts: Duration,
}

impl Window {
    /// Whether it is open at `now`.
    pub fn is_open(&self, now: Moment) -> bool {
        // It is open if it opened within the last `lasts`.
        let lasts = i64::try_from(self.lasts.as_secs()).unwrap_or(i64::MAX);
        let since = Moment(now.0.saturating_sub(lasts));
        self.opens.next(since).is_some_and(|opened| opened <= now)
    }
}
