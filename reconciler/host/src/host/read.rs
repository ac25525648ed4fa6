//! The pure, strict reader of what a host answers to a look. Every byte may be hostile.

mod lines;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use holdfast_core::kind::TargetError;
use holdfast_core::mark::Mark;
use holdfast_core::text::hex;
use sha2::{Digest as _, Sha256};

use super::ledger::{Ledger, LedgerError, Part};
use super::names::{AbsolutePath, PackageName, UnitName, shown};
use super::probe::{LEDGER_BASE, Query};
use super::state::{HostState, Node, NodeType, Package, Unit};
use lines::Answers;

/// A host that was seen, and the mark in its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub state: HostState,
    pub mark: Option<Mark>,
}

/// Why a host is not known after a look. Whatever it is, nothing may be concluded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookError {
    #[error("the answer ends in the middle")]
    CutOff,
    #[error("the answer makes no sense: {0}")]
    Garbled(String),
    #[error("something changed while it was looked at")]
    Moving,
    #[error("an earlier change is still running there")]
    Busy,
    #[error("it has no machine-id yet")]
    NoMachineId,
    #[error("the session is not root's but that of user {0}: log in as root, or let the user use `sudo`")]
    NotRoot(String),
    #[error("it lacks {0}: install what brings it")]
    NoTools(String),
    #[error("`{path}` cannot be looked at: {why}")]
    Path { path: String, why: String },
    #[error("dpkg-query ended with status {0}")]
    Dpkg(String),
    #[error("systemctl ended with status {0}: does systemd run there?")]
    Systemd(String),
    #[error("its ledger is not usable: {0}; move `/var/lib/holdfast/ledger` away to begin without one")]
    Ledger(String),
}

impl LookError {
    /// As the engine takes it: what passes by itself, and what needs a person.
    pub(super) fn into_target(self, doing: &str) -> TargetError {
        match self {
            Self::NotRoot(_) | Self::NoTools(_) | Self::Ledger(_) => TargetError::rejected(doing, self),
            _ => TargetError::unavailable(doing, self),
        }
    }
}

impl From<LedgerError> for LookError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error.to_string())
    }
}

fn garbled(what: &str, line: &str) -> LookError {
    LookError::Garbled(format!("{what} in `{}`", shown(line)))
}

/// Reads the answer to a query.
pub(super) fn read(query: &Query, answer: &[u8]) -> Result<Found, LookError> {
    let text = std::str::from_utf8(answer).map_err(|_| LookError::Garbled("it is not UTF-8".to_owned()))?;
    let mut answers = Answers::default();
    answers.take(query, text)?;
    answers.found(query)
}

impl Answers<'_> {
    /// Holds the answer against the query: everything that was asked must be answered, and nothing else.
    fn found(mut self, query: &Query) -> Result<Found, LookError> {
        let id = self.machine;
        if id.len() != 32 || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(LookError::NoMachineId);
        }
        let ledger = match self.ledger.as_slice() {
            [] => None,
            lines => Some(Ledger::read(lines.iter().copied())?),
        };
        let ledger_sha256 = ledger.as_ref().map(|_| {
            let text = self.ledger.iter().fold(String::new(), |text, line| text + line + "\n");
            hex(&Sha256::digest(text.as_bytes()))
        });
        let (paths, units) = self.asked(query)?;
        let services = self.match_units(query, &units)?;
        let paths = self.match_paths(paths)?;
        let packages = self.match_packages(query)?;
        let (mark, entries) = match ledger {
            // What was copied with a disk image says nothing about this machine.
            Some(ledger) if ledger.mark.object == id => (Some(ledger.mark), ledger.entries),
            Some(ledger) => (Some(ledger.mark), BTreeMap::new()),
            None => (None, BTreeMap::new()),
        };
        let state = HostState {
            machine_id: id.to_owned(),
            hostname: shown(self.host),
            ledger_sha256,
            ledger: entries,
            paths,
            packages,
            services,
        };
        Ok(Found { state, mark })
    }

    /// All that had to be answered: by the query, and by the ledger where the query does not name it.
    fn asked(&self, query: &Query) -> Result<(Vec<Asked>, BTreeMap<usize, UnitName>), LookError> {
        let mut paths = Vec::new();
        for (number, path) in query.directories.iter().chain(&query.files).enumerate() {
            let hashed = number >= query.directories.len();
            paths.push(Asked { number, path: path.clone(), hashed });
        }
        let mut units: BTreeMap<usize, UnitName> = query.units.iter().cloned().enumerate().collect();
        for (index, line) in self.ledger.iter().skip(2).enumerate() {
            let key = line.split('\t').next().unwrap_or_default().to_owned();
            let number = LEDGER_BASE + index;
            match Part::try_from(key).map_err(LookError::Ledger)? {
                Part::File(path) if !query.files.contains(&path) => {
                    paths.push(Asked { number, path, hashed: true });
                }
                Part::Directory(path) if !query.directories.contains(&path) => {
                    paths.push(Asked { number, path, hashed: false });
                }
                Part::Service(unit) if !query.units.contains(&unit) => drop(units.insert(number, unit)),
                _ => {}
            }
        }
        Ok((paths, units))
    }

    fn match_paths(&mut self, asked: Vec<Asked>) -> Result<BTreeMap<AbsolutePath, Option<Node>>, LookError> {
        let mut paths = BTreeMap::new();
        for Asked { number, path, hashed } in asked {
            let node = self.nodes.remove(&number).ok_or(LookError::Moving)?;
            let unhashed = |node: &Node| hashed && node.kind == NodeType::File && node.sha256.is_none();
            if node.as_ref().is_some_and(unhashed) {
                return Err(LookError::Moving);
            }
            // A path that changed from directory to file is asked about as both; the hash is worth more.
            let old = paths.remove(&path).flatten();
            paths.insert(path, if hashed { node.or(old) } else { old.or(node) });
        }
        match self.nodes.keys().next() {
            None => Ok(paths),
            Some(number) => Err(LookError::Garbled(format!("number {number} was not asked for"))),
        }
    }

    fn match_packages(&mut self, query: &Query) -> Result<BTreeMap<PackageName, Option<Package>>, LookError> {
        if !query.packages.is_empty() && !self.packages_told {
            return Err(LookError::CutOff);
        }
        let mut packages = BTreeMap::new();
        for name in &query.packages {
            packages.insert(name.clone(), self.packages.remove(name));
        }
        Ok(packages)
    }

    fn match_units(
        &mut self,
        query: &Query,
        asked: &BTreeMap<usize, UnitName>,
    ) -> Result<BTreeMap<UnitName, Unit>, LookError> {
        let mut services = BTreeMap::new();
        for (number, name) in asked {
            let unit = self.units.remove(number).ok_or(LookError::CutOff)?;
            services.insert(name.clone(), unit);
        }
        debug_assert!(services.len() >= query.units.len());
        if self.units.is_empty() { Ok(services) } else { Err(garbled("a unit that was not asked for", "")) }
    }
}

/// A path that must be answered, by its number.
struct Asked {
    number: usize,
    path: AbsolutePath,
    hashed: bool,
}
