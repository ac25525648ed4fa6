//! How a simulated cluster is furnished before it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::access::{Entry, Pool, Token};
use super::call::Shared;
use super::create;
use super::drive::Drive;
use super::guest::Guest;
use super::host::{GuestHost, NoHost};
use super::knobs::Proxmox;
use super::volumes::{SEED_SIZE, Wanted};
use super::wire;
use super::world::{Node, Storage, World};
use crate::http::{Server, Wire};

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

    fn place(self, world: &mut World) {
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
            let net = super::config::with_mac(world, "net0", &net);
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

/// Adds an entry to the access control list. One name without a dot is a role, all else are privileges.
pub(super) fn grant(world: &mut World, path: &str, who: &str, privileges: &[&str], propagate: bool) {
    let role = match privileges {
        [role] if !role.contains('.') => (*role).to_owned(),
        _ => {
            let role = format!("lab{}", world.access.roles.len());
            world.access.roles.insert(role.clone(), privileges.iter().map(|it| (*it).to_owned()).collect());
            role
        }
    };
    world.access.entries.push(Entry { path: path.to_owned(), who: who.to_owned(), role, propagate });
}

/// Furnishes a cluster.
pub struct Builder {
    world: World,
    machines: Vec<MachineSeed>,
    host: Arc<dyn GuestHost>,
    port: Option<u16>,
}

impl Proxmox {
    /// A cluster with nothing in it.
    pub fn builder() -> Builder {
        let mut world = World::new(9);
        world.options.insert("keyboard".into(), json!("en-us"));
        world.options.insert("mac_prefix".into(), json!("BC:24:11"));
        Builder {
            world,
            machines: Vec::new(),
            host: Arc::new(NoHost::new(Duration::from_millis(50))),
            port: None,
        }
    }
}

impl Builder {
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        let print: Vec<_> = Sha256::digest(name).iter().map(|byte| format!("{byte:02X}")).collect();
        let node = Node { online: true, since: tokio::time::Instant::now(), fingerprint: print.join(":") };
        self.world.nodes.insert(name.to_owned(), node);
        self
    }

    #[must_use]
    pub fn storage(mut self, seed: StorageSeed) -> Self {
        let storage = Storage {
            kind: seed.kind,
            shared: seed.shared,
            content: seed.content.into_iter().collect(),
            nodes: seed.nodes.into_iter().collect(),
            total: seed.total,
            foreign: 0,
        };
        self.world.storages.insert(seed.name, storage);
        self
    }

    /// A template as cloud images make one, on `local-lvm`.
    #[must_use]
    pub fn template(self, vmid: u32, name: &str, node: &str, gib: u64) -> Self {
        self.machine(MachineSeed::new(vmid, name, node, gib).template())
    }

    /// Order does not matter: machines are placed last.
    #[must_use]
    pub fn machine(mut self, seed: MachineSeed) -> Self {
        self.machines.push(seed);
        self
    }

    /// A container, of which little more is simulated than that it holds a VMID.
    #[must_use]
    pub fn container(mut self, vmid: u32, name: &str, node: &str) -> Self {
        let config = BTreeMap::from([("hostname".to_owned(), name.to_owned())]);
        let guest = Guest { container: true, ..Guest::new(vmid, node, config) };
        self.world.guests.insert(vmid, guest);
        self
    }

    #[must_use]
    pub fn pool(mut self, name: &str, guests: &[u32]) -> Self {
        let pool = Pool { guests: guests.iter().copied().collect(), ..Pool::default() };
        self.world.pools.insert(name.to_owned(), pool);
        self
    }

    /// A token `user@realm!name` with privilege separation; it and its user get these privileges (or the role, if it is one
    /// name without a dot) on `/`, passed down.
    #[must_use]
    pub fn token(self, id: &str, secret: &str, privileges: &[&str]) -> Self {
        let user = id.split('!').next().unwrap_or(id).to_owned();
        self.bare_token(id, secret, true).grant("/", &user, privileges, true).grant("/", id, privileges, true)
    }

    /// A token without any rights of its own.
    #[must_use]
    pub fn bare_token(mut self, id: &str, secret: &str, privsep: bool) -> Self {
        let user = id.split('!').next().unwrap_or(id).to_owned();
        self.world.access.users.entry(user).or_default();
        let token = Token { secret: secret.to_owned(), privsep };
        self.world.access.tokens.insert(id.to_owned(), token);
        self
    }

    /// A user, and the groups that it is in.
    #[must_use]
    pub fn user(mut self, id: &str, groups: &[&str]) -> Self {
        let groups: BTreeSet<_> = groups.iter().map(|it| (*it).to_owned()).collect();
        self.world.access.users.insert(id.to_owned(), groups);
        self
    }

    /// An entry of the access control list for a user, a token or a `@group`.
    #[must_use]
    pub fn grant(mut self, path: &str, who: &str, privileges: &[&str], propagate: bool) -> Self {
        grant(&mut self.world, path, who, privileges, propagate);
        self
    }

    /// The machines behind the guests.
    #[must_use]
    pub fn host(mut self, host: Arc<dyn GuestHost>) -> Self {
        self.host = host;
        self
    }

    /// How long tasks take.
    #[must_use]
    pub fn task_time(mut self, time: Duration) -> Self {
        self.world.knobs.task_time = time;
        self
    }

    /// What `GET /version` says, such as `9.2.1`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.world.version);
        self
    }

    /// Listens on this port instead of any free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts serving; `wire` counts and disturbs the requests.
    pub async fn start(mut self, wire: &Wire) -> std::io::Result<Proxmox> {
        for machine in self.machines {
            machine.place(&mut self.world);
        }
        self.world.publish();
        self.world.history.clear();
        let shared = Arc::new(Shared::new(self.world, self.host));
        let server = Server::start(wire::router(Arc::clone(&shared)), wire, self.port).await?;
        Ok(Proxmox { server: Arc::new(server), shared })
    }
}
