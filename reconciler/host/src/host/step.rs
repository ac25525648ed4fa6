//! The steps that change a host, each with every choice already made.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use holdfast_core::kind::{Change, Risk, Step};
use holdfast_core::report::count;
use holdfast_core::secret::SecretRef;
use serde::{Deserialize, Serialize};

use super::ledger::{Entry, Origin, Part};
use super::mode::Mode;
use super::names::{AbsolutePath, Account, PackageName, UnitName};
use super::spec::{Connection, Directory, File};

/// One thing done on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStep {
    pub at: Place,
    pub act: Act,
}

/// Where it is done, and what must still be so: it is the machine that was looked at, with that ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub connection: Connection,
    pub machine_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_sha256: Option<String>,
}

/// What is done. Entries are what the ledger says, or shall say, about the part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Act {
    InstallPackages {
        packages: Vec<PackageName>,
    },
    MakeDirectory {
        directory: Directory,
        entry: Entry,
    },
    WriteFile {
        file: File,
        /// The hash of what is there now; absent where nothing is.
        seen: Option<String>,
        entry: Entry,
    },
    /// Mode and owner of a part that is as it should be otherwise.
    SetMode {
        part: Part,
        mode: Mode,
        owner: Account,
        group: Account,
        /// `0644 root:root`.
        from: String,
        entry: Entry,
    },
    ReloadSystemd,
    Enable {
        unit: UnitName,
        /// Put in the ledger, where nothing else of the plan puts the unit there.
        entry: Option<Entry>,
    },
    Disable {
        unit: UnitName,
    },
    Start {
        unit: UnitName,
        inputs: Inputs,
    },
    Restart {
        unit: UnitName,
        inputs: Inputs,
        why: String,
    },
    Stop {
        unit: UnitName,
    },
    RemoveFile {
        path: AbsolutePath,
        /// What is there now, which is what we wrote.
        sha256: String,
        entry: Entry,
    },
    RemoveDirectory {
        path: AbsolutePath,
        entry: Entry,
    },
    /// Begins a ledger with what is as wanted already, and changes nothing else.
    Adopt {
        entries: BTreeMap<Part, Entry>,
    },
    /// Drops parts from the ledger and leaves them as they are.
    Forget {
        entries: BTreeMap<Part, Entry>,
    },
}

/// What a unit reads when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The digest of all of them.
    pub digest: String,
    /// The secrets in them: a unit that fails might print one, so that its words are searched for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRef>,
}

impl fmt::Display for HostStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.act.fmt(f)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstallPackages { packages } => write!(f, "install {}", list(packages)),
            Self::MakeDirectory { directory: Directory { path, mode, owner, group }, entry: _ } => {
                write!(f, "make directory {path} ({mode} {owner}:{group})")
            }
            Self::WriteFile { file: File { path, mode, owner, group, content: _ }, seen, entry: _ } => {
                let verb = if seen.is_some() { "replace" } else { "create" };
                write!(f, "{verb} {path} ({mode} {owner}:{group})")
            }
            Self::SetMode { part, mode, owner, group, from: _, entry: _ } => {
                let path = part.to_string();
                let path = path.split_once(' ').map_or(path.as_str(), |(_, path)| path);
                write!(f, "set {path} to {mode} {owner}:{group}")
            }
            Self::ReloadSystemd => f.write_str("reload systemd"),
            Self::Enable { unit, entry: _ } => write!(f, "enable {unit}"),
            Self::Disable { unit } => write!(f, "disable {unit}"),
            Self::Start { unit, inputs: _ } => write!(f, "start {unit}"),
            Self::Restart { unit, inputs: _, why } => write!(f, "restart {unit} ({why})"),
            Self::Stop { unit } => write!(f, "stop {unit}"),
            Self::RemoveFile { path, sha256: _, entry: _ } => write!(f, "remove {path}"),
            Self::RemoveDirectory { path, entry: _ } => write!(f, "remove directory {path}"),
            Self::Adopt { entries: _ } => f.write_str("mark the host as managed by Holdfast"),
            Self::Forget { entries } => {
                write!(f, "let go of {}", list(&entries.keys().collect::<Vec<_>>()))
            }
        }
    }
}

/// The first few by name, the others by number.
fn list<T: fmt::Display>(items: &[T]) -> String {
    const SHOWN: usize = 8;
    let mut text = items.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if items.len() > SHOWN {
        let _ = write!(text, " and {} more", items.len() - SHOWN);
    }
    text
}

impl Step for HostStep {
    /// Nothing here is destructive: what is removed is what we made, with the content that we gave it.
    fn risk(&self) -> Risk {
        match self.act {
            Act::Restart { .. } | Act::Stop { .. } => Risk::Disruptive,
            _ => Risk::Quiet,
        }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        match &self.act {
            Act::WriteFile { file, .. } => file.content.secrets(),
            Act::Start { inputs, .. } | Act::Restart { inputs, .. } => inputs.secrets.clone(),
            _ => Vec::new(),
        }
    }

    fn changes(&self) -> Vec<Change> {
        match &self.act {
            Act::InstallPackages { packages } => packages
                .iter()
                .map(|package| Change {
                    from: None,
                    to: Some("installed".to_owned()),
                    field: package.to_string(),
                })
                .collect(),
            Act::WriteFile { file, seen, entry } => vec![Change {
                field: format!("content of {}", file.path),
                from: seen.as_ref().map(|_| old_content(entry)),
                to: Some(new_content(file)),
            }],
            Act::SetMode { part, mode, owner, group, from, entry: _ } => {
                vec![Change::new(part.to_string(), from, format!("{mode} {owner}:{group}"))]
            }
            _ => Vec::new(),
        }
    }
}

/// Nothing of the content itself: it may be a secret, and what was there before may be one as well.
fn old_content(entry: &Entry) -> String {
    match entry.origin {
        Origin::Created => "what was written before".to_owned(),
        Origin::Existed | Origin::Intended => "something else".to_owned(),
    }
}

fn new_content(file: &File) -> String {
    match file.content.plain() {
        Some(text) => {
            format!("{}, sha256 {}", count(text.lines().count(), "line"), &file.content.digest()[..12])
        }
        None => "text with a secret".to_owned(),
    }
}
