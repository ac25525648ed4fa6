//! One guest: its configuration in force and pending, its disks, its power.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use holdfast_core::mark::Mark;
use holdfast_proxmox::virtual_machine::State;
use holdfast_proxmox::virtual_machine::notes::Notes;

use super::config::{Properties, waits_for_restart};
use super::notes;
use crate::model::Time;

/// The keys of the cloud-init drive's image.
const SEED: [&str; 5] = ["ciuser", "sshkeys", "ipconfig0", "nameserver", "searchdomain"];

/// One guest of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    pub birth: u64,
    pub node: String,
    /// Its SMBIOS uuid, in lower case.
    pub uuid: String,
    pub template: bool,
    /// What is in force, as the API's keys and values; disks stand by themselves.
    pub config: BTreeMap<String, String>,
    /// What waits for a restart; `None` deletes a key.
    pub pending: BTreeMap<String, Option<String>>,
    pub disks: BTreeMap<String, Disk>,
    /// The cloud-init password, which never reads back.
    pub password: Option<String>,
    pub lock: Option<&'static str>,
    pub ha: Option<&'static str>,
    pub power: Power,
    /// What the image of its cloud-init drive was made of.
    pub(super) seed: String,
    /// Its text and that text's digest, kept since they are asked for far more often than they change.
    text: String,
    digest: String,
    read: Read,
}

/// What is read of a guest at every look, until it changes.
#[derive(Debug, Clone, Default)]
struct Read {
    notes: OnceLock<Arc<(Notes, Vec<Mark>)>>,
    state: OnceLock<Arc<State>>,
}

impl PartialEq for Read {
    /// It follows from the guest.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Read {}

/// A drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub volume: String,
    pub mebibytes: u64,
    pub birth: u64,
    /// The birth of the disk whose content it has: its own, or that of which it was copied.
    pub image: u64,
    /// The disk that it was copied from, where that was somebody's and not a template's.
    pub copy_of: Option<u64>,
}

impl Disk {
    pub(super) fn cloud_init(storage: &str, vmid: u32, birth: u64) -> Self {
        let volume = format!("{storage}:vm-{vmid}-cloudinit");
        Self { volume, mebibytes: 4, birth, image: birth, copy_of: None }
    }

    /// Whether it is but the drive through which cloud-init reads its settings.
    pub fn is_cloud_init(&self) -> bool {
        self.volume.ends_with("-cloudinit")
    }
}

/// Whether a guest runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Power {
    Off,
    /// With the address that it took when it was started.
    On {
        since: Time,
        address: String,
    },
}

impl Guest {
    pub(super) fn new(birth: u64, node: &str, uuid: String) -> Self {
        Self {
            birth,
            node: node.to_owned(),
            uuid,
            template: false,
            config: BTreeMap::new(),
            pending: BTreeMap::new(),
            disks: BTreeMap::new(),
            password: None,
            lock: None,
            ha: None,
            power: Power::Off,
            seed: String::new(),
            text: String::new(),
            digest: String::new(),
            read: Read::default(),
        }
    }

    /// To be called after each change.
    pub(super) fn note(&mut self) {
        let mut text = self.file();
        self.digest = format!("{:016x}", fnv(&text));
        let power = if self.is_on() { "on" } else { "off" };
        let _ = writeln!(text, "power: {power}\nseed: {}", self.seed_is());
        self.text = text;
        self.read = Read::default();
    }

    /// Everything about it that a write can change.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub fn is_on(&self) -> bool {
        matches!(self.power, Power::On { .. })
    }

    /// When it has booted, which may lie ahead; `None` while it is off.
    pub fn up_since(&self, boot: Duration) -> Option<Time> {
        match &self.power {
            Power::On { since, .. } => Some(*since + boot),
            Power::Off => None,
        }
    }

    /// The disk that it boots from.
    pub fn boot_disk(&self) -> Option<&Disk> {
        self.disks.values().find(|disk| !disk.is_cloud_init())
    }

    /// Where it is reached: what it booted with, else what it would boot with.
    pub fn address(&self, vmid: u32) -> String {
        match &self.power {
            Power::On { address, .. } => address.clone(),
            Power::Off => self.configured_address(vmid),
        }
    }

    fn configured_address(&self, vmid: u32) -> String {
        let ip = self.config.get("ipconfig0").map(|text| Properties::parse(text, "ip"));
        let ip = ip.as_ref().and_then(|properties| properties.get("ip")).filter(|ip| *ip != "dhcp");
        ip.map_or_else(|| leased(vmid), |ip| ip.split('/').next().unwrap_or_default().to_owned())
    }

    /// A key as it will be once everything pending is applied.
    pub fn value(&self, key: &str) -> Option<&str> {
        match self.pending.get(key) {
            Some(pending) => pending.as_deref(),
            None => self.config.get(key).map(String::as_str),
        }
    }

    /// What people wrote, what we keep, and the marks.
    pub fn notes(&self) -> &(Notes, Vec<Mark>) {
        let read = || Arc::new(notes::read(self.config.get("description").map_or("", String::as_str)));
        self.read.notes.get_or_init(read)
    }

    /// What a look shows of it, whoever looks.
    pub(super) fn shown(&self, show: impl FnOnce() -> State) -> State {
        State::clone(self.read.state.get_or_init(|| Arc::new(show())))
    }

    /// Its tags, folded as Proxmox does.
    pub fn tags(&self) -> impl Iterator<Item = String> {
        let text = self.config.get("tags").map_or("", String::as_str);
        let tags = text.split([';', ',', ' ']).filter(|tag| !tag.is_empty());
        tags.map(str::to_lowercase)
    }

    /// Sets a key, or deletes it: at once where the guest can take it.
    pub(super) fn write(&mut self, key: &str, value: Option<&str>) {
        if self.is_on() && waits_for_restart(key) && self.config.get(key).map(String::as_str) != value {
            self.pending.insert(key.to_owned(), value.map(ToOwned::to_owned));
            return;
        }
        self.pending.remove(key);
        match value {
            Some(value) => drop(self.config.insert(key.to_owned(), value.to_owned())),
            None => drop(self.config.remove(key)),
        }
    }

    /// What is pending takes effect.
    pub(super) fn settle(&mut self) {
        for (key, value) in std::mem::take(&mut self.pending) {
            match value {
                Some(value) => drop(self.config.insert(key, value)),
                None => drop(self.config.remove(&key)),
            }
        }
    }

    pub(super) fn switch_on(&mut self, vmid: u32, now: Time) {
        self.settle();
        self.write_seed();
        self.power = Power::On { since: now, address: self.configured_address(vmid) };
    }

    pub(super) fn switch_off(&mut self) {
        self.power = Power::Off;
        self.settle();
        if self.ha == Some("request_stop") {
            self.ha = Some("stopped");
        }
    }

    /// Makes the image of the cloud-init drive anew.
    pub(super) fn write_seed(&mut self) {
        self.seed = self.wanted_seed();
    }

    fn wanted_seed(&self) -> String {
        let mut text = String::new();
        for (key, value) in SEED.into_iter().filter_map(|key| Some((key, self.config.get(key)?))) {
            let _ = writeln!(text, "{key}: {value}");
        }
        let _ = writeln!(text, "cipassword: {:?}", self.password.as_deref().map(fnv));
        text
    }

    /// Whether the image holds what the configuration says. A guest that is off gets a new one with its start.
    pub fn seed_is(&self) -> &'static str {
        let is_read = self.is_on() && self.disks.values().any(Disk::is_cloud_init);
        if !is_read || self.seed == self.wanted_seed() { "as configured" } else { "outdated" }
    }

    /// The configuration as a text, with everything that a write can change.
    fn file(&self) -> String {
        let mut text = format!("node: {}\nuuid: {}\n", self.node, self.uuid);
        for (key, value) in &self.config {
            let _ = writeln!(text, "{key}: {value:?}");
        }
        for (key, value) in &self.pending {
            let _ = writeln!(text, "pending {key}: {value:?}");
        }
        for (slot, disk) in &self.disks {
            let _ = writeln!(text, "{slot}: {},size={}M", disk.volume, disk.mebibytes);
        }
        let _ = writeln!(text, "cipassword: {:?}", self.password.as_deref().map(fnv));
        let _ = writeln!(text, "template: {} lock: {:?} ha: {:?}", self.template, self.lock, self.ha);
        text
    }

    /// Of the configuration's text: another digest, another configuration.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// The address that a DHCP server gives a guest.
fn leased(vmid: u32) -> String {
    format!("10.98.{}.{}", vmid / 256 % 256, vmid % 256)
}

/// The host key that the first boot from a disk makes.
pub(super) fn host_key(image: u64) -> String {
    format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA{image:042}")
}

/// FNV-1a, which tells texts apart as well as is needed here, and is the same for ever.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
