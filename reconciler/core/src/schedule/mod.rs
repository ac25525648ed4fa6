//! Schedules and windows of time: cron expressions in a time zone, as values of a function of time.
//!
//! A schedule is written in the five fields that people know (minute, hour, day of the month, month, weekday) and
//! means the wall clock of its zone. Where that clock is changed:
//!
//! - A schedule for *every hour* (`*/10 * * * *`) follows the clock as it goes: what the clock skips does not
//!   happen, and in an hour that the clock shows twice it happens twice, so its pace stays what it is.
//! - A schedule for *certain hours* (`30 2 * * *`) happens once a day all the same: a time that the clock skips
//!   is made up for at the next minute that there is, and of a time that it shows twice the first counts.

mod duration;
mod expression;
mod field;
mod zone;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use serde::{Deserialize, Serialize};

use self::expression::Fields;

pub use self::duration::{parse_duration, show_duration};
pub use self::field::Fault;
pub use self::zone::{NoZone, Zone};

/// A moment of the world's clock, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

/// When something is done again and again: a cron expression with five fields, or `@daily` and the like, in a
/// time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    fields: Fields,
    zone: Zone,
}

/// The most matches that are passed over because the clock never shows them, or showed them before: a day of
/// minutes, which is the largest jump that a clock has made, and some.
const PASSED_OVER: usize = 3_000;
/// The largest step back of a clock that is looked for.
const STEP_BACK: i64 = 3 * 3_600;

impl Schedule {
    /// Reads a cron expression; `zone` is a name of the IANA database such as `Europe/Berlin`.
    ///
    /// # Errors
    /// What is wrong with it, as a phrase. See [`Schedule::read`] for where in the text it is.
    pub fn new(text: &str, zone: &str) -> Result<Self, String> {
        let zone = Zone::new(zone).map_err(|error| error.to_string())?;
        Self::read(text, zone).map_err(|fault| fault.to_string())
    }

    /// Reads a cron expression in a zone.
    ///
    /// # Errors
    /// What is wrong with it, which part of it, and what to write instead.
    pub fn read(text: &str, zone: Zone) -> Result<Self, Fault> {
        Ok(Self { text: text.to_owned(), fields: Fields::read(text)?, zone })
    }

    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// The first time after `after`; `None` where there is none any more, which is after 2100.
    pub fn next(&self, after: Moment) -> Option<Moment> {
        let (after, local) = self.zone.local(after)?;
        if self.fields.every_hour() {
            [self.as_shown(after, local), self.shown_again(after)].into_iter().flatten().min().map(moment)
        } else {
            self.once(after, local).map(moment)
        }
    }

    /// The next three times, for a person to see what the expression means.
    pub fn next_three(&self, after: Moment) -> Vec<Moment> {
        std::iter::successors(self.next(after), |last| self.next(*last)).take(3).collect()
    }

    /// The longest time from one match to the next, the changes of the clock left aside.
    pub fn longest_pause(&self) -> Duration {
        self.fields.longest_pause()
    }

    /// What the wall clock shows at the matches after `local`.
    fn matches(&self, local: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> {
        std::iter::successors(self.fields.next(local), |last| self.fields.next(*last)).take(PASSED_OVER)
    }

    /// The next moment after `after` at which the clock shows a match that is later than what it shows now.
    fn as_shown(&self, after: DateTime<Utc>, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        self.matches(local).find_map(|shown| {
            let moments = self.zone.tz().from_local_datetime(&shown);
            let moments = [moments.earliest(), moments.latest()].into_iter().flatten();
            moments.map(|moment| moment.to_utc()).find(|moment| *moment > after)
        })
    }

    /// Where the clock is about to be set back: the next match that it shows after that.
    fn shown_again(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let back = self.zone.set_back_within(after, STEP_BACK)?;
        let (before, local) = (back - TimeDelta::seconds(1), self.zone.shown(back) - TimeDelta::seconds(1));
        self.as_shown(before, local)
    }

    /// The next match after `after`, each once.
    fn once(&self, after: DateTime<Utc>, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        self.matches(local).find_map(|shown| {
            let moment = self.zone.first_shown(shown)?;
            (moment > after).then_some(moment)
        })
    }
}

fn moment(at: DateTime<Utc>) -> Moment {
    Moment(at.timestamp())
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
    /// How long it stays open: time that passes, whatever the clock is set to meanwhile.
    pub lasts: Duration,
}

impl Window {
    /// Whether it is open at `now`: from the moment at which it opens, up to the one at which it closes.
    pub fn is_open(&self, now: Moment) -> bool {
        // It is open if it opened within the last `lasts`.
        let lasts = i64::try_from(self.lasts.as_secs()).unwrap_or(i64::MAX);
        let since = Moment(now.0.saturating_sub(lasts));
        self.opens.next(since).is_some_and(|opened| opened <= now)
    }

    /// Whether it is open at every moment, and so limits nothing.
    pub fn never_closes(&self) -> bool {
        self.lasts >= self.opens.longest_pause()
    }
}

#[cfg(test)]
mod tests;
