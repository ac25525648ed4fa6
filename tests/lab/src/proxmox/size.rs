//! Sizes as disks carry them: bytes, with 1024-based units.

/// Reads `32G`, `512M`, `4096`.
pub(super) fn parse(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T']);
    if text.len() - digits.len() > 1 || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || fraction.contains('.') || (digits.contains('.') && fraction.is_empty()) {
        return None;
    }
    let unit = match &text[digits.len()..] {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1_u64 << 40,
        _ => 1,
    };
    let bytes = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if fraction.is_empty() {
        return Some(bytes);
    }
    let tenths = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit) / tenths;
    bytes.checked_add(u64::try_from(part).ok()?)
}

/// Prints the largest unit that is exact.
pub(super) fn print(bytes: u64) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A number of GiB, as a new disk's size is given, such as `32` or `0.5`.
pub(super) fn gib(text: &str) -> Option<u64> {
    parse(&format!("{text}G"))
}

#[cfg(test)]
mod tests {
    use super::{parse, print};

    #[test]
    fn sizes_print_in_the_largest_exact_unit() {
        for (given, printed) in
            [("32G", "32G"), ("1024M", "1G"), ("1536M", "1536M"), ("1.5G", "1536M"), ("5", "5")]
        {
            assert_eq!(parse(given).map(print).as_deref(), Some(printed));
        }
        assert_eq!([parse("G"), parse("1.G"), parse("-1G"), parse("1GB")], [None; 4]);
    }
}
