//! One machine: what is on its disk, and what runs while it is up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use holdfast_core::text::hex;
use holdfast_host::ledger::{Entry, Origin, Part};
use holdfast_host::mode::Mode;
use sha2::{Digest as _, Sha256};

use super::units::Service;
use crate::model::Time;

/// When the world began, in seconds since 1970: files of before are older than all that starts.
const BEGIN: i64 = 1_800_000_000;

/// The folders that every Debian has.
const FOLDERS: [&str; 14] = [
    "/boot",
    "/etc",
    "/etc/default",
    "/etc/systemd",
    "/etc/systemd/system",
    "/home",
    "/opt",
    "/root",
    "/srv",
    "/usr",
    "/usr/local",
    "/usr/local/bin",
    "/var",
    "/var/lib",
];

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computer {
    pub birth: u64,
    pub machine_id: String,
    pub ledger: Option<Ledger>,
    pub paths: BTreeMap<String, Node>,
    /// dpkg's abbreviation of each package's state.
    pub packages: BTreeMap<String, &'static str>,
    pub units: BTreeMap<String, Service>,
    /// Files beside which a script that died left a temporary one.
    pub maybe_there: BTreeSet<String>,
    /// Since when it has been up.
    pub booted: Option<Time>,
    /// Kept, since it is asked for far more often than it changes.
    content: String,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    File {
        text: String,
        sha256: String,
        mode: Mode,
        owner: String,
        group: String,
        modified: Time,
        /// Counts those that somebody else made.
        foreign: Option<u64>,
        /// The values that stand in it.
        secrets: BTreeSet<String>,
    },
    Directory {
        mode: Mode,
        owner: String,
        group: String,
        modified: Time,
    },
    Link,
}

/// The ledger: its mark, and its lines in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub mark: String,
    pub lines: Vec<(Part, Entry)>,
    pub sha256: String,
}

impl Ledger {
    pub(super) fn new(mark: String, lines: Vec<(Part, Entry)>) -> Self {
        let mut text = format!("holdfast ledger 1\nmark {mark}\n");
        for (part, entry) in &lines {
            text.push_str(&entry.line(part));
            text.push('\n');
        }
        Self { mark, lines, sha256: sha256(&text) }
    }
}

pub(super) fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// A moment of the world as a clock shows it.
pub(super) fn seconds(at: Time) -> i64 {
    BEGIN + i64::try_from(at.as_secs()).unwrap_or(i64::MAX - BEGIN)
}

pub(super) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

impl Computer {
    /// A fresh installation.
    pub(super) fn new(birth: u64, now: Time) -> Self {
        let folder = || Node::Directory {
            mode: Mode::from_bits(0o755),
            owner: "root".to_owned(),
            group: "root".to_owned(),
            modified: now,
        };
        let mut computer = Self {
            birth,
            machine_id: format!("{:016x}{birth:016x}", 0x00c0_ffee_u64),
            ledger: None,
            paths: FOLDERS.iter().map(|path| ((*path).to_owned(), folder())).collect(),
            packages: ["bash", "openssh-server", "systemd"].map(|name| (name.to_owned(), "ii")).into(),
            units: BTreeMap::new(),
            maybe_there: BTreeSet::new(),
            booted: None,
            content: String::new(),
        };
        computer.put_foreign("/etc/motd", "welcome\n", birth, now);
        computer.note();
        computer
    }

    /// Somebody else writes a file.
    pub fn put_foreign(&mut self, path: &str, text: &str, birth: u64, now: Time) {
        let foreign = match self.paths.get(path) {
            Some(Node::File { foreign, .. }) => *foreign,
            _ => Some(birth),
        };
        let node = Node::File {
            text: text.to_owned(),
            sha256: sha256(text),
            mode: Mode::from_bits(0o644),
            owner: "root".to_owned(),
            group: "root".to_owned(),
            modified: now,
            foreign,
            secrets: BTreeSet::new(),
        };
        self.paths.insert(path.to_owned(), node);
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.paths.get(path)? {
            Node::File { text, .. } => Some(text),
            Node::Directory { .. } | Node::Link => None,
        }
    }

    /// How many entries a directory has.
    pub(super) fn entries(&self, path: &str) -> usize {
        let maybe_there = self.maybe_there.iter().filter(|file| parent(file) == path).count();
        self.paths.keys().filter(|entry| parent(entry) == path).count() + maybe_there
    }

    pub(super) fn content(&self) -> &str {
        &self.content
    }

    /// To be called after each change: the text of everything that a write can change. Whether we once intended to
    /// make what we made is no difference.
    pub fn note(&mut self) {
        let mut text = String::new();
        let lines: BTreeMap<&Part, &Entry> =
            self.ledger.iter().flat_map(|ledger| &ledger.lines).map(|(part, entry)| (part, entry)).collect();
        for (part, entry) in lines {
            let origin = if entry.origin == Origin::Existed { "existed" } else { "ours" };
            let _ = writeln!(
                text,
                "ledger {part}: {origin} {}",
                entry.started_with.as_deref().unwrap_or_default()
            );
        }
        for (path, node) in &self.paths {
            let _ = match node {
                Node::File { sha256, mode, owner, group, .. } => {
                    writeln!(text, "{path}: {mode} {owner}:{group} {sha256}")
                }
                Node::Directory { mode, owner, group, .. } => {
                    writeln!(text, "{path}/: {mode} {owner}:{group}")
                }
                Node::Link => writeln!(text, "{path}: a link"),
            };
        }
        for path in &self.maybe_there {
            let _ = writeln!(text, "leftover of {path}");
        }
        for (name, status) in &self.packages {
            let _ = writeln!(text, "package {name}: {status}");
        }
        for (name, is) in self.units.keys().map(|name| (name, self.unit_is(name))) {
            // As good as never touched.
            if is != "inactive, disabled" {
                let _ = writeln!(text, "unit {name}: {is}");
            }
        }
        self.content = text;
    }
}
