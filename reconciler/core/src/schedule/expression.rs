//! Cron expressions: five fields as POSIX has them, and when they match.
//!
//! The crate `cron` searches the calendar. Its expressions begin with seconds, count weekdays from Sunday = 1, and
//! take a day only where both the day of the month and the weekday fit. POSIX takes it where either does, so an
//! expression that restricts both becomes two schedules. It is given lists of numbers alone: what a person writes
//! is read in [`super::field`].

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime};

use super::field::{DAY, Fault, Field, HOUR, MINUTE, MONTH, Set, WEEKDAY};

/// What one expression says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
    /// One, or two where either of them may match.
    schedules: Vec<::cron::Schedule>,
}

/// The names that stand for an expression.
const SHORT: [(&str, &str); 5] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
];
/// The longest expression that is read, in bytes.
const LONGEST: usize = 200;
const ORDER: &str = "minute, hour, day of the month, month, weekday";

impl Fields {
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        if text.len() > LONGEST {
            let help = "a schedule is five short fields, such as `0 3 * * SUN`";
            return Err(Fault::new(0..text.len(), format!("it is longer than {LONGEST} characters"), help));
        }
        if text.trim_start().starts_with('@') {
            return short(text).and_then(Self::read);
        }
        let words = words(text);
        let [minute, hour, day, month, weekday] = words.as_slice() else {
            return Err(miscounted(text, &words));
        };
        let read =
            |field: &Field, (start, word): &(usize, &str)| field.read(word).map_err(|f| f.after(*start));
        let fields = Self {
            minutes: read(&MINUTE, minute)?,
            hours: read(&HOUR, hour)?,
            days: read(&DAY, day)?,
            months: read(&MONTH, month)?,
            weekdays: read(&WEEKDAY, weekday)?,
            schedules: Vec::new(),
        };
        let both = day.0..weekday.0 + weekday.1.len();
        if fields.either_day() && (day.1.starts_with('*') || weekday.1.starts_with('*')) {
            // Some crons take `*/2` for no restriction here, and some for one.
            let title = "a step over all days and another restriction of the day can be read in two ways";
            let help = "list the days, for example `1-31/2`: then a day matches that fits either field";
            return Err(Fault::new(both, title, help));
        }
        fields.possible().map_err(|title| {
            Fault::new(day.0..month.0 + month.1.len(), title, "choose a day that one of the months has")
        })?;
        Ok(fields.compiled())
    }

    /// Whether it matches in every hour of a day.
    pub(super) fn every_hour(&self) -> bool {
        self.hours.len() == 24
    }

    /// Whether a day matches that fits the day of the month or the weekday.
    fn either_day(&self) -> bool {
        self.days.len() < 31 && self.weekdays.len() < 7
    }

    /// Whether there is such a day in any year.
    fn possible(&self) -> Result<(), String> {
        let longest = |month: u32| {
            NaiveDate::from_ymd_opt(2000, month, 1).map_or(31, |first| u32::from(first.num_days_in_month()))
        };
        let exists = |month: &u32| self.days.iter().any(|day| *day <= longest(*month));
        if self.weekdays.len() < 7 || self.months.iter().any(exists) {
            Ok(())
        } else {
            Err("there is no such day in any year".to_owned())
        }
    }

    fn compiled(mut self) -> Self {
        let days = (self.days.len() < 31).then(|| list(&self.days, 0));
        let weekdays = (self.weekdays.len() < 7).then(|| list(&self.weekdays, 1));
        let of = |day: &str, weekday: &str| {
            let [minutes, hours, months] = [&self.minutes, &self.hours, &self.months].map(|set| list(set, 0));
            let expression = format!("0 {minutes} {hours} {day} {months} {weekday}");
            expression.parse().expect("lists of numbers within their limits are an expression")
        };
        self.schedules = match (days, weekdays) {
            (Some(days), Some(weekdays)) => vec![of(&days, "*"), of("*", &weekdays)],
            (days, weekdays) => {
                vec![of(days.as_deref().unwrap_or("*"), weekdays.as_deref().unwrap_or("*"))]
            }
        };
        self
    }

    /// The first match after `local`, on a clock that is never set.
    pub(super) fn next(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let after = local.and_utc();
        let next = |schedule: &::cron::Schedule| schedule.after(&after).next();
        self.schedules.iter().filter_map(next).min().map(|next| next.naive_utc())
    }

    fn matches_day(&self, day: NaiveDate) -> bool {
        let (of_month, weekday) =
            (self.days.contains(&day.day()), self.weekdays.contains(&day.weekday().num_days_from_sunday()));
        let fits = if self.either_day() { of_month || weekday } else { of_month && weekday };
        fits && self.months.contains(&day.month())
    }

    /// The longest time from one match to the next.
    pub(super) fn longest_pause(&self) -> Duration {
        // In minutes. Within a day the pauses are the same every day.
        let times: Vec<u32> = self
            .hours
            .iter()
            .flat_map(|hour| self.minutes.iter().map(move |minute| hour * 60 + minute))
            .collect();
        let within = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        let (first, last) = (times.first().copied().unwrap_or(0), times.last().copied().unwrap_or(0));
        // From day to day: over 12 years, which hold three leap days, and all weekdays on each date.
        let start = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default();
        let mut between = 0;
        let mut days_since = 0;
        let mut before = false;
        for day in (0..12 * 366).filter_map(|days| start.checked_add_days(Days::new(days))) {
            days_since += 1;
            if self.matches_day(day) {
                if before {
                    between = between.max(days_since * 24 * 60 - last + first);
                }
                (before, days_since) = (true, 0);
            }
        }
        Duration::from_secs(60 * u64::from(within.max(between)))
    }
}

/// The numbers with commas between, each made larger by `more`.
fn list(set: &BTreeSet<u32>, more: u32) -> String {
    set.iter().map(|number| (number + more).to_string()).collect::<Vec<_>>().join(",")
}

/// The words of a text, each with its place.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
        let word = rest[start..].split(char::is_whitespace).next().unwrap_or_default();
        words.push((text.len() - rest.len() + start, word));
        rest = &rest[start + word.len()..];
    }
    words
}

/// What a name such as `@daily` stands for.
fn short(text: &str) -> Result<&'static str, Fault> {
    let name = text.trim();
    if let Some((_, meant)) = SHORT.into_iter().find(|(short, _)| *short == name) {
        return Ok(meant);
    }
    let help = match name.to_ascii_lowercase().as_str() {
        "@midnight" => "write `@daily`".to_owned(),
        "@annually" => "write `@yearly`".to_owned(),
        "@reboot" => {
            "what is wanted is looked at after each start anyway: write a time such as `@daily`".to_owned()
        }
        every if every.starts_with("@every") => {
            "write a time of the clock, such as `*/10 * * * *` for every ten minutes".to_owned()
        }
        _ => "the names are `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`".to_owned(),
    };
    let start = text.len() - text.trim_start().len();
    Err(Fault::new(start..start + name.len(), "there is no such name", help))
}

fn miscounted(text: &str, words: &[(usize, &str)]) -> Fault {
    let whole = 0..text.len();
    // What is probably meant, where that is one: the fields after the seconds.
    let meant = || {
        let without_seconds: Vec<&str> = words.iter().skip(1).take(5).map(|(_, word)| *word).collect();
        let text = without_seconds.join(" ");
        Fields::read(&text).map_or_else(|_| "0 3 * * SUN".to_owned(), |_| text)
    };
    match words.len() {
        0 => Fault::new(whole, "it is empty", "write five fields, such as `0 3 * * *`, or `@daily`"),
        fields @ 6..=7 => Fault::new(
            whole,
            format!("it has {fields} fields, and five are needed: there are no seconds and no years"),
            format!("write the five: {ORDER}, for example `{}`", meant()),
        ),
        fields => Fault::new(
            whole,
            format!("it has {fields} field{}, and five are needed", if fields == 1 { "" } else { "s" }),
            format!("write the five: {ORDER}, for example `0 3 * * SUN`"),
        ),
    }
}
