//! The mirror on disk: one bare repository, replaced as a whole where it must be.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use gix::{ObjectId, Repository};
use holdfast_core::ident::EnvironmentName;

use crate::failure::{Failure, one_line};

/// Where the kept commits are named, one reference an environment.
pub(crate) const KEPT: &str = "refs/holdfast/";

/// The most memory that one object may take while it is read, in bytes.
const MAX_OBJECT: usize = 256 << 20;

/// The folder that holds the mirror, and for a moment its successor or predecessor.
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    /// Creates the folder where it is missing, and ends what a crash left half done.
    pub(crate) fn new(root: &Path) -> std::io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let store = Self { root: root.to_owned() };
        if !store.current().exists() && store.old().exists() {
            std::fs::rename(store.old(), store.current())?;
        }
        remove_all(&store.old())?;
        remove_all(&store.next())?;
        remove_all(&store.private())?;
        Ok(store)
    }

    pub(crate) fn current(&self) -> PathBuf {
        self.root.join("mirror.git")
    }

    /// Where a fresh clone grows.
    pub(crate) fn next(&self) -> PathBuf {
        self.root.join("mirror.next")
    }

    fn old(&self) -> PathBuf {
        self.root.join("mirror.old")
    }

    /// Where the ssh key is while a fetch lasts.
    pub(crate) fn private(&self) -> PathBuf {
        self.root.join("ssh")
    }

    /// Puts the fresh clone in the mirror's place. A crash between the two renames is mended by [`Store::new`].
    pub(crate) fn swap(&self) -> std::io::Result<()> {
        remove_all(&self.old())?;
        if self.current().exists() {
            std::fs::rename(self.current(), self.old())?;
        }
        std::fs::rename(self.next(), self.current())?;
        remove_all(&self.old())
    }
}

/// Removes a folder that may not be there.
pub(crate) fn remove_all(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Nothing of the host's git configuration or environment is read.
fn options() -> gix::open::Options {
    gix::open::Options::isolated().open_path_as_is(true).config_overrides([
        "user.name=holdfast".to_owned(),
        "user.email=holdfast@localhost".to_owned(),
        format!("gitoxide.objects.allocLimit={MAX_OBJECT}"),
    ])
}

pub(crate) fn open(path: &Path) -> Result<Repository, Failure> {
    gix::open_opts(path, options()).map_err(|error| Failure::Mirror(one_line(&error)))
}

pub(crate) fn open_or_create(path: &Path) -> Result<Repository, Failure> {
    if path.exists() {
        return open(path);
    }
    let kind = gix::create::Kind::Bare;
    gix::ThreadSafeRepository::init_opts(path, kind, gix::create::Options::default(), options())
        .map(|repository| repository.to_thread_local())
        .map_err(|error| Failure::Mirror(one_line(&error)))
}

/// How many packs it holds: gix adds one a fetch and never joins them.
pub(crate) fn packs(repository: &Repository) -> usize {
    let folder = repository.objects.store_ref().path().join("pack");
    std::fs::read_dir(folder).map_or(0, |entries| {
        entries
            .filter(|entry| entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().ends_with(".pack")))
            .count()
    })
}

/// What was kept, read file by file: it must be known even of a mirror that cannot be opened any more.
pub(crate) fn kept_by_hand(path: &Path) -> BTreeMap<EnvironmentName, ObjectId> {
    let mut kept = BTreeMap::new();
    let mut add = |name: &str, id: &str| {
        if let (Ok(name), Ok(id)) = (EnvironmentName::new(name), ObjectId::from_hex(id.trim().as_bytes())) {
            kept.insert(name, id);
        }
    };
    // Packed references first, since a loose one is the newer of the two.
    let packed = std::fs::read_to_string(path.join("packed-refs")).unwrap_or_default();
    for (id, name) in packed.lines().filter_map(|line| line.split_once(' ')) {
        if let Some(name) = name.strip_prefix(KEPT) {
            add(name, id);
        }
    }
    for entry in std::fs::read_dir(path.join(KEPT)).into_iter().flatten().flatten() {
        if let Ok(id) = std::fs::read_to_string(entry.path()) {
            add(&entry.file_name().to_string_lossy(), &id);
        }
    }
    kept
}
