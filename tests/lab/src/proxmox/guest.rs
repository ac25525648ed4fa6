//! One guest: its configuration file, and whether it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha1::{Digest as _, Sha1};
use tokio::time::Instant;

use super::cloudinit::{Seed, hex};
use super::drive::{self, Drive};
use super::error::ApiError;
use super::net;
use super::world::Published;

/// A section of a configuration file.
pub(super) type Config = BTreeMap<String, String>;

#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) since: Instant,
    /// How much longer it is said to run, for tests that do not wait.
    pub(super) aged: Duration,
    pub(super) pid: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Guest {
    pub(super) vmid: u32,
    pub(super) node: String,
    pub(super) container: bool,
    pub(super) config: Config,
    pub(super) pending: Config,
    /// Keys to delete, with whether their data goes too.
    pub(super) deleting: BTreeMap<String, bool>,
    /// What the cloud-init image still holds of values that changed since.
    pub(super) recorded: Config,
    /// Cloud-init keys that the image does not hold yet.
    pub(super) added: BTreeSet<String>,
    /// What the cloud-init image holds.
    pub(super) seed: Option<Seed>,
    pub(super) running: Option<Running>,
    pub(super) paused: bool,
    pub(super) boots: u32,
    /// The state that the HA manager keeps for it, if it does.
    pub(super) ha: Option<&'static str>,
    /// Clones that read this guest now while it runs, which need it for themselves.
    pub(super) cloning: bool,
}

impl Guest {
    pub(super) fn new(vmid: u32, node: &str, config: Config) -> Self {
        Self {
            vmid,
            node: node.to_owned(),
            container: false,
            config,
            pending: Config::new(),
            deleting: BTreeMap::new(),
            recorded: Config::new(),
            added: BTreeSet::new(),
            seed: None,
            running: None,
            paused: false,
            boots: 0,
            ha: None,
            cloning: false,
        }
    }

    pub(super) fn is_template(&self) -> bool {
        self.config.get("template").is_some_and(|flag| flag == "1")
    }

    pub(super) fn name(&self) -> String {
        let key = if self.container { "hostname" } else { "name" };
        let unnamed = if self.container { format!("CT{}", self.vmid) } else { format!("VM {}", self.vmid) };
        self.config.get(key).cloned().unwrap_or(unnamed)
    }

    pub(super) fn uptime(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| (running.since.elapsed() + running.aged).as_secs())
    }

    pub(super) fn published(&self) -> Published {
        Published {
            name: self.name(),
            running: self.running.is_some(),
            template: self.is_template(),
            uptime: self.uptime(),
        }
    }

    pub(super) fn check_lock(&self) -> Result<(), ApiError> {
        match self.config.get("lock") {
            Some(lock) => Err(ApiError::die(format!("VM is locked ({lock})"))),
            None => Ok(()),
        }
    }

    pub(super) fn check_protection(&self, doing: &str) -> Result<(), ApiError> {
        if self.config.get("protection").is_some_and(|flag| flag == "1") {
            return Err(ApiError::die(format!("{doing} - protection mode enabled")));
        }
        Ok(())
    }

    /// The drives of the running configuration, by slot, unused ones included.
    pub(super) fn drives(&self) -> BTreeMap<String, Drive> {
        drives(&self.config)
    }

    pub(super) fn mac(&self, key: &str) -> Option<String> {
        net::parse(key, self.config.get(key)?).ok()?.remove("macaddr")
    }

    /// The hash of the file, which any change of it changes.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha1::new();
        let mut section = |title: &str, lines: &Config| {
            hash.update(format!("[{title}]\n"));
            for (key, value) in lines {
                hash.update(format!("{key}: {value}\n"));
            }
        };
        section("", &self.config);
        section("PENDING", &self.pending);
        let deleting = self.deleting.iter().map(|(key, force)| (key.clone(), force.to_string())).collect();
        section("delete", &deleting);
        section("special:cloudinit", &self.recorded);
        let added = self.added.iter().map(|key| (key.clone(), String::new())).collect();
        section("added", &added);
        hex(&hash.finalize())
    }

    /// The first free `unusedN`.
    pub(super) fn free_unused(&self) -> String {
        let free = (0..256).map(|n| format!("unused{n}")).find(|key| !self.config.contains_key(key));
        free.unwrap_or_else(|| "unused255".into())
    }

    /// The order in which the guest boots from its devices.
    pub(super) fn boot_order(config: &Config) -> Vec<String> {
        let order =
            config.get("boot").and_then(|boot| boot.split(',').find_map(|it| it.strip_prefix("order=")));
        let order = order.unwrap_or_default();
        order.split(';').filter(|device| !device.is_empty()).map(str::to_owned).collect()
    }
}

pub(super) fn drives(config: &Config) -> BTreeMap<String, Drive> {
    let is_disk = |key: &str| drive::is_slot(key) || super::keys::is_indexed(key, "unused");
    let parsed = config.iter().filter(|(key, _)| is_disk(key));
    parsed.filter_map(|(key, text)| Some((key.clone(), Drive::parse(key, text).ok()?))).collect()
}
