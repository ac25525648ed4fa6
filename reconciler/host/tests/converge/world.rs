//! A host behind a real sshd on loopback, and the kind that converges it, used as the engine does.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::any_kind::{AnyKind, PlannedStep};
use holdfast_core::ident::{EnvironmentName, Name, SiteName};
use holdfast_core::kind::{Look, Next, NoFence, Scope, Seen, StepResult, TargetError};
use holdfast_core::mark::Realm;
use holdfast_core::secret::{SecretRef, Secrets};
use holdfast_host::{HostAlias, Hosts, Settings};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::{AbortHandle, JoinHandle};

use crate::tree::{Shell, Tree};

pub(crate) const SECRET: &str = "correct-horse-battery";

pub(crate) struct World {
    pub(crate) tree: Tree,
    pub(crate) kind: Arc<dyn AnyKind>,
    /// Public host key.
    pub(crate) host_key: String,
    folder: tempfile::TempDir,
    links: Arc<Mutex<Vec<AbortHandle>>>,
    _sshd: Child,
    _proxy: JoinHandle<()>,
}

impl World {
    /// `None`, and a word why, where this machine cannot run it.
    pub(crate) async fn new(shell: Shell) -> Option<Self> {
        let root = Command::new("id").arg("-u").output().await.unwrap();
        if root.stdout != b"0\n" || !std::path::Path::new("/usr/sbin/sshd").exists() {
            println!("skipped: this test needs root and /usr/sbin/sshd");
            return None;
        }
        let tree = Tree::new(shell).await?;
        let folder = tempfile::tempdir().unwrap();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.path().join(key))
                .status()
                .await;
            assert!(made.unwrap().success());
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let port = free_port().await;
        let sshd = start_sshd(folder.path(), &tree, port).await;
        let links = Arc::new(Mutex::new(Vec::new()));
        let (listener, proxy_port) = listen().await;
        let proxy = tokio::spawn(proxy(listener, port, Arc::clone(&links)));
        let hosts = Hosts::new(Settings {
            key: SecretString::from(read("user")),
            hosts: BTreeMap::from([(
                "10.0.0.1".to_owned(),
                HostAlias { hostname: "127.0.0.1".to_owned(), port: Some(proxy_port) },
            )]),
        })
        .unwrap();
        let kind = hosts.kinds(&realm("core")).remove(0);
        Some(Self { kind, host_key: read("host.pub"), tree, folder, links, _sshd: sshd, _proxy: proxy })
    }

    /// A spec with the connection to this host.
    pub(crate) fn spec(&self, parts: Value) -> Value {
        let mut spec = parts;
        spec["connection"] = json!({ "address": "10.0.0.1", "hostKey": self.host_key });
        spec
    }

    pub(crate) async fn look_all(&self, spec: &Value) -> Look<Value> {
        self.kind.observe(Scope::Only, BTreeMap::from([(name(), spec.clone())])).await
    }

    pub(crate) async fn look(&self, spec: &Value) -> Seen<Value> {
        self.look_all(spec).await.seen.remove(&name()).unwrap()
    }

    /// What the next look says should be done.
    pub(crate) async fn next(&self, spec: &Value) -> Next<PlannedStep> {
        match self.look(spec).await {
            Seen::Present { state, .. } => (self.kind.info().plan)(&name(), Some(spec), Some(&state)),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn apply(&self, steps: &[PlannedStep]) -> Vec<StepResult> {
        let mut secrets = Secrets::default();
        for reference in steps.iter().flat_map(|step| &step.secrets) {
            secrets.insert(reference, SecretString::from(SECRET));
        }
        self.kind.apply(&name(), steps, &secrets, &NoFence).await
    }

    /// Looks and changes until there is nothing more to do; gives the lines of the steps.
    pub(crate) async fn converge(&self, spec: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..4 {
            match self.next(spec).await {
                Next::Settled => return lines,
                Next::Do(steps) => {
                    let results = self.apply(&steps).await;
                    assert!(
                        results.iter().all(|result| matches!(result, StepResult::Done { .. })),
                        "{results:?}"
                    );
                    lines.extend(steps.into_iter().map(|step| step.text));
                }
                other => panic!("after {lines:?}: {other:?}"),
            }
        }
        panic!("it does not come to rest: {lines:?}");
    }

    /// How many commands sshd ran since the last time.
    pub(crate) fn execs(&self) -> usize {
        let log = self.folder.path().join("execs");
        let count = std::fs::read_to_string(&log).unwrap_or_default().lines().count();
        std::fs::write(log, "").unwrap();
        count
    }

    /// Cuts every connection, without a word to either side's SSH.
    pub(crate) fn cut(&self) {
        self.links.lock().unwrap().drain(..).for_each(|link| link.abort());
    }

    /// Waits until the host's own files say so.
    pub(crate) async fn until(&self, what: impl Fn(&Tree) -> bool) {
        for _ in 0..2000 {
            if what(&self.tree) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it did not come to that");
    }
}

pub(crate) fn name() -> Name {
    Name::new("web").unwrap()
}

pub(crate) fn realm(environment: &str) -> Realm {
    Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new(environment).unwrap() }
}

pub(crate) fn secret(digest: &str) -> Value {
    let reference = SecretRef { vault: "kv/web".to_owned(), key: "password".to_owned(), stamp: None };
    let mut value = serde_json::to_value(reference).unwrap();
    value["stamp"] = json!({ "version": 1, "digest": digest });
    value
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn free_port() -> u16 {
    listen().await.1
}

async fn start_sshd(folder: &std::path::Path, tree: &Tree, port: u16) -> Child {
    let at = folder.display();
    // Where sshd keeps its unprivileged half; Debian's init makes it at boot.
    drop(std::fs::create_dir("/run/sshd"));
    let force = folder.join("force");
    let root = tree.path("");
    std::fs::write(
        &force,
        format!(
            "#!/bin/sh\necho x >>{at}/execs\nMAIN=$$ exec chroot {} $SSH_ORIGINAL_COMMAND\n",
            root.display()
        ),
    )
    .unwrap();
    std::fs::set_permissions(&force, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::copy(folder.join("user.pub"), folder.join("authorized_keys")).unwrap();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
         AuthorizedKeysFile {at}/authorized_keys\nPasswordAuthentication no\nPermitRootLogin yes\n\
         MaxStartups 50\nForceCommand {at}/force\n"
    );
    std::fs::write(folder.join("sshd_config"), config).unwrap();
    let log = std::fs::File::create(folder.join("sshd.log")).unwrap();
    let child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return child;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("sshd did not start: {}", std::fs::read_to_string(folder.join("sshd.log")).unwrap());
}

async fn proxy(listener: TcpListener, port: u16, links: Arc<Mutex<Vec<AbortHandle>>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let link = tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            }
        });
        links.lock().unwrap().push(link.abort_handle());
    }
}

/// A file, a secret one, a directory, a package, a unit with its file.
pub(crate) fn parts(conf: &str) -> Value {
    json!({
        "directories": [{ "path": "/srv/web", "mode": "0750", "group": "web" }],
        "files": [
            { "path": "/etc/systemd/system/web.service", "content": "[Service]\nExecStart=/bin/web\n" },
            { "path": "/etc/web.conf", "content": conf, "mode": "0640", "group": "web" },
            { "path": "/srv/web/it's $a file", "content": "quote ' and \"\\ and `x` and $y\n\n" },
            { "path": "/srv/web/password", "content": secret("aa"), "mode": "0600", "owner": "33" },
        ],
        "packages": ["curl"],
        "services": [{ "name": "web.service", "restartOn": ["/etc/web.conf", "/srv/web/password"] }],
    })
}

pub(crate) fn failure(results: &[StepResult]) -> &TargetError {
    results
        .iter()
        .find_map(|result| match result {
            StepResult::Failed(error) => Some(error),
            _ => None,
        })
        .expect("one step failed")
}

pub(crate) async fn steps(world: &World, spec: &Value) -> Vec<PlannedStep> {
    match world.next(spec).await {
        Next::Do(steps) => steps,
        other => panic!("{other:?}"),
    }
}
