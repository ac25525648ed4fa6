//! The ledger: the file on a host that says whose it is and what of it is ours.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_core::mark::Mark;
use serde::{Deserialize, Serialize};

use super::names::{AbsolutePath, PackageName, UnitName};

/// Where it stands: 0600, in a directory that is 0700 and root's.
pub(super) const DIRECTORY: &str = "/var/lib/holdfast";

/// The first line. Another number is another format.
pub(super) const HEADER: &str = "holdfast ledger 1";

/// A part of a host, as the ledger names it: `file /etc/motd`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Part {
    Directory(AbsolutePath),
    File(AbsolutePath),
    Package(PackageName),
    Service(UnitName),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "directory {path}"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Package(name) => write!(f, "package {name}"),
            Self::Service(name) => write!(f, "service {name}"),
        }
    }
}

impl From<Part> for String {
    fn from(part: Part) -> Self {
        part.to_string()
    }
}

impl TryFrom<String> for Part {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (kind, id) = text.split_once(' ').ok_or("it is not `<kind> <name>`")?;
        let said = |error: super::names::NameError| error.to_string();
        match kind {
            "directory" => AbsolutePath::new(id).map(Self::Directory).map_err(said),
            "file" => AbsolutePath::new(id).map(Self::File).map_err(said),
            "package" => PackageName::new(id).map(Self::Package).map_err(said),
            "service" => UnitName::new(id).map(Self::Service).map_err(said),
            _ => Err("it is of a kind that this version does not know".to_owned()),
        }
    }
}

/// Where a part came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// We made it; nothing was there before.
    Created,
    /// It was there before us, and stays when it leaves the manifest.
    Existed,
    /// We were about to make it, where nothing was. Whether it came to that is seen by looking.
    Intended,
}

impl Origin {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Existed => "existed",
            Self::Intended => "intended",
        }
    }
}

/// What a file holds: what the manifest's text is known by, and the bytes that were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// [`holdfast_core::text::Text::digest`].
    pub digest: String,
    pub sha256: String,
}

/// What the ledger says about one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    pub origin: Origin,
    /// Of a file: what we wrote last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Of a file: what was about to be written when the run ended, or is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Content>,
    /// Of a service: the digest of its inputs when it was last started. Absent: it is owed a start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_with: Option<String>,
}

impl Entry {
    pub fn new(origin: Origin) -> Self {
        Self { origin, content: None, pending: None, started_with: None }
    }

    pub fn service(started_with: Option<String>) -> Self {
        Self { started_with, ..Self::new(Origin::Existed) }
    }

    /// Whether a file with these bytes is what we wrote last.
    pub fn wrote(&self, sha256: &str) -> bool {
        self.contents().any(|content| content.sha256 == sha256)
    }

    /// Whether a file with these bytes is known to hold the text with this digest.
    pub fn holds(&self, digest: &str, sha256: &str) -> bool {
        self.contents().any(|content| content.digest == digest && content.sha256 == sha256)
    }

    fn contents(&self) -> impl Iterator<Item = &Content> {
        self.content.iter().chain(&self.pending)
    }

    /// The line of the ledger, without its newline. Fields are parted by tabs, which no part's name holds.
    pub fn line(&self, part: &Part) -> String {
        let field = |value: Option<&String>| value.map_or("-", String::as_str).to_owned();
        let (content, pending) = (self.content.as_ref(), self.pending.as_ref());
        [
            part.to_string(),
            self.origin.word().to_owned(),
            field(self.started_with.as_ref().or(content.map(|content| &content.digest))),
            field(content.map(|content| &content.sha256)),
            field(pending.map(|content| &content.digest)),
            field(pending.map(|content| &content.sha256)),
        ]
        .join("\t")
    }
}

/// A ledger that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ledger {
    pub mark: Mark,
    pub entries: BTreeMap<Part, Entry>,
}

/// Why a ledger cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LedgerError {
    #[error("it does not begin with `{HEADER}`")]
    Header,
    #[error("its second line is not a mark")]
    Mark,
    #[error("line {line}: {why}")]
    Line { line: usize, why: String },
}

impl Ledger {
    /// Reads the lines of a ledger. Strict: what is not exactly as we write it was not written by us.
    pub(super) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, LedgerError> {
        let mut lines = lines.into_iter();
        if lines.next() != Some(HEADER) {
            return Err(LedgerError::Header);
        }
        let mark = lines
            .next()
            .and_then(|line| line.strip_prefix("mark "))
            .and_then(Mark::parse)
            .ok_or(LedgerError::Mark)?;
        let mut entries = BTreeMap::new();
        for (index, line) in lines.enumerate() {
            let at = |why: String| LedgerError::Line { line: index + 3, why };
            let (part, entry) = read_entry(line).map_err(at)?;
            if entries.insert(part, entry).is_some() {
                return Err(at("it names a part twice".to_owned()));
            }
        }
        Ok(Self { mark, entries })
    }
}

fn read_entry(line: &str) -> Result<(Part, Entry), String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [part, origin, digest, sha256, pending_digest, pending_sha256] = fields.as_slice() else {
        return Err("it does not have six fields".to_owned());
    };
    let part = Part::try_from((*part).to_owned())?;
    let origin = match *origin {
        "created" => Origin::Created,
        "existed" => Origin::Existed,
        "intended" => Origin::Intended,
        _ => return Err("its second field is no origin".to_owned()),
    };
    let digest = hash(digest)?;
    let content = content(digest.clone(), hash(sha256)?)?;
    let pending = content_pair(pending_digest, pending_sha256)?;
    let entry = match part {
        Part::Service(_) => Entry { started_with: digest, ..Entry::new(origin) },
        _ => Entry { origin, content, pending, started_with: None },
    };
    Ok((part, entry))
}

fn content_pair(digest: &str, sha256: &str) -> Result<Option<Content>, String> {
    content(hash(digest)?, hash(sha256)?)
}

fn content(digest: Option<String>, sha256: Option<String>) -> Result<Option<Content>, String> {
    match (digest, sha256) {
        (Some(digest), Some(sha256)) => Ok(Some(Content { digest, sha256 })),
        (None, Some(_)) => Err("a hash stands without its digest".to_owned()),
        (_, None) => Ok(None),
    }
}

fn hash(field: &str) -> Result<Option<String>, String> {
    match field {
        "-" => Ok(None),
        _ if is_hash(field) => Ok(Some(field.to_owned())),
        _ => Err("a field is no hash".to_owned()),
    }
}

/// Whether a text is a SHA-256 in lower-case hexadecimal digits.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Vec<(Part, Entry)> {
        let content = |c: &str| Content { digest: c.repeat(64), sha256: "e".repeat(64) };
        let file = |path: &str| Part::File(AbsolutePath::new(path).unwrap());
        vec![
            (file("/etc/a b"), Entry { content: Some(content("a")), ..Entry::new(Origin::Created) }),
            (file("/etc/c"), Entry { pending: Some(content("b")), ..Entry::new(Origin::Intended) }),
            (
                file("/etc/d"),
                Entry {
                    content: Some(content("a")),
                    pending: Some(content("b")),
                    ..Entry::new(Origin::Existed)
                },
            ),
            (Part::Package(PackageName::new("curl").unwrap()), Entry::new(Origin::Created)),
            (Part::Service(UnitName::new("a.service").unwrap()), Entry::service(Some("c".repeat(64)))),
            (Part::Service(UnitName::new("b.service").unwrap()), Entry::service(None)),
        ]
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut lines = vec![HEADER.to_owned(), "mark home/core/Host/nas@0123".to_owned()];
        lines.extend(sample().iter().map(|(part, entry)| entry.line(part)));
        let ledger = Ledger::read(lines.iter().map(String::as_str)).unwrap();
        assert_eq!(ledger.entries, sample().into_iter().collect());
        assert_eq!(ledger.mark.object, "0123");
    }

    #[test]
    fn what_we_did_not_write_is_refused_with_its_line() {
        let read = |line: &str| Ledger::read([HEADER, "mark home/core/Host/nas@1", line]).unwrap_err();
        let whys: Vec<String> = [
            "file /etc/a\tcreated\t-\t-\t-",
            "socket /run/x\tcreated\t-\t-\t-\t-",
            "file etc\tcreated\t-\t-\t-\t-",
            "file /etc/a\tmine\t-\t-\t-\t-",
            "file /etc/a\tcreated\tzz\t-\t-\t-",
        ]
        .into_iter()
        .map(|line| read(line).to_string())
        .collect();
        assert!(whys.iter().all(|why| why.starts_with("line 3: ")), "{whys:?}");
        assert_eq!(Ledger::read([]), Err(LedgerError::Header));
        assert_eq!(Ledger::read(["holdfast ledger 2"]), Err(LedgerError::Header));
        assert_eq!(Ledger::read([HEADER]), Err(LedgerError::Mark));
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(lines in proptest::collection::vec(".*", 0..6)) {
            let mut all = vec![HEADER, "mark home/core/Host/nas@1"];
            all.extend(lines.iter().map(String::as_str));
            drop(Ledger::read(all));
        }
    }
}
