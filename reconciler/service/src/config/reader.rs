//! Reading a TOML table field by field, so that every mistake is told at once.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::{Table, Value};

/// One section of the file, and the mistakes found so far.
pub(super) struct Section<'a> {
    name: &'a str,
    table: &'a Table,
    known: BTreeSet<&'static str>,
    mistakes: &'a mut Vec<String>,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: &'a str, table: &'a Table, mistakes: &'a mut Vec<String>) -> Self {
        Self { name, table, known: BTreeSet::new(), mistakes }
    }

    /// A text that must be there. An empty one stands in for a mistake, which is noted.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> String {
        let text = self.text(key);
        if text.is_none() && !self.table.contains_key(key) {
            self.mistake::<()>(key, &format!("is missing; write for example `{key} = \"{example}\"`"));
        }
        text.unwrap_or_default()
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::String(_) => self.mistake(key, "is empty; write a value, or leave the line out"),
            other => {
                self.mistake(key, &format!("is {}, but a text is needed; put it in quotes", kind_of(other)))
            }
        }
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let texts: Option<Vec<String>> = value
            .as_array()
            .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        texts.unwrap_or_else(|| {
            self.mistake::<()>(key, &format!("is {}, but a list of texts is needed", kind_of(value)));
            Vec::new()
        })
    }

    /// A length of time such as `60s`, `10m` or `1h`.
    pub(super) fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        let Some(text) = self.text(key) else { return default };
        parse_duration(&text).unwrap_or_else(|| {
            self.mistake::<()>(
                key,
                &format!("is `{text}`, but a length of time is needed, such as `60s`, `10m` or `1h`"),
            );
            default
        })
    }

    pub(super) fn port(&mut self, key: &'static str) -> Option<u16> {
        match self.value(key)? {
            Value::Integer(number) => match u16::try_from(*number) {
                Ok(port) if port > 0 => Some(port),
                _ => self.mistake(key, "must lie between 1 and 65535"),
            },
            other => self.mistake(key, &format!("is {}, but a whole number is needed", kind_of(other))),
        }
    }

    /// Notes a mistake about a field.
    pub(super) fn mistake<T>(&mut self, key: &str, what: &str) -> Option<T> {
        let place = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        self.mistakes.push(format!("`{place}` {what}"));
        None
    }

    /// Notes every field that was not asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys().filter(|key| !self.known.contains(key.as_str())) {
            let place = if self.name.is_empty() { key.clone() } else { format!("{}.{key}", self.name) };
            let known: Vec<String> = self.known.iter().map(|key| format!("`{key}`")).collect();
            self.mistakes.push(format!("`{place}` is unknown; known here are {}", known.join(", ")));
        }
    }

    /// Lets a field be known that is read elsewhere.
    pub(super) fn know(&mut self, key: &'static str) {
        self.known.insert(key);
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.insert(key);
        self.table.get(key)
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    let seconds = match unit.trim() {
        "ms" => return (number > 0).then(|| Duration::from_millis(number)),
        "s" => number,
        "m" => number.checked_mul(60)?,
        "h" => number.checked_mul(3600)?,
        "d" => number.checked_mul(86_400)?,
        _ => return None,
    };
    // Ten years are as good as never, and sums of such times cannot overflow.
    (1..=315_360_000).contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_carry_their_unit() {
        assert_eq!(parse_duration("60s"), Some(Duration::from_mins(1)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("2 h"), Some(Duration::from_hours(2)));
        for wrong in ["", "60", "s", "0s", "1w", "-1s", "99999999999999999999s", "999999999d"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
