//! The files of a commit that can matter, read from the object database within budgets.

use gix::objs::{Kind, TreeRefIter, tree::EntryKind};
use gix::{ObjectId, Repository};
use holdfast_core::ident::CommitId;
use holdfast_core::manifest::Tree;
use holdfast_core::manifest::tree::{FOLDERS, MAX_COMMIT, MAX_FILE, MAX_FILES, matters};

use crate::read::{ReadError, find};

/// The deepest folder that is entered.
const MAX_DEPTH: usize = 32;
/// The most entries that are looked at, read or not: trees can repeat themselves without end.
const MAX_ENTRIES: usize = 4 * MAX_FILES;

/// Reads a commit. Over a budget it is refused as a whole; a single entry that cannot be read is only noted.
pub(crate) fn read(repository: &Repository, commit: &CommitId) -> Result<Tree, ReadError> {
    let id = find(repository, commit)?;
    let object = load(repository, id, Kind::Commit, MAX_COMMIT)?;
    let root = gix::objs::CommitRefIter::from_bytes(&object, gix::hash::Kind::Sha1)
        .tree_id()
        .map_err(|error| malformed("the commit", id, Kind::Commit, &object, error))?;
    let mut reader = Reader { repository, tree: Tree::default(), bytes: 0, entries: 0 };
    reader.folder("", root, 0)?;
    Ok(reader.tree)
}

struct Reader<'a> {
    repository: &'a Repository,
    tree: Tree,
    bytes: usize,
    entries: usize,
}

impl Reader<'_> {
    /// Reads a folder; `prefix` is its path with a slash at the end, empty for the root.
    fn folder(&mut self, prefix: &str, id: ObjectId, depth: usize) -> Result<(), ReadError> {
        let data = load(self.repository, id, Kind::Tree, MAX_COMMIT)?;
        for entry in TreeRefIter::from_bytes(&data, gix::hash::Kind::Sha1) {
            let place = if prefix.is_empty() { "the root folder" } else { prefix };
            let entry = entry.map_err(|error| malformed(place, id, Kind::Tree, &data, error))?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(too_much(&format!("{MAX_ENTRIES} files and folders are looked at")));
            }
            let name = String::from_utf8_lossy(entry.filename);
            let kind = entry.mode.kind();
            if prefix.is_empty() && !matters(&name) {
                continue;
            }
            let path = format!("{prefix}{name}");
            if self.tree.files.contains_key(&path) || self.tree.refused.contains_key(&path) {
                return Err(ReadError::Refused(format!(
                    "`{path}` stands twice in the commit: repair it with `git fsck`"
                )));
            }
            match refusal(entry.filename, kind, depth) {
                Some(why) => self.refuse(path, why),
                None if kind == EntryKind::Tree => {
                    self.folder(&format!("{path}/"), entry.oid.to_owned(), depth + 1)?;
                }
                None => self.file(path, entry.oid.to_owned())?,
            }
        }
        Ok(())
    }

    fn file(&mut self, path: String, id: ObjectId) -> Result<(), ReadError> {
        let size = self.repository.find_header(id).map_err(ReadError::damaged)?.size();
        if size > MAX_FILE as u64 {
            self.refuse(path, &format!("it is larger than {} MiB", MAX_FILE >> 20));
            return Ok(());
        }
        let data = load(self.repository, id, Kind::Blob, MAX_FILE)?;
        self.bytes += data.len();
        if self.bytes > MAX_COMMIT {
            return Err(too_much(&format!("{} MiB are read", MAX_COMMIT >> 20)));
        }
        if self.tree.files.len() == MAX_FILES {
            return Err(too_much(&format!("{MAX_FILES} files are read")));
        }
        self.tree.files.insert(path, data);
        Ok(())
    }

    fn refuse(&mut self, path: String, why: &str) {
        self.tree.refused.insert(path, why.to_owned());
    }
}

/// Why an entry is not read.
fn refusal(name: &[u8], kind: EntryKind, depth: usize) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(name) else { return Some("its name is not UTF-8") };
    if matches!(text, "" | "." | "..")
        || text.eq_ignore_ascii_case(".git")
        || text.contains(['/', '\\', '\0'])
    {
        return Some("its name is no name of a file");
    }
    match kind {
        EntryKind::Link => Some("it is a symbolic link, and links are not followed"),
        EntryKind::Commit => Some("it is a submodule, and submodules are not read"),
        EntryKind::Tree if depth + 1 >= MAX_DEPTH => Some("it lies too deep below the root"),
        EntryKind::Tree | EntryKind::Blob | EntryKind::BlobExecutable => None,
    }
}

fn too_much(limit: &str) -> ReadError {
    let folders = FOLDERS.map(|folder| format!("`{folder}/`")).join(", ");
    ReadError::Refused(format!(
        "the commit is too large: at most {limit} below {folders}; move what is not a manifest elsewhere"
    ))
}

/// An object's bytes. Its size is known before it is unpacked.
fn load(repository: &Repository, id: ObjectId, kind: Kind, limit: usize) -> Result<Vec<u8>, ReadError> {
    let header = repository.find_header(id).map_err(ReadError::damaged)?;
    if header.kind() != kind {
        return Err(ReadError::Refused(format!(
            "the object {id} should be a {kind} and is a {}",
            header.kind()
        )));
    }
    if header.size() > limit as u64 {
        return Err(ReadError::Refused(format!("the {kind} {id} is larger than {} MiB", limit >> 20)));
    }
    Ok(repository.find_object(id).map_err(ReadError::damaged)?.detach().data)
}

/// Bytes that cannot be read are the commit's own fault where they are those that the id names.
fn malformed(place: &str, id: ObjectId, kind: Kind, data: &[u8], error: impl Into<gix::Error>) -> ReadError {
    let why = crate::failure::one_line(&error.into());
    match gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, data) {
        Ok(hash) if hash == id => ReadError::Refused(format!(
            "{place} is malformed in the commit itself: repair it with `git fsck` ({why})"
        )),
        _ => ReadError::Damaged(why),
    }
}
