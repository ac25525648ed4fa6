//! How a simulated cluster is furnished before it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::access::{Entry, Pool, Token};
use super::call::Shared;
use super::furniture::{MachineSeed, StorageSeed};
use super::guest::Guest;
use super::host::{GuestHost, NoHost};
use super::knobs::Proxmox;
use super::wire;
use super::world::{Node, World};
use crate::http::{Server, Wire};

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
        seed.place(&mut self.world);
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
