//! Hosts without a machine: a real shell in a file tree of its own behind a real SSH server on loopback.
//!
//! The tree holds the machine's own small tools and stand-ins for apt, dpkg and systemd. As root the shell runs under
//! `chroot`, else under `chroot` in a user namespace, where files can belong to root alone and nobody else.

mod base;
mod carry;
mod catalogue;
mod door;
mod enter;
mod exec;
mod server;
mod wire;

#[cfg(test)]
mod standin_tests;
#[cfg(test)]
pub(in crate::hosts) mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use tokio::task::JoinHandle;

pub use catalogue::Package;
pub use door::Door;
pub use wire::{Exec, Fault, Wire};

use super::Output;
use enter::Enter;
use server::Shared;

/// What hosts are made from: one file tree, built once from the machine's own binaries.
pub struct Trees {
    folder: PathBuf,
    enter: Enter,
}

/// What a new host is told, as a template's first boot would.
pub struct Seed {
    /// Its host name.
    pub name: String,
    /// Who may log in besides `root`; `root` for nobody else.
    pub user: String,
    /// Public keys in OpenSSH's form: the only ones that are let in.
    pub authorized_keys: Vec<String>,
    /// The port it answers on; a free one without it.
    pub door: Option<Door>,
}

impl Trees {
    /// Builds the tree in `folder`, which must be empty or absent, and finds out how it can be entered.
    pub async fn new(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::with_packages(folder, Vec::new()).await
    }

    /// Likewise, and apt knows these packages as well.
    pub async fn with_packages(folder: impl Into<PathBuf>, packages: Vec<Package>) -> Result<Self> {
        let folder = folder.into();
        let base = folder.join("base");
        let to = base.clone();
        tokio::task::spawn_blocking(move || base::build(&to, &packages))
            .await
            .expect("building is not cancelled")
            .context("building the hosts' file tree")?;
        let enter = Enter::find(&base).await?;
        Ok(Self { folder, enter })
    }

    /// Makes a host of its own and starts it.
    pub async fn start(&self, seed: Seed) -> Result<Host> {
        let host = self.create(seed).await?;
        host.start().await?;
        Ok(host)
    }

    /// Makes a host that is powered off. Its port is kept, and refuses connections.
    pub async fn create(&self, seed: Seed) -> Result<Host> {
        let Seed { name, user, authorized_keys, door } = seed;
        let root = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(&self.folder)
            .context("making the host's folder")?;
        let (base, to) = (self.folder.join("base"), root.path().to_owned());
        let (host_name, login) = (name.clone(), user.clone());
        tokio::task::spawn_blocking(move || base::clone(&base, &to, &host_name, &login))
            .await
            .expect("cloning is not cancelled")
            .with_context(|| format!("making the file tree of host `{name}`"))?;
        self.enter.prepare(root.path()).await?;
        let door = door.map_or_else(Door::reserve, Ok).context("reserving the host's port")?;
        let shared = Shared::new(root.path().to_owned(), self.enter.clone(), user, new_key());
        let host = Host { name, root, door, shared: Arc::new(shared), listening: Mutex::default() };
        host.authorize(&authorized_keys)?;
        host.write_host_key()?;
        Ok(host)
    }
}

/// A host. Dropping it ends what runs on it, and removes its tree.
pub struct Host {
    name: String,
    root: tempfile::TempDir,
    door: Door,
    shared: Arc<Shared>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl Host {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it answers SSH.
    pub fn address(&self) -> std::net::SocketAddr {
        self.door.address()
    }

    /// Its public key, such as `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> String {
        self.shared.public_key()
    }

    /// Its file tree, as seen from outside.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Its counters and knobs.
    pub fn wire(&self) -> &Wire {
        &self.shared.wire
    }

    /// Powers it on: what is enabled starts, and SSH answers.
    pub async fn start(&self) -> Result<()> {
        if self.slot().is_some() {
            return Ok(());
        }
        base::renew_boot_id(self.root())?;
        let booted = self.run("rm -rf /run/* /tmp/*; systemctl standin-boot").await?;
        anyhow::ensure!(booted.status == 0, "booting host `{}`: {}", self.name, booted.stderr);
        self.answer().await
    }

    /// Powers it off: connections break, what runs ends, and SSH is refused.
    pub fn stop(&self) {
        self.refuse();
        self.shared.end_sessions();
    }

    /// Refuses new connections and breaks those that are open, as a firewall would; nothing on the host ends.
    pub fn refuse(&self) {
        if let Some(task) = self.slot().take() {
            task.abort();
        }
        self.shared.wire.cut_all();
    }

    /// Answers again after [`Host::refuse`].
    pub async fn answer(&self) -> Result<()> {
        // A listener that was just aborted is closed as soon as its task has been polled once more.
        let listener = loop {
            match self.door.open() {
                Ok(listener) => break listener,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                Err(error) => return Err(error).context("opening the host's port"),
            }
        };
        let task = tokio::spawn(server::serve(listener, Arc::clone(&self.shared)));
        *self.slot() = Some(task);
        Ok(())
    }

    /// Gives it another host key from the next connection on, as a machine that was installed anew has.
    pub fn change_host_key(&self) -> Result<String> {
        self.shared.set_key(new_key());
        self.write_host_key()?;
        Ok(self.host_key())
    }

    /// Lets in these public keys and no others.
    pub fn authorize(&self, keys: &[String]) -> Result<()> {
        let keys = keys.iter().map(|key| PublicKey::from_openssh(key.trim()));
        let keys = keys.collect::<Result<Vec<_>, _>>().context("reading an authorized key")?;
        self.shared.set_authorized(keys);
        Ok(())
    }

    /// Runs a script on the host as a guest agent would: not over SSH, and not counted.
    pub async fn run(&self, script: &str) -> Result<Output> {
        let mut command = self.shared.enter.command(self.root(), script, "root");
        let output =
            command.stdin(std::process::Stdio::null()).output().await.context("running in the tree")?;
        Ok(output.into())
    }

    fn write_host_key(&self) -> Result<()> {
        let line = format!("{} root@{}\n", self.host_key(), self.name);
        std::fs::write(self.root().join("etc/ssh/ssh_host_ed25519_key.pub"), line)
            .context("writing the host key")
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

fn new_key() -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&rand::random()))
}
