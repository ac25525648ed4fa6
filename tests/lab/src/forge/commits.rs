//! Which commits a repository has: those of a bare repository on disk, and those that a test registered.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The source of truth about commits.
#[derive(Debug, Default, Clone)]
pub(super) struct Commits {
    registered: BTreeSet<String>,
    bare: Option<PathBuf>,
}

impl Commits {
    pub(super) fn register(&mut self, commit: &str) {
        self.registered.insert(commit.to_owned());
    }

    pub(super) fn read_from(&mut self, bare: PathBuf) {
        self.bare = Some(bare);
    }

    /// The full id of a commit, by an id, a unique beginning of one (seven digits at least), or a branch.
    pub(super) fn resolve(&self, reference: &str) -> Option<String> {
        let hex = reference.len() >= 7 && reference.chars().all(|c| c.is_ascii_hexdigit());
        if hex {
            let mut matching = self.registered.iter().filter(|commit| commit.starts_with(reference));
            if let (Some(only), None) = (matching.next(), matching.next()) {
                return Some(only.clone());
            }
        }
        let bare = self.bare.as_ref()?;
        // A reference is never an option: `--` cannot be put before it here, so it must not begin with a dash.
        if reference.starts_with('-') {
            return None;
        }
        let output = Command::new("git")
            .arg("--git-dir")
            .arg(bare)
            .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
            .arg(format!("{reference}^{{commit}}"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let id = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && id.len() >= 40).then_some(id)
    }
}
