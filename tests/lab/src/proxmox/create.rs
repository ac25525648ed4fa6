//! Making a virtual machine from nothing, turning one into a template, and destroying one.

use super::call::Call;
use super::change;
use super::config;
use super::drive::{self, Drive};
use super::error::{Answer, ApiError, Work};
use super::guest::{Config, Guest};
use super::keys;
use super::power;
use super::tasks::{self, Job};
use super::values;
use super::world::{Event, World};

/// Parameters of create that are no configuration.
const OTHERS: &[&str] = &[
    "node",
    "vmid",
    "archive",
    "bwlimit",
    "force",
    "ha-managed",
    "live-restore",
    "pool",
    "start",
    "storage",
    "unique",
    "import-working-storage",
];

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    if call.params.get("archive").is_some() {
        return Err(ApiError::die("the lab keeps no backups to restore"));
    }
    let set = call.params.0.keys().filter(|key| !OTHERS.contains(&key.as_str()));
    let mut set: Config =
        set.filter_map(|key| Some((key.clone(), call.params.get(key)?.to_owned()))).collect();
    config::check_ssh_keys(&set)?;
    let pool = call.params.get("pool").map(str::to_owned);
    if let Some(pool) = pool.as_ref().filter(|pool| !call.world.pools.contains_key(*pool)) {
        return Err(ApiError::denied(&format!("pool '{pool}' does not exist")));
    }
    let start = call.params.flag("start");
    let guest = format!("/vms/{vmid}");
    if start {
        call.all(&guest, &["VM.PowerMgmt"])?;
    }
    let in_pool =
        pool.as_ref().is_some_and(|pool| call.all(&format!("/pool/{pool}"), &["VM.Allocate"]).is_ok());
    if !in_pool && call.all(&guest, &["VM.Allocate"]).is_err() {
        return Err(ApiError::new(403, "Permission check failed"));
    }
    config::check_storages(call, &set)?;
    config::check_rights(call, vmid, set.keys())?;
    for (key, value) in set.iter().filter(|(key, _)| drive::is_slot(key)) {
        if let Ok(drive) = Drive::parse(key, value) {
            call.all(&guest, change::drive_rights(&drive))?;
        }
    }
    config::check_bridges(call, &set)?;
    config::normalise(&mut set)?;
    if let Some(other) = call.world.guests.get(&vmid) {
        let kind = if other.container { "CT" } else { "VM" };
        let text =
            format!("unable to create VM {vmid} - {kind} {vmid} already exists on node '{}'", other.node);
        return Err(ApiError::die(text));
    }
    let lock = Config::from([("lock".to_owned(), "create".to_owned())]);
    call.world.guests.insert(vmid, Guest::new(vmid, &node, lock));
    let job = Job {
        begin: Box::new(|_, _| Ok(())),
        finish: Box::new(move |world, host| {
            if let Err(error) = make(world, &node, vmid, set) {
                remove(world, vmid)?;
                let message = format!("unable to create VM {vmid} - {}", error.message);
                return Err(ApiError { message, ..error });
            }
            if let Some(pool) = pool.and_then(|pool| world.pools.get_mut(&pool)) {
                pool.guests.insert(vmid);
            }
            // A start that fails does not make the creation fail.
            if start {
                drop(power::power_on(world, host, &node, vmid));
            }
            Ok(())
        }),
        undo: Box::new(move |world, _| remove(world, vmid)),
    };
    Ok(tasks::fork(call, "qmcreate", &vmid.to_string(), job).into())
}

fn make(world: &mut World, node: &str, vmid: u32, set: Config) -> Work {
    let mut made = Config::new();
    for (key, value) in set {
        let value = match key.as_str() {
            _ if drive::is_slot(&key) => {
                let drive = Drive::parse(&key, &value).map_err(ApiError::die)?;
                values::make_drive(world, node, vmid, &key, drive)?.print()
            }
            _ if keys::is_indexed(&key, "net") => values::with_mac(world, &key, &value)?,
            "tags" => values::unique_tags(world, &value),
            "cipassword" => values::crypted(world, &value),
            "description" => value.trim_end().to_owned(),
            _ => value,
        };
        made.insert(key, value);
        let guest = world.machine_mut(node, vmid)?;
        guest.config.clone_from(&made);
        guest.config.insert("lock".into(), "create".into());
    }
    let uuid = world.random_uuid();
    made.entry("smbios1".into()).or_insert_with(|| format!("uuid={uuid}"));
    let generation = world.random_uuid();
    made.entry("vmgenid".into()).or_insert(generation);
    made.insert("meta".into(), "creation-qemu=10.1.2,ctime=1764000000".into());
    if !made.contains_key("boot") {
        made.insert("boot".into(), default_boot(&made));
    }
    world.machine_mut(node, vmid)?.config = made;
    world.history.push(Event::Created { vmid });
    Ok(())
}

/// The first disk, the first CD, the first network device.
fn default_boot(config: &Config) -> String {
    let drives = super::guest::drives(config);
    let disk = ["virtio", "scsi", "sata", "ide"].iter().find_map(|bus| {
        let fits =
            |(slot, drive): &(&String, &Drive)| slot.starts_with(bus) && !drive.options.contains_key("media");
        drives.iter().find(fits).map(|(slot, _)| slot.clone())
    });
    let cd = drives.iter().find(|(_, drive)| drive.is_cdrom()).map(|(slot, _)| slot.clone());
    let net = config.keys().find(|key| keys::is_indexed(key, "net")).cloned();
    format!("order={}", [disk, cd, net].into_iter().flatten().collect::<Vec<_>>().join(";"))
}

/// Removes a guest and its volumes.
pub(super) fn remove(world: &mut World, vmid: u32) -> Work {
    let Some(guest) = world.guests.get(&vmid).cloned() else { return Ok(()) };
    for volume in world.volumes_of(&guest) {
        world.free(&volume)?;
    }
    world.guests.remove(&vmid);
    for pool in world.pools.values_mut() {
        pool.guests.remove(&vmid);
    }
    Ok(())
}

pub(super) fn destroy(call: &mut Call<'_>) -> Answer {
    call.only_root(&["skiplock"])?;
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    let (purge, unreferenced) = (call.params.flag("purge"), call.params.flag("destroy-unreferenced-disks"));
    may_destroy(call.world, &node, vmid, purge)?;
    let job = Job::at_end(move |world, host| {
        world.flock(vmid)?;
        may_destroy(world, &node, vmid, purge)?;
        world.machine(&node, vmid)?.check_lock()?;
        remove(world, vmid)?;
        if unreferenced {
            let owned = world.volumes.iter().filter(|(_, volume)| volume.owner == vmid);
            for volume in owned.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                world.free(&volume)?;
            }
        }
        let path = format!("/vms/{vmid}");
        world.access.entries.retain(|entry| entry.path != path);
        world.history.push(Event::Destroyed { vmid });
        host.destroy(vmid);
        Ok(())
    });
    Ok(tasks::fork(call, "qmdestroy", &vmid.to_string(), job).into())
}

fn may_destroy(world: &World, node: &str, vmid: u32, purge: bool) -> Work {
    let guest = world.machine(node, vmid)?;
    guest.check_protection(&format!("can't remove VM {vmid}"))?;
    if guest.ha.is_some() && !purge {
        let text = format!("unable to remove VM {vmid} - used in HA resources and purge parameter not set.");
        return Err(ApiError::die(text));
    }
    if guest.running.is_some() {
        return Err(ApiError::die(format!("VM {vmid} is running - destroy failed")));
    }
    Ok(())
}

pub(super) fn template(call: &mut Call<'_>) -> Answer {
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    let one_disk = call.params.get("disk").is_some();
    may_convert(call.world, &node, vmid, one_disk)?;
    let job = Job::at_end(move |world, _| {
        world.flock(vmid)?;
        may_convert(world, &node, vmid, one_disk)?;
        convert(world, vmid);
        Ok(())
    });
    Ok(tasks::fork(call, "qmtemplate", &vmid.to_string(), job).into())
}

fn may_convert(world: &World, node: &str, vmid: u32, one_disk: bool) -> Work {
    let guest = world.machine(node, vmid)?;
    guest.check_lock()?;
    if guest.is_template() && !one_disk {
        return Err(ApiError::die("you can't convert a template to a template"));
    }
    if guest.running.is_some() {
        return Err(ApiError::die("you can't convert a VM to template if VM is running"));
    }
    Ok(())
}

/// Marks the guest, and renames its disks to base volumes.
pub(super) fn convert(world: &mut World, vmid: u32) {
    let Some(guest) = world.guests.get(&vmid).cloned() else { return };
    for (slot, mut drive) in guest.drives() {
        let base = drive.file.replace("vm-", "base-");
        if drive.is_cdrom() || drive.is_cloudinit() || base == drive.file {
            continue;
        }
        if let Some(volume) = world.volumes.remove(&drive.file) {
            world.volumes.insert(base.clone(), volume);
            drive.file = base;
        }
        if let Some(guest) = world.guests.get_mut(&vmid) {
            guest.config.insert(slot, drive.print());
        }
    }
    if let Some(guest) = world.guests.get_mut(&vmid) {
        guest.config.insert("template".into(), "1".into());
    }
}
