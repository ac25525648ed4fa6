//! A cluster in memory: guests as their configurations, tasks that are done at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_core::ident::{EnvironmentName, Name, SiteName};
use holdfast_core::mark::Realm;
use serde_json::{Value, json};

use super::super::{Spec, VirtualMachine};
use crate::client::testing::{Fake, Reply, Request, died};

/// One guest.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) node: &'static str,
    pub(super) container: bool,
    pub(super) running: bool,
    pub(super) template: bool,
    pub(super) config: BTreeMap<String, String>,
    /// What the guest agent reads, if it runs.
    pub(super) host_key: Option<&'static str>,
}

/// The cluster's state, which tests change as they like.
pub(super) struct World {
    pub(super) guests: BTreeMap<u32, Guest>,
    pub(super) nodes: BTreeMap<&'static str, &'static str>,
    pub(super) rights: Value,
    /// The last tasks' ends; `OK` where there is none.
    pub(super) ends: Vec<&'static str>,
    /// A node that answers 595.
    pub(super) dark: Option<&'static str>,
}

pub(super) type Shared = Arc<Mutex<World>>;

pub(super) fn guest(config: &[(&str, &str)]) -> Guest {
    Guest {
        node: "pve1",
        container: false,
        running: true,
        template: false,
        config: config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        host_key: None,
    }
}

/// A guest that is as [`spec`] wants it, with our mark.
pub(super) fn converged(vmid: u32, name: &str) -> Guest {
    let mark = format!("holdfast: home/core/VirtualMachine/{name}@{vmid}/u{vmid}\n");
    guest(&[
        ("name", name),
        ("cores", "2"),
        ("memory", "4096"),
        ("smbios1", &format!("uuid=u{vmid}")),
        ("tags", "holdfast"),
        ("description", &mark),
    ])
}

pub(super) fn spec(vmid: u32, more: &Value) -> Spec {
    let mut spec = json!({ "vmid": vmid, "node": "pve1", "template": 9000, "cores": 2, "memory": "4GiB" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn world() -> Shared {
    let template = Guest {
        running: false,
        template: true,
        ..guest(&[
            ("template", "1"),
            ("cores", "1"),
            ("memory", "2048"),
            ("scsi0", "local-lvm:base-9000-disk-0,size=2G"),
            ("ide2", "local-lvm:vm-9000-cloudinit,media=cdrom,size=4M"),
            ("net0", "virtio=BC:24:11:00:00:00,bridge=vmbr0,firewall=1"),
            ("smbios1", "uuid=u9000"),
            ("tags", "debian"),
            ("description", "made by packer"),
        ])
    };
    Arc::new(Mutex::new(World {
        guests: BTreeMap::from([(9000, template)]),
        nodes: BTreeMap::from([("pve1", "online"), ("pve2", "online")]),
        rights: json!({ "/": { "VM.Audit": 1 } }),
        ends: Vec::new(),
        dark: None,
    }))
}

pub(super) async fn serve(world: &Shared) -> (Fake, VirtualMachine) {
    let shared = Arc::clone(world);
    let fake =
        Fake::start(move |request| shared.lock().unwrap_or_else(PoisonError::into_inner).answer(request))
            .await;
    let realm =
        Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new("core").unwrap() };
    let kind = VirtualMachine::new(fake.client(), realm);
    (fake, kind)
}

impl World {
    fn answer(&mut self, request: &Request) -> Reply {
        let path = request.target.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        if parts.get(1).is_some_and(|node| Some(*node) == self.dark) {
            return Reply::Status(595, "No route to host", Value::Null);
        }
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["cluster", "resources"]) => Reply::Data(self.resources()),
            ("GET", ["cluster", "options"]) => Reply::Data(json!({})),
            ("GET", ["access", "permissions"]) => Reply::Data(self.rights.clone()),
            ("GET", ["cluster", "nextid"]) => self.next_id(&request.target),
            ("GET", ["nodes", _, "tasks"]) => Reply::Data(json!([])),
            ("GET", ["nodes", "pve1", "tasks", _, "status"]) => {
                let end = self.ends.pop().unwrap_or("OK");
                Reply::Data(json!({ "status": "stopped", "exitstatus": end }))
            }
            ("GET", ["nodes", "pve1", "tasks", _, "log"]) => {
                Reply::Status(200, "OK", json!({ "data": [], "total": 0 }))
            }
            (method, ["nodes", node, "qemu", vmid, rest @ ..]) => {
                let vmid: u32 = vmid.parse().unwrap();
                if self.guests.get(&vmid).is_none_or(|guest| guest.node != *node) {
                    return died(&format!(
                        "Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist"
                    ));
                }
                self.guest(method, vmid, rest, request)
            }
            _ => Reply::Status(501, "not implemented", Value::Null),
        }
    }

    fn resources(&self) -> Value {
        let mut rows: Vec<Value> = self
            .nodes
            .iter()
            .map(|(node, status)| json!({ "type": "node", "node": node, "status": status }))
            .collect();
        rows.extend(self.guests.iter().map(|(vmid, guest)| {
            json!({
                "type": if guest.container { "lxc" } else { "qemu" }, "vmid": vmid, "node": guest.node,
                "status": if guest.running { "running" } else { "stopped" }, "template": u8::from(guest.template),
                "name": guest.config.get("name"), "tags": guest.config.get("tags"), "lock": guest.config.get("lock"),
                "maxdisk": 2_u64 << 30,
            })
        }));
        rows.push(json!({
            "type": "storage", "storage": "local-lvm", "node": "pve1", "status": "available",
            "plugintype": "lvmthin", "disk": 0, "maxdisk": 100_u64 << 30,
        }));
        json!(rows)
    }

    fn next_id(&self, target: &str) -> Reply {
        let vmid = target.rsplit('=').next().unwrap_or_default();
        if vmid.parse().is_ok_and(|vmid: u32| self.guests.contains_key(&vmid)) {
            let errors = json!({ "errors": { "vmid": format!("VM {vmid} already exists\n") } });
            return Reply::Status(400, "Parameter verification failed.", errors);
        }
        Reply::Data(json!(vmid))
    }

    fn guest(&mut self, method: &str, vmid: u32, rest: &[&str], request: &Request) -> Reply {
        let upid = |kind: &str| {
            Reply::Data(json!(format!("UPID:pve1:00000001:00000001:00000001:{kind}:{vmid}:a@pve!b:")))
        };
        let guest = self.guests.get_mut(&vmid).unwrap();
        match (method, rest) {
            ("GET", ["pending"]) => {
                let mut rows: Vec<Value> =
                    guest.config.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
                rows.push(json!({ "key": "digest", "value": "d1" }));
                Reply::Data(json!(rows))
            }
            ("GET", ["status", "current"]) => {
                Reply::Data(json!({ "status": if guest.running { "running" } else { "stopped" } }))
            }
            ("GET", ["agent", "file-read"]) => match guest.host_key {
                Some(key) => Reply::Data(json!({ "content": format!("{key} root@x\n") })),
                None => died("QEMU guest agent is not running"),
            },
            ("GET", ["agent", "network-get-interfaces"]) => Reply::Data(json!({ "result": [
                { "hardware-address": "bc:24:11:00:00:09", "ip-addresses": [{ "ip-address": "10.0.0.9" }] },
                { "hardware-address": "bc:24:11:00:00:01", "ip-addresses": [{ "ip-address": "10.0.0.1" }] },
            ] })),
            ("POST", ["clone"]) => {
                let new: u32 = request.field("newid").unwrap().parse().unwrap();
                let mut config = guest.config.clone();
                config.remove("template");
                config.insert("name".to_owned(), request.field("name").unwrap());
                config.insert("description".to_owned(), request.field("description").unwrap());
                config.insert("smbios1".to_owned(), format!("uuid=u{new}"));
                let clone = Guest { template: false, config, ..guest.clone() };
                self.guests.insert(new, clone);
                upid("qmclone")
            }
            ("POST", ["config"]) => {
                for pair in request.body.split('&') {
                    let key = pair.split('=').next().unwrap_or_default();
                    match key {
                        "digest" => {}
                        "delete" => request
                            .field(key)
                            .unwrap()
                            .split(',')
                            .for_each(|key| drop(guest.config.remove(key))),
                        _ => drop(guest.config.insert(key.to_owned(), request.field(key).unwrap())),
                    }
                }
                upid("qmconfig")
            }
            ("PUT", ["resize"]) => {
                let slot = request.field("disk").unwrap();
                let volume = guest.config[&slot].split(",size").next().unwrap_or_default().to_owned();
                let size = request.field("size").unwrap();
                guest.config.insert(slot, format!("{volume},size={size}"));
                upid("resize")
            }
            ("PUT", ["cloudinit"]) => Reply::Data(Value::Null),
            ("POST", ["status", what]) => {
                guest.running = matches!(*what, "start" | "reboot");
                upid("qmpower")
            }
            ("DELETE", []) => {
                self.guests.remove(&vmid);
                upid("qmdestroy")
            }
            _ => Reply::Status(501, "not implemented", Value::Null),
        }
    }
}
