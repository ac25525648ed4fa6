//! Time zones: names of the IANA database, which is compiled in.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::Moment;

/// A time zone, by its name in the IANA database. The default is UTC.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Zone(Tz);

/// A text that is no zone's name, and the name that was probably meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone `{name}`")]
pub struct NoZone {
    pub name: String,
    /// The zone's name as it is written, where only its case or the region before it is wrong.
    pub meant: Option<&'static str>,
}

/// The most minutes that a clock has ever skipped: Samoa left out a day.
const LONGEST_SKIP: i64 = 24 * 60;

impl Zone {
    /// Reads a name such as `Europe/Berlin` or `UTC`.
    ///
    /// # Errors
    /// Where there is no such zone.
    pub fn new(name: &str) -> Result<Self, NoZone> {
        name.parse().map(Self).map_err(|_| {
            let wanted = name.replace(' ', "_");
            let meant = Self::names().find(|known| {
                let city = known.rsplit('/').next().unwrap_or(known);
                known.eq_ignore_ascii_case(&wanted) || city.eq_ignore_ascii_case(&wanted)
            });
            NoZone { name: name.to_owned(), meant }
        })
    }

    /// The names of all zones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TZ_VARIANTS.iter().map(|zone| zone.name())
    }

    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// A moment as the wall clock shows it, to the minute: `Sun 2026-11-29 03:00`.
    pub fn show(self, moment: Moment) -> String {
        match self.local(moment) {
            Some((_, local)) => local.format("%a %Y-%m-%d %H:%M").to_string(),
            None => format!("{} seconds after 1970", moment.0),
        }
    }

    pub(super) fn tz(self) -> Tz {
        self.0
    }

    /// A moment in both ways. `None` where it is beyond the years that cron expressions reach.
    pub(super) fn local(self, moment: Moment) -> Option<(DateTime<Utc>, NaiveDateTime)> {
        /// 1969-12-01 and 2101-01-02: with room for every zone around the years 1970 to 2100.
        const REACH: std::ops::Range<i64> = -2_678_400..4_134_067_200;
        if moment.0 >= REACH.end {
            return None;
        }
        let utc = DateTime::from_timestamp(moment.0.max(REACH.start), 0)?;
        Some((utc, self.shown(utc)))
    }

    /// What the wall clock shows at a moment.
    pub(super) fn shown(self, at: DateTime<Utc>) -> NaiveDateTime {
        at.with_timezone(&self.0).naive_local()
    }

    /// The first moment at which the wall clock shows a time, or, where it skips it, the first minute after.
    pub(super) fn first_shown(self, time: NaiveDateTime) -> Option<DateTime<Utc>> {
        (0..=LONGEST_SKIP).find_map(|minutes| {
            let time = time.checked_add_signed(TimeDelta::minutes(minutes))?;
            self.0.from_local_datetime(&time).earliest().map(|moment| moment.to_utc())
        })
    }

    /// The moment at which the clock is set back, where that is less than `seconds` after `from`.
    pub(super) fn set_back_within(self, from: DateTime<Utc>, seconds: i64) -> Option<DateTime<Utc>> {
        let offset = |after: i64| {
            let at = from + TimeDelta::seconds(after);
            self.0.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()
        };
        let (old, new) = (offset(0), offset(seconds));
        if new >= old {
            return None;
        }
        let (mut before, mut after) = (0, seconds);
        while after - before > 1 {
            let middle = before.midpoint(after);
            if offset(middle) < old { after = middle } else { before = middle }
        }
        Some(from + TimeDelta::seconds(after))
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
