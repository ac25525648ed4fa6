//! Sizes: what manifests ask for in whole mebibytes, and what was seen in bytes.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::names::{WrongText, text_schema};

/// A size in whole mebibytes, as manifests write it: `512MiB`, `4GiB`, `2TiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size {
    mebibytes: u64,
}

impl Size {
    /// At most 64 PiB, so that bytes fit a `u64` with room to spare.
    const MOST: u64 = 1 << 36;

    /// `None` for nothing at all and for what no storage holds.
    pub fn mebibytes(mebibytes: u64) -> Option<Self> {
        (1..=Self::MOST).contains(&mebibytes).then_some(Self { mebibytes })
    }

    pub fn as_mebibytes(self) -> u64 {
        self.mebibytes
    }

    pub fn bytes(self) -> Bytes {
        Bytes(self.mebibytes << 20)
    }
}

impl TryFrom<String> for Size {
    type Error = WrongText;
    fn try_from(text: String) -> Result<Self, WrongText> {
        let wrong = || {
            WrongText::new(
                &text,
                "a size",
                "must be a whole number and `MiB`, `GiB` or `TiB`, such as `4GiB`",
            )
        };
        let bytes = Bytes::try_from(text.clone()).map_err(|_| wrong())?;
        let fits = !text.contains(' ') && !text.ends_with("KiB") && bytes.0.is_multiple_of(1 << 20);
        fits.then(|| Self::mebibytes(bytes.0 >> 20)).flatten().ok_or_else(wrong)
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.bytes().to_string().replace(' ', "")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        text_schema("A whole number and `MiB`, `GiB` or `TiB`.", "^[1-9][0-9]{0,10}(MiB|GiB|TiB)$", "4GiB")
    }
}

/// A number of bytes that was seen. Prints with the largest unit that leaves it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl Bytes {
    /// Reads a size as Proxmox prints it: `32G`, `2252M`, `528K`, or bytes without unit.
    pub fn from_proxmox(text: &str) -> Option<Self> {
        let (number, shift) = match text.as_bytes().last()? {
            b'T' => (&text[..text.len() - 1], 40),
            b'G' => (&text[..text.len() - 1], 30),
            b'M' => (&text[..text.len() - 1], 20),
            b'K' => (&text[..text.len() - 1], 10),
            _ => (text, 0),
        };
        digits(number).then(|| shifted(number, shift)).flatten()
    }
}

fn shifted(number: &str, shift: u32) -> Option<Bytes> {
    number.parse::<u64>().ok()?.checked_mul(1 << shift).map(Bytes)
}

impl TryFrom<String> for Bytes {
    type Error = WrongText;
    fn try_from(text: String) -> Result<Self, WrongText> {
        UNITS
            .iter()
            .find_map(|(unit, shift)| {
                let number = text.strip_suffix(unit)?.trim_end();
                digits(number).then(|| shifted(number, *shift)).flatten()
            })
            .ok_or_else(|| WrongText::new(&text, "a number of bytes", "must be a number and a unit"))
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |shift: &u32| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        let (unit, shift) = UNITS.iter().find(|(_, shift)| fits(shift)).unwrap_or(&UNITS[4]);
        write!(f, "{} {unit}", self.0 >> shift)
    }
}

/// `parse` alone would take a sign.
fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Result<Size, WrongText> {
        Size::try_from(text.to_owned())
    }

    #[test]
    fn sizes_read_and_print_in_the_largest_whole_unit() {
        assert_eq!(size("4GiB").unwrap().as_mebibytes(), 4096);
        assert_eq!(size("4096MiB").unwrap().to_string(), "4 GiB");
        assert_eq!(String::from(size("1536MiB").unwrap()), "1536MiB");
        for wrong in ["4G", "4 GiB", "4.5GiB", "-4GiB", "1024KiB", "0GiB", "GiB", "", "99999999999999TiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            size("4G").unwrap_err().to_string(),
            "`4G` is not a size: must be a whole number and `MiB`, `GiB` or `TiB`, such as `4GiB`"
        );
    }

    #[test]
    fn bytes_read_as_proxmox_prints_them() {
        assert_eq!(Bytes::from_proxmox("32G").unwrap().to_string(), "32 GiB");
        assert_eq!(Bytes::from_proxmox("2252M").unwrap().to_string(), "2252 MiB");
        assert_eq!(Bytes::from_proxmox("2361393153").unwrap().to_string(), "2361393153 B");
        for wrong in ["", "G", "3.5G", "99999999999T", "x"] {
            assert_eq!(Bytes::from_proxmox(wrong), None, "{wrong}");
        }
        let odd = Bytes(2_361_393_153);
        assert_eq!(Bytes::try_from(String::from(odd)).unwrap(), odd, "a state survives being stored");
    }
}
