//! What a simulated cluster can be furnished with.

use std::collections::BTreeMap;

use super::create;
use super::drive::Drive;
use super::guest::Guest;
use super::values::with_mac;
use super::volumes::{SEED_SIZE, Wanted};
use super::world::{Storage, World};

/// One storage of the cluster.
#[derive(Debug, Clone)]
pub struct StorageSeed {
    name: String,
    kind: String,
    shared: bool,
    total: u64,
    content: Vec<String>,
    nodes: Vec<String>,
}

impl StorageSeed {
    /// A local storage of this type (`lvmthin`, `dir`, `zfspool`), with room for disks, on every node.
    pub fn new(name: &str, kind: &str, gib: u64) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            shared: false,
            total: gib << 30,
            content: vec!["images".into(), "rootdir".into()],
            nodes: Vec::new(),
        }
    }

    /// One storage that all nodes see.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    #[must_use]
    pub fn content(mut self, content: &[&str]) -> Self {
        self.content = content.iter().map(|it| (*it).to_owned()).collect();
        self
    }

    /// Only on these nodes.
    #[must_use]
    pub fn nodes(mut self, nodes: &[&str]) -> Self {
        self.nodes = nodes.iter().map(|it| (*it).to_owned()).collect();
        self
    }

    pub(super) fn place(self, world: &mut World) {
        let storage = Storage {
            kind: self.kind,
            shared: self.shared,
            content: self.content.into_iter().collect(),
            nodes: self.nodes.into_iter().collect(),
            total: self.total,
            foreign: 0,
        };
        world.storages.insert(self.name, storage);
    }
}

/// One virtual machine or template of the cluster, stopped.
#[derive(Debug, Clone)]
pub struct MachineSeed {
    vmid: u32,
    node: String,
    template: bool,
    storage: String,
    gib: u64,
    cloud_init: bool,
    config: BTreeMap<String, String>,
}

impl MachineSeed {
    /// A machine as cloud images make one: `scsi0` of so many GiB on `local-lvm`, a cloud-init drive at `ide2`, `net0`
    /// on `vmbr0`, an agent.
    pub fn new(vmid: u32, name: &str, node: &str, gib: u64) -> Self {
        let config = [
            ("agent", "enabled=1"),
            ("boot", "order=scsi0"),
            ("cores", "1"),
            ("cpu", "x86-64-v2-AES"),
            ("memory", "1024"),
            ("name", name),
            ("net0", "virtio,bridge=vmbr0"),
            ("ostype", "l26"),
            ("scsihw", "virtio-scsi-single"),
            ("serial0", "socket"),
            ("sockets", "1"),
        ];
        Self {
            vmid,
            node: node.to_owned(),
            template: false,
            storage: "local-lvm".into(),
            gib,
            cloud_init: true,
            config: config.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }

    #[must_use]
    pub fn template(mut self) -> Self {
        self.template = true;
        self
    }

    #[must_use]
    pub fn storage(mut self, storage: &str) -> Self {
        storage.clone_into(&mut self.storage);
        self
    }

    #[must_use]
    pub fn without_cloud_init(mut self) -> Self {
        self.cloud_init = false;
        self
    }

    /// Sets a key of the configuration as it is.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.config.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Puts the machine and its volumes into the world.
    pub(super) fn place(self, world: &mut World) {
        let mut guest = Guest::new(self.vmid, &self.node, self.config);
        let size = self.gib << 30;
        let wanted = Wanted {
            storage: &self.storage,
            node: &self.node,
            owner: self.vmid,
            size,
            source: None,
            linked: false,
        };
        let volume =
            world.allocate(&wanted).unwrap_or_else(|error| unreachable_seed(self.vmid, &error.message));
        let disk = Drive { file: volume, options: BTreeMap::from([("size".into(), size.to_string())]) };
        guest.config.insert("scsi0".into(), disk.print());
        if self.cloud_init {
            let made = world.allocate_seed(&self.storage, &self.node, self.vmid);
            let file = made.unwrap_or_else(|error| unreachable_seed(self.vmid, &error.message));
            let options =
                BTreeMap::from([("media".into(), "cdrom".into()), ("size".into(), SEED_SIZE.to_string())]);
            guest.config.insert("ide2".into(), Drive { file, options }.print());
        }
        if let Some(net) = guest.config.remove("net0") {
            let net = with_mac(world, "net0", &net);
            guest.config.insert(
                "net0".into(),
                net.unwrap_or_else(|error| unreachable_seed(self.vmid, &error.message)),
            );
        }
        let uuid = world.random_uuid();
        guest.config.entry("smbios1".into()).or_insert_with(|| format!("uuid={uuid}"));
        let generation = world.random_uuid();
        guest.config.entry("vmgenid".into()).or_insert(generation);
        world.guests.insert(self.vmid, guest);
        if self.template {
            create::convert(world, self.vmid);
        }
    }
}

#[expect(clippy::panic, reason = "a test whose furniture contradicts itself must not start")]
fn unreachable_seed(vmid: u32, why: &str) -> String {
    panic!("guest {vmid} cannot be placed: {why}")
}
