//! How a command gets into a host's tree: as root by `chroot`, else by `chroot` in a user namespace.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use crate::hosts::locate;

/// A way into a tree that was seen to work on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Enter {
    way: Way,
    chroot: PathBuf,
    unshare: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// We are root.
    Chroot,
    /// We are root in a user namespace of the command's own, with a mount namespace for the machine's devices.
    Namespace,
    /// Likewise, where mounting is forbidden: `/dev/null` is a plain file that each command finds empty.
    NamespaceWithoutMounts,
}

const WAYS: [Way; 3] = [Way::Chroot, Way::Namespace, Way::NamespaceWithoutMounts];
const DEVICES: [&str; 4] = ["null", "zero", "random", "urandom"];

impl Enter {
    /// Tries each way on the tree; the error says what each of them met.
    pub(super) async fn find(tree: &Path) -> Result<Self> {
        let tool = |name| locate(name).unwrap_or_else(|| PathBuf::from(name));
        let mut met = Vec::new();
        for way in WAYS {
            let enter = Self { way, chroot: tool("chroot"), unshare: tool("unshare") };
            enter.prepare(tree).await?;
            match enter.command(tree, "test -d /var/lib/standin", "root").output().await {
                Ok(output) if output.status.success() => return Ok(enter),
                Ok(output) => {
                    met.push(format!("{way:?}: {}", String::from_utf8_lossy(&output.stderr).trim()));
                }
                Err(error) => met.push(format!("{way:?}: {error}")),
            }
        }
        bail!(
            "no way into a host's file tree: run as root, or allow user namespaces \
             (`sysctl kernel.unprivileged_userns_clone=1`); {}",
            met.join("; ")
        )
    }

    /// Makes the tree's devices: real ones where we may, else empty files (which the namespace mounts over).
    pub(super) async fn prepare(&self, tree: &Path) -> Result<()> {
        for (minor, device) in ["3", "5", "8", "9"].iter().zip(DEVICES) {
            let path = tree.join("dev").join(device);
            if path.exists() {
                continue;
            }
            let made = self.way == Way::Chroot && self.make_device(&path, minor).await;
            if !made {
                std::fs::write(&path, "").with_context(|| format!("making `{}`", path.display()))?;
            }
        }
        Ok(())
    }

    /// Whether a character device could be made that can be opened: on a file system without devices it cannot.
    async fn make_device(&self, path: &Path, minor: &str) -> bool {
        let Some(mknod) = locate("mknod") else { return false };
        let mut command = Command::new(mknod);
        command
            .args(["-m", "666"])
            .arg(path)
            .args(["c", "1", minor])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let made = command.status().await.is_ok_and(|status| status.success());
        if made && std::fs::File::open(path).is_err() {
            drop(std::fs::remove_file(path));
            return false;
        }
        made
    }

    /// The command line, run by the tree's shell as the user's login shell would; its process group is its own.
    pub(super) fn command(&self, tree: &Path, line: &str, user: &str) -> Command {
        let mut command = match self.way {
            Way::Chroot => {
                let mut command = Command::new(&self.chroot);
                command.arg(tree).args(["/bin/sh", "-c", line]);
                command
            }
            Way::Namespace => self.in_namespace(&["--mount"], &mounting(), tree, line),
            Way::NamespaceWithoutMounts => self.in_namespace(
                &[],
                ": > \"$1/dev/null\"; exec \"$0\" \"$1\" /bin/sh -c \"$2\"",
                tree,
                line,
            ),
        };
        let home = if user == "root" { "/root".to_owned() } else { format!("/home/{user}") };
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", home)
            .env("USER", user)
            .env("LOGNAME", user)
            .env("SHELL", "/bin/sh")
            .current_dir("/")
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    fn in_namespace(&self, more: &[&str], script: &str, tree: &Path, line: &str) -> Command {
        let mut command = Command::new(&self.unshare);
        command.args(["--user", "--map-root-user"]).args(more);
        command.args(["/bin/sh", "-c", script]).arg(&self.chroot).arg(tree).arg(line);
        command
    }
}

fn mounting() -> String {
    let mut script = String::new();
    for device in DEVICES {
        script += "mount --bind /dev/";
        script += device;
        script += " \"$1/dev/";
        script += device;
        script += "\" && ";
    }
    script + "exec \"$0\" \"$1\" /bin/sh -c \"$2\""
}

#[cfg(test)]
impl Enter {
    /// A way that was not tried, to show what its command would be.
    pub(super) fn untried(way: Way) -> Self {
        Self { way, chroot: "/usr/sbin/chroot".into(), unshare: "/usr/bin/unshare".into() }
    }
}
