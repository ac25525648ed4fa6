//! A home of real parts, with the real service in it; Proxmox and the forge are simulated.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use holdfast_lab::forge::{Flavour, Forge, Post, Right};
use holdfast_lab::git::Repository;
use holdfast_lab::hosts::nspawn::{self, Fleet, FleetGuests, Forward};
use holdfast_lab::http::Wire;
use holdfast_lab::proxmox::{CONVERGE_GUESTS, Proxmox, StorageSeed};
use holdfast_lab::service::{self, Service};
use serde_json::{Value, json};

use crate::bao::{self, Bao};
use crate::eventually;
use crate::git_server::GitServer;
use crate::guest::Guest;

/// The repository's name on the forge.
const REPOSITORY: &str = "me/infra";
const FORGE_TOKEN: &str = "a-token-of-the-forge";
const PVE_SECRET: &str = "5f1c0a4e-0000-4000-8000-00000000beef";
/// The guest that `infra/` declares.
const VMID: u32 = 101;
const ADDRESS: &str = "10.78.0.11";

/// The repository that is pushed, as a folder.
pub(crate) fn infra() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/infra")
}

/// The secrets that it refers to.
pub(crate) const CONSOLE_PASSWORD: &str = "correct horse battery staple";
pub(crate) const FIRST_TOKEN: &str = "the first token: $HOME 'quoted'";

/// Proxmox and the real guests behind it.
pub(crate) struct Cluster {
    pub(crate) wire: Wire,
    pub(crate) guests: FleetGuests,
    /// Where the guest's sshd is reached from outside.
    pub(crate) door: Forward,
    proxmox: Proxmox,
    fleet: Fleet,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let fleet = Fleet::new(&nspawn::cache(), &["10.78.0.1/24"]).await.unwrap();
        let guests = FleetGuests::new(fleet.clone());
        let door = fleet.forward(format!("{ADDRESS}:22").parse().unwrap()).await.unwrap();
        let wire = Wire::default();
        let proxmox = Proxmox::builder()
            .node("pve1")
            .storage(StorageSeed::new("local-lvm", "lvmthin", 4_000).shared())
            .template(9000, "debian-12", "pve1", 8)
            .token("holdfast@pve!main", PVE_SECRET, CONVERGE_GUESTS)
            .host(Arc::new(guests.clone()))
            .task_time(Duration::from_millis(20))
            .start(&wire)
            .await
            .unwrap();
        Self { wire, guests, door, proxmox, fleet }
    }

    /// The guest, once it is up.
    pub(crate) async fn guest(&self) -> Guest {
        Guest(eventually("the guest is up", async || self.guests.guest(VMID)).await)
    }

    /// Ends all guests, and waits until nothing is left.
    pub(crate) async fn close(self) {
        drop((self.proxmox, self.guests, self.door));
        self.fleet.close().await.unwrap();
    }
}

/// Git, `OpenBao`, the forge, and what the service is told of them.
pub(crate) struct Home {
    pub(crate) git: GitServer,
    pub(crate) bao: Bao,
    pub(crate) forge: Forge,
    folder: tempfile::TempDir,
}

impl Home {
    /// Starts everything that a home without guests has, with git over https. The repository is empty.
    pub(crate) async fn start() -> Self {
        let folder = folder();
        let git = GitServer::https(&folder.path().join("git")).await;
        Self::with(folder, git).await
    }

    /// Likewise, with git over ssh.
    pub(crate) async fn start_with_ssh() -> Self {
        let folder = folder();
        let git = GitServer::ssh(&folder.path().join("git")).await;
        Self::with(folder, git).await
    }

    async fn with(folder: tempfile::TempDir, git: GitServer) -> Self {
        let bao = Bao::start(&folder.path().join("bao")).await;
        bao.put_secret("kv/guests", json!({ "console": CONSOLE_PASSWORD })).await;
        bao.put_secret("kv/web", json!({ "token": FIRST_TOKEN })).await;
        let forge = Forge::start(Flavour::Gitea).await.unwrap();
        forge.serve_commits_of(REPOSITORY, git.repository.bare());
        forge.allow(FORGE_TOKEN, REPOSITORY, Right::Write);
        let home = Self { git, bao, forge, folder };
        std::fs::create_dir(home.credentials()).unwrap();
        for (name, value) in [
            ("git", home.git.credential.as_str()),
            ("forge-token", FORGE_TOKEN),
            ("pve-token", PVE_SECRET),
            ("vault-secret-id", bao::SECRET_ID),
            ("ssh-key", &holdfast_lab::keys::private()),
        ] {
            home.write_credential(name, value);
        }
        home
    }

    pub(crate) fn repository(&self) -> &Repository {
        &self.git.repository
    }

    pub(crate) fn write_credential(&self, name: &str, value: &str) {
        std::fs::write(self.credentials().join(name), value).unwrap();
    }

    fn credentials(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// Starts the service. The test runner shows its log if the test fails.
    pub(crate) fn serve(&self, cluster: Option<&Cluster>) -> Service {
        let config = self.folder.path().join("holdfast.toml");
        std::fs::write(&config, self.config(cluster)).unwrap();
        let program = self.folder.path().join("service");
        if !program.exists() {
            // It ends with the thread of the test, even if that is killed.
            let binary = binary();
            let text = format!("#!/bin/sh\nexec setpriv --pdeathsig KILL '{}' \"$@\"\n", binary.display());
            std::fs::write(&program, text).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Service::start_heard(&program, &config, &self.credentials(), |line| println!("{line}")).unwrap()
    }

    fn config(&self, cluster: Option<&Cluster>) -> String {
        let mut config = format!(
            "site = \"home\"\nstate = \"{}\"\n\n\
             [repository]\n{}credential = \"git\"\npoll = \"1s\"\n\n\
             [forge]\nkind = \"gitea\"\nurl = \"{}\"\nrepository = \"{REPOSITORY}\"\ncredential = \"forge-token\"\n\n\
             [vault]\nurl = \"{}\"\nrole_id = \"{}\"\ncredential = \"vault-secret-id\"\nca = \"{}\"\n\n\
             [limits]\nsettle = \"90s\"\nresync = \"2s\"\nretry = \"1s\"\n",
            self.folder.path().join("state").display(),
            self.git.config,
            self.forge.url(),
            self.bao.url(),
            bao::ROLE,
            self.bao.ca().display(),
        );
        if let Some(cluster) = cluster {
            let _ = write!(
                config,
                "\n[proxmox]\nurl = \"{}\"\ntoken_id = \"holdfast@pve!main\"\ncredential = \"pve-token\"\n\n\
                 [ssh]\ncredential = \"ssh-key\"\n[ssh.hosts.\"{ADDRESS}\"]\nhostname = \"127.0.0.1\"\nport = {}\n",
                cluster.proxmox.url(),
                cluster.door.address().port()
            );
        }
        config
    }

    /// Waits for a commit's final status in a context, such as `core`.
    pub(crate) async fn until_final(&self, commit: &str, context: &str) -> Post {
        eventually(&format!("a final status {context}"), async || self.finals(commit, context).pop()).await
    }

    /// Waits until a commit has converged, through whatever went wrong before.
    pub(crate) async fn until_green(&self, commit: &str) {
        eventually(&format!("{commit} is converged"), async || {
            self.finals(commit, "core").pop().filter(|post| post.state == "success")
        })
        .await;
    }

    /// A commit's statuses in a context, other than `pending`.
    pub(crate) fn finals(&self, commit: &str, context: &str) -> Vec<Post> {
        let context = format!("holdfast/home/{context}");
        let mut posts = self.forge.posts();
        posts.retain(|post| post.commit == commit && post.context == context && post.state != "pending");
        posts
    }
}

/// The service's binary, built once and as the tests were.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned());
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--locked", "--bin", "holdfast"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        let built = command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).status().unwrap();
        assert!(built.success(), "the service could not be built");
        service::binary().unwrap()
    })
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("holdfast-real-").tempdir().unwrap()
}

/// How many runs ended so far.
pub(crate) fn runs(service: &Service) -> usize {
    messages(service, "the run ended").len()
}

/// The lines of the log with this message.
pub(crate) fn messages(service: &Service, message: &str) -> Vec<Value> {
    let mut lines = service.log();
    lines.retain(|line| line["message"] == message);
    lines
}

/// Waits until the service has looked at everything once more, from beginning to end.
pub(crate) async fn another_look(service: &Service) {
    // The run that is under way may have begun before this was asked.
    let until = runs(service) + 2;
    eventually("another look", async || (runs(service) >= until).then_some(())).await;
}
