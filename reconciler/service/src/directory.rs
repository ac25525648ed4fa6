//! Reading a working tree from disk as if it were a commit, for `holdfast validate` and `holdfast plan`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use holdfast_core::manifest::Tree;
use holdfast_core::manifest::tree::{MAX_COMMIT, MAX_FILE, MAX_FILES, matters};

/// Why a folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("reading {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} holds more than {MAX_FILES} files or {} MiB; is it the infra repository?", path.display(), MAX_COMMIT >> 20)]
    TooMuch { path: PathBuf },
}

/// Reads what the service would read of a commit. Symbolic links are refused, as there.
pub(crate) fn read(root: &Path) -> Result<Tree, DirectoryError> {
    let mut tree = Tree::default();
    let mut bytes = 0;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            let name = relative(root, &path);
            let kind = fs::symlink_metadata(&path)
                .map_err(|source| DirectoryError::Read { path: path.clone(), source })?;
            if !matters(name.split('/').next().unwrap_or_default()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                tree.refused.insert(name, "it is a symbolic link".to_owned());
            } else if kind.len() > MAX_FILE as u64 {
                tree.refused.insert(name, format!("it is larger than {} MiB", MAX_FILE >> 20));
            } else if kind.is_file() {
                let content =
                    fs::read(&path).map_err(|source| DirectoryError::Read { path: path.clone(), source })?;
                bytes += content.len();
                tree.files.insert(name, content);
            }
            if bytes > MAX_COMMIT || tree.files.len() > MAX_FILES {
                return Err(DirectoryError::TooMuch { path: root.to_owned() });
            }
        }
    }
    Ok(tree)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, DirectoryError> {
    let failed = |source| DirectoryError::Read { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

/// The path from the root with `/` between its parts; what is not UTF-8 is replaced, and then matches nothing.
fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_links_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("environments/core")).unwrap();
        fs::create_dir_all(folder.path().join(".git")).unwrap();
        fs::write(folder.path().join(".git/config"), "x").unwrap();
        fs::write(folder.path().join("environments/core/a.yaml"), "a: 1\n").unwrap();
        fs::write(folder.path().join("notes.yaml"), "not ours").unwrap();
        fs::write(folder.path().join("environments/large.bin"), vec![0; MAX_FILE + 1]).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("environments/link.yaml")).unwrap();
        let tree = read(folder.path()).unwrap();
        assert_eq!(tree.files.keys().collect::<Vec<_>>(), ["environments/core/a.yaml"]);
        assert_eq!(
            tree.refused.keys().collect::<Vec<_>>(),
            ["environments/large.bin", "environments/link.yaml"]
        );
    }
}
