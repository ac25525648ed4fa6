//! The handle by which a test looks at the simulated cluster, disturbs it and acts on it behind the client's back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::call::Shared;
use super::create;
use super::error::ApiError;
use super::furniture::MachineSeed;
use super::guest::Guest;
use super::host::GuestHost;
use super::power;
use super::tasks::TaskMode;
use super::world::World;
use crate::http::Server;

/// A running simulated cluster. Its port closes when the last handle is dropped.
#[derive(Clone)]
pub struct Proxmox {
    pub(super) server: Arc<Server>,
    pub(super) shared: Arc<Shared>,
}

impl Proxmox {
    /// The base address, such as `http://127.0.0.1:34567`, without `/api2/json`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub(super) fn with<R>(&self, act: impl FnOnce(&mut World, &dyn GuestHost) -> R) -> R {
        let result = self.shared.with(act);
        self.shared.notify();
        result
    }

    fn set(&self, act: impl FnOnce(&mut World)) {
        self.with(|world, _| act(world));
    }

    fn guest_mut(&self, vmid: u32, act: impl FnOnce(&mut Guest)) {
        self.set(|world| {
            if let Some(guest) = world.guests.get_mut(&vmid) {
                act(guest);
            }
        });
    }
}

/// Tasks.
impl Proxmox {
    /// How long tasks take that have no time of their own.
    pub fn set_task_time(&self, time: Duration) {
        self.set(|world| world.knobs.task_time = time);
    }

    /// How long tasks of one kind take, such as `qmclone`.
    pub fn set_task_time_of(&self, kind: &str, time: Duration) {
        self.set(|world| {
            world.knobs.task_times.insert(kind.to_owned(), time);
        });
    }

    /// Says how the next task of that kind goes. Several are used in the order in which they were said.
    pub fn next_task(&self, kind: &str, mode: TaskMode) {
        self.set(|world| world.knobs.modes.push_back((kind.to_owned(), mode)));
    }

    /// Lets the next task of that kind fail with this text, and undo what it began.
    pub fn fail_task_next(&self, kind: &str, text: &str) {
        self.next_task(kind, TaskMode::Fail(text.to_owned()));
    }

    /// Lets all tasks that start from now on run until [`Proxmox::release_tasks`].
    pub fn hold_tasks(&self) {
        self.set(|world| world.knobs.hold = true);
    }

    /// Lets held tasks go on, and holds no further ones.
    pub fn release_tasks(&self) {
        self.set(|world| {
            world.knobs.hold = false;
            world.tasks.release();
        });
    }

    /// Waits until no task runs, at most `patience`; says whether that was so.
    pub async fn idle(&self, patience: Duration) -> bool {
        let mut changed = self.shared.changed.subscribe();
        let idle = async {
            while self.shared.with(|world, _| world.tasks.all.values().any(|task| task.exit.is_none())) {
                // The sender lives in `shared`.
                drop(changed.changed().await);
            }
        };
        tokio::time::timeout(patience, idle).await.is_ok()
    }
}

/// Nodes, storages and the cluster.
impl Proxmox {
    /// A node that is down answers nothing, and its guests stay listed.
    pub fn set_node_online(&self, node: &str, online: bool) {
        self.set(|world| {
            world.publish();
            if let Some(node) = world.nodes.get_mut(node) {
                node.online = online;
                node.since = tokio::time::Instant::now();
            }
        });
    }

    /// Without quorum reads work, and writes are refused.
    pub fn set_quorate(&self, quorate: bool) {
        self.set(|world| world.quorate = quorate);
    }

    /// Lets so many bytes be free on the storage, on each node that has it.
    pub fn set_storage_free(&self, storage: &str, free: u64) {
        self.set(|world| {
            let nodes: Vec<_> = world.nodes.keys().cloned().collect();
            let Some(found) = world.storages.get_mut(storage) else { return };
            found.foreign = 0;
            let used = nodes.iter().map(|node| world.used(storage, node)).max().unwrap_or(0);
            if let Some(found) = world.storages.get_mut(storage) {
                found.total = found.total.max(used.saturating_add(free));
                found.foreign = found.total.saturating_sub(used).saturating_sub(free);
            }
        });
    }

    /// A name that is no node, but that DNS resolves: requests for it end in 596.
    pub fn resolve(&self, name: &str) {
        self.set(|world| {
            world.resolvable.insert(name.to_owned());
        });
    }

    /// Whether tags keep their case, and their order (`config` or `alphabetical`).
    pub fn set_tag_style(&self, case_sensitive: bool, ordering: &str) {
        let style = json!({ "case-sensitive": u8::from(case_sensitive), "ordering": ordering });
        self.set(|world| drop(world.options.insert("tag-style".into(), style)));
    }

    /// How late names and states of guests reach `/cluster/resources`.
    pub fn set_resources_lag(&self, lag: Duration) {
        self.set(|world| {
            world.publish();
            world.knobs.lag = lag;
        });
    }

    /// Lets time pass for the guests that run: their uptime is said to be so much longer.
    pub fn pass_time(&self, by: Duration) {
        self.set(|world| {
            for running in world.guests.values_mut().filter_map(|guest| guest.running.as_mut()) {
                running.aged += by;
            }
            world.publish();
        });
    }

    /// How long a refused login, a node that is down, and a silent agent take to answer.
    pub fn set_delays(&self, login: Duration, offline: Duration, agent: Duration) {
        self.set(|world| {
            world.knobs.refusal_delay = login;
            world.knobs.offline_delay = offline;
            world.knobs.agent_delay = agent;
        });
    }

    /// Gives a user, token or `@group` a role, or the listed privileges, on a path.
    pub fn grant(&self, path: &str, who: &str, privileges: &[&str], propagate: bool) {
        self.set(|world| super::seeding::grant(world, path, who, privileges, propagate));
    }

    /// Takes all entries of that user or token on that path away.
    pub fn revoke(&self, path: &str, who: &str) {
        self.set(|world| world.access.entries.retain(|entry| entry.path != path || entry.who != who));
    }

    /// Replaces a token's secret.
    pub fn set_secret(&self, token: &str, secret: &str) {
        self.set(|world| {
            if let Some(token) = world.access.tokens.get_mut(token) {
                secret.clone_into(&mut token.secret);
            }
        });
    }
}

/// Guests, as somebody else would change them.
impl Proxmox {
    /// Locks a guest's configuration, as a backup does.
    pub fn lock(&self, vmid: u32, lock: &str) {
        self.guest_mut(vmid, |guest| drop(guest.config.insert("lock".into(), lock.to_owned())));
    }

    pub fn unlock(&self, vmid: u32) {
        self.guest_mut(vmid, |guest| drop(guest.config.remove("lock")));
    }

    /// Lets the next `times` attempts to lock the guest's file time out.
    pub fn time_out_flock(&self, vmid: u32, times: u32) {
        self.set(|world| {
            world.knobs.flocked.insert(vmid, times);
        });
    }

    /// Puts a guest there, as somebody else who was faster.
    pub fn add(&self, machine: MachineSeed) {
        self.set(|world| machine.place(world));
    }

    /// Removes a guest and its disks, by hand. Gives the refusal's text if a linked clone needs them.
    pub fn remove(&self, vmid: u32) -> Result<(), String> {
        self.with(|world, host| {
            host.destroy(vmid);
            create::remove(world, vmid).map_err(|error| error.message)
        })
    }

    /// Moves a guest to another node, at once.
    pub fn migrate(&self, vmid: u32, node: &str) {
        self.guest_mut(vmid, |guest| node.clone_into(&mut guest.node));
    }

    /// Sets a key of the configuration in force, as an editor of the file would.
    pub fn set_config(&self, vmid: u32, key: &str, value: &str) {
        self.guest_mut(vmid, |guest| drop(guest.config.insert(key.to_owned(), value.to_owned())));
    }

    pub fn unset_config(&self, vmid: u32, key: &str) {
        self.guest_mut(vmid, |guest| drop(guest.config.remove(key)));
    }

    /// Lets every attempt to make the key take effect fail, until `None` is said.
    pub fn break_key(&self, vmid: u32, key: &str, why: Option<&str>) {
        self.set(|world| {
            let at = (vmid, key.to_owned());
            match why {
                Some(why) => drop(world.knobs.broken.insert(at, why.to_owned())),
                None => drop(world.knobs.broken.remove(&at)),
            }
        });
    }

    /// A guest that does not shut down when asked; what waits for it gives up after `patience`.
    pub fn ignore_shutdown(&self, vmid: u32, patience: Duration) {
        self.set(|world| {
            world.knobs.deaf.insert(vmid);
            world.knobs.shutdown_timeout = patience;
        });
    }

    pub fn set_paused(&self, vmid: u32, paused: bool) {
        self.guest_mut(vmid, |guest| guest.paused = paused);
    }

    /// Puts a guest under high availability: switching it only files requests, which [`Proxmox::power_on`] and
    /// [`Proxmox::power_off`] fulfil in the manager's place.
    pub fn set_ha(&self, vmid: u32, ha: bool) {
        self.guest_mut(vmid, |guest| {
            let state = if guest.running.is_some() { "started" } else { "stopped" };
            guest.ha = ha.then_some(state);
        });
    }

    /// Starts a guest by hand. Gives the refusal's text if it cannot be.
    pub fn power_on(&self, vmid: u32) -> Result<(), String> {
        self.power(vmid, power::power_on)
    }

    /// Ends a guest by hand, as a crash of it would.
    pub fn power_off(&self, vmid: u32) -> Result<(), String> {
        self.power(vmid, power::power_off)
    }

    fn power(
        &self,
        vmid: u32,
        act: fn(&mut World, &dyn GuestHost, &str, u32) -> Result<(), ApiError>,
    ) -> Result<(), String> {
        self.with(|world, host| {
            let node = world.guests.get(&vmid).map(|guest| guest.node.clone()).unwrap_or_default();
            act(world, host, &node, vmid).map_err(|error| error.message)
        })
    }
}
