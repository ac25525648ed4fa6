//! The simulated cluster: nodes, storages, volumes, guests and what happened to them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tokio::time::Instant;

use super::access::{Access, Pools};
use super::error::ApiError;
use super::guest::Guest;
use super::host::Ran;
use super::tasks::{TaskMode, Tasks};

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) online: bool,
    pub(super) since: Instant,
    pub(super) fingerprint: String,
}

/// One storage, as `storage.cfg` has it, with its space.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    /// `lvmthin`, `dir`, `nfs`, `zfspool`, `rbd`.
    pub(super) kind: String,
    pub(super) shared: bool,
    pub(super) content: BTreeSet<String>,
    /// Empty means all.
    pub(super) nodes: BTreeSet<String>,
    pub(super) total: u64,
    /// What others than the simulated volumes use.
    pub(super) foreign: u64,
}

impl Storage {
    pub(super) fn is_directory(&self) -> bool {
        matches!(self.kind.as_str(), "dir" | "nfs" | "cifs" | "btrfs")
    }
}

/// One volume. Its birth tells it from another one of the same name.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub(super) size: u64,
    pub(super) owner: u32,
    pub(super) content: &'static str,
    pub(super) format: &'static str,
    pub(super) birth: u64,
    /// The birth of the volume whose data it began with.
    pub(super) from: Option<u64>,
    /// The base volume that a linked clone still needs.
    pub(super) base: Option<String>,
    pub(super) node: String,
}

/// Something that changed in the world, in the order in which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Created { vmid: u32 },
    Cloned { vmid: u32, from: u32 },
    Configured { vmid: u32, keys: Vec<String> },
    Resized { vmid: u32, disk: String, bytes: u64 },
    Started { vmid: u32 },
    Stopped { vmid: u32 },
    Destroyed { vmid: u32 },
    DiskDestroyed { volume: String, birth: u64 },
}

/// What the status broadcasts last told of a guest.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) name: String,
    pub(super) running: bool,
    pub(super) template: bool,
    pub(super) uptime: u64,
}

/// A program that the agent was asked to run.
#[derive(Debug, Clone)]
pub(super) enum Program {
    Running,
    Ended(Ran),
    /// Its result was read, which works once.
    Read,
}

/// How the simulator behaves; tests turn these.
pub(super) struct Knobs {
    pub(super) task_time: Duration,
    pub(super) task_times: BTreeMap<String, Duration>,
    pub(super) modes: VecDeque<(String, TaskMode)>,
    pub(super) hold: bool,
    /// How late name, status, uptime and template reach `/cluster/resources`.
    pub(super) lag: Duration,
    pub(super) refusal_delay: Duration,
    pub(super) offline_delay: Duration,
    pub(super) agent_delay: Duration,
    pub(super) shutdown_timeout: Duration,
    /// Guests that do not shut down when asked.
    pub(super) deaf: BTreeSet<u32>,
    /// VMID and key to the text with which applying that key fails.
    pub(super) broken: BTreeMap<(u32, String), String>,
    /// Guests whose config file cannot be locked, and how often still.
    pub(super) flocked: BTreeMap<u32, u32>,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            task_time: Duration::from_millis(20),
            task_times: BTreeMap::new(),
            modes: VecDeque::new(),
            hold: false,
            lag: Duration::ZERO,
            refusal_delay: Duration::from_millis(20),
            offline_delay: Duration::from_millis(20),
            agent_delay: Duration::from_millis(20),
            shutdown_timeout: Duration::from_millis(300),
            deaf: BTreeSet::new(),
            broken: BTreeMap::new(),
            flocked: BTreeMap::new(),
        }
    }
}

pub(super) struct World {
    pub(super) cluster: String,
    pub(super) version: String,
    /// The datacenter's options, as GET shows them.
    pub(super) options: BTreeMap<String, Value>,
    pub(super) quorate: bool,
    pub(super) nodes: BTreeMap<String, Node>,
    /// Names that are no node but resolve in DNS.
    pub(super) resolvable: BTreeSet<String>,
    pub(super) storages: BTreeMap<String, Storage>,
    /// By volume id. Volume ids carry the VMID, so nodes do not share any.
    pub(super) volumes: BTreeMap<String, Volume>,
    pub(super) guests: BTreeMap<u32, Guest>,
    pub(super) pools: Pools,
    pub(super) access: Access,
    pub(super) tasks: Tasks,
    pub(super) history: Vec<Event>,
    pub(super) knobs: Knobs,
    pub(super) published: BTreeMap<u32, Published>,
    pub(super) published_at: Instant,
    /// Programs in guests, by pid.
    pub(super) programs: BTreeMap<u64, Program>,
    rng: SmallRng,
    births: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            cluster: "lab".into(),
            version: "9.1.4".into(),
            options: BTreeMap::new(),
            quorate: true,
            nodes: BTreeMap::new(),
            resolvable: BTreeSet::new(),
            storages: BTreeMap::new(),
            volumes: BTreeMap::new(),
            guests: BTreeMap::new(),
            pools: Pools::new(),
            access: Access::new(),
            tasks: Tasks::default(),
            history: Vec::new(),
            knobs: Knobs::default(),
            published: BTreeMap::new(),
            published_at: Instant::now(),
            programs: BTreeMap::new(),
            rng: SmallRng::seed_from_u64(seed),
            births: 0,
        }
    }

    pub(super) fn birth(&mut self) -> u64 {
        self.births += 1;
        self.births
    }

    pub(super) fn random_mac(&mut self) -> String {
        let [a, b, c] = self.rng.random::<[u8; 3]>();
        let prefix = self.options.get("mac_prefix").and_then(Value::as_str).unwrap_or("BC:24:11");
        format!("{prefix}:{a:02X}:{b:02X}:{c:02X}")
    }

    pub(super) fn random_uuid(&mut self) -> String {
        let mut bytes = self.rng.random::<[u8; 16]>();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = super::cloudinit::hex(&bytes);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    pub(super) fn random_salt(&mut self) -> String {
        (0..16).map(|_| char::from(self.rng.sample(rand::distr::Alphanumeric))).collect()
    }

    /// The virtual machine on that node; absent on it means absent, wherever else it may be.
    pub(super) fn machine(&self, node: &str, vmid: u32) -> Result<&Guest, ApiError> {
        let here = |guest: &&Guest| guest.node == node && !guest.container;
        let gone = || {
            ApiError::die(format!("Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist"))
        };
        self.guests.get(&vmid).filter(here).ok_or_else(gone)
    }

    pub(super) fn machine_mut(&mut self, node: &str, vmid: u32) -> Result<&mut Guest, ApiError> {
        self.machine(node, vmid)?;
        Ok(self.guests.get_mut(&vmid).expect("it was just seen, under the same lock"))
    }

    /// Whether the guest's config file can be locked now.
    pub(super) fn flock(&mut self, vmid: u32) -> Result<(), ApiError> {
        let Some(left) = self.knobs.flocked.get_mut(&vmid).filter(|left| **left > 0) else { return Ok(()) };
        *left -= 1;
        let path = format!("/var/lock/qemu-server/lock-{vmid}.conf");
        Err(ApiError::die(format!("can't lock file '{path}' - got timeout")))
    }

    /// Refreshes what the status broadcasts tell, if it is due. Nodes that are down tell nothing.
    pub(super) fn publish(&mut self) {
        if self.published_at.elapsed() < self.knobs.lag {
            return;
        }
        self.published_at = Instant::now();
        self.published.retain(|vmid, _| self.guests.contains_key(vmid));
        for (vmid, guest) in &self.guests {
            if self.nodes.get(&guest.node).is_some_and(|node| node.online) {
                self.published.insert(*vmid, guest.published());
            }
        }
    }
}
