//! What a manifest asks of a virtual machine.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use holdfast_core::secret::SecretRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::names::{
    Bridge, Description, DiskSlot, Domain, NodeName, SshKey, StorageName, Tag, UserName, Vmid,
};
use crate::size::Size;

/// A virtual machine of Proxmox VE, known by its VMID. What a manifest leaves out is left as it is.
// The schema takes no `null` for an optional field: a blank that somebody forgot to fill is not a wish to
// leave a field alone, nor to take something away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The guest's number in the cluster. A guest that is there, nobody's, and called like the resource, is
    /// adopted.
    pub vmid: Vmid,
    /// The node on which the guest is created. Where it runs afterwards is not compared: it may migrate.
    pub node: NodeName,
    /// The VMID of the template from which the guest is cloned. Only for creation, never compared afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vmid")]
    pub template: Option<Vmid>,
    /// Cores of its one socket.
    #[schemars(range(min = 1, max = 512))]
    #[serde(deserialize_with = "cores")]
    pub cores: u32,
    /// Its memory.
    pub memory: Size,
    /// Its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Disk")]
    pub disk: Option<Disk>,
    /// Its first network card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Network")]
    pub network: Option<Network>,
    /// What the guest sets up at its first boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CloudInit")]
    pub cloud_init: Option<CloudInit>,
    /// Whether the QEMU guest agent runs in the guest. With `true` its SSH host key is read through the agent
    /// and pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub agent: Option<bool>,
    /// Whether the guest starts with its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub on_boot: Option<bool>,
    /// Whether the guest runs.
    #[serde(default = "yes")]
    pub running: bool,
    /// Whether a running guest may be rebooted to apply what only a restart applies, such as `cores`.
    #[serde(default)]
    pub restart: Restart,
    /// Its tags. Tags that others gave it stay; one that leaves this list goes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
    /// What people read in its notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Description")]
    pub description: Option<Description>,
}

/// A disk that is there since the clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Where it is attached, as in the template.
    pub slot: DiskSlot,
    /// Its size. It may grow, never shrink.
    pub size: Size,
    /// The storage on which it is created. Only for creation, never compared afterwards; by default the
    /// template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "StorageName")]
    pub storage: Option<StorageName>,
}

/// The network card `net0`. Its MAC address and model stay as they are for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The bridge or `VNet` that it is plugged into.
    pub bridge: Bridge,
    /// The VLAN; untagged where it is left out.
    #[schemars(with = "u16", range(min = 1, max = 4094))]
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "vlan")]
    pub vlan: Option<u16>,
}

/// What cloud-init sets up. A guest that runs takes a change at its next boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, try_from = "Unchecked")]
#[schemars(!try_from)]
pub struct CloudInit {
    /// The login that is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UserName")]
    pub user: Option<UserName>,
    /// The keys that may log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<SshKey>")]
    pub ssh_keys: Option<Vec<SshKey>>,
    /// The login's password, for the console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SecretRef")]
    pub password: Option<SecretRef>,
    /// The address of the first network card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Address")]
    pub address: Option<Address>,
    /// The default gateway, with a static address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Ipv4Addr")]
    pub gateway: Option<Ipv4Addr>,
    /// The name servers, the first one first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<IpAddr>")]
    pub nameservers: Option<Vec<IpAddr>>,
    /// The domain that the resolver appends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Domain")]
    pub search_domain: Option<Domain>,
}

/// Whether a guest may be rebooted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    /// It is not: what needs a restart is held until somebody restarts it.
    #[default]
    Never,
    /// Whenever a change needs it.
    Allowed,
}

/// [`CloudInit`] as it is written, before its fields are held against each other.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Unchecked {
    user: Option<UserName>,
    ssh_keys: Option<Vec<SshKey>>,
    password: Option<SecretRef>,
    address: Option<Address>,
    gateway: Option<Ipv4Addr>,
    nameservers: Option<Vec<IpAddr>>,
    search_domain: Option<Domain>,
}

/// Why fields of `cloudInit` do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongCloudInit {
    #[error("`gateway` needs a static `address`; with `dhcp` the server names the gateway")]
    GatewayWithoutAddress,
    #[error("the gateway `{0}` is not in the network of the address `{1}`")]
    GatewayOutside(Ipv4Addr, Address),
}

impl TryFrom<Unchecked> for CloudInit {
    type Error = WrongCloudInit;

    fn try_from(read: Unchecked) -> Result<Self, WrongCloudInit> {
        let Unchecked { user, ssh_keys, password, address, gateway, nameservers, search_domain } = read;
        match (gateway, address) {
            (Some(_), None | Some(Address::Dhcp)) => return Err(WrongCloudInit::GatewayWithoutAddress),
            (Some(gateway), Some(address)) if !address.reaches(gateway) => {
                return Err(WrongCloudInit::GatewayOutside(gateway, address));
            }
            _ => {}
        }
        Ok(Self { user, ssh_keys, password, address, gateway, nameservers, search_domain })
    }
}

fn yes() -> bool {
    true
}

fn cores<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let cores = u32::deserialize(deserializer)?;
    if (1..=512).contains(&cores) {
        Ok(cores)
    } else {
        Err(serde::de::Error::custom(format!("`{cores}` cores: a guest has 1 to 512")))
    }
}

fn vlan<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let vlan = Option::<u16>::deserialize(deserializer)?;
    match vlan {
        Some(tag) if !(1..=4094).contains(&tag) => {
            Err(serde::de::Error::custom(format!("`{tag}` is no VLAN: it must lie between 1 and 4094")))
        }
        _ => Ok(vlan),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(more: &Value) -> Result<Spec, serde_json::Error> {
        let mut spec = json!({ "vmid": 101, "node": "pve1", "cores": 2, "memory": "4GiB" });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(spec)
    }

    #[test]
    fn the_smallest_spec_has_sensible_defaults() {
        let spec = spec(&json!({})).unwrap();
        assert!(
            spec.running && spec.restart == Restart::Never && spec.agent.is_none() && spec.tags.is_empty()
        );
    }

    #[test]
    fn a_whole_spec_reads_and_writes_back() {
        let whole = json!({
            "vmid": 101, "node": "pve1", "template": 9000, "cores": 2, "memory": "4GiB",
            "disk": { "slot": "scsi0", "size": "32GiB", "storage": "local-lvm" },
            "network": { "bridge": "vmbr0", "vlan": 20 },
            "cloudInit": {
                "user": "ops", "sshKeys": ["ssh-ed25519 AAAAC3Nz me@laptop"],
                "password": { "vault": "kv/guests", "key": "console" },
                "address": "10.78.0.11/24", "gateway": "10.78.0.1", "nameservers": ["10.78.0.1"], "searchDomain": "lab",
            },
            "agent": true, "onBoot": true, "running": true, "restart": "allowed",
            "tags": ["kubernetes"], "description": "first k3s server",
        });
        let spec: Spec = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), whole);
    }

    #[test]
    fn wrong_values_are_refused_in_words() {
        let error = |more: Value| spec(&more).unwrap_err().to_string();
        assert!(
            error(json!({ "cloudInit": { "address": "dhcp", "gateway": "10.0.0.1" } }))
                .contains("static `address`")
        );
        assert!(
            error(json!({ "cloudInit": { "address": "10.0.0.2/24", "gateway": "10.0.1.1" } }))
                .contains("the gateway `10.0.1.1` is not in the network of the address `10.0.0.2/24`")
        );
        assert!(error(json!({ "network": { "bridge": "vmbr0", "vlan": 4095 } })).contains("no VLAN"));
        assert!(error(json!({ "cores": 0 })).contains("a guest has 1 to 512"));
        assert!(error(json!({ "disks": {} })).contains("unknown field `disks`"));
        assert!(error(json!({ "vmid": 7 })).contains("`7` is not a VMID"));
    }
}
