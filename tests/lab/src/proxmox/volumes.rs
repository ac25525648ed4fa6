//! Volumes on the storages: made, copied, grown and freed, as far as there is space.

use super::drive::Drive;
use super::error::{ApiError, Work};
use super::guest::{Guest, drives};
use super::world::{Event, Storage, Volume, World};

/// What a cloud-init drive takes, in bytes.
pub(super) const SEED_SIZE: u64 = 4 << 20;

/// A volume that is to be made.
pub(super) struct Wanted<'a> {
    pub(super) storage: &'a str,
    pub(super) node: &'a str,
    pub(super) owner: u32,
    pub(super) size: u64,
    /// The volume whose data it begins with.
    pub(super) source: Option<&'a str>,
    /// Whether it goes on needing that volume.
    pub(super) linked: bool,
}

impl World {
    /// The storage, if guests' disks can be put on it from that node.
    pub(super) fn image_storage(&self, name: &str, node: &str) -> Result<&Storage, ApiError> {
        let storage = self.enabled_storage(name, node)?;
        if !storage.content.contains("images") {
            return Err(ApiError::param("storage", format!("storage '{name}' does not support vm images")));
        }
        Ok(storage)
    }

    pub(super) fn enabled_storage(&self, name: &str, node: &str) -> Result<&Storage, ApiError> {
        let storage = self.storages.get(name);
        let storage = storage.ok_or_else(|| ApiError::die(format!("storage '{name}' does not exist")))?;
        if !storage.nodes.is_empty() && !storage.nodes.contains(node) {
            return Err(ApiError::die(format!("storage '{name}' is not available on node '{node}'")));
        }
        Ok(storage)
    }

    /// Bytes in use on the storage, as that node sees it.
    pub(super) fn used(&self, name: &str, node: &str) -> u64 {
        let Some(storage) = self.storages.get(name) else { return 0 };
        let prefix = format!("{name}:");
        let here = |(id, volume): &(&String, &Volume)| {
            id.starts_with(&prefix) && (storage.shared || volume.node == node)
        };
        // A linked clone takes what it changes, which nobody does here.
        let own = |volume: &Volume| if volume.base.is_some() { 0 } else { volume.size };
        storage.foreign + self.volumes.iter().filter(here).map(|(_, volume)| own(volume)).sum::<u64>()
    }

    pub(super) fn check_space(
        &self,
        name: &str,
        node: &str,
        more: u64,
        volume: &str,
    ) -> Result<(), ApiError> {
        let Some(storage) = self.storages.get(name) else {
            return Err(ApiError::die(format!("storage '{name}' does not exist")));
        };
        if self.used(name, node).saturating_add(more) <= storage.total {
            return Ok(());
        }
        let extents = |bytes: u64| bytes >> 22;
        let free = storage.total.saturating_sub(self.used(name, node));
        Err(ApiError::die(match storage.kind.as_str() {
            "lvm" | "lvmthin" => format!(
                "lvcreate 'pve/{volume}' error:   Volume group \"pve\" has insufficient free space ({} extents): {} required.",
                extents(free),
                extents(more)
            ),
            "zfspool" => format!("zfs error: cannot create 'rpool/data/{volume}': out of space"),
            _ => format!("unable to create image: qemu-img: {volume}: No space left on device"),
        }))
    }

    /// Makes a volume with the first free number, and gives its id.
    pub(super) fn allocate(&mut self, wanted: &Wanted<'_>) -> Result<String, ApiError> {
        let storage = self.image_storage(wanted.storage, wanted.node)?.clone();
        let ids = (0..).map(|n| volume_id(wanted.storage, &storage, wanted.owner, &format!("disk-{n}")));
        let id = ids.into_iter().find(|id| !self.volumes.contains_key(id)).expect("the numbers do not end");
        self.put(id, wanted, &storage)
    }

    /// Makes the guest's cloud-init volume, whose name is fixed.
    pub(super) fn allocate_seed(
        &mut self,
        storage: &str,
        node: &str,
        owner: u32,
    ) -> Result<String, ApiError> {
        let found = self.image_storage(storage, node)?.clone();
        let id = volume_id(storage, &found, owner, "cloudinit");
        if self.volumes.contains_key(&id) {
            return Err(ApiError::die(format!("unable to create image: '{id}' already exists")));
        }
        let wanted = Wanted { storage, node, owner, size: SEED_SIZE, source: None, linked: false };
        self.put(id, &wanted, &found)
    }

    fn put(&mut self, id: String, wanted: &Wanted<'_>, storage: &Storage) -> Result<String, ApiError> {
        let name = id.split_once(':').map_or("", |(_, name)| name).to_owned();
        self.check_space(wanted.storage, wanted.node, wanted.size, &name)?;
        let from = wanted.source.and_then(|source| self.volumes.get(source)).map(|source| source.birth);
        let volume = Volume {
            size: wanted.size,
            owner: wanted.owner,
            content: "images",
            format: if storage.is_directory() { "qcow2" } else { "raw" },
            birth: self.birth(),
            from,
            base: wanted.source.filter(|_| wanted.linked).map(str::to_owned),
            node: wanted.node.to_owned(),
        };
        self.volumes.insert(id.clone(), volume);
        Ok(id)
    }

    /// Frees a volume, unless linked clones still need it.
    pub(super) fn free(&mut self, id: &str) -> Work {
        if self.volumes.values().any(|volume| volume.base.as_deref() == Some(id)) {
            let name = id.split_once(':').map_or(id, |(_, name)| name);
            return Err(ApiError::die(format!("base volume '{name}' is still in use by linked cloned")));
        }
        if let Some(volume) = self.volumes.remove(id) {
            self.history.push(Event::DiskDestroyed { volume: id.to_owned(), birth: volume.birth });
        }
        Ok(())
    }

    /// Takes a drive out of use: its volume becomes `unusedN`, but a cloud-init volume goes.
    pub(super) fn register_unused(&mut self, vmid: u32, drive: &Drive) {
        if drive.is_cloudinit() {
            drop(self.free(&drive.file));
            if let Some(guest) = self.guests.get_mut(&vmid) {
                guest.recorded.clear();
                guest.added.clear();
            }
            return;
        }
        let owned = self.volumes.get(&drive.file).is_some_and(|volume| volume.owner == vmid);
        let Some(guest) = self.guests.get_mut(&vmid).filter(|_| owned && !drive.is_cdrom()) else { return };
        if !guest.drives().values().any(|other| other.file == drive.file && other != drive) {
            let key = guest.free_unused();
            guest.config.insert(key, drive.file.clone());
        }
    }

    /// Every volume that the guest's configuration names and that is its own.
    pub(super) fn volumes_of(&self, guest: &Guest) -> Vec<String> {
        let named = drives(&guest.config).into_values().chain(drives(&guest.pending).into_values());
        let own = |id: &String| self.volumes.get(id).is_some_and(|volume| volume.owner == guest.vmid);
        let mut all: Vec<_> = named.map(|drive| drive.file).filter(own).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// `local-lvm:vm-101-disk-0`, on directories `local:101/vm-101-disk-0.qcow2`.
pub(super) fn volume_id(name: &str, storage: &Storage, owner: u32, what: &str) -> String {
    if storage.is_directory() {
        format!("{name}:{owner}/vm-{owner}-{what}.qcow2")
    } else {
        format!("{name}:vm-{owner}-{what}")
    }
}
