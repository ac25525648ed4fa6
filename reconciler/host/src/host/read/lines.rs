//! The lines of an answer, one by one: each is exactly as the script writes it, or the answer is none.

use std::collections::BTreeMap;

use super::{LookError, garbled};
use crate::host::ledger::is_hash;
use crate::host::mode::Mode;
use crate::host::names::{PackageName, shown};
use crate::host::probe::{LEDGER_BASE, Query};
use crate::host::state::{Node, NodeType, Package, Unit};

/// What stands in an answer, before it is held against the query.
#[derive(Default)]
pub(super) struct Answers<'a> {
    pub(super) machine: &'a str,
    pub(super) host: &'a str,
    pub(super) ledger: Vec<&'a str>,
    pub(super) nodes: BTreeMap<usize, Option<Node>>,
    pub(super) packages: BTreeMap<PackageName, Package>,
    pub(super) packages_told: bool,
    pub(super) units: BTreeMap<usize, Unit>,
}

impl<'a> Answers<'a> {
    pub(super) fn take(&mut self, query: &Query, text: &'a str) -> Result<(), LookError> {
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
pub(super) fn unix_time(text: &str) -> Option<i64> {
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
