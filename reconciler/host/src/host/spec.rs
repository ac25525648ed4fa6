//! What a manifest asks of a host.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use holdfast_core::reference::OrRef;
use holdfast_core::text::{Piece, Text};
use russh::keys::PublicKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mode::Mode;
use super::names::{AbsolutePath, Account, PackageName, UnitName, shown};

/// More parts than this make a host that nobody can read; it also bounds the scripts.
const MAX_PARTS: usize = 1000;
/// What all files of a host together may hold, in bytes; secrets not counted.
const MAX_CONTENT: usize = 4 << 20;

/// What a manifest asks of a host, checked as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Manifest", into = "Manifest")]
pub struct HostSpec(Manifest);

/// The fields of a host's manifest, each checked by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Host")]
pub struct Manifest {
    /// How the host is reached.
    pub connection: Connection,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<Directory>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Debian packages that are present. They are never upgraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
}

/// Where a host is, and by what it is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// A name or an address, or a reference to a guest's `address`.
    pub address: OrRef<String>,
    /// The host's public key, `ssh-ed25519 AAAA…`, or a reference to a guest's `hostKey`. A key that is not
    /// this one is refused.
    pub host_key: OrRef<String>,
    /// Who logs in. Whoever is not root needs `sudo` without a password.
    #[serde(default = "root")]
    pub user: Account,
    #[serde(default = "ssh_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
}

/// A directory, without anything about what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    pub path: AbsolutePath,
    #[serde(default = "directory_mode")]
    pub mode: Mode,
    #[serde(default = "root")]
    pub owner: Account,
    #[serde(default = "root")]
    pub group: Account,
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub path: AbsolutePath,
    pub content: Text,
    #[serde(default = "file_mode")]
    pub mode: Mode,
    #[serde(default = "root")]
    pub owner: Account,
    #[serde(default = "root")]
    pub group: Account,
}

/// A systemd unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    pub name: UnitName,
    /// Whether it starts at boot.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether it runs now.
    #[serde(default = "yes")]
    pub running: bool,
    /// Files of this host; when the content of one changes, the unit is restarted. Its own unit file and
    /// drop-ins need not be named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart_on: Vec<AbsolutePath>,
}

fn root() -> Account {
    Account::new("root").expect("`root` is a name")
}

fn ssh_port() -> u16 {
    22
}

fn directory_mode() -> Mode {
    Mode::from_bits(0o755)
}

fn file_mode() -> Mode {
    Mode::from_bits(0o644)
}

fn yes() -> bool {
    true
}

/// Why a host's manifest does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("`{0}` is declared twice")]
    Twice(String),
    #[error("`{inner}` cannot be in `{file}`, which is declared as a file")]
    InsideFile { file: AbsolutePath, inner: AbsolutePath },
    #[error(
        "`restartOn` of `{unit}` names `{path}`, which is none of this host's `files`: declare it there, or drop it"
    )]
    UnknownInput { unit: UnitName, path: AbsolutePath },
    #[error("the content of `{0}` holds a NUL character, which no text file does")]
    Nul(AbsolutePath),
    #[error("the files of a host hold at most {} MiB together", MAX_CONTENT >> 20)]
    TooMuch,
    #[error("a host has at most {MAX_PARTS} parts: split what it does, or ship it as a package")]
    TooMany,
    #[error("`connection.hostKey` is not a public key in OpenSSH's form, such as `ssh-ed25519 AAAA…`: {0}")]
    HostKey(String),
    #[error("`connection.address` is `{0}`, but a host name or an address is needed")]
    Address(String),
    #[error("`connection.port` cannot be 0")]
    Port,
}

impl TryFrom<Manifest> for HostSpec {
    type Error = SpecError;

    fn try_from(manifest: Manifest) -> Result<Self, SpecError> {
        check_connection(&manifest.connection)?;
        let parts = manifest.directories.len()
            + manifest.files.len()
            + manifest.packages.len()
            + manifest.services.len();
        if parts > MAX_PARTS {
            return Err(SpecError::TooMany);
        }
        check_paths(&manifest)?;
        check_contents(&manifest.files)?;
        once(manifest.packages.iter().map(PackageName::as_str))?;
        once(manifest.services.iter().map(|service| service.name.as_str()))?;
        for service in &manifest.services {
            once(service.restart_on.iter().map(AbsolutePath::as_str))?;
            let known = |path: &&AbsolutePath| manifest.files.iter().any(|file| file.path == **path);
            if let Some(path) = service.restart_on.iter().find(|path| !known(path)) {
                return Err(SpecError::UnknownInput { unit: service.name.clone(), path: path.clone() });
            }
        }
        Ok(Self(manifest))
    }
}

impl From<HostSpec> for Manifest {
    fn from(spec: HostSpec) -> Self {
        spec.0
    }
}

impl Deref for HostSpec {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.0
    }
}

fn once<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), SpecError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(SpecError::Twice(name.to_owned()));
        }
    }
    Ok(())
}

fn check_connection(connection: &Connection) -> Result<(), SpecError> {
    if let Some(key) = connection.host_key.value() {
        read_host_key(key).map_err(SpecError::HostKey)?;
    }
    if let Some(address) = connection.address.value() {
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '[' | ']');
        if address.is_empty() || address.len() > 253 || address.starts_with('-') || address.contains(odd) {
            return Err(SpecError::Address(shown(address)));
        }
    }
    if connection.port == 0 { Err(SpecError::Port) } else { Ok(()) }
}

/// Reads a pinned host key.
///
/// # Errors
/// Why it is none that a host can be recognised by.
pub(super) fn read_host_key(text: &str) -> Result<PublicKey, String> {
    let key = PublicKey::from_openssh(text.trim()).map_err(|error| error.to_string())?;
    if key.algorithm().is_rsa() || key.algorithm().is_dsa() {
        return Err(format!("{} keys are not supported, pin the ed25519 one", key.algorithm()));
    }
    Ok(key)
}

/// Every path once, and none below a file.
fn check_paths(manifest: &Manifest) -> Result<(), SpecError> {
    let mut paths: BTreeMap<&AbsolutePath, bool> = BTreeMap::new();
    let directories = manifest.directories.iter().map(|directory| (&directory.path, false));
    let files = manifest.files.iter().map(|file| (&file.path, true));
    for (path, is_file) in directories.chain(files) {
        if paths.insert(path, is_file).is_some() {
            return Err(SpecError::Twice(path.to_string()));
        }
    }
    let declared_file = |path: &str| {
        AbsolutePath::new(path).ok().filter(|path| paths.get(path).is_some_and(|is_file| *is_file))
    };
    for path in paths.keys() {
        let mut above = path.parent();
        while above.len() > 1 {
            if let Some(file) = declared_file(above) {
                return Err(SpecError::InsideFile { file, inner: (*path).clone() });
            }
            above = above.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
    Ok(())
}

fn check_contents(files: &[File]) -> Result<(), SpecError> {
    let mut total = 0;
    for file in files {
        let literals: Vec<&str> = match &file.content {
            Text::Plain(text) => vec![text],
            Text::Secret(_) => Vec::new(),
            Text::Pieces { pieces } => pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Plain(text) => Some(text.as_str()),
                    Piece::Secret(_) => None,
                })
                .collect(),
        };
        if literals.iter().any(|text| text.contains('\0')) {
            return Err(SpecError::Nul(file.path.clone()));
        }
        total += literals.iter().map(|text| text.len()).sum::<usize>();
    }
    if total > MAX_CONTENT { Err(SpecError::TooMuch) } else { Ok(()) }
}
