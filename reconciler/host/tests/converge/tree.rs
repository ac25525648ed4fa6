//! A small root file system for `chroot`: a shell, its tools, and stand-ins for apt and systemd.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// The shells that scripts are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
    Dash,
    Bash,
    /// With busybox' own tools as well.
    Busybox,
}

/// What the scripts use of a Debian minbase.
const TOOLS: [&str; 20] = [
    "id",
    "cat",
    "stat",
    "sha256sum",
    "uname",
    "ls",
    "wc",
    "mktemp",
    "chown",
    "chmod",
    "mv",
    "rm",
    "rmdir",
    "mkdir",
    "tail",
    "timeout",
    "date",
    "touch",
    "cp",
    "kill",
];
const STAND_INS: [(&str, &str); 8] = [
    ("systemctl", include_str!("stand_ins/systemctl")),
    ("journalctl", include_str!("stand_ins/journalctl")),
    ("dpkg", include_str!("stand_ins/dpkg")),
    ("dpkg-query", include_str!("stand_ins/dpkg-query")),
    ("apt-get", include_str!("stand_ins/apt-get")),
    ("sync", include_str!("stand_ins/sync")),
    ("sleep", include_str!("stand_ins/sleep")),
    ("crash", include_str!("stand_ins/crash")),
];

/// A root file system in a folder of its own, which goes with it.
pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    /// Builds one; `None`, and a word why, where this machine lacks the shell.
    pub(crate) async fn new(shell: Shell) -> Option<Self> {
        let tree = Self(tempfile::tempdir().unwrap());
        for folder in ["usr/bin", "etc/systemd/system", "dev", "srv", "tmp", "var/lib/apt/lists"] {
            std::fs::create_dir_all(tree.path(folder)).unwrap();
        }
        for folder in ["unit", "packages", "repository"] {
            std::fs::create_dir_all(tree.path("var/fake").join(folder)).unwrap();
        }
        symlink("usr/bin", tree.path("bin")).unwrap();
        tree.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        tree.write("etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n");
        tree.write("etc/group", "root:x:0:\nweb:x:33:\n");
        tree.write("var/fake/repository/curl", "");
        let null = Command::new("mknod").arg(tree.path("dev/null")).args(["c", "1", "3"]).status().await;
        assert!(null.unwrap().success(), "mknod needs root");
        let program = match shell {
            Shell::Dash => "dash",
            Shell::Bash => "bash",
            Shell::Busybox => "busybox",
        };
        let Some(program) = find(program) else {
            println!("skipped: no {program} on this machine");
            return None;
        };
        tree.copy(&program, "usr/bin/sh").await;
        for tool in TOOLS {
            if shell == Shell::Busybox {
                symlink("sh", tree.path("usr/bin").join(tool)).unwrap();
            } else {
                tree.copy(&find(tool).unwrap(), &format!("usr/bin/{tool}")).await;
            }
        }
        if shell == Shell::Busybox {
            // busybox goes by the name that it is called by.
            std::fs::rename(tree.path("usr/bin/sh"), tree.path("usr/bin/busybox")).unwrap();
            symlink("busybox", tree.path("usr/bin/sh")).unwrap();
        }
        tree.copy(&find("flock").unwrap(), "usr/bin/flock").await;
        tree.copy(&find("sleep").unwrap(), "usr/bin/real-sleep").await;
        for (name, text) in STAND_INS {
            tree.write(&format!("usr/bin/{name}"), text);
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(tree.path("usr/bin").join(name), executable).unwrap();
        }
        Some(tree)
    }

    /// Forgets what was converged, so that the next run is a first one.
    pub(crate) fn reset(&self) {
        for folder in ["var/lib/holdfast", "var/fake/unit", "var/fake/packages", "srv", "etc/systemd/system"]
        {
            drop(std::fs::remove_dir_all(self.path(folder)));
        }
        drop(std::fs::remove_file(self.path("etc/web.conf")));
        for folder in ["var/fake/unit", "var/fake/packages", "srv", "etc/systemd/system"] {
            std::fs::create_dir_all(self.path(folder)).unwrap();
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        std::fs::write(self.path(path), text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// What the stand-ins were asked to change since the last time.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = self.read("var/fake/log").lines().map(str::to_owned).collect();
        self.write("var/fake/log", "");
        log
    }

    /// A program and the libraries that it needs.
    async fn copy(&self, program: &Path, to: &str) {
        std::fs::copy(program, self.path(to)).unwrap();
        let libraries = Command::new("ldd").arg(program).output().await.unwrap();
        for word in String::from_utf8_lossy(&libraries.stdout).split_whitespace() {
            let target = self.path(word);
            if word.starts_with('/') && !target.exists() {
                std::fs::create_dir_all(target.parent().unwrap()).unwrap();
                std::fs::copy(word, target).unwrap();
            }
        }
    }
}

fn find(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .into_iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
}
