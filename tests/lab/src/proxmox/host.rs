//! What stands behind a simulated guest: by default nothing but an agent that answers.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::cloudinit::Seed;

/// A guest as it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    pub vmid: u32,
    pub node: String,
    pub name: String,
    pub uuid: String,
    /// The MAC of `net0`, in upper case.
    pub mac: Option<String>,
    /// The text of `ipconfig0`, such as `ip=10.78.0.11/24,gw=10.78.0.1`.
    pub address: Option<String>,
    /// Identifies the boot disk's data: a new number is a new installation.
    pub disk: Option<u64>,
    /// What the cloud-init drive holds, if there is one.
    pub seed: Option<Seed>,
}

/// One network interface as the guest sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub mac: String,
    /// With prefix, such as `10.78.0.11/24`.
    pub addresses: Vec<String>,
}

/// How a program in the guest ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub type Running = Pin<Box<dyn Future<Output = Ran> + Send>>;

/// The machines behind the simulated guests, one by VMID.
///
/// All methods are called while the simulated cluster is locked: they return at once, start what takes time in the
/// background, and do not call back into the simulator.
pub trait GuestHost: Send + Sync + 'static {
    /// The guest was powered on. A start after a stop comes with the seed of then.
    fn start(&self, boot: &Boot);

    /// The guest was powered off, softly or not.
    fn stop(&self, vmid: u32);

    /// The guest and its disks are gone.
    fn destroy(&self, vmid: u32);

    /// The network as the agent reports it; `None` as long as the agent does not answer.
    fn interfaces(&self, vmid: u32) -> Option<Vec<Interface>>;

    /// A file of the guest; `None` if there is none. Asked only while the agent answers.
    fn read(&self, vmid: u32, path: &str) -> Option<Vec<u8>>;

    /// Runs a program in the guest.
    fn run(&self, vmid: u32, command: Vec<String>, input: Vec<u8>) -> Running;
}

/// No machine at all: an agent that answers after a while, with the address that cloud-init was told.
pub struct NoHost {
    boot_time: Duration,
    guests: Mutex<BTreeMap<u32, (Boot, Instant)>>,
}

impl NoHost {
    /// Guests whose agents answer `boot_time` after they were started.
    pub fn new(boot_time: Duration) -> Self {
        Self { boot_time, guests: Mutex::default() }
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<u32, (Boot, Instant)>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest if it is up.
    fn up(&self, vmid: u32) -> Option<Boot> {
        let guests = self.guests();
        let (boot, since) = guests.get(&vmid)?;
        (since.elapsed() >= self.boot_time).then(|| boot.clone())
    }
}

/// The SSH host key that a guest without a machine claims to have: another one for every installation.
pub(super) fn invented_key(boot: &Boot) -> String {
    let point = Sha256::digest(format!("{}/{}", boot.uuid, boot.disk.unwrap_or_default()));
    let mut blob = Vec::new();
    for part in [b"ssh-ed25519".as_slice(), &point] {
        blob.extend([0, 0, 0, u8::try_from(part.len()).expect("both parts are short")]);
        blob.extend(part);
    }
    format!("ssh-ed25519 {} root@{}\n", BASE64.encode(blob), boot.name)
}

fn invented_address(boot: &Boot) -> String {
    let told = boot.address.as_deref().unwrap_or_default();
    match told.split(',').find_map(|part| part.strip_prefix("ip=")) {
        Some(address) if address != "dhcp" => address.to_owned(),
        _ => format!("198.18.{}.{}/15", boot.vmid / 250 % 250, boot.vmid % 250 + 1),
    }
}

impl GuestHost for NoHost {
    fn start(&self, boot: &Boot) {
        self.guests().insert(boot.vmid, (boot.clone(), Instant::now()));
    }

    fn stop(&self, vmid: u32) {
        self.guests().remove(&vmid);
    }

    fn destroy(&self, vmid: u32) {
        self.guests().remove(&vmid);
    }

    fn interfaces(&self, vmid: u32) -> Option<Vec<Interface>> {
        let boot = self.up(vmid)?;
        let loopback = Interface {
            name: "lo".into(),
            mac: "00:00:00:00:00:00".into(),
            addresses: vec!["127.0.0.1/8".into()],
        };
        let network = boot.mac.as_ref().map(|mac| Interface {
            name: "eth0".into(),
            mac: mac.to_ascii_lowercase(),
            addresses: vec![invented_address(&boot), "fe80::be24:11ff:fe00:1/64".into()],
        });
        Some([Some(loopback), network].into_iter().flatten().collect())
    }

    fn read(&self, vmid: u32, path: &str) -> Option<Vec<u8>> {
        let boot = self.up(vmid)?;
        match path {
            "/etc/ssh/ssh_host_ed25519_key.pub" => Some(invented_key(&boot).into_bytes()),
            "/etc/hostname" => Some(format!("{}\n", boot.name).into_bytes()),
            _ => None,
        }
    }

    fn run(&self, _vmid: u32, command: Vec<String>, _input: Vec<u8>) -> Running {
        let ran = match command.first().map(String::as_str) {
            Some("true" | "/bin/true" | "/usr/bin/true") => Ran::default(),
            _ => Ran { code: 127, err: "there is no machine behind this guest\n".into(), ..Ran::default() },
        };
        Box::pin(std::future::ready(ran))
    }
}
