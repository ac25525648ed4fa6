//! git over a real sshd.

use std::path::Path;
use std::time::Duration;

use holdfast_repo::{Mirror, Settings};
use secrecy::SecretString;
use tokio::time::Instant;

use crate::support::{Daemon, Upstream, command, eventually, free_port, have, install, run};

const SSHD: &str = "/usr/sbin/sshd";

struct Server {
    upstream: Upstream,
    port: u16,
    _daemon: Daemon,
}

fn new_key(folder: &Path, name: &str) {
    run(command("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(folder.join(name)));
}

impl Server {
    /// `forced` is what the key may run; the wanted command is in `SSH_ORIGINAL_COMMAND`.
    async fn start(forced: &str) -> Option<Self> {
        install();
        if !have(&[SSHD, "/usr/bin/ssh", "/usr/bin/ssh-keygen", "/usr/bin/git-shell"]) {
            return None;
        }
        if run(command("id").arg("-u")) != "0" {
            println!("SKIPPED: sshd needs root");
            return None;
        }
        std::fs::create_dir_all("/run/sshd").unwrap();
        let upstream = Upstream::new();
        let folder = upstream.folder.path();
        for name in ["host", "bot", "other"] {
            new_key(folder, name);
        }
        let public = std::fs::read_to_string(folder.join("bot.pub")).unwrap();
        std::fs::write(folder.join("authorized_keys"), format!("command=\"{forced}\",restrict {public}"))
            .unwrap();
        let port = free_port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nPidFile none\nAuthorizedKeysFile {0}/authorized_keys\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\nUsePAM no\n",
            folder.display()
        );
        std::fs::write(folder.join("sshd_config"), config).unwrap();
        let daemon = Daemon::start(
            command(SSHD)
                .arg("-D")
                .arg("-f")
                .arg(folder.join("sshd_config"))
                .arg("-E")
                .arg(folder.join("log")),
        );
        let open = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        eventually("sshd listens", open).await;
        let server = Self { upstream, port, _daemon: daemon };
        server.know("host");
        Some(server)
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.upstream.folder.path().join(name)).unwrap()
    }

    /// Writes the known hosts: this key is the server's.
    fn know(&self, key: &str) {
        let line = format!("[127.0.0.1]:{} {}", self.port, self.file(&format!("{key}.pub")));
        std::fs::write(self.upstream.folder.path().join("known_hosts"), line).unwrap();
    }

    fn settings(&self) -> Settings {
        let user = run(command("id").arg("-un"));
        let url = format!("ssh://{user}@127.0.0.1:{}{}", self.port, self.upstream.bare().display());
        let mut settings = self.upstream.settings(&url);
        settings.secret = Some(SecretString::from(self.file("bot")));
        settings.known_hosts = Some(self.upstream.folder.path().join("known_hosts"));
        settings
    }

    async fn refusal(&self, settings: &Settings) -> String {
        let error = Mirror::new(settings).unwrap().fetch().await.unwrap_err();
        assert!(!error.is_unavailable(), "{error}");
        assert!(!self.upstream.folder.path().join("mirror/ssh/identity").exists(), "the key was left behind");
        let text = error.to_string();
        text.split_once(".git: ").unwrap_or_else(|| panic!("{text}")).1.to_owned()
    }
}

const GIT_SHELL: &str = r#"git-shell -c \"$SSH_ORIGINAL_COMMAND\""#;

#[tokio::test]
async fn commits_arrive_over_ssh() {
    let Some(server) = Server::start(GIT_SHELL).await else { return };
    let mirror = Mirror::new(&server.settings()).unwrap();
    assert_eq!(mirror.fetch().await, Ok(None));
    let first = server.upstream.commit(&[("holdfast.yaml", "a")]);
    assert_eq!(mirror.fetch().await, Ok(Some(first.clone())));
    assert_eq!(mirror.fetch().await, Ok(Some(first.clone())));
    let second = server.upstream.commit(&[("holdfast.yaml", "b")]);
    assert_eq!(mirror.fetch().await, Ok(Some(second.clone())));
    assert_eq!(mirror.descends(&first, &second).await, Ok(true));
    assert!(!server.upstream.folder.path().join("mirror/ssh/identity").exists());
    assert!(mirror.watcher().is_none());
}

#[tokio::test]
async fn refusals_over_ssh_say_what_to_do() {
    let Some(server) = Server::start(GIT_SHELL).await else { return };
    server.upstream.commit(&[("holdfast.yaml", "a")]);
    let mut settings = server.settings();
    settings.secret = Some(SecretString::from(server.file("other")));
    let wrong_key = server.refusal(&settings).await;
    assert!(wrong_key.starts_with("the server refused the key for the user `"), "{wrong_key}");

    let mut settings = server.settings();
    let broken = "-----BEGIN OPENSSH PRIVATE KEY-----\nnot a key\n-----END OPENSSH PRIVATE KEY-----";
    settings.secret = Some(SecretString::from(broken));
    let no_key = server.refusal(&settings).await;
    assert!(no_key.starts_with("ssh cannot use the private key"), "{no_key}");

    let mut settings = server.settings();
    settings.url = settings.url.replace("infra.git", "other.git");
    let missing = server.refusal(&settings).await;
    assert!(missing.starts_with("the repository was not found"), "{missing}");

    server.know("other");
    let changed = server.refusal(&server.settings()).await;
    assert!(changed.starts_with("the server's host key is another than in `known_hosts`"), "{changed}");

    std::fs::write(server.upstream.folder.path().join("known_hosts"), "").unwrap();
    let unknown = server.refusal(&server.settings()).await;
    assert!(unknown.starts_with("the server's host key is not in `known_hosts`"), "{unknown}");
}

#[tokio::test]
async fn a_hung_command_over_ssh_ends_at_the_deadline() {
    let Some(server) = Server::start("sleep 60").await else { return };
    let mirror = Mirror::new(&server.settings()).unwrap().with_deadline(Duration::from_secs(2));
    let start = Instant::now();
    let error = mirror.fetch().await.unwrap_err();
    assert!(error.is_unavailable());
    assert!(error.to_string().ends_with("the server did not answer in time"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test]
async fn nobody_listens_for_ssh() {
    install();
    let Some(server) = Server::start(GIT_SHELL).await else { return };
    let mut settings = server.settings();
    settings.url = settings.url.replace(&server.port.to_string(), &free_port().to_string());
    let error = Mirror::new(&settings).unwrap().fetch().await.unwrap_err();
    assert!(error.is_unavailable());
    assert!(error.to_string().contains("Connection refused"), "{error}");
}
