//! What was seen of a virtual machine, and the pure reader from the API's answers to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use holdfast_core::ident::Name;
use serde::{Deserialize, Serialize};

use super::notes::Notes;
use crate::client::cluster::{Guest, split_tags};
use crate::client::forms::decode_ssh_keys;
use crate::client::guests::Config;
use crate::client::property::{Properties, boolean};
use crate::names::{DiskSlot, HostKey, Mac, Vmid};
use crate::size::Bytes;

/// A virtual machine as it will be once everything pending is applied; `pending` says what is not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is one flag of the configuration")]
pub struct State {
    pub vmid: Vmid,
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
    /// Reads the list's entry and the configuration together. The mark is judged by who knows whose we are.
    pub(crate) fn read(
        guest: &Guest,
        config: &Config,
        tags_have_case: bool,
    ) -> (Self, Vec<holdfast_core::mark::Mark>) {
        let value = |key: &str| config.values.get(key).map(String::as_str);
        let flag = |key: &str| value(key).is_some_and(boolean);
        let (notes, marks) = Notes::parse(value("description").unwrap_or_default());
        let agent = value("agent").and_then(|text| Properties::parse(text, "enabled")).unwrap_or_default();
        let fold = |tag: String| if tags_have_case { tag } else { tag.to_lowercase() };
        let state = Self {
            vmid: guest.vmid,
            node: guest.node.clone(),
            template: guest.template || flag("template"),
            running: Power::read(&guest.status),
            lock: guest.lock.clone().or_else(|| value("lock").map(ToOwned::to_owned)),
            task: None,
            ha: guest.ha.clone(),
            protection: flag("protection"),
            cores: value("cores").and_then(|text| text.parse().ok()).unwrap_or(1),
            memory: Bytes(memory(value("memory")) << 20),
            disks: disks(config),
            network: value("net0").and_then(network),
            cloud_init: cloud_init(config),
            agent: agent.get("enabled").is_some_and(boolean),
            agent_options: agent.others(&["enabled"]),
            on_boot: flag("onboot"),
            tags: split_tags(value("tags").unwrap_or_default()).into_iter().map(fold).collect(),
            notes,
            mark: None,
            uuid: value("smbios1")
                .and_then(|text| Properties::parse(text, "uuid")?.get("uuid").map(str::to_lowercase)),
            pending: config.pending.clone(),
            digest: config.digest.clone(),
            agent_host_key: None,
            agent_address: None,
        };
        (state, marks)
    }

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

/// In mebibytes; `current=2048` since the key became a property string.
fn memory(text: Option<&str>) -> u64 {
    let read = text.and_then(|text| Properties::parse(text, "current")?.get("current")?.parse().ok());
    // The default of the API; the cap keeps bytes within a u64.
    read.unwrap_or(512_u64).min(1 << 40)
}

fn disks(config: &Config) -> BTreeMap<String, Disk> {
    let drives = config.values.iter().filter(|(key, _)| DiskSlot::new(key.as_str()).is_ok());
    drives
        .filter_map(|(slot, text)| {
            let drive = Properties::parse(text, "file")?;
            let size = drive.get("size").and_then(Bytes::from_proxmox);
            Some((slot.clone(), Disk { volume: drive.get("file")?.to_owned(), size }))
        })
        .collect()
}

fn network(text: &str) -> Option<Network> {
    let card = Properties::parse(text, "model")?;
    let mac_of = |text: &str| Mac::new(text.to_ascii_uppercase()).ok();
    // `virtio=BC:…` stands for `model=virtio,macaddr=BC:…`.
    let alias = card.find(|key| key != "macaddr" && card.get(key).and_then(mac_of).is_some());
    let model = alias.map(|(key, _)| key).or(card.get("model"))?.to_owned();
    let mac = alias.map(|(_, mac)| mac).or(card.get("macaddr")).and_then(mac_of);
    Some(Network {
        mac,
        bridge: card.get("bridge").map(ToOwned::to_owned),
        vlan: card.get("tag").and_then(|tag| tag.parse().ok()),
        others: card.others(&[&model, "model", "macaddr", "bridge", "tag"]),
        model,
    })
}

fn cloud_init(config: &Config) -> CloudInit {
    let value = |key: &str| config.values.get(key).map(String::as_str);
    let text = |key: &str| value(key).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let ip = value("ipconfig0").and_then(|text| Properties::parse(text, "ip")).unwrap_or_default();
    let drive = disks(config).into_iter().find(|(_, disk)| disk.volume.contains("cloudinit"));
    CloudInit {
        drive: drive.map(|(slot, _)| slot),
        user: text("ciuser"),
        ssh_keys: value("sshkeys").map(decode_ssh_keys).unwrap_or_default(),
        address: ip.get("ip").map(ToOwned::to_owned),
        gateway: ip.get("gw").map(ToOwned::to_owned),
        others: ip.others(&["ip", "gw"]),
        nameservers: value("nameserver").map(split_tags).unwrap_or_default(),
        search_domain: text("searchdomain"),
    }
}

/// Up or not, whatever is wanted.
pub(super) fn health(seen: &State) -> holdfast_core::kind::Health {
    use holdfast_core::kind::Health;
    let vmid = seen.vmid;
    match (&seen.lock, seen.running) {
        (Some(lock), _) => Health::Unhealthy(format!("vm {vmid} is locked ({lock})")),
        (None, Power::Running) => Health::Healthy,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::cluster::Cluster;

    fn guest() -> Guest {
        let list = json!([{ "type": "qemu", "vmid": 101, "node": "pve1", "status": "running" }]);
        Cluster::read(&list).unwrap().guests.into_values().next().unwrap()
    }

    fn read(rows: &serde_json::Value) -> State {
        State::read(&guest(), &Config::read(rows).unwrap(), false).0
    }

    #[test]
    fn a_configuration_is_read_as_proxmox_writes_it() {
        let state = read(&json!([
            { "key": "cores", "value": 2 },
            { "key": "memory", "value": "current=4096" },
            { "key": "scsi0", "value": "local-lvm:vm-101-disk-0,iothread=1,size=32G" },
            { "key": "ide2", "value": "local-lvm:vm-101-cloudinit,media=cdrom,size=4M" },
            { "key": "net0", "value": "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,tag=20" },
            { "key": "ciuser", "value": "ops" },
            { "key": "sshkeys", "value": "ssh-ed25519%20AAAA%20me%40laptop%0A" },
            { "key": "ipconfig0", "value": "ip=10.78.0.11/24,gw=10.78.0.1,ip6=auto" },
            { "key": "nameserver", "value": "10.78.0.1 10.78.0.2" },
            { "key": "agent", "value": "1,fstrim_cloned_disks=1" },
            { "key": "onboot", "value": 1 },
            { "key": "tags", "value": "K3s;holdfast" },
            { "key": "smbios1", "value": "uuid=4C4C4544-0001,base64=1" },
            { "key": "description", "value": "first\n" },
            { "key": "cipassword", "value": "**********" },
        ]));
        assert_eq!((state.cores, state.memory.to_string()), (2, "4 GiB".to_owned()));
        assert_eq!(state.disks["scsi0"].size.unwrap().to_string(), "32 GiB");
        let network = state.network.clone().unwrap();
        assert_eq!(network.mac.unwrap().as_str(), "BC:24:11:00:00:01");
        assert_eq!((network.model.as_str(), network.vlan), ("virtio", Some(20)));
        assert_eq!(network.others, ["firewall=1"]);
        assert_eq!(state.cloud_init.drive.as_deref(), Some("ide2"));
        assert_eq!(state.cloud_init.ssh_keys, ["ssh-ed25519 AAAA me@laptop"]);
        assert_eq!(state.cloud_init.others, ["ip6=auto"]);
        assert_eq!(state.cloud_init.nameservers, ["10.78.0.1", "10.78.0.2"]);
        assert!(state.agent && state.on_boot);
        assert_eq!(state.agent_options, ["fstrim_cloned_disks=1"]);
        assert!(state.tags.contains("k3s"), "tags are folded");
        assert_eq!(state.uuid.as_deref(), Some("4c4c4544-0001"));
        assert_eq!(state.notes.text, "first");
        assert_eq!(outputs(&state)["address"], "10.78.0.11");
    }

    #[test]
    fn what_a_configuration_leaves_out_has_the_defaults_of_the_api() {
        let state = read(&json!([]));
        assert_eq!((state.cores, state.memory.to_string()), (1, "512 MiB".to_owned()));
        assert!(!state.agent && !state.on_boot && state.network.is_none());
        assert!(!outputs(&state).contains_key("address"));
    }

    #[test]
    fn a_state_survives_being_stored() {
        let state =
            read(&json!([{ "key": "net0", "value": "model=e1000,macaddr=bc:24:11:00:00:01,bridge=vmbr0" }]));
        assert_eq!(state.network.as_ref().unwrap().model, "e1000");
        let stored = serde_json::to_value(&state).unwrap();
        assert_eq!(serde_json::from_value::<State>(stored).unwrap(), state);
    }
}
