//! One call of a method, with all that its code may use.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::error::ApiError;
use super::guest::Guest;
use super::host::GuestHost;
use super::params::Params;
use super::world::World;

/// What the server and its workers share.
pub(super) struct Shared {
    world: Mutex<World>,
    host: Arc<dyn GuestHost>,
    /// Told whenever a task may have to look again.
    pub(super) changed: watch::Sender<()>,
}

impl Shared {
    pub(super) fn new(world: World, host: Arc<dyn GuestHost>) -> Self {
        Self { world: Mutex::new(world), host, changed: watch::Sender::new(()) }
    }

    /// Looks at or changes the world, in one piece.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut World, &dyn GuestHost) -> R) -> R {
        act(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner), &*self.host)
    }

    pub(super) fn notify(&self) {
        self.changed.send_replace(());
    }
}

pub(super) struct Call<'a> {
    pub(super) world: &'a mut World,
    pub(super) host: &'a dyn GuestHost,
    pub(super) shared: &'a Arc<Shared>,
    /// `user@realm`, or `user@realm!token`.
    pub(super) caller: &'a str,
    pub(super) params: Params,
}

impl Call<'_> {
    /// The node that the path names; the first one for methods of the cluster.
    pub(super) fn node(&self) -> &str {
        let first = || self.world.nodes.keys().next().map_or("localhost", String::as_str);
        self.params.get("node").unwrap_or_else(first)
    }

    pub(super) fn vmid(&self) -> u32 {
        self.params.number("vmid").and_then(|vmid| u32::try_from(vmid).ok()).unwrap_or(0)
    }

    /// The virtual machine that the path names.
    pub(super) fn machine(&self) -> Result<&Guest, ApiError> {
        self.world.machine(self.node(), self.vmid())
    }

    pub(super) fn all(&self, path: &str, privileges: &[&str]) -> Result<(), ApiError> {
        self.world.access.all(self.caller, path, privileges, &self.world.pools)
    }

    pub(super) fn any(&self, path: &str, privileges: &[&str]) -> Result<(), ApiError> {
        self.world.access.any(self.caller, path, privileges, &self.world.pools)
    }

    /// Refuses options that only root itself may use.
    pub(super) fn only_root(&self, options: &[&str]) -> Result<(), ApiError> {
        let used = |option: &&&str| self.params.get(option).is_some_and(|value| !matches!(value, "" | "0"));
        match options.iter().find(used) {
            Some(option) if self.caller != "root@pam" => {
                Err(ApiError::param(option, "Only root may use this option."))
            }
            _ => Ok(()),
        }
    }
}
