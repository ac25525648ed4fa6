//! A git repository as a user has it: a bare one that is pushed to, and a working copy.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// A bare repository and its owner's working copy.
pub struct Repository {
    bare: PathBuf,
    work: PathBuf,
}

impl Repository {
    /// Makes both in `folder`, empty, with the branch `main`.
    pub fn create(folder: &Path) -> Result<Self> {
        let repository = Self { bare: folder.join("infra.git"), work: folder.join("infra") };
        git(folder, &["init", "--quiet", "--bare", "--initial-branch=main", "infra.git"])?;
        git(folder, &["init", "--quiet", "--initial-branch=main", "infra"])?;
        git(&repository.work, &["remote", "add", "origin", &repository.bare.to_string_lossy()])?;
        Ok(repository)
    }

    /// Where it is fetched from and pushed to.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// The working copy.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Copies a folder into the working copy.
    pub fn copy_from(&self, folder: &Path) -> Result<()> {
        copy(folder, &self.work)
    }

    /// Writes one file of the working copy.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.work.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
    }

    /// Replaces text in one file of the working copy; it must be there.
    pub fn edit(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let whole = self.work.join(path);
        let text = std::fs::read_to_string(&whole).with_context(|| format!("reading {}", whole.display()))?;
        if !text.contains(from) {
            bail!("{path} does not hold `{from}`");
        }
        self.write(path, text.replacen(from, to, 1))
    }

    /// Removes one file of the working copy.
    pub fn remove(&self, path: &str) -> Result<()> {
        std::fs::remove_file(self.work.join(path)).with_context(|| format!("removing {path}"))
    }

    /// Commits everything, without a push. Gives the commit.
    pub fn commit(&self, message: &str) -> Result<String> {
        git(&self.work, &["add", "--all"])?;
        git(&self.work, &["commit", "--quiet", "--allow-empty", "--message", message])?;
        self.head()
    }

    /// Commits everything and pushes it. Gives the commit.
    pub fn push(&self, message: &str) -> Result<String> {
        let commit = self.commit(message)?;
        git(&self.work, &["push", "--quiet", "origin", "main"])?;
        Ok(commit)
    }

    /// Moves the branch to another commit, here and there, whatever it held.
    pub fn force_push(&self, commit: &str) -> Result<()> {
        git(&self.work, &["reset", "--quiet", "--hard", commit])?;
        git(&self.work, &["push", "--quiet", "--force", "origin", "main"])?;
        Ok(())
    }

    /// Makes every file of the working copy what it was in an earlier commit, without a commit.
    pub fn restore(&self, commit: &str) -> Result<()> {
        git(&self.work, &["rm", "-r", "--quiet", "--force", "--ignore-unmatch", "."])?;
        git(&self.work, &["checkout", "--quiet", commit, "--", "."])?;
        Ok(())
    }

    /// The commit that the working copy is at.
    pub fn head(&self) -> Result<String> {
        git(&self.work, &["rev-parse", "HEAD"])
    }
}

/// Runs git with nothing of this machine's config, and gives what it printed.
pub fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(["-c", "user.name=me", "-c", "user.email=me@home.lan", "-c", "commit.gpgSign=false"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .env_remove("GIT_INDEX_FILE")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_SSL_CAINFO")
        .output()
        .context("running git; is it installed?")?;
    if !output.status.success() {
        bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
