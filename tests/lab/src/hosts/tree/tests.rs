//! The tree host over real SSH, with the `ssh` program as its client where there is one.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::enter::{Enter, Way};
use super::{Fault, Host, Seed, Trees, base};
use crate::hosts::{Output, locate, skipped};
use crate::http::Moment;

/// A lab of trees, and a key pair whose private half is a file.
pub(in crate::hosts) struct Lab {
    trees: Arc<Shared>,
    folder: tempfile::TempDir,
    public: String,
}

/// The base tree, which tests that run at the same time share: copying programs is what takes long.
struct Shared {
    trees: Trees,
    folder: tempfile::TempDir,
}

static SHARED: tokio::sync::Mutex<Weak<Shared>> = tokio::sync::Mutex::const_new(Weak::new());

async fn shared() -> Arc<Shared> {
    let mut slot = SHARED.lock().await;
    if let Some(shared) = slot.upgrade() {
        return shared;
    }
    let folder = tempfile::tempdir().unwrap();
    let trees = Trees::new(folder.path().join("trees")).await.unwrap();
    let shared = Arc::new(Shared { trees, folder });
    *slot = Arc::downgrade(&shared);
    shared
}

impl Lab {
    pub(in crate::hosts) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = super::new_key();
        let private = key.to_openssh(russh::keys::ssh_key::LineEnding::LF).unwrap();
        base::write(folder.path(), "id", &private, 0o600).unwrap();
        Self { trees: shared().await, public: key.public_key().to_openssh().unwrap(), folder }
    }

    pub(in crate::hosts) async fn host(&self, name: &str) -> Host {
        let authorized_keys = vec![self.public.clone()];
        let seed = Seed { name: name.into(), user: "ops".into(), authorized_keys, door: None };
        self.trees.trees.start(seed).await.unwrap()
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("id")
    }

    /// What a real client says to a script, with the host's key pinned.
    async fn ssh(&self, host: &Host, user: &str, command: &str, script: &str) -> Output {
        self.ssh_pinned(host, &host.host_key(), user, command, script).await
    }

    async fn ssh_pinned(&self, host: &Host, pin: &str, user: &str, command: &str, script: &str) -> Output {
        let port = host.address().port().to_string();
        let known = self.folder.path().join(format!("known-{port}"));
        std::fs::write(&known, format!("[127.0.0.1]:{port} {pin}\n")).unwrap();
        let mut child = Command::new("ssh")
            .args(["-F", "none", "-T", "-p", &port, "-i"])
            .arg(self.key())
            .args([
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                "IdentitiesOnly=yes",
                "-o",
            ])
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .arg(format!("{user}@127.0.0.1"))
            .arg(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feed = async move {
            // A connection that is cut closes the pipe before all is written.
            drop(stdin.write_all(script.as_bytes()).await);
        };
        let bounded = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output());
        let ((), output) = tokio::join!(feed, bounded);
        output.expect("ssh ends within 30 s").unwrap().into()
    }
}

fn have_ssh() -> bool {
    let found = locate("ssh").is_some();
    if !found {
        skipped("this machine has no ssh client");
    }
    found
}

#[tokio::test]
async fn a_script_runs_for_real_and_is_counted() {
    if !have_ssh() {
        return;
    }
    let lab = Lab::new().await;
    let host = lab.host("kube01").await;
    let out = lab.ssh(&host, "root", "sh -s", "cat /etc/hostname; id -u; echo oops >&2; exit 7").await;
    assert_eq!(out, Output { status: 7, stdout: "kube01\n0\n".into(), stderr: "oops\n".into() });
    let out = lab.ssh(&host, "ops", "sudo -n sh -s", "echo $SUDO_USER $USER; stat -c %U /etc/passwd").await;
    assert_eq!((out.status, out.stdout.as_str()), (0, "ops root\nroot\n"));
    let execs = host.wire().execs();
    assert_eq!(host.wire().connections(), 2);
    assert_eq!((execs.len(), execs[0].status, execs[0].script, execs[0].output), (2, Some(7), 47, 14));
    assert_eq!((execs[1].user.as_str(), execs[1].command.as_str()), ("ops", "sudo -n sh -s"));
    host.wire().reset();
    assert_eq!((host.wire().connections(), host.wire().execs()), (0, vec![]));
}

#[tokio::test]
async fn large_scripts_and_outputs_pass_whole() {
    if !have_ssh() {
        return;
    }
    let lab = Lab::new().await;
    let host = lab.host("big").await;
    let script = format!(
        "cat >/tmp/in <<'E'\n{}\nE\nwc -c </tmp/in; head -c 3000000 /dev/zero",
        "x".repeat(2_000_000)
    );
    let out = lab.ssh(&host, "root", "sh -s", &script).await;
    assert_eq!((out.status, out.stdout.len()), (0, "2000001\n".len() + 3_000_000), "{}", out.stderr);
}

#[tokio::test]
async fn two_hosts_share_nothing() {
    let lab = Lab::new().await;
    let (one, two) = (lab.host("one").await, lab.host("two").await);
    assert_ne!(one.host_key(), two.host_key());
    let script = "echo changed >/etc/motd; apt-get -qq update; apt-get -y install curl >/dev/null; \
                  rm /usr/bin/jq 2>/dev/null; cat /etc/machine-id";
    let first = one.run(script).await.unwrap();
    assert_eq!(first.status, 0, "{}", first.stderr);
    let second = two
        .run("cat /etc/machine-id; test -e /etc/motd || dpkg-query -W curl || echo untouched")
        .await
        .unwrap();
    assert!(second.stdout.ends_with("untouched\n"), "{second:?}");
    assert_eq!(first.stdout.len(), 33);
    assert_ne!(first.stdout, second.stdout.lines().next().unwrap().to_owned() + "\n");
}

#[tokio::test]
async fn only_its_own_keys_are_let_in_and_a_changed_host_key_is_seen() {
    if !have_ssh() {
        return;
    }
    let lab = Lab::new().await;
    let host = lab.host("a").await;
    let out = lab.ssh(&host, "mallory", "true", "").await;
    assert!(out.status == 255 && out.stderr.contains("Permission denied"), "{out:?}");
    let pinned = host.host_key();
    let changed = host.change_host_key().unwrap();
    assert_ne!(pinned, changed);
    let out = lab.ssh_pinned(&host, &pinned, "root", "true", "").await;
    assert!(out.status == 255 && out.stderr.contains("Host key verification failed"), "{out:?}");
    assert_eq!(host.wire().execs(), vec![]);
    let file = std::fs::read_to_string(host.root().join("etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
    assert!(file.starts_with(&changed), "{file}");
    host.authorize(&[]).unwrap();
    assert_eq!(lab.ssh(&host, "root", "true", "").await.status, 255);
}

#[tokio::test]
async fn a_cut_script_runs_only_what_came_in() {
    if !have_ssh() {
        return;
    }
    let lab = Lab::new().await;
    let host = lab.host("a").await;
    let script = "echo one >/tmp/one\necho two >/tmp/two\n";
    host.wire().fail_next(|exec| exec.command == "sh -s", Fault::CutScript(18));
    let out = lab.ssh(&host, "root", "sh -s", script).await;
    assert_eq!(out.status, 255, "{out:?}");
    until(|| host.root().join("tmp/one").exists()).await;
    assert!(!host.root().join("tmp/two").exists());
    assert_eq!(lab.ssh(&host, "root", "sh -s", script).await.status, 0);
    assert!(host.root().join("tmp/two").exists());
}

#[tokio::test]
async fn cut_output_and_a_cut_after_the_work_lose_the_answer() {
    if !have_ssh() {
        return;
    }
    let lab = Lab::new().await;
    let host = lab.host("a").await;
    host.wire().fail_next(|_| true, Fault::CutOutput(5));
    let out = lab.ssh(&host, "root", "sh -s", "echo 123456789").await;
    assert!(out.status == 255 && out.stdout.len() <= 5, "{out:?}");
    host.wire().fail_next(|_| true, Fault::CutAfter);
    let out = lab.ssh(&host, "root", "sh -s", "echo done; touch /tmp/done").await;
    assert_eq!((out.status, out.stdout.as_str()), (255, ""));
    assert!(host.root().join("tmp/done").exists());
}

#[tokio::test]
async fn a_host_that_is_off_refuses_and_answers_on_the_same_port_again() {
    let lab = Lab::new().await;
    let host = lab.host("a").await;
    let address = host.address();
    assert!(TcpStream::connect(address).is_ok());
    host.stop();
    until(|| TcpStream::connect(address).is_err()).await;
    let before = host.run("cat /proc/sys/kernel/random/boot_id").await.unwrap();
    host.start().await.unwrap();
    assert_eq!(host.address(), address);
    assert!(TcpStream::connect(address).is_ok());
    assert_ne!(before, host.run("cat /proc/sys/kernel/random/boot_id").await.unwrap());
}

#[tokio::test]
async fn latency_and_watchers() {
    if !have_ssh() {
        return;
    }
    let lab = Lab::new().await;
    let host = lab.host("a").await;
    let (told, moments) = std::sync::mpsc::channel();
    host.wire().watch(move |exec, moment| told.send((moment, exec.status)).unwrap());
    host.wire().set_latency(Duration::from_millis(20));
    let began = std::time::Instant::now();
    assert_eq!(lab.ssh(&host, "root", "true", "").await.status, 0);
    // Banner, key exchange, authentication and command are more than three round trips of 40 ms.
    assert!(began.elapsed() > Duration::from_millis(120), "{:?}", began.elapsed());
    assert_eq!(moments.try_iter().collect::<Vec<_>>(), [(Moment::Before, None), (Moment::After, Some(0))]);
}

#[tokio::test]
async fn the_devices_work() {
    let lab = Lab::new().await;
    let host = lab.host("a").await;
    let out = host.run("echo lost >/dev/null; cat </dev/null; head -c 4 /dev/urandom | wc -c").await.unwrap();
    assert_eq!(out, Output { status: 0, stdout: "4\n".into(), stderr: String::new() });
}

#[test]
fn without_root_the_tree_is_entered_in_a_user_namespace() {
    let words = |way| {
        let command = Enter::untried(way).command(Path::new("/trees/a"), "sh -s", "ops");
        let std = command.as_std();
        let mut words = vec![std.get_program().to_string_lossy().into_owned()];
        words.extend(std.get_args().map(|word| word.to_string_lossy().into_owned()));
        words
    };
    assert_eq!(words(Way::Chroot), ["/usr/sbin/chroot", "/trees/a", "/bin/sh", "-c", "sh -s"]);
    let namespace = words(Way::Namespace);
    assert_eq!(namespace[..6], ["/usr/bin/unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c"]);
    assert!(namespace[6].ends_with(r#"exec "$0" "$1" /bin/sh -c "$2""#), "{}", namespace[6]);
    assert_eq!(namespace[7..], ["/usr/sbin/chroot", "/trees/a", "sh -s"]);
}

#[tokio::test]
async fn somebody_without_root_can_enter() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(setpriv) = locate("setpriv").filter(|_| rustix::process::geteuid().is_root()) else {
        skipped("becoming somebody else needs root and setpriv");
        return;
    };
    let lab = Lab::new().await;
    let host = lab.host("a").await;
    for folder in [lab.trees.folder.path().to_owned(), lab.trees.folder.path().join("trees")] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for way in [Way::Namespace, Way::NamespaceWithoutMounts] {
        let script =
            "id -u && echo lost >/dev/null && touch /tmp/mine && stat -c %u /tmp/mine && rm /tmp/mine";
        let inner = Enter::untried(way).command(host.root(), script, "root");
        let mut command = Command::new(&setpriv);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(inner.as_std().get_program()).args(inner.as_std().get_args()).env_clear();
        if way == Way::NamespaceWithoutMounts {
            // Root made the devices of this tree; who is not root makes empty files of their own.
            std::fs::remove_file(host.root().join("dev/null")).unwrap();
            std::fs::write(host.root().join("dev/null"), "").unwrap();
            std::fs::set_permissions(host.root().join("dev/null"), std::fs::Permissions::from_mode(0o666))
                .unwrap();
        }
        let output: Output = command.env("PATH", "/usr/sbin:/usr/bin").output().await.unwrap().into();
        assert_eq!(output, Output { status: 0, stdout: "0\n0\n".into(), stderr: String::new() }, "{way:?}");
    }
}

/// Waits for what another process does, at most 10 s.
async fn until(done: impl Fn() -> bool) {
    let bounded = tokio::time::timeout(Duration::from_secs(10), async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    bounded.await.expect("it happens within 10 s");
}
