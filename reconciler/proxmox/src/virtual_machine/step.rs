//! One call to the API, with every choice already made, and how it reads in a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use holdfast_core::kind::{self, Change, Risk};
use holdfast_core::secret::SecretRef;
use serde::{Deserialize, Serialize};

use super::notes::Notes;
use super::spec::Restart;
use crate::client::guests::Place;
use crate::names::{DiskSlot, NodeName, StorageName, Vmid};
use crate::size::{Bytes, Size};

/// One call to the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub enum Step {
    /// Makes the guest, marked with its number alone.
    Clone(Box<Clone>),
    /// Sets keys of the configuration, and the mark with them.
    Configure(Box<Configure>),
    /// Makes the cloud-init drive's image anew while the guest runs.
    RegenerateCloudInit {
        at: Place,
    },
    /// Takes the line out of the notes that says that the image is due, if it speaks of this very write.
    SeedWritten {
        at: Place,
        due: String,
    },
    /// Grows a disk. The size is absolute, so that repeating it is harmless.
    Resize {
        at: Place,
        slot: DiskSlot,
        from: Bytes,
        size: Size,
        digest: String,
    },
    Start {
        at: Place,
    },
    /// Asks the guest to shut down. With `force` it is stopped hard where it does not in time.
    Shutdown {
        at: Place,
        force: bool,
    },
    Reboot {
        at: Place,
        pending: BTreeSet<String>,
    },
    Destroy {
        at: Place,
    },
}

/// A guest to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clone {
    pub template: Vmid,
    pub vmid: Vmid,
    pub node: NodeName,
    /// `None`: where the template's disks are.
    pub storage: Option<StorageName>,
    /// The disk that it will have, to tell whether the template has one that can grow to it, and whether
    /// there is room.
    pub disk: Option<(DiskSlot, Size)>,
    pub notes: Notes,
    pub changes: Vec<Change>,
}

/// Keys of a configuration to be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configure {
    pub at: Place,
    /// The SMBIOS uuid that the mark names.
    pub uuid: Option<String>,
    /// The configuration that was seen: another one in the meantime, and nothing is written.
    pub digest: String,
    pub set: BTreeMap<String, String>,
    pub delete: BTreeSet<String>,
    pub password: Option<SecretRef>,
    /// What stands in the notes besides the mark.
    pub notes: Notes,
    /// Whether the SSH host key is pinned with this.
    pub pins: bool,
    /// Whether the guest's network is plugged elsewhere while it runs.
    pub disruptive: bool,
    /// Keys that take effect only once the guest restarts, and whether it is then rebooted for them.
    pub owes: BTreeSet<String>,
    pub restart: Restart,
    pub changes: Vec<Change>,
}

impl kind::Step for Step {
    fn risk(&self) -> Risk {
        match self {
            Self::Shutdown { .. } | Self::Reboot { .. } => Risk::Disruptive,
            Self::Configure(configure) if configure.disruptive => Risk::Disruptive,
            Self::Destroy { .. } => Risk::Destructive,
            Self::Clone(_)
            | Self::Configure(_)
            | Self::RegenerateCloudInit { .. }
            | Self::SeedWritten { .. }
            | Self::Resize { .. }
            | Self::Start { .. } => Risk::Quiet,
        }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        match self {
            Self::Configure(configure) => configure.password.iter().map(SecretRef::bare).collect(),
            _ => Vec::new(),
        }
    }

    fn changes(&self) -> Vec<Change> {
        match self {
            Self::Clone(clone) => clone.changes.clone(),
            Self::Configure(configure) => configure.changes.clone(),
            Self::Resize { slot, from, size, .. } => vec![Change::new(slot.as_str(), from, size)],
            Self::Start { .. } => vec![Change::new("running", false, true)],
            Self::Shutdown { .. } => vec![Change::new("running", true, false)],
            Self::RegenerateCloudInit { .. }
            | Self::SeedWritten { .. }
            | Self::Reboot { .. }
            | Self::Destroy { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clone(clone) => {
                write!(f, "clone template {} to vm {} on {}", clone.template, clone.vmid, clone.node)?;
                clone.storage.as_ref().map_or(Ok(()), |storage| write!(f, ", storage {storage}"))
            }
            Self::Configure(configure) => configure.fmt(f),
            Self::RegenerateCloudInit { at } => {
                write!(f, "write the cloud-init drive of vm {} anew, for its next boot", at.vmid)
            }
            Self::SeedWritten { at, .. } => {
                write!(f, "note that the cloud-init drive of vm {} is written", at.vmid)
            }
            Self::Resize { at, slot, size, .. } => write!(f, "grow {slot} of vm {} to {size}", at.vmid),
            Self::Start { at } => write!(f, "start vm {}", at.vmid),
            Self::Shutdown { at, force: false } => write!(f, "shut down vm {}", at.vmid),
            Self::Shutdown { at, force: true } => {
                write!(f, "stop vm {}, hard if it does not shut down in time", at.vmid)
            }
            Self::Reboot { at, pending } => {
                write!(f, "reboot vm {} to apply {}", at.vmid, listed(pending.iter().map(String::as_str)))
            }
            Self::Destroy { at } => write!(f, "destroy vm {} and its disks", at.vmid),
        }
    }
}

impl fmt::Display for Configure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vmid = self.at.vmid;
        let fields: Vec<&str> = self.changes.iter().map(|change| change.field.as_str()).collect();
        let pinned = "as the guest agent reads it";
        match (fields.as_slice(), self.pins) {
            ([], true) => write!(f, "pin the SSH host key of vm {vmid} {pinned}"),
            ([], false) => write!(f, "mark vm {vmid} as managed by Holdfast"),
            (fields, true) => {
                write!(
                    f,
                    "set {} of vm {vmid} and pin its SSH host key {pinned}",
                    listed(fields.iter().copied())
                )
            }
            (fields, false) => write!(f, "set {} of vm {vmid}", listed(fields.iter().copied())),
        }?;
        let owed = listed(self.owes.iter().map(String::as_str));
        match self.restart {
            _ if self.owes.is_empty() => Ok(()),
            Restart::Allowed => write!(f, "; a reboot follows, to apply {owed}"),
            Restart::Never => write!(f, "; held then, until a restart applies {owed}"),
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
