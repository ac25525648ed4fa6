//! A whole home on loopback: a Proxmox cluster, hosts, Vault, Argo CD, a forge and a git repository, ready for
//! the real service.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::forge::{Flavour as ForgeFlavour, Forge, Post, Right};
use crate::git::Repository;
use crate::guests::TreeGuests;
use crate::hosts::tree::Trees;
use crate::http::{Seen, Wire};
use crate::kubernetes::{ADMIN_TOKEN, Cluster, Settings as ArgoSettings};
use crate::proxmox::{CONVERGE_GUESTS, GuestHost, NoHost, Proxmox, StorageSeed};
use crate::vault::{Flavour as VaultFlavour, Vault};

/// How the home is furnished.
pub struct Options {
    /// How long a task of the cluster takes.
    pub task_time: Duration,
    /// How long Argo CD takes to sync, and then to become healthy.
    pub sync_time: Duration,
    pub forge: ForgeFlavour,
    /// How often the service asks for a new commit, such as `60s`.
    pub poll: String,
    /// How often it looks at a converged environment again.
    pub resync: String,
    /// How long a resource may take to settle.
    pub settle: String,
    /// VMIDs and addresses of the guests that will run, each with a real host behind it.
    pub guests: Vec<(u32, String)>,
    /// Whether guests have real hosts at all; else each is nothing but an agent that answers.
    pub machines: bool,
}

impl Default for Options {
    /// Fast, and furnished for `example-repo`.
    fn default() -> Self {
        let guests = [(111, 11), (112, 12), (121, 21), (122, 22), (123, 23)];
        Self {
            task_time: Duration::from_millis(20),
            sync_time: Duration::from_millis(50),
            forge: ForgeFlavour::Gitea,
            poll: "1s".to_owned(),
            resync: "1h".to_owned(),
            settle: "60s".to_owned(),
            guests: guests.map(|(vmid, last)| (vmid, format!("10.78.0.{last}"))).to_vec(),
            machines: true,
        }
    }
}

/// The repository's name on the forge.
pub const REPOSITORY: &str = "me/infra";
const FORGE_TOKEN: &str = "lab-forge-token";
const PVE_SECRET: &str = "5f1c0a4e-0000-4000-8000-00000000cafe";
const VAULT_ROLE: &str = "holdfast";
const VAULT_SECRET_ID: &str = "lab-secret-id";

/// What Holdfast's role in Vault may do: its policies, and the secrets that the repository refers to.
const VAULT_POLICY: &str = r#"
path "sys/policies/acl/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
path "sys/policies/acl" { capabilities = ["list"] }
path "sys/policies/detailed/acl" { capabilities = ["list"] }
path "kv/data/*" { capabilities = ["read"] }
"#;

/// A running home. Dropping it ends everything and removes its files.
pub struct Home {
    pub proxmox: Proxmox,
    pub proxmox_wire: Wire,
    pub guests: TreeGuests,
    pub vault: Vault,
    pub kubernetes: Cluster,
    pub forge: Forge,
    pub repository: Repository,
    folder: tempfile::TempDir,
}

impl Home {
    /// Starts everything. The repository is empty.
    pub async fn start(options: &Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdfast-home-").tempdir()?;
        let guests = TreeGuests::new(Trees::new(folder.path().join("hosts")).await?);
        let proxmox_wire = Wire::default();
        let proxmox = cluster(options, &guests, &proxmox_wire).await?;
        let vault = vault().await?;
        let argo = ArgoSettings {
            auto: Some(Duration::from_millis(20)),
            sync_delay: options.sync_time,
            health_delay: options.sync_time,
            ..ArgoSettings::default()
        };
        let kubernetes = Cluster::start(argo).await?;
        let forge = Forge::start(options.forge).await?;
        let repository = Repository::create(folder.path())?;
        forge.serve_commits_of(REPOSITORY, repository.bare());
        forge.allow(FORGE_TOKEN, REPOSITORY, Right::Write);
        let home = Self { proxmox, proxmox_wire, guests, vault, kubernetes, forge, repository, folder };
        home.write_config(options)?;
        Ok(home)
    }

    /// The folder that holds everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The service's config.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("holdfast.toml")
    }

    /// The folder of its credentials.
    pub fn credentials(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// Its state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Requests that may have changed something on a target since the last [`Home::reset`]. What is written over SSH
    /// shows on the hosts themselves.
    pub fn writes(&self) -> Vec<String> {
        let mut writes = Vec::new();
        for (target, wire) in self.wires() {
            let seen = wire.writes().into_iter().filter(|seen| !is_session(seen));
            writes.extend(seen.map(|seen| format!("{target}: {} {}", seen.method, seen.uri)));
        }
        writes
    }

    /// The simulators' wires by name.
    pub fn wires(&self) -> [(&'static str, Wire); 3] {
        [
            ("proxmox", self.proxmox_wire.clone()),
            ("vault", self.vault.wire.clone()),
            ("kubernetes", self.kubernetes.wire.clone()),
        ]
    }

    /// Forgets what was counted.
    pub fn reset(&self) {
        for (_, wire) in self.wires() {
            wire.reset();
        }
        for (_, host) in self.guests.hosts() {
            host.wire().reset();
        }
    }

    /// The newest status of a commit's context, such as `validate` or `core`.
    pub fn status(&self, commit: &str, context: &str) -> Option<Post> {
        self.forge.latest(commit, &format!("holdfast/home/{context}"))
    }

    /// Waits until a commit's context has a state other than `pending`.
    pub async fn until_final(&self, commit: &str, context: &str, within: Duration) -> Result<Post> {
        let found = async {
            loop {
                match self.status(commit, context) {
                    Some(post) if post.state != "pending" => return post,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(within, found).await.with_context(|| {
            let last = self.status(commit, context);
            format!("{context} of {} got no final status; the last is {last:?}", &commit[..7])
        })
    }

    fn write_config(&self, options: &Options) -> Result<()> {
        let mut config = format!(
            "site = \"home\"\nstate = \"{}\"\n\n[repository]\nurl = \"{}\"\npoll = \"{}\"\n\n\
             [forge]\nkind = \"{}\"\nurl = \"{}\"\nrepository = \"{REPOSITORY}\"\ncredential = \"forge-token\"\n\n\
             [proxmox]\nurl = \"{}\"\ntoken_id = \"holdfast@pve!main\"\ncredential = \"pve-token\"\n\n\
             [vault]\nurl = \"{}\"\nrole_id = \"{VAULT_ROLE}\"\ncredential = \"vault-secret-id\"\n\n\
             [argocd]\nurl = \"{}\"\ncredential = \"kube-token\"\n\n\
             [limits]\nsettle = \"{}\"\nresync = \"{}\"\nretry = \"1s\"\n\n[ssh]\ncredential = \"ssh-key\"\n",
            self.state().display(),
            self.repository.bare().display(),
            options.poll,
            match options.forge {
                ForgeFlavour::Gitea => "gitea",
                ForgeFlavour::Forgejo => "forgejo",
                ForgeFlavour::GitHub => "github",
            },
            self.forge.url(),
            self.proxmox.url(),
            self.vault.url(),
            self.kubernetes.url(),
            options.settle,
            options.resync,
        );
        for (vmid, address) in &options.guests {
            let door = self.guests.reserve(*vmid)?;
            let _ = write!(
                config,
                "\n[ssh.hosts.\"{address}\"]\nhostname = \"{}\"\nport = {}\n",
                door.ip(),
                door.port()
            );
        }
        std::fs::write(self.config(), config)?;
        std::fs::create_dir_all(self.credentials())?;
        let credentials = [
            ("forge-token", FORGE_TOKEN),
            ("pve-token", PVE_SECRET),
            ("vault-secret-id", VAULT_SECRET_ID),
            ("kube-token", ADMIN_TOKEN),
            ("ssh-key", &crate::keys::private()),
        ];
        for (name, value) in credentials {
            std::fs::write(self.credentials().join(name), value)?;
        }
        Ok(())
    }
}

/// Whether a request only begins, prolongs or ends a session with Vault.
pub fn is_session(seen: &Seen) -> bool {
    seen.uri.starts_with("/v1/auth/")
}

async fn cluster(options: &Options, guests: &TreeGuests, wire: &Wire) -> Result<Proxmox> {
    let behind: Arc<dyn GuestHost> =
        if options.machines { Arc::new(guests.clone()) } else { Arc::new(NoHost::new(options.task_time)) };
    let cluster = Proxmox::builder()
        .node("pve1")
        .node("pve2")
        .node("pve3")
        .storage(StorageSeed::new("local-lvm", "lvmthin", 4_000).shared())
        .template(9000, "debian-12", "pve1", 8)
        .token("holdfast@pve!main", PVE_SECRET, CONVERGE_GUESTS)
        .host(behind)
        .task_time(options.task_time)
        .start(wire)
        .await?;
    Ok(cluster)
}

async fn vault() -> Result<Vault> {
    let vault = Vault::start(VaultFlavour::OpenBao).await?;
    vault.mount_kv("kv");
    vault.put_policy("holdfast-service", VAULT_POLICY).map_err(anyhow::Error::msg)?;
    vault.put_approle(VAULT_ROLE, VAULT_SECRET_ID, &["holdfast-service"], Duration::from_mins(20));
    let secrets = [
        ("kv/guests", json!({ "console": "correct horse battery staple" })),
        ("kv/proxy", json!({ "stats": "tr0ub4dor-and-3" })),
        ("kv/backup", json!({ "passphrase": "a long walk on the beach" })),
        ("kv/k3s", json!({ "token": "a-token-for-joining-servers" })),
    ];
    for (path, data) in secrets {
        vault.put_secret(path, data).with_context(|| format!("seeding {path}"))?;
    }
    Ok(vault)
}
