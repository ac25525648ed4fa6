//! Real Debian guests: systemd, cloud-init, sshd and apt in systemd-nspawn, in a network of their own. Needs root.
//!
//! A fleet's processes, mounts and networks live in namespaces of one process, the keeper (`nspawn/fleet.sh`). It
//! tears all down when its standard input ends, so also when a test is killed; and whatever kills the keeper itself,
//! the kernel takes away what it held. The guests are reached from inside the fleet's network alone: by
//! [`Fleet::connect`], by a [`Forward`] from loopback, or by a program that [`Fleet::command`] runs there.

mod behind;
mod guest;
mod keeper;
mod net;

#[cfg(test)]
pub(in crate::hosts) mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpStream;
use tokio::process::Command;

pub use behind::FleetGuests;
pub use guest::RunningGuest;
pub use net::Forward;

use super::{hex, locate};
use keeper::Keeper;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/nspawn");
const TOOLS: [&str; 8] =
    ["bash", "flock", "ip", "mount", "mountpoint", "nsenter", "systemd-nspawn", "unshare"];

/// What a guest is booted with: the texts of the cloud-init drive, as Proxmox makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestSeed {
    /// Unique in the fleet; letters, digits and hyphens.
    pub name: String,
    /// The MAC of its `eth0`, which the network configuration names.
    pub mac: String,
    /// What its firmware says it is; its machine-id comes from it. Any, without it.
    pub uuid: Option<String>,
    pub user_data: String,
    pub network_config: String,
    pub meta_data: String,
}

/// Guests on a bridge of their own.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Keeper>,
}

/// Where the lab keeps what is made once: `$HOLDFAST_LAB_CACHE`, else the workspace's `target/lab`.
pub fn cache() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/lab");
    std::env::var_os("HOLDFAST_LAB_CACHE").map_or_else(default, PathBuf::from)
}

impl Fleet {
    /// Says why this machine can run no fleet, if it cannot.
    pub async fn available() -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("it needs root".to_owned());
        }
        let missing: Vec<&str> = TOOLS.into_iter().filter(|tool| locate(tool).is_none()).collect();
        if !missing.is_empty() {
            return Err(format!("this machine lacks {} (see tests/install.sh)", missing.join(", ")));
        }
        let namespaces = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "true"];
        let tried = Command::new("unshare").args(namespaces).output().await;
        match tried {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("namespaces: {}", String::from_utf8_lossy(&output.stderr).trim())),
            Err(error) => Err(format!("unshare: {error}")),
        }
    }

    /// Makes an empty fleet whose bridge has these addresses, such as `10.78.0.1/24`. The Debian root that its guests
    /// share is built in `cache` where it is not there yet, which takes a minute and Debian's mirror.
    pub async fn new(cache: &Path, gateways: &[&str]) -> Result<Self> {
        Self::available().await.map_err(anyhow::Error::msg).context("starting a fleet of guests")?;
        let base = base(cache).await?;
        let fleets = std::path::absolute(cache)?.join("fleets");
        let id = hex(&rand::random::<[u8; 4]>());
        let inner = Keeper::start(&base, &fleets, &id, gateways).await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Boots a guest. It answers SSH some seconds later: see [`RunningGuest::ready`].
    pub async fn start(&self, seed: GuestSeed) -> Result<RunningGuest> {
        let plain =
            |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        ensure!(!seed.name.is_empty() && plain(&seed.name, "-"), "`{}` is no name of a guest", seed.name);
        ensure!(plain(&seed.mac, ":"), "`{}` is no MAC", seed.mac);
        let guest = RunningGuest::new(Arc::clone(&self.inner), seed);
        guest.start().await?;
        Ok(guest)
    }

    /// The fleet's network namespace, such as `/proc/4711/ns/net`.
    pub fn netns(&self) -> PathBuf {
        self.inner.netns()
    }

    /// A program that will run in the fleet's network, and see the machine's files.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns().display())).arg("--").arg(program);
        command
    }

    /// Connects to an address in the fleet's network.
    pub async fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        net::connect(&self.netns(), to).await
    }

    /// Opens a port on 127.0.0.1 that leads to an address in the fleet's network, whether or not anything answers
    /// there yet.
    pub async fn forward(&self, to: SocketAddr) -> Result<Forward> {
        Forward::new(self.netns(), to).await
    }

    /// Stops all guests and waits until nothing is left. Dropping the last handle does it too, without waiting.
    pub async fn close(self) -> Result<()> {
        self.inner.close().await
    }
}

async fn base(cache: &Path) -> Result<PathBuf> {
    let script = Path::new(SCRIPTS).join("base.sh");
    let output = Command::new("bash")
        .arg(script)
        .arg(cache)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .context("running base.sh")?;
    ensure!(output.status.success(), "building the Debian root of the guests failed: {}", output.status);
    let path = String::from_utf8(output.stdout).context("reading where the root is")?;
    Ok(PathBuf::from(path.trim_end()))
}
