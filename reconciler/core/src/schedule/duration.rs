//! Lengths of time as people write them: `90s`, `10m`, `2h`, `1d`.

use std::time::Duration;

/// Units and their seconds, the largest first.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
/// Ten years are as good as never, and sums of such times cannot overflow.
const LONGEST: u64 = 315_360_000;

/// Reads a whole number with its unit, of at most ten years. It may be zero.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit.trim())?;
    let seconds = number.checked_mul(seconds)?;
    (seconds <= LONGEST).then(|| Duration::from_secs(seconds))
}

/// Whole seconds in the largest unit that divides them.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let fits = |(_, unit): &(&str, u64)| seconds > 0 && seconds.is_multiple_of(*unit);
    match UNITS.into_iter().find(fits) {
        // A day has 24 hours only where the clock is never set, and `24h` is how people write it.
        Some(("d", _)) if seconds == 86_400 => "24h".to_owned(),
        Some((name, unit)) => format!("{}{name}", seconds / unit),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_carry_their_unit() {
        assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("2 h"), Some(Duration::from_hours(2)));
        assert_eq!(parse_duration("0m"), Some(Duration::ZERO));
        for wrong in ["", "60", "s", "1w", "-1s", "1h30m", "99999999999999999999s", "999999999d"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn they_are_shown_as_they_are_written() {
        for text in ["90s", "10m", "2h", "24h", "2d", "0s"] {
            assert_eq!(parse_duration(text).map(show_duration).as_deref(), Some(text));
        }
        assert_eq!(parse_duration("7200s").map(show_duration).as_deref(), Some("2h"));
    }
}
