//! A repository to fetch from, and the servers around it; each on its own port and folder, ended when dropped.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_repo::{Mirror, Settings};
use tempfile::TempDir;

#[expect(clippy::disallowed_methods, reason = "tests compare with the real git and real servers")]
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").stdin(Stdio::null());
    command
}

/// Runs a program that must succeed, and gives what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether the programs are there; says so where a test is skipped for want of one.
pub(crate) fn have(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !Path::new(program).exists());
    if let Some(program) = missing {
        println!("SKIPPED: {program} is not installed");
    }
    missing.is_none()
}

/// An infra repository somewhere else.
pub(crate) struct Upstream {
    pub(crate) folder: TempDir,
}

impl Upstream {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Self { folder };
        run(command("git").args(["init", "-q", "--bare", "-b", "main"]).arg(upstream.bare()));
        std::fs::create_dir(upstream.work()).unwrap();
        upstream
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.folder.path().join("repos/infra.git")
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let mut git = command("git");
        git.arg("--git-dir").arg(self.bare()).arg("--work-tree").arg(self.work());
        git.args(["-c", "user.name=t", "-c", "user.email=t@localhost"]).args(args).current_dir(self.work());
        run(&mut git)
    }

    /// Writes files and commits them to `main`.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> CommitId {
        for (path, content) in files {
            let path = self.work().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.commit_all()
    }

    pub(crate) fn commit_all(&self) -> CommitId {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "a change"]);
        self.head()
    }

    pub(crate) fn head(&self) -> CommitId {
        CommitId::new(self.git(&["rev-parse", "refs/heads/main"])).unwrap()
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.work().join(path)
    }

    /// Writes an object as it is, however wrong.
    pub(crate) fn object(&self, kind: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join("object");
        std::fs::write(&path, bytes).unwrap();
        self.git(&["hash-object", "-t", kind, "-w", "--literally", path.to_str().unwrap()])
    }

    /// Puts a commit with this tree on `main`.
    pub(crate) fn commit_tree(&self, tree: &str) -> CommitId {
        let commit = self.git(&["commit-tree", tree, "-m", "a tree"]);
        self.git(&["update-ref", "refs/heads/main", &commit]);
        CommitId::new(commit).unwrap()
    }

    pub(crate) fn settings(&self, url: &str) -> Settings {
        Settings {
            url: url.to_owned(),
            branch: "main".to_owned(),
            mirror_dir: self.folder.path().join("mirror"),
            username: None,
            secret: None,
            known_hosts: None,
            ca_pem: None,
        }
    }

    pub(crate) fn mirror(&self) -> Mirror {
        install();
        Mirror::new(&self.settings(self.bare().to_str().unwrap())).unwrap()
    }

    /// The mirror's bare repository.
    pub(crate) fn mirrored(&self) -> PathBuf {
        self.folder.path().join("mirror/mirror.git")
    }
}

/// The TLS provider, as the binary installs it first thing.
pub(crate) fn install() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

pub(crate) fn core() -> EnvironmentName {
    EnvironmentName::new("core").unwrap()
}

/// A port that nobody listens on right now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until something is so, for ten seconds at most.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

/// A server with its children, in a process group of its own.
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Self {
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.process_group(0).spawn().expect("the server can be started"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        drop(command("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status());
        drop(self.0.wait());
    }
}
