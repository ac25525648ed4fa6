//! The IPv4 address that a manifest gives a guest.

use std::fmt;
use std::net::Ipv4Addr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::names::{WrongText, text_schema};

/// A guest's IPv4 address: static with its prefix, or from DHCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    Dhcp,
    Static { ip: Ipv4Addr, prefix: u8 },
}

impl Address {
    /// Whether `other` lies in the same network. A /32 has none: its gateway is on the link.
    pub fn reaches(self, other: Ipv4Addr) -> bool {
        match self {
            Self::Dhcp => false,
            Self::Static { prefix: 32, .. } => true,
            Self::Static { ip, prefix } => {
                let mask = u32::MAX << (32 - u32::from(prefix));
                (ip.to_bits() ^ other.to_bits()) & mask == 0
            }
        }
    }
}

impl TryFrom<String> for Address {
    type Error = WrongText;
    fn try_from(text: String) -> Result<Self, WrongText> {
        if text == "dhcp" {
            return Ok(Self::Dhcp);
        }
        text.split_once('/')
            .and_then(|(ip, prefix)| Some((ip.parse().ok()?, prefix.parse().ok()?)))
            .filter(|(_, prefix)| (1..=32).contains(prefix))
            .map(|(ip, prefix)| Self::Static { ip, prefix })
            .ok_or_else(|| {
                WrongText::new(
                    &text,
                    "an address",
                    "must be an IPv4 address with its prefix such as `10.78.0.11/24`, or `dhcp`",
                )
            })
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp => f.write_str("dhcp"),
            Self::Static { ip, prefix } => write!(f, "{ip}/{prefix}"),
        }
    }
}

impl JsonSchema for Address {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        text_schema(
            "An IPv4 address with its prefix, or `dhcp`.",
            "^(dhcp|[0-9]{1,3}(\\.[0-9]{1,3}){3}/([1-9]|[12][0-9]|3[0-2]))$",
            "10.78.0.11/24",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_know_their_network() {
        let address = Address::try_from("10.78.0.11/24".to_owned()).unwrap();
        assert!(
            address.reaches("10.78.0.1".parse().unwrap()) && !address.reaches("10.79.0.1".parse().unwrap())
        );
        assert_eq!(address.to_string(), "10.78.0.11/24");
        for wrong in ["10.78.0.11", "10.78.0/24", "10.78.0.11/33", "DHCP", "fe80::1/64"] {
            assert!(Address::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
