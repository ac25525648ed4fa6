//! What was seen of a virtual machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use holdfast_core::ident::Name;
use serde::{Deserialize, Serialize};

use super::notes::Notes;
use crate::names::{HostKey, Mac, Vmid};
use crate::size::Bytes;

/// A virtual machine as it will be once everything pending is applied; `pending` says what is not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is one flag of the configuration")]
pub struct State {
    pub vmid: Vmid,
    /// What it is called, which nothing depends on but whether it is adopted.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it is now.
    pub node: String,
    /// Whether it has become a template.
    #[serde(default)]
    pub template: bool,
    pub running: Power,
    /// The lock of its configuration, such as `clone`.
    #[serde(default)]
    pub lock: Option<String>,
    /// The type of a task that works on it, such as `resize`.
    #[serde(default)]
    pub task: Option<String>,
    /// The state that the HA manager keeps for it.
    #[serde(default)]
    pub ha: Option<String>,
    /// Whether Proxmox refuses to remove it.
    #[serde(default)]
    pub protection: bool,
    pub cores: u32,
    pub memory: Bytes,
    /// Its drives by slot.
    #[serde(default)]
    pub disks: BTreeMap<String, Disk>,
    #[serde(default)]
    pub network: Option<Network>,
    #[serde(default)]
    pub cloud_init: CloudInit,
    #[serde(default)]
    pub agent: bool,
    /// The agent's other options, as they are.
    #[serde(default)]
    pub agent_options: Vec<String>,
    #[serde(default)]
    pub on_boot: bool,
    #[serde(default)]
    pub tags: BTreeSet<String>,
    #[serde(default)]
    pub notes: Notes,
    /// Our mark on it, where it has one of this environment.
    #[serde(default)]
    pub mark: Option<SeenMark>,
    /// Its SMBIOS uuid, in lower case.
    #[serde(default)]
    pub uuid: Option<String>,
    /// The keys that wait for a restart.
    #[serde(default)]
    pub pending: BTreeSet<String>,
    /// Of the configuration, which a write names so that nobody's change is overwritten.
    #[serde(default)]
    pub digest: String,
    /// The host key as the agent reads it; asked for only while none is pinned.
    #[serde(default)]
    pub agent_host_key: Option<AgentAnswer>,
    /// The address as the agent tells it; asked for only with `dhcp`.
    #[serde(default)]
    pub agent_address: Option<Ipv4Addr>,
    /// Why the agent does not answer, where a guest that is wanted with one was started minutes ago.
    #[serde(default)]
    pub boots: Option<String>,
}

/// Whether it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "PowerText", into = "PowerText")]
pub enum Power {
    Running,
    Stopped,
    /// Not told yet, as right after a clone.
    Unknown,
}

/// As it is stored: a boolean, as in a manifest, or nothing.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct PowerText(Option<bool>);

impl From<PowerText> for Power {
    fn from(text: PowerText) -> Self {
        match text.0 {
            Some(true) => Self::Running,
            Some(false) => Self::Stopped,
            None => Self::Unknown,
        }
    }
}

impl From<Power> for PowerText {
    fn from(power: Power) -> Self {
        match power {
            Power::Running => Self(Some(true)),
            Power::Stopped => Self(Some(false)),
            Power::Unknown => Self(None),
        }
    }
}

impl Power {
    pub(crate) fn read(status: &str) -> Self {
        match status {
            "running" | "paused" => Self::Running,
            "stopped" => Self::Stopped,
            _ => Self::Unknown,
        }
    }
}

/// One drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Its volume, such as `local-lvm:vm-101-disk-0`.
    pub volume: String,
    #[serde(default)]
    pub size: Option<Bytes>,
}

/// The network card `net0`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub model: String,
    #[serde(default)]
    pub mac: Option<Mac>,
    #[serde(default)]
    pub bridge: Option<String>,
    #[serde(default)]
    pub vlan: Option<u16>,
    /// What manifests do not speak of, as `key=value`.
    #[serde(default)]
    pub others: Vec<String>,
}

/// The cloud-init settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudInit {
    /// The slot of the drive through which the guest reads all this.
    #[serde(default)]
    pub drive: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub ssh_keys: Vec<String>,
    /// `ip` of `ipconfig0`: an address with its prefix, or `dhcp`.
    #[serde(default)]
    pub address: Option<String>,
    #[serde(default)]
    pub gateway: Option<String>,
    /// The rest of `ipconfig0`, as `key=value`.
    #[serde(default)]
    pub others: Vec<String>,
    #[serde(default)]
    pub nameservers: Vec<String>,
    #[serde(default)]
    pub search_domain: Option<String>,
}

/// Our mark, as far as a plan depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeenMark {
    /// The resource that it names.
    pub name: Name,
    /// Whether it was written with the clone, before the uuid was known.
    #[serde(default)]
    pub half_made: bool,
}

/// What the guest agent said when it was asked for the host key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "answer", content = "text")]
pub enum AgentAnswer {
    Key(HostKey),
    /// Nothing yet, and why.
    Silent(String),
    /// The token may not ask it.
    Refused(String),
}

impl State {
    /// The object that a mark on this guest names. A guest without uuid is told by its number alone.
    pub(crate) fn object(vmid: Vmid, uuid: Option<&str>) -> String {
        format!("{vmid}/{}", uuid.unwrap_or("-"))
    }

    /// The object that the mark of a clone names, whose uuid is not known before it is made.
    pub(crate) fn new_object(vmid: Vmid) -> String {
        format!("{vmid}/new")
    }

    /// Its address, as far as it is known: the static one that cloud-init sets, else what the agent tells.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        let fixed = self.cloud_init.address.as_deref().and_then(|text| text.split_once('/')?.0.parse().ok());
        fixed.or(self.agent_address)
    }
}

/// Up or not, whatever is wanted.
pub(super) fn health(seen: &State) -> holdfast_core::kind::Health {
    use holdfast_core::kind::Health;
    let vmid = seen.vmid;
    match (&seen.lock, seen.running) {
        (Some(lock), _) => Health::Unhealthy(format!("vm {vmid} is locked ({lock})")),
        (None, Power::Running) => seen.boots.as_ref().map_or(Health::Healthy, |why| {
            Health::Unhealthy(format!("vm {vmid} boots: its guest agent does not answer yet ({why})"))
        }),
        (None, Power::Stopped) => Health::Unhealthy(format!("vm {vmid} is stopped")),
        (None, Power::Unknown) => Health::Unhealthy(format!("it is not known whether vm {vmid} runs")),
    }
}

/// What others may refer to, as far as it is known.
pub(super) fn outputs(seen: &State) -> holdfast_core::reference::Outputs {
    let mut outputs = holdfast_core::reference::Outputs::from([
        ("node".to_owned(), seen.node.clone()),
        ("vmid".to_owned(), seen.vmid.to_string()),
    ]);
    outputs.extend(seen.address().map(|address| ("address".to_owned(), address.to_string())));
    outputs.extend(seen.notes.host_key.iter().map(|key| ("hostKey".to_owned(), key.to_string())));
    outputs
}
