//! What was seen of a host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ledger::{Entry, Part};
use super::mode::Mode;
use super::names::{AbsolutePath, PackageName, UnitName};

/// What was seen of a host: of the parts that its manifest or its ledger names, and of nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostState {
    /// `/etc/machine-id`: the very thing that marks stand on.
    pub machine_id: String,
    #[serde(default)]
    pub hostname: String,
    /// The ledger's SHA-256, by which a change finds that it is not outdated. Absent: there is no ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_sha256: Option<String>,
    /// Empty where the ledger is not this host's in this environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ledger: BTreeMap<Part, Entry>,
    /// Every path that was looked at; `null` where nothing is.
    #[serde(default)]
    pub paths: BTreeMap<AbsolutePath, Option<Node>>,
    /// Every package that was asked for; `null` where dpkg does not know it.
    #[serde(default)]
    pub packages: BTreeMap<PackageName, Option<Package>>,
    /// Every unit that was asked for; systemd answers for those that do not exist as well.
    #[serde(default)]
    pub services: BTreeMap<UnitName, Unit>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    #[serde(rename = "type")]
    pub kind: NodeType,
    pub mode: Mode,
    /// `UNKNOWN` where the number has no name.
    #[serde(default = "root")]
    pub owner: String,
    #[serde(default)]
    pub uid: u32,
    #[serde(default = "root")]
    pub group: String,
    #[serde(default)]
    pub gid: u32,
    /// In bytes.
    #[serde(default)]
    pub size: u64,
    /// Seconds since 1970.
    #[serde(default)]
    pub modified: i64,
    /// Of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How many entries a directory has; counted only where the manifest does not name it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
}

fn root() -> String {
    "root".to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeType {
    File,
    Directory,
    Symlink,
    /// A device, a pipe, a socket.
    Other,
}

impl NodeType {
    /// As it stands in a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Other => "a device, pipe or socket",
        }
    }
}

/// What dpkg says of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// dpkg's abbreviation: `ii` is installed, `hi` installed and held, `rc` removed, `iF` half configured.
    pub status: String,
    #[serde(default)]
    pub version: String,
}

impl Package {
    pub fn is_installed(&self) -> bool {
        self.status.as_bytes().get(1) == Some(&b'i') && self.status.len() == 2
    }

    pub fn is_held(&self) -> bool {
        self.status.starts_with('h')
    }
}

/// What systemd says of a unit, in its own words (`systemctl show`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unit {
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`.
    pub load: String,
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active: String,
    /// `running`, `exited`, `auto-restart` and many more.
    #[serde(default)]
    pub sub: String,
    /// `enabled`, `disabled`, `static`, `masked` and more; empty where there is no unit file.
    #[serde(default)]
    pub file_state: String,
    /// Whether its file changed since systemd read it.
    #[serde(default)]
    pub needs_reload: bool,
    /// When it became active, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
}

impl Unit {
    pub fn is_active(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "refreshing")
    }

    /// Whether systemd starts it again and again because it ends.
    pub fn keeps_dying(&self) -> bool {
        self.active == "activating" && self.sub.starts_with("auto-restart")
    }
}
