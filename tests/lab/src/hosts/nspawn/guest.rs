//! One guest of a fleet: its power, its files, its network, and programs in it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::keeper::Keeper;
use super::{GuestSeed, net};
use crate::hosts::Output;

/// A guest that was booted. Dropping it leaves it running: the fleet ends it.
#[derive(Clone)]
pub struct RunningGuest {
    fleet: Arc<Keeper>,
    seed: GuestSeed,
}

impl RunningGuest {
    pub(super) fn new(fleet: Arc<Keeper>, seed: GuestSeed) -> Self {
        Self { fleet, seed }
    }

    pub fn name(&self) -> &str {
        &self.seed.name
    }

    /// The static address that its network configuration gives it; none with DHCP, which the fleet does not have.
    pub fn address(&self) -> Option<IpAddr> {
        let values = self.seed.network_config.lines().filter_map(|line| line.trim().strip_prefix("address:"));
        let mut addresses = values.filter_map(|value| {
            let value = value.trim().trim_matches(['\'', '"']);
            value.split('/').next().and_then(|address| address.parse().ok())
        });
        addresses.next()
    }

    /// Boots it, with the seed that it has now.
    pub async fn start(&self) -> Result<()> {
        let GuestSeed { name, mac, uuid, user_data, network_config, meta_data } = &self.seed;
        let folder = self.fleet.folder().join("seed").join(name);
        tokio::fs::create_dir_all(&folder).await.context("making the guest's seed")?;
        for (file, text) in
            [("user-data", user_data), ("network-config", network_config), ("meta-data", meta_data)]
        {
            tokio::fs::write(folder.join(file), text).await.with_context(|| format!("writing `{file}`"))?;
        }
        self.fleet.tell(&format!("start {name} {mac} {}", uuid.as_deref().unwrap_or("-"))).await
    }

    /// Powers it off. What it wrote is there again after [`RunningGuest::start`].
    pub async fn stop(&self) -> Result<()> {
        self.fleet.tell(&format!("stop {}", self.seed.name)).await
    }

    /// Powers it off and forgets what it wrote: its next start is a first boot.
    pub async fn destroy(&self) -> Result<()> {
        self.stop().await?;
        self.fleet.tell(&format!("remove {}", self.seed.name)).await
    }

    /// Pulls its network cable.
    pub async fn cut(&self) -> Result<()> {
        self.fleet.tell(&format!("cut {}", self.seed.name)).await
    }

    /// Plugs its network cable in again.
    pub async fn join(&self) -> Result<()> {
        self.fleet.tell(&format!("join {}", self.seed.name)).await
    }

    /// Gives it another seed from its next start on.
    pub fn set_seed(&mut self, seed: GuestSeed) {
        self.seed = seed;
    }

    /// Waits until its sshd answers, at most `bound`; the error ends with what its console says.
    pub async fn ready(&self, bound: Duration) -> Result<()> {
        let address = self.address().context("a guest without a static address is not reached")?;
        let answers = async {
            while !self.greets(SocketAddr::new(address, 22)).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(bound, answers).await.is_ok() {
            return Ok(());
        }
        let console = tokio::fs::read_to_string(self.fleet.folder().join("log").join(self.name())).await;
        let console = console.unwrap_or_default();
        let tail: Vec<&str> = console.lines().rev().take(20).collect();
        bail!(
            "guest `{}` has no sshd after {bound:?}: {}",
            self.name(),
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        )
    }

    async fn greets(&self, address: SocketAddr) -> bool {
        let greeting = async {
            let mut stream = net::connect(&self.fleet.netns(), address).await.ok()?;
            let mut start = [0; 4];
            stream.read_exact(&mut start).await.ok()?;
            (&start == b"SSH-").then_some(())
        };
        matches!(tokio::time::timeout(Duration::from_secs(3), greeting).await, Ok(Some(())))
    }

    /// Its public key, such as `ssh-ed25519 AAAA…`; none before cloud-init made it.
    pub fn host_key(&self) -> Option<String> {
        let line = self.read("/etc/ssh/ssh_host_ed25519_key.pub")?;
        let line = String::from_utf8(line).ok()?;
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?))
    }

    /// A file of it while it runs; none if it is not there.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(path)).ok()
    }

    /// Where a file of it stands while it runs, as seen from outside. Absolute links in it lead astray.
    pub fn path(&self, path: &str) -> PathBuf {
        self.fleet.root(self.name()).join(path.trim_start_matches('/'))
    }

    /// Runs a program in it as a guest agent would: as root, and not over SSH.
    pub async fn run(&self, command: &[String], input: &[u8]) -> Result<Output> {
        let leader =
            self.fleet.leader(self.name()).with_context(|| format!("guest `{}` is off", self.name()))?;
        let mut child = Command::new("nsenter")
            .arg(format!("--target={leader}"))
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--"])
            .args(command)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("entering the guest")?;
        let mut stdin = child.stdin.take().expect("its input is piped");
        let feed = async move {
            // It may not want all of it.
            drop(stdin.write_all(input).await);
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        Ok(output.context("running in the guest")?.into())
    }
}
