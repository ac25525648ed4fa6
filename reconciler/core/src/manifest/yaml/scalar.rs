//! What a word without quotes is, by the core schema of YAML 1.2 (section 10.3.2).

use serde_json::{Number, Value};

/// `no`, `0b11`, `1_000` and `12:30` are text, `0o17` is 15, `0755` is 755.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        if let Ok(number) = text.parse::<i64>() {
            return Some(number.into());
        }
        if let Ok(number) = text.parse::<u64>() {
            return Some(number.into());
        }
    }
    is_float(unsigned).then(|| text.parse::<f64>().ok().and_then(Number::from_f64)).flatten()
}

fn radix(digits: &str, radix: u32) -> Option<Number> {
    let fits = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    fits.then(|| u64::from_str_radix(digits, radix).ok()).flatten().map(Number::from)
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent_fits && digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_core_schema_decides() {
        for (text, value) in [
            ("no", json!("no")),
            ("on", json!("on")),
            ("1_000", json!("1_000")),
            ("12:30:45", json!("12:30:45")),
            ("0b11", json!("0b11")),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("0755", json!(755)),
            ("+12", json!(12)),
            ("-12", json!(-12)),
            ("1.10", json!(1.1)),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            ("1.", json!(1.0)),
            (".", json!(".")),
            ("1e", json!("1e")),
            ("1.2.3", json!("1.2.3")),
            ("10.78.0.11", json!("10.78.0.11")),
            ("18446744073709551615", json!(u64::MAX)),
            ("1e999", json!("1e999")),
            (".inf", json!(".inf")),
            ("-", json!("-")),
            ("0x", json!("0x")),
            ("~", json!(null)),
            ("TRUE", json!(true)),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }
}
