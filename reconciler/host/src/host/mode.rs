//! Permission bits.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::names::NameError;

/// Permission bits, written in octal: `0644`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u16);

impl Mode {
    /// From the bits; those of the file's type are dropped.
    pub fn from_bits(bits: u32) -> Self {
        Self(u16::try_from(bits & 0o7777).expect("twelve bits fit"))
    }
}

impl TryFrom<String> for Mode {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        match u16::from_str_radix(&text, 8) {
            Ok(bits) if octal => Ok(Self(bits)),
            _ => Err(NameError { text, rule: "must be octal digits in quotes, such as \"0644\"" }),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Permission bits in octal, in quotes: \"0644\".",
            "pattern": "^[0-7]{3,4}$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_shown_with_four_digits() {
        assert_eq!(Mode::try_from("644".to_owned()).unwrap().to_string(), "0644");
        assert_eq!(Mode::try_from("4755".to_owned()).unwrap().to_string(), "4755");
        for wrong in ["", "8", "0888", "00644", "rw-r--r--", "+644", "64"] {
            assert!(Mode::try_from(wrong.to_owned()).is_err(), "{wrong:?} was taken");
        }
        assert_eq!(Mode::from_bits(0o100_644).to_string(), "0644");
    }
}
