//! The files of one commit, as bytes: what the repository hands to the pure core.

use std::collections::BTreeMap;

/// Every file of a commit that a manifest may be or refer to, by its path from the repository's root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    pub files: BTreeMap<String, Vec<u8>>,
    /// What stands in the commit and was not read, with the reason: a symlink, a submodule, a file that is
    /// too large. Only a problem where a manifest should be or something refers to it.
    pub refused: BTreeMap<String, String>,
}

/// The one file of the root that is read.
pub const SITE_FILE: &str = "holdfast.yaml";
/// The folders of the root that are read. A repository may hold anything beside them.
pub const FOLDERS: [&str; 4] = ["environments", "files", "modules", "policies"];

/// Whether an entry of the repository's root can matter.
pub fn matters(root_entry: &str) -> bool {
    root_entry == SITE_FILE || FOLDERS.contains(&root_entry)
}

/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;
/// The most that is read of one commit, in bytes.
pub const MAX_COMMIT: usize = 8 << 20;
/// The most files that are read of one commit.
pub const MAX_FILES: usize = 5_000;
