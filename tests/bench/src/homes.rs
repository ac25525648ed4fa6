//! Homes of any size: a repository of so many resources, and simulators that have none of them yet.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use holdfast_lab::http::Wire;
use holdfast_lab::kubernetes::{ADMIN_TOKEN, Cluster, Settings};
use holdfast_lab::proxmox::{CONVERGE_GUESTS, Proxmox, StorageSeed};
use holdfast_lab::vault::{Flavour, ROOT_TOKEN, Vault};

/// How many resources a home has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) guests: u32,
    pub(crate) policies: u32,
    pub(crate) applications: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} guests + {}", self.guests, self.policies + self.applications)
    }
}

/// A running home.
pub(crate) struct Home {
    folder: tempfile::TempDir,
    wires: Vec<Wire>,
    _proxmox: Proxmox,
    _vault: Vault,
    _cluster: Cluster,
}

impl Home {
    pub(crate) async fn start(size: Size) -> Result<Self> {
        let wire = Wire::default();
        let proxmox = Proxmox::builder()
            .node("pve1")
            .storage(StorageSeed::new("local-lvm", "lvmthin", 100_000))
            .template(9000, "debian-12", "pve1", 8)
            .token("holdfast@pve!main", "secret", CONVERGE_GUESTS)
            .task_time(Duration::from_millis(1))
            .start(&wire)
            .await?;
        let vault = Vault::start(Flavour::OpenBao).await?;
        let cluster = Cluster::start(Settings::default()).await?;
        let wires = vec![wire, vault.wire.clone(), cluster.wire.clone()];
        let folder = tempfile::tempdir()?;
        let home = Self { folder, wires, _proxmox: proxmox, _vault: vault, _cluster: cluster };
        write_repository(&home.repository(), size)?;
        home.write_config()?;
        Ok(home)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.folder.path().join("infra")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("holdfast.toml")
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    pub(crate) fn reset(&self) {
        self.wires.iter().for_each(Wire::reset);
    }

    pub(crate) fn requests(&self) -> usize {
        self.wires.iter().map(|wire| wire.requests().len()).sum()
    }

    fn write_config(&self) -> Result<()> {
        let Self { folder, wires: _, _proxmox: proxmox, _vault: vault, _cluster: cluster } = self;
        let state = folder.path().join("state");
        std::fs::create_dir_all(&state)?;
        std::fs::create_dir_all(self.credentials())?;
        for (name, value) in [("pve", "secret"), ("vault", ROOT_TOKEN), ("kube", ADMIN_TOKEN)] {
            std::fs::write(self.credentials().join(name), value)?;
        }
        let text = format!(
            "site = \"home\"\nstate = \"{}\"\n[repository]\nurl = \"/nowhere\"\n[proxmox]\nurl = \"{}\"\n\
             token_id = \"holdfast@pve!main\"\ncredential = \"pve\"\n[vault]\nurl = \"{}\"\ncredential = \"vault\"\n\
             [argocd]\nurl = \"{}\"\ncredential = \"kube\"\n",
            state.display(),
            proxmox.url(),
            vault.url(),
            cluster.url(),
        );
        Ok(std::fs::write(self.config(), text)?)
    }
}

fn write_repository(root: &Path, size: Size) -> Result<()> {
    let environment = root.join("environments/big");
    std::fs::create_dir_all(&environment)?;
    std::fs::write(
        root.join("holdfast.yaml"),
        "apiVersion: holdfast/v1\nkind: Site\nmetadata: { name: home }\nspec: { environments: [big] }\n",
    )?;
    let guests = (0..size.guests).map(|n| {
        format!(
            "---\napiVersion: holdfast/v1\nkind: VirtualMachine\nmetadata: {{ name: vm{n} }}\nspec:\n  vmid: {}\n  \
             node: pve1\n  template: 9000\n  cores: 2\n  memory: 2GiB\n  disk: {{ slot: scsi0, size: 16GiB, storage: local-lvm }}\n  \
             cloudInit: {{ user: ops, address: 10.{}.{}.10/24 }}\n  agent: true\n",
            1000 + n,
            n / 250,
            n % 250
        )
    });
    let policies = (0..size.policies).map(|n| {
        let needs = format!("VirtualMachine/vm{}", n % size.guests);
        format!(
            "---\napiVersion: holdfast/v1\nkind: VaultPolicy\nmetadata: {{ name: p{n}, dependsOn: [{needs}] }}\nspec:\n  \
             rules: [{{ path: kv/data/p{n}/*, capabilities: [read, list] }}]\n"
        )
    });
    let applications = (0..size.applications).map(|n| {
        format!(
            "---\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: a{n}\n  namespace: argocd\n  \
             annotations: {{ holdfast/depends-on: VaultPolicy/p{n} }}\nspec:\n  project: default\n  source: {{ repoURL: \
             https://git.lan/a.git, path: a{n}, targetRevision: main }}\n  destination: {{ server: \
             https://kubernetes.default.svc, namespace: a{n} }}\n"
        )
    });
    write_files(&environment, "guests", guests)?;
    write_files(&environment, "policies", policies)?;
    write_files(&environment, "applications", applications)
}

/// A hundred documents a file, as people would.
fn write_files(folder: &Path, name: &str, documents: impl Iterator<Item = String>) -> Result<()> {
    let documents: Vec<String> = documents.collect();
    for (number, chunk) in documents.chunks(100).enumerate() {
        std::fs::write(folder.join(format!("{name}{number}.yaml")), chunk.concat())?;
    }
    Ok(())
}
