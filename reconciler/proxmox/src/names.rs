//! Names, numbers and keys, as types that cannot be wrong.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a text is not such a value. Displays as a whole phrase: `` `9` is not a VMID: it must … ``.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {why}")]
pub struct WrongText {
    /// The text, cut after 60 characters.
    pub text: String,
    /// What it should have been, with its article.
    pub what: &'static str,
    /// What such a value must look like.
    pub why: &'static str,
}

impl WrongText {
    pub(crate) fn new(text: &str, what: &'static str, why: &'static str) -> Self {
        Self { text: text.chars().take(60).collect(), what, why }
    }
}

/// The schema of a text with a pattern; inlined, so that an editor shows the field's own words.
pub(crate) fn text_schema(description: &str, pattern: &str, example: &str) -> Schema {
    json_schema!({ "type": "string", "description": description, "pattern": pattern, "examples": [example] })
}

/// A checked text with its JSON Schema; `$check` says whether a text fits.
macro_rules! checked_text {
    ($(#[$doc:meta])* $type:ident: $what:literal, $why:literal, $pattern:literal, $example:literal, $check:expr) => {
        holdfast_core::checked_text!(
            $(#[$doc])*
            $type, WrongText, |text| {
                let fits: fn(&str) -> bool = $check;
                if fits(text) { Ok(()) } else { Err(WrongText::new(text, $what, $why)) }
            }
        );

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                text_schema(concat!("It ", $why, "."), $pattern, $example)
            }
        }
    };
}

fn all(text: &str, allowed: fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(allowed)
}

fn starts_alphabetic(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
}

fn ends_alphanumeric(text: &str) -> bool {
    text.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric())
}

fn starts_alphanumeric(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

checked_text!(
    /// A node of the cluster, by its host name (`pve-node`).
    NodeName: "a node's name",
    "must consist of letters, digits and `-`, and start and end with a letter or digit",
    "^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$", "pve1",
    |text| text.len() <= 63 && starts_alphanumeric(text) && ends_alphanumeric(text)
        && all(text, |b| b.is_ascii_alphanumeric() || b == b'-')
);
checked_text!(
    /// A storage of the cluster (`pve-storage-id`).
    StorageName: "a storage's name",
    "must start with a letter, end with a letter or digit, and consist of letters, digits, `-`, `_` and `.`",
    "^[a-zA-Z][a-zA-Z0-9._-]*[a-zA-Z0-9]$", "local-lvm",
    |text| text.len() >= 2 && starts_alphabetic(text) && ends_alphanumeric(text)
        && all(text, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
);
checked_text!(
    /// A bridge of the node, or a `VNet`.
    Bridge: "a bridge's name",
    "must start with a letter and consist of at most 15 letters, digits, `-`, `_` and `.`",
    "^[a-zA-Z][a-zA-Z0-9._-]{0,14}$", "vmbr0",
    |text| text.len() <= 15 && starts_alphabetic(text)
        && all(text, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
);
checked_text!(
    /// Where a disk is attached.
    DiskSlot: "a disk's slot",
    "must be one of `scsi0` to `scsi30`, `virtio0` to `virtio15`, `sata0` to `sata5`, `ide0` to `ide3`",
    "^(scsi([0-9]|[12][0-9]|30)|virtio([0-9]|1[0-5])|sata[0-5]|ide[0-3])$", "scsi0",
    is_disk_slot
);
checked_text!(
    /// A login name that cloud-init makes.
    UserName: "a user's name",
    "must start with `a-z` or `_` and consist of at most 32 of `a-z`, `0-9`, `_` and `-`",
    "^[a-z_][a-z0-9_-]{0,31}$", "ops",
    |text| text.len() <= 32 && all(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
        && !text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
);
checked_text!(
    /// A public key as it stands in `authorized_keys`, without options.
    SshKey: "an SSH public key",
    "must be one line such as `ssh-ed25519 AAAA... me@laptop`",
    "^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\\.com|sk-ecdsa-sha2-nistp256@openssh\\.com) AAAA[A-Za-z0-9+/]+={0,3}( [^\\r\\n]*)?$",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEp1c3RBbkV4YW1wbGVLZXlOb3RBUmVhbE9uZUF0QWxs me@laptop",
    is_ssh_key
);
checked_text!(
    /// An ed25519 host key as `ssh-keyscan` prints it, without the host: `ssh-ed25519 AAAA...`.
    HostKey: "an ed25519 host key",
    "must read `ssh-ed25519 ` and 68 characters of base64",
    "^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}$",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEp1c3RBbkV4YW1wbGVLZXlOb3RBUmVhbE9uZUF0QWxs",
    |text| text.strip_prefix("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI")
        .is_some_and(|rest| rest.len() == 43 && all(rest, is_base64))
);
checked_text!(
    /// A tag of a guest; kept in lower case, as Proxmox does unless it is told otherwise.
    Tag: "a tag",
    "must start with `a-z`, `0-9` or `_` and consist of `a-z`, `0-9`, `_`, `-`, `+` and `.`",
    "^[a-z0-9_][a-z0-9_.+-]*$", "kubernetes",
    |text| text.len() <= 124 && !text.starts_with(['-', '+', '.'])
        && all(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'+' | b'.'))
);
checked_text!(
    /// A domain that a guest's resolver appends.
    Domain: "a domain",
    "must consist of letters, digits, `-` and `.`, and start and end with a letter or digit",
    "^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?$", "lab",
    |text| text.len() <= 253 && starts_alphanumeric(text) && ends_alphanumeric(text)
        && all(text, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
);
checked_text!(
    /// What people read in a guest's notes. Our own lines follow it there, so it may not contain any.
    Description: "a description",
    "must be at most 4096 characters long and have no line that starts with `holdfast`",
    "^[^\\u0000-\\u0008\\u000b-\\u001f\\u007f]*$", "first k3s server",
    |text| text.chars().count() <= 4096
        && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control())
        && !text.lines().any(|line| line.trim_start().starts_with("holdfast"))
);
checked_text!(
    /// A MAC address, in upper case as Proxmox writes it.
    Mac: "a MAC address",
    "must be six pairs of hexadecimal digits such as `BC:24:11:0A:0B:0C`",
    "^([0-9A-F]{2}:){5}[0-9A-F]{2}$", "BC:24:11:0A:0B:0C",
    |text| text.len() == 17 && text.split(':').count() == 6
        && text.split(':').all(|pair| pair.len() == 2
            && all(pair, |b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)))
);

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

fn is_disk_slot(text: &str) -> bool {
    let buses = [("scsi", 30), ("virtio", 15), ("sata", 5), ("ide", 3)];
    buses.iter().any(|(bus, last)| {
        text.strip_prefix(bus).is_some_and(|index| {
            let canonical = index == "0" || !index.starts_with('0');
            canonical && all(index, |b| b.is_ascii_digit()) && index.parse::<u8>().is_ok_and(|i| i <= *last)
        })
    })
}

fn is_ssh_key(text: &str) -> bool {
    const TYPES: &[&str] = &[
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    let mut words = text.splitn(3, ' ');
    let known = words.next().is_some_and(|word| TYPES.contains(&word));
    let body = words.next().unwrap_or_default();
    let digits = body.trim_end_matches('=');
    known
        && digits.starts_with("AAAA")
        && body.len() - digits.len() <= 3
        && all(digits, is_base64)
        && !text.contains(|c: char| c.is_control())
}

/// A guest's number, unique among the cluster's virtual machines and containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vmid(u32);

impl Vmid {
    /// 100 to 999999999 (`pve-vmid`).
    pub fn new(number: u32) -> Result<Self, WrongText> {
        if (100..=999_999_999).contains(&number) {
            Ok(Self(number))
        } else {
            Err(WrongText::new(&number.to_string(), "a VMID", "must lie between 100 and 999999999"))
        }
    }
}

impl TryFrom<u32> for Vmid {
    type Error = WrongText;
    fn try_from(number: u32) -> Result<Self, WrongText> {
        Self::new(number)
    }
}

impl From<Vmid> for u32 {
    fn from(vmid: Vmid) -> Self {
        vmid.0
    }
}

impl fmt::Display for Vmid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Vmid {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Vmid".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 100, "maximum": 999_999_999, "examples": [101] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(DiskSlot::new("scsi30").is_ok() && DiskSlot::new("scsi31").is_err());
        assert!(DiskSlot::new("virtio00").is_err() && DiskSlot::new("scsi").is_err());
        assert!(Vmid::new(99).is_err() && Vmid::new(100).is_ok());
        assert!(NodeName::new("pve1").is_ok() && NodeName::new("../pve").is_err());
        assert!(Mac::new("BC:24:11:0A:0B:0C").is_ok() && Mac::new("bc:24:11:0a:0b:0c").is_err());
        assert!(Tag::new("k3s_server").is_ok() && Tag::new("K3s").is_err() && Tag::new("a;b").is_err());
        assert!(Description::new("a\nb").is_ok() && Description::new("a\nholdfast: x").is_err());
        assert!(UserName::new("ops").is_ok() && UserName::new("1ops").is_err());
        assert!(SshKey::new("ssh-ed25519 AAAAC3Nz me@laptop").is_ok());
        assert!(SshKey::new("ssh-ed25519 AAAAC3Nz\nssh-rsa AAAA").is_err());
        assert!(SshKey::new("-----BEGIN OPENSSH PRIVATE KEY-----").is_err());
    }
}
