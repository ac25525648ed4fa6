//! One field of a cron expression: `*`, numbers and names, ranges, steps and lists of them.

use std::collections::BTreeSet;
use std::ops::Range;

/// The numbers that a field matches.
pub(super) type Set = BTreeSet<u32>;

/// What is wrong with a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{title}")]
pub struct Fault {
    /// The bytes of the text that are meant.
    pub at: Range<usize>,
    /// A phrase, such as `the hour 25 is more than 23`.
    pub title: String,
    /// What to write instead.
    pub help: String,
}

impl Fault {
    pub(super) fn new(at: Range<usize>, title: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at, title: title.into(), help: help.into() }
    }

    /// The same, of a text that begins later.
    pub(super) fn after(self, bytes: usize) -> Self {
        Self { at: self.at.start + bytes..self.at.end + bytes, ..self }
    }
}

/// Which numbers a field may have, and their names.
pub(super) struct Field {
    what: &'static str,
    least: u32,
    most: u32,
    /// From `least` on.
    names: &'static [&'static str],
}

pub(super) const MINUTE: Field = Field { what: "minute", least: 0, most: 59, names: &[] };
pub(super) const HOUR: Field = Field { what: "hour", least: 0, most: 23, names: &[] };
pub(super) const DAY: Field = Field { what: "day of the month", least: 1, most: 31, names: &[] };
pub(super) const MONTH: Field = Field {
    what: "month",
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
/// Sunday is 0, and 7 as well.
pub(super) const WEEKDAY: Field =
    Field { what: "weekday", least: 0, most: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };

impl Field {
    /// Reads the field. Sunday is 0 in what it gives.
    pub(super) fn read(&self, text: &str) -> Result<Set, Fault> {
        let mut set = Set::new();
        let mut start = 0;
        for item in text.split(',') {
            set.extend(self.item(item).map_err(|fault| fault.after(start))?);
            start += item.len() + 1;
        }
        if self.is_weekday() && set.remove(&7) {
            set.insert(0);
        }
        Ok(set)
    }

    fn is_weekday(&self) -> bool {
        self.most == WEEKDAY.most
    }

    /// `*`, `a`, `a-b`, and `*` or `a-b` with `/step`.
    fn item(&self, item: &str) -> Result<impl Iterator<Item = u32> + use<>, Fault> {
        let (base, step) = match item.split_once('/') {
            None => (item, None),
            Some((base, step)) => (base, Some(self.step(step).map_err(|fault| fault.after(base.len() + 1))?)),
        };
        let (from, to) = match base.split_once('-') {
            // Sunday once.
            _ if base == "*" => (self.least, if self.is_weekday() { 6 } else { self.most }),
            None => {
                let value = self.value(base)?;
                if let Some(step) = step {
                    let title = format!("a step of {step} needs a range to go through");
                    let help = format!("write `{value}-{}/{step}`", self.most);
                    return Err(Fault::new(0..item.len(), title, help));
                }
                (value, value)
            }
            Some((from, to)) => self.range(from, to)?,
        };
        Ok((from..=to).step_by(step.unwrap_or(1)))
    }

    fn range(&self, from: &str, to: &str) -> Result<(u32, u32), Fault> {
        let low = self.value(from)?;
        let mut high = self.value(to).map_err(|fault| fault.after(from.len() + 1))?;
        if self.is_weekday() && high == 0 && low > 0 {
            // `FRI-SUN` ends a week.
            high = 7;
        }
        if low > high {
            let title = format!("the range `{from}-{to}` ends before it begins");
            // A week begins on Monday here, so that Sunday ends the one before.
            let first = if self.is_weekday() { 1 } else { self.least };
            let again = if high == first { to.to_owned() } else { format!("{}-{to}", self.name(first)) };
            let help = format!("write `{from}-{},{again}`", self.last());
            return Err(Fault::new(0..from.len() + 1 + to.len(), title, help));
        }
        Ok((low, high))
    }

    /// The last of the field, as it is best written.
    fn last(&self) -> String {
        if self.is_weekday() { "SUN".to_owned() } else { self.name(self.most) }
    }

    fn name(&self, value: u32) -> String {
        let name = value.checked_sub(self.least).and_then(|index| self.names.get(index as usize));
        name.map_or_else(|| value.to_string(), |name| (*name).to_owned())
    }

    fn step(&self, text: &str) -> Result<usize, Fault> {
        let most = self.most - self.least;
        match number(text) {
            Some(step) if (1..=most).contains(&step) => Ok(step as usize),
            Some(0) => {
                Err(Fault::new(0..text.len(), "a step of 0 goes nowhere", "write a step of at least 1"))
            }
            Some(step) => {
                let title = format!("a step of {step} is more than a {} can have", self.what);
                Err(Fault::new(0..text.len(), title, format!("write a step of at most {most}")))
            }
            None => {
                let help = "write a whole number after `/`, for example `*/10`";
                Err(Fault::new(0..text.len(), format!("the step of the {} is no number", self.what), help))
            }
        }
    }

    fn value(&self, text: &str) -> Result<u32, Fault> {
        if let Some(value) = number(text) {
            if (self.least..=self.most).contains(&value) {
                return Ok(value);
            }
            let title = format!("there is no {} {value}", self.what);
            let help = format!("write a number from {} to {}", self.least, self.most);
            return Err(Fault::new(0..text.len(), title, help));
        }
        let upper = text.to_ascii_uppercase();
        if let Some(index) = self.names.iter().position(|name| **name == upper) {
            return Ok(self.least + u32::try_from(index).unwrap_or_default());
        }
        let title = match text {
            "" => format!("the {} is missing", self.what),
            _ => format!("`{text}` is no {}", self.what),
        };
        Err(Fault::new(0..text.len(), title, self.instead(text, &upper)))
    }

    /// What to write instead of something that is no number and no name.
    fn instead(&self, text: &str, upper: &str) -> String {
        if text.contains('?') {
            return "write `*`".to_owned();
        }
        if text.contains('#') || upper.ends_with('L') && upper.len() <= 2 || upper.ends_with('W') {
            return "the last or the n-th day of a kind cannot be written: list days, for example `22-28`"
                .to_owned();
        }
        let meant = self.names.iter().find(|name| upper.len() > 3 && upper.starts_with(**name));
        match (meant, self.names) {
            (Some(name), _) => format!("write `{name}`"),
            (None, []) => format!(
                "write `*`, a number from {} to {}, a range such as `{}-{}`, or a step such as `*/2`",
                self.least,
                self.most,
                self.least + 1,
                self.least + 3
            ),
            (None, [first, ..]) => {
                format!(
                    "write `*`, a number from {} to {}, or a name such as `{first}`",
                    self.least, self.most
                )
            }
        }
    }
}

/// A whole number in digits alone.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { Some(text.parse().unwrap_or(u32::MAX)) } else { None }
}
