//! The pure reader from the API's answers about one guest to what was seen of it.

use std::collections::BTreeMap;

use holdfast_core::mark::Mark;

use super::notes::Notes;
use super::state::{CloudInit, Disk, Network, Power, State};
use crate::client::cluster::{Guest, split_tags};
use crate::client::forms::decode_ssh_keys;
use crate::client::guests::Config;
use crate::client::property::{Properties, boolean};
use crate::names::{DiskSlot, Mac};
use crate::size::Bytes;

impl State {
    /// Reads the list's entry and the configuration together. The mark is judged by who knows whose we are.
    pub(crate) fn read(guest: &Guest, config: &Config, tags_have_case: bool) -> (Self, Vec<Mark>) {
        let value = |key: &str| config.values.get(key).map(String::as_str);
        let flag = |key: &str| value(key).is_some_and(boolean);
        let (notes, marks) = Notes::parse(value("description").unwrap_or_default());
        let agent = value("agent").and_then(|text| Properties::parse(text, "enabled")).unwrap_or_default();
        let fold = |tag: String| if tags_have_case { tag } else { tag.to_lowercase() };
        let state = Self {
            vmid: guest.vmid,
            name: value("name").map(ToOwned::to_owned),
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
            uuid: uuid(config),
            pending: config.pending.clone(),
            digest: config.digest.clone(),
            agent_host_key: None,
            agent_address: None,
            boots: None,
        };
        (state, marks)
    }
}

/// Its SMBIOS uuid, in lower case.
pub(super) fn uuid(config: &Config) -> Option<String> {
    let smbios = Properties::parse(config.values.get("smbios1")?, "uuid")?;
    smbios.get("uuid").map(str::to_lowercase)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::state::outputs;
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
