//! The pure, strict reader of what a host answers to a look. Every byte may be hostile.

use std::collections::BTreeMap;

use holdfast_core::kind::TargetError;
use holdfast_core::mark::Mark;
use holdfast_core::text::hex;
use sha2::{Digest as _, Sha256};

use super::ledger::{Ledger, LedgerError, Part, is_hash};
use super::names::{AbsolutePath, Mode, PackageName, UnitName, shown};
use super::probe::{LEDGER_BASE, Query};
use super::state::{HostState, Node, NodeType, Package, Unit};

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

/// What stands in an answer, before it is held against the query.
#[derive(Default)]
struct Answers<'a> {
    machine: &'a str,
    host: &'a str,
    ledger: Vec<&'a str>,
    nodes: BTreeMap<usize, Option<Node>>,
    packages: BTreeMap<PackageName, Package>,
    packages_told: bool,
    units: BTreeMap<usize, Unit>,
}

impl<'a> Answers<'a> {
    fn take(&mut self, query: &Query, text: &'a str) -> Result<(), LookError> {
        let mut lines = text.split('\n');
        match lines.next() {
            Some("holdfast look 1") => {}
            Some("") | None => return Err(LookError::CutOff),
            Some(line) => return Err(garbled("an unknown beginning", line)),
        }
        loop {
            let line = lines.next().ok_or(LookError::CutOff)?;
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "machine" => self.machine = rest,
                "host" => self.host = rest,
                "L" => self.ledger.push(rest),
                "A" => self.node(number(rest)?, None)?,
                "D" => self.entries(rest)?,
                "S" => {
                    for number in numbers(rest)? {
                        let line = lines.next().ok_or(LookError::CutOff)?;
                        self.node(number, Some(node(line)?))?;
                    }
                }
                "F" => {
                    for number in numbers(rest)? {
                        self.hash(number, lines.next().ok_or(LookError::CutOff)?)?;
                    }
                }
                "P" => self.package(rest)?,
                "K" if matches!(rest, "0" | "1") => self.packages_told = true,
                "K" => return Err(LookError::Dpkg(shown(rest))),
                "U" => self.unit_blocks(numbers(rest)?, &mut lines)?,
                "X" => return Err(self.refusal(query, rest)),
                "end" if number(rest)? == self.nodes.len() && lines.next() == Some("") => {
                    return if lines.next().is_none() { Ok(()) } else { Err(garbled("more", line)) };
                }
                "end" => return Err(LookError::Moving),
                _ => return Err(garbled("an unknown word", line)),
            }
        }
    }

    fn node(&mut self, number: usize, node: Option<Node>) -> Result<(), LookError> {
        match self.nodes.insert(number, node) {
            None => Ok(()),
            Some(_) => Err(LookError::Garbled(format!("number {number} is answered twice"))),
        }
    }

    fn entries(&mut self, rest: &str) -> Result<(), LookError> {
        let (at, count) = rest.split_once(' ').ok_or_else(|| garbled("a count is missing", rest))?;
        let count = count.trim().parse().map_err(|_| garbled("a count is no number", rest))?;
        match self.nodes.get_mut(&number(at)?) {
            Some(Some(node)) => node.entries = Some(count),
            _ => return Err(garbled("a count of nothing", rest)),
        }
        Ok(())
    }

    /// A line of sha256sum: a backslash where it escaped the name, the digits, the name.
    fn hash(&mut self, number: usize, line: &str) -> Result<(), LookError> {
        let line = line.strip_prefix('\\').unwrap_or(line);
        let digits = line.split(' ').next().unwrap_or_default();
        if !is_hash(digits) {
            return Err(LookError::Moving);
        }
        match self.nodes.get_mut(&number) {
            Some(Some(node)) if node.kind == NodeType::File => node.sha256 = Some(digits.to_owned()),
            _ => return Err(LookError::Moving),
        }
        Ok(())
    }

    /// `curl ii  7.88.1`; the version is missing where nothing is installed.
    fn package(&mut self, rest: &str) -> Result<(), LookError> {
        let fields: Vec<&str> = rest.split(' ').filter(|field| !field.is_empty()).collect();
        let (name, status, version) = match fields.as_slice() {
            [name, status] => (*name, *status, ""),
            [name, status, version] => (*name, *status, *version),
            _ => return Err(garbled("no package", rest)),
        };
        let name = PackageName::new(name).map_err(|_| garbled("no package's name", rest))?;
        let fits = (2..=3).contains(&status.len()) && status.bytes().all(|b| b.is_ascii_alphabetic());
        if !fits || version.len() > 256 {
            return Err(garbled("no package's status", rest));
        }
        let package = Package { status: status.to_owned(), version: shown(version) };
        // On a machine of several architectures one of them is enough.
        let known = self.packages.entry(name).or_insert_with(|| package.clone());
        if !known.is_installed() {
            *known = package;
        }
        Ok(())
    }

    /// The blocks of `systemctl show`, in the order in which the units were named.
    fn unit_blocks(
        &mut self,
        numbers: Vec<usize>,
        lines: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), LookError> {
        let mut blocks: Vec<BTreeMap<&str, &str>> = vec![BTreeMap::new()];
        loop {
            let line = lines.next().ok_or(LookError::CutOff)?;
            if let Some(status) = line.strip_prefix("V ") {
                if status != "0" {
                    return Err(LookError::Systemd(shown(status)));
                }
                break;
            }
            if line.is_empty() {
                blocks.push(BTreeMap::new());
            } else {
                let (key, value) = line.split_once('=').ok_or_else(|| garbled("no property", line))?;
                blocks.last_mut().expect("there is always one").insert(key, value);
            }
        }
        blocks.retain(|block| !block.is_empty());
        if blocks.len() != numbers.len() {
            return Err(LookError::Garbled("systemctl told of another number of units".to_owned()));
        }
        for (number, block) in numbers.into_iter().zip(blocks) {
            if self.units.insert(number, unit(&block)?).is_some() {
                return Err(LookError::Garbled(format!("unit {number} is answered twice")));
            }
        }
        Ok(())
    }

    /// What the script could not tell.
    fn refusal(&self, query: &Query, rest: &str) -> LookError {
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "tools" => LookError::NoTools(shown(rest)),
            "root" => LookError::NotRoot(shown(rest)),
            "busy" => LookError::Busy,
            "ledger" => LookError::Ledger(shown(rest)),
            "path" => {
                let (at, why) = rest.split_once(' ').unwrap_or((rest, ""));
                let path = match at.parse::<usize>() {
                    Ok(at) if at < LEDGER_BASE => query.path(at).map(ToString::to_string),
                    Ok(at) => self.ledger.get(at - LEDGER_BASE + 2).map(|line| shown(line)),
                    Err(_) => None,
                };
                LookError::Path { path: path.unwrap_or_default(), why: shown(why) }
            }
            _ => garbled("an unknown reason", rest),
        }
    }

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

fn number(text: &str) -> Result<usize, LookError> {
    text.parse().map_err(|_| garbled("no number", text))
}

/// At most as many as a ledger has lines.
fn numbers(text: &str) -> Result<Vec<usize>, LookError> {
    text.split(' ').filter(|text| !text.is_empty()).map(number).collect()
}

/// `N <mode in hexadecimal digits> <uid> <gid> <size> <mtime> <user> <group>`, from `stat`.
fn node(line: &str) -> Result<Node, LookError> {
    let fields: Vec<&str> = line.split(' ').collect();
    let ["N", mode, uid, gid, size, modified, owner, group] = fields.as_slice() else {
        return Err(LookError::Moving);
    };
    let odd = |_| garbled("no number", line);
    let bits = u32::from_str_radix(mode, 16).map_err(odd)?;
    let kind = match bits & 0o170_000 {
        0o100_000 => NodeType::File,
        0o040_000 => NodeType::Directory,
        0o120_000 => NodeType::Symlink,
        _ => NodeType::Other,
    };
    Ok(Node {
        kind,
        mode: Mode::from_bits(bits),
        owner: shown(owner),
        uid: uid.parse().map_err(odd)?,
        group: shown(group),
        gid: gid.parse().map_err(odd)?,
        size: size.parse().map_err(odd)?,
        modified: modified.parse().map_err(odd)?,
        sha256: None,
        entries: None,
    })
}

fn unit(block: &BTreeMap<&str, &str>) -> Result<Unit, LookError> {
    let word = |key: &str| {
        let value = block.get(key).ok_or_else(|| garbled("a property is missing", key))?;
        let fits = value.len() <= 64 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok((*value).to_owned()) } else { Err(garbled("no state", value)) }
    };
    Ok(Unit {
        load: word("LoadState")?,
        active: word("ActiveState")?,
        sub: word("SubState")?,
        file_state: word("UnitFileState")?,
        needs_reload: block.get("NeedDaemonReload") == Some(&"yes"),
        since: block.get("ActiveEnterTimestamp").and_then(|text| unix_time(text)),
    })
}

/// `Mon 2026-11-23 10:11:12 UTC`, as systemctl writes it, in seconds since 1970.
fn unix_time(text: &str) -> Option<i64> {
    let fields: Vec<&str> = text.split(' ').collect();
    let [_, date, time, "UTC"] = fields.as_slice() else { return None };
    let split = |text: &str, by: char| -> Option<[i64; 3]> {
        let parts: Vec<i64> = text.split(by).map(str::parse).collect::<Result<_, _>>().ok()?;
        parts.try_into().ok()
    };
    let [year, month, day] = split(date, '-')?;
    let [hour, minute, second] = split(time, ':')?;
    let fits = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !fits || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    // Days from a year that begins in March, so that a leap day is the last of its year.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";
    const SHA: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn query() -> Query {
        let path = |path: &str| AbsolutePath::new(path).unwrap();
        Query {
            directories: vec![path("/srv/web")],
            files: vec![path("/etc/a"), path("/etc/b")],
            packages: vec![PackageName::new("curl").unwrap(), PackageName::new("jq").unwrap()],
            units: vec![UnitName::new("web.service").unwrap()],
        }
    }

    fn answer() -> String {
        format!(
            "holdfast look 1\nmachine {ID}\nhost nas\n\
             L holdfast ledger 1\nL mark home/core/Host/nas@{ID}\n\
             L file /etc/a\tcreated\t{SHA}\t{SHA}\t-\t-\nL file /etc/old\tcreated\t{SHA}\t{SHA}\t-\t-\n\
             L directory /srv/old\tcreated\t-\t-\t-\t-\nL service old.service\texisted\t-\t-\t-\t-\n\
             S 0\nN 41ed 0 0 4096 1700000000 root root\n\
             A 2\nS 1\nN 81a4 33 33 0 1700000000 www-data www-data\nF 1\n{SHA}  /etc/a\n\
             S 100001\nN 81a4 0 0 0 1700000000 root root\nF 100001\n\\{SHA}  /etc/o\\\\ld\n\
             S 100002\nN 41ed 0 0 4096 1700000000 root root\nD 100002      3\n\
             P curl ii  7.88.1-10\nK 1\n\
             U 0 100003\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n\
             NeedDaemonReload=no\nActiveEnterTimestamp=Mon 2026-11-23 10:11:12 UTC\nId=web.service\n\n\
             LoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\nNeedDaemonReload=no\n\
             ActiveEnterTimestamp=\nId=old.service\nV 0\nend 5\n"
        )
    }

    fn why(answer: &str) -> String {
        read(&query(), answer.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_answer_is_read() {
        let Found { state, mark } = read(&query(), answer().as_bytes()).unwrap();
        assert_eq!(mark.unwrap().to_string(), format!("home/core/Host/nas@{ID}"));
        assert_eq!((state.machine_id.as_str(), state.hostname.as_str()), (ID, "nas"));
        let at = |path: &str| state.paths[&AbsolutePath::new(path).unwrap()].clone();
        assert_eq!(at("/etc/b"), None);
        let a = at("/etc/a").unwrap();
        assert_eq!((a.kind, a.owner.as_str(), a.sha256.as_deref()), (NodeType::File, "www-data", Some(SHA)));
        assert_eq!(at("/etc/old").unwrap().sha256.as_deref(), Some(SHA));
        assert_eq!(at("/srv/old").unwrap().entries, Some(3));
        assert!(state.packages[&PackageName::new("curl").unwrap()].as_ref().unwrap().is_installed());
        assert_eq!(state.packages[&PackageName::new("jq").unwrap()], None);
        let web = &state.services[&UnitName::new("web.service").unwrap()];
        assert_eq!((web.active.as_str(), web.since), ("active", Some(1_795_428_672)));
        assert_eq!(state.services[&UnitName::new("old.service").unwrap()].load, "not-found");
        assert_eq!(state.ledger.len(), 4);
    }

    #[test]
    fn an_answer_that_was_cut_off_anywhere_is_none() {
        let answer = answer();
        for end in 0..answer.len() {
            let error = read(&query(), &answer.as_bytes()[..end]);
            assert!(error.is_err(), "the first {end} bytes were taken for all");
        }
    }

    #[test]
    fn what_was_not_answered_is_unknown_and_not_absent() {
        assert_eq!(
            why(&answer().replace("A 2\n", "").replace("end 5", "end 4")),
            LookError::Moving.to_string()
        );
        assert_eq!(why(&answer().replace("end 5", "end 6")), LookError::Moving.to_string());
        assert_eq!(why(&answer().replace("K 1\n", "")), LookError::CutOff.to_string());
        assert_eq!(why(&answer().replace("K 1", "K 2")), "dpkg-query ended with status 2");
        let no_hash = answer().replace(&format!("F 1\n{SHA}  /etc/a\n"), "");
        assert_eq!(why(&no_hash), LookError::Moving.to_string());
        assert_eq!(
            why(&answer().replace("V 0", "V 1")),
            "systemctl ended with status 1: does systemd run there?"
        );
        assert_eq!(why(&answer().replace(&format!("machine {ID}"), "machine ")), "it has no machine-id yet");
    }

    #[test]
    fn what_was_not_asked_or_comes_twice_is_refused() {
        assert!(why(&answer().replace("A 2\n", "A 2\nA 2\n")).contains("answered twice"));
        let more = answer().replace("A 2\n", "A 2\nA 7\n").replace("end 5", "end 6");
        assert!(why(&more).contains("number 7 was not asked for"));
        assert!(why(&format!("{}A 3\n", answer())).contains("something changed"));
        assert!(why(&answer().replace("A 2\n", "A 2\nZ \u{1b}[2J\n")).contains("`Z \u{fffd}[2J`"));
    }

    #[test]
    fn what_the_script_cannot_tell_is_said_with_who_must_act() {
        let target = |line: &str| {
            let answer = format!("holdfast look 1\n{line}\n");
            read(&query(), answer.as_bytes()).unwrap_err().into_target("looking at nas")
        };
        assert!(target("X busy").is_unavailable());
        assert!(target("X path 1 stat: cannot stat: Input/output error").to_string().contains("`/etc/a`"));
        let rejected = [
            ("X tools stat flock", "it lacks stat flock"),
            ("X root 1000", "that of user 1000"),
            ("X ledger it is larger than 1 MiB", "its ledger is not usable"),
        ];
        for (line, text) in rejected {
            let error = target(line);
            assert!(!error.is_unavailable() && error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_ledger_of_another_machine_marks_nothing() {
        let copied = answer().replace(&format!("nas@{ID}"), "nas@ffffffffffffffffffffffffffffffff");
        let Found { state, mark } = read(&query(), copied.as_bytes()).unwrap();
        assert!(mark.is_some() && state.ledger.is_empty());
        let broken = answer().replace("\tcreated", "\tmine");
        assert!(why(&broken).starts_with("its ledger is not usable: line 3"));
    }

    #[test]
    fn systemds_times_are_understood() {
        assert_eq!(unix_time("Thu 2024-02-29 00:00:00 UTC"), Some(1_709_164_800));
        assert_eq!(unix_time("Thu 1970-01-01 00:00:00 UTC"), Some(0));
        assert_eq!(unix_time(""), None);
        assert_eq!(unix_time("Thu 2024-13-29 00:00:00 UTC"), None);
        assert_eq!(unix_time("Thu 2024-02-29 00:00:00 CET"), None);
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(read(&query(), &bytes));
        }

        #[test]
        fn nor_does_a_right_one_with_bytes_changed(at in 0_usize..1400, byte: u8, cut in 0_usize..1500) {
            let mut bytes = answer().into_bytes();
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(cut.min(length));
            drop(read(&query(), &bytes));
        }

        #[test]
        fn nor_do_lines_in_any_order(order in proptest::collection::vec(0_usize..40, 0..60)) {
            let answer = answer();
            let lines: Vec<&str> = answer.lines().collect();
            let mixed: Vec<&str> = order.iter().filter_map(|at| lines.get(*at).copied()).collect();
            drop(read(&query(), format!("holdfast look 1\n{}\n", mixed.join("\n")).as_bytes()));
        }
    }
}
