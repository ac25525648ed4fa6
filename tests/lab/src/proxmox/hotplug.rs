//! Which changes a guest takes at once, which while it runs, and which wait for a restart.

use std::collections::{BTreeMap, BTreeSet};

use super::change::clean_pending;
use super::cloudinit::Seed;
use super::drive::{self, Drive};
use super::error::{ApiError, Work};
use super::guest::{Config, Guest};
use super::host::GuestHost;
use super::keys;
use super::net;
use super::props::{AGENT, Props};
use super::world::World;

/// Keys that mean nothing to a running guest.
const AT_ONCE: &[&str] = &[
    "description",
    "hookscript",
    "lock",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "onboot",
    "protection",
    "shares",
    "startup",
    "tags",
    "vmstatestorage",
];

fn is_at_once(key: &str) -> bool {
    AT_ONCE.contains(&key) || keys::is_cloud_init(key)
}

/// Lets pending changes take effect as far as they can; `only` limits it to the keys of this change.
pub(super) fn apply(
    world: &mut World,
    _host: &dyn GuestHost,
    vmid: u32,
    only: Option<&BTreeSet<String>>,
) -> Work {
    let running = world.guests.get(&vmid).is_some_and(|guest| guest.running.is_some());
    let errors = if running { plug(world, vmid, only) } else { settle(world, vmid) };
    if errors.is_empty() { Ok(()) } else { Err(ApiError::params(errors)) }
}

/// A stopped guest takes everything.
pub(super) fn settle(world: &mut World, vmid: u32) -> BTreeMap<String, String> {
    let mut errors = BTreeMap::new();
    let Some(guest) = world.guests.get(&vmid) else { return errors };
    let (deleting, broken) = (guest.deleting.clone(), broken(world, vmid));
    for (key, force) in deleting {
        match remove_drive(world, vmid, &key, force, &broken) {
            Ok(()) => forget(world, vmid, &key),
            Err(why) => {
                drop(errors.insert(key.clone(), format!("unable to apply pending change {key} : {why}\n")));
            }
        }
    }
    let Some(guest) = world.guests.get_mut(&vmid) else { return errors };
    clean_pending(guest);
    let mut seeded = false;
    for (key, value) in guest.pending.clone() {
        if let Some(why) = broken.get(&key) {
            errors.insert(key.clone(), format!("unable to apply pending change {key} : {why}\n"));
            continue;
        }
        replace_drive(world, vmid, &key);
        let Some(guest) = world.guests.get_mut(&vmid) else { continue };
        seeded |= drive::is_slot(&key) && Drive::parse(&key, &value).is_ok_and(|drive| drive.is_cloudinit());
        guest.pending.remove(&key);
        guest.config.insert(key, value);
    }
    if let Some(guest) = world.guests.get_mut(&vmid).filter(|_| seeded) {
        write_seed(guest);
    }
    errors
}

fn broken(world: &World, vmid: u32) -> BTreeMap<String, String> {
    let own = world.knobs.broken.iter().filter(|((of, _), _)| *of == vmid);
    own.map(|((_, key), why)| (key.clone(), why.clone())).collect()
}

/// The old volume of a slot that gets another one is not lost.
fn replace_drive(world: &mut World, vmid: u32, key: &str) {
    let Some(guest) = world.guests.get(&vmid).filter(|_| drive::is_slot(key)) else { return };
    let read = |map: &Config| map.get(key).and_then(|text| Drive::parse(key, text).ok());
    let (Some(old), new) = (read(&guest.config), read(&guest.pending)) else { return };
    if new.is_none_or(|new| new.file != old.file) {
        let guest = world.guests.get_mut(&vmid).expect("it was just seen, under the same lock");
        guest.config.remove(key);
        world.register_unused(vmid, &old);
    }
}

fn remove_drive(
    world: &mut World,
    vmid: u32,
    key: &str,
    force: bool,
    broken: &BTreeMap<String, String>,
) -> Result<(), String> {
    if let Some(why) = broken.get(key) {
        return Err(why.clone());
    }
    let text = world.guests.get(&vmid).and_then(|guest| guest.config.get(key)).cloned();
    let Some(drive) = text.filter(|_| drive::is_slot(key)).and_then(|text| Drive::parse(key, &text).ok())
    else {
        return Ok(());
    };
    if force && !drive.is_cdrom() {
        return world.free(&drive.file).map_err(|error| error.message);
    }
    world.register_unused(vmid, &drive);
    Ok(())
}

fn forget(world: &mut World, vmid: u32, key: &str) {
    if let Some(guest) = world.guests.get_mut(&vmid) {
        guest.deleting.remove(key);
        guest.config.remove(key);
    }
}

/// A running guest takes what can be plugged.
fn plug(world: &mut World, vmid: u32, only: Option<&BTreeSet<String>>) -> BTreeMap<String, String> {
    let mut errors = BTreeMap::new();
    let broken = broken(world, vmid);
    let Some(guest) = world.guests.get_mut(&vmid) else { return errors };
    for key in guest.pending.keys().filter(|key| is_at_once(key)).cloned().collect::<Vec<_>>() {
        take(guest, &key);
    }
    let features = features(guest);
    let chosen = |key: &String| only.is_none_or(|only| only.contains(key));
    let deleting: Vec<_> = guest.deleting.clone().into_iter().filter(|(key, _)| chosen(key)).collect();
    for (key, force) in deleting {
        if !can_unplug(&key, &features) {
            continue;
        }
        match remove_drive(world, vmid, &key, force, &broken) {
            Ok(()) => {
                if let Some(guest) = world.guests.get_mut(&vmid) {
                    let old = guest.config.get(&key).cloned();
                    record(guest, &key, old.as_deref(), None);
                }
                forget(world, vmid, &key);
            }
            Err(why) => drop(errors.insert(key, format!("hotplug problem - {why}\n"))),
        }
    }
    let Some(guest) = world.guests.get(&vmid) else { return errors };
    for (key, value) in guest.pending.clone().into_iter().filter(|(key, _)| chosen(key)) {
        let Some(guest) = world.guests.get(&vmid) else { continue };
        let plugged = match can_plug(&key, guest.config.get(&key).map(String::as_str), &value, &features) {
            Ok(true) => broken.get(&key).map_or(Ok(()), |why| Err(why.clone())),
            Ok(false) => continue,
            Err(why) => Err(why.to_owned()),
        };
        match plugged {
            Ok(()) => {
                replace_drive(world, vmid, &key);
                if let Some(guest) = world.guests.get_mut(&vmid) {
                    take(guest, &key);
                }
            }
            Err(why) => drop(errors.insert(key, format!("hotplug problem - {why}\n"))),
        }
    }
    if let Some(guest) = world.guests.get_mut(&vmid).filter(|_| features.contains("cloudinit")) {
        write_seed(guest);
    }
    errors
}

/// Moves a pending value into force.
fn take(guest: &mut Guest, key: &str) {
    let Some(value) = guest.pending.remove(key) else { return };
    let old = guest.config.get(key).cloned();
    record(guest, key, old.as_deref(), Some(&value));
    guest.config.insert(key.to_owned(), value);
}

/// Remembers what the cloud-init image still holds when a value of it changes under a running guest.
fn record(guest: &mut Guest, key: &str, old: Option<&str>, new: Option<&str>) {
    if !keys::is_seed(key) || old == new {
        return;
    }
    let recorded = guest.recorded.get(key).cloned();
    match (old, new) {
        (_, Some(new)) if recorded.as_deref() == Some(new) => drop(guest.recorded.remove(key)),
        (_, Some(_)) if recorded.is_some() || guest.added.contains(key) => {}
        (Some(old), Some(_)) => drop(guest.recorded.insert(key.to_owned(), old.to_owned())),
        (None, Some(_)) => drop(guest.added.insert(key.to_owned())),
        (Some(_), None) if guest.added.remove(key) => {}
        (Some(old), None) if recorded.is_none() => {
            drop(guest.recorded.insert(key.to_owned(), old.to_owned()));
        }
        _ => {}
    }
}

/// Writes the cloud-init drive, if there is one, from the configuration in force.
pub(super) fn write_seed(guest: &mut Guest) {
    if guest.drives().values().any(Drive::is_cloudinit) {
        guest.seed = Some(Seed::of(guest.vmid, &guest.config));
        guest.recorded.clear();
        guest.added.clear();
    } else {
        guest.seed = None;
    }
}

fn features(guest: &Guest) -> BTreeSet<String> {
    let text = match guest.config.get("hotplug").map(String::as_str) {
        None | Some("1") => "network,disk,usb",
        Some("0") => "",
        Some(list) => list,
    };
    text.split(',').map(str::to_owned).collect()
}

fn can_unplug(key: &str, features: &BTreeSet<String>) -> bool {
    let with = |feature: &str| features.contains(feature);
    if drive::is_slot(key) {
        return with("disk") && (key.starts_with("scsi") || key.starts_with("virtio"));
    }
    match key {
        _ if is_at_once(key) => true,
        _ if keys::is_indexed(key, "net") => with("network"),
        _ if keys::is_indexed(key, "usb") || key == "tablet" => with("usb"),
        "vcpus" => with("cpu"),
        "memory" => with("memory"),
        "cpuunits" | "cpulimit" | "balloon" => true,
        "hotplug" => !with("cpu") && !with("memory"),
        _ => false,
    }
}

/// Whether the new value can take effect now; an error is one that cannot ever.
fn can_plug(
    key: &str,
    old: Option<&str>,
    new: &str,
    features: &BTreeSet<String>,
) -> Result<bool, &'static str> {
    let with = |feature: &str| features.contains(feature);
    if drive::is_slot(key) {
        return can_plug_drive(key, old, new, with("disk"));
    }
    Ok(match key {
        _ if keys::is_indexed(key, "net") => with("network") || is_soft_net(key, old, new),
        _ if keys::is_indexed(key, "usb") || key == "tablet" => with("usb"),
        "vcpus" => with("cpu"),
        "memory" => with("memory"),
        "cpuunits" | "cpulimit" => true,
        "balloon" => (old == Some("0")) == (new == "0"),
        "agent" => differ(&agent(old), &agent(Some(new))).iter().all(|key| key == "fstrim_cloned_disks"),
        "hotplug" => !with("cpu") && !with("memory") && !new.contains("cpu") && !new.contains("memory"),
        _ => false,
    })
}

fn agent(text: Option<&str>) -> Props {
    AGENT.parse("agent", text.unwrap_or("0")).unwrap_or_default()
}

/// The keys in which two property strings differ.
fn differ(old: &Props, new: &Props) -> BTreeSet<String> {
    old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}

/// Bridge, VLAN, firewall, rate and link state change without plugging.
fn is_soft_net(key: &str, old: Option<&str>, new: &str) -> bool {
    let (Some(Ok(old)), Ok(new)) = (old.map(|old| net::parse(key, old)), net::parse(key, new)) else {
        return false;
    };
    let soft = ["bridge", "tag", "firewall", "trunks", "rate", "link_down"];
    let bridged = old.contains_key("bridge") && new.contains_key("bridge");
    bridged && differ(&old, &new).iter().all(|key| soft.contains(&key.as_str()))
}

fn can_plug_drive(key: &str, old: Option<&str>, new: &str, disks: bool) -> Result<bool, &'static str> {
    let pluggable = disks && (key.starts_with("scsi") || key.starts_with("virtio"));
    let Ok(new) = Drive::parse(key, new) else { return Ok(false) };
    let Some(Ok(old)) = old.map(|old| Drive::parse(key, old)) else {
        return Ok(pluggable && !new.is_cloudinit());
    };
    let media = |drive: &Drive| drive.options.get("media").cloned().unwrap_or_else(|| "disk".into());
    if media(&old) != media(&new) {
        return Err("unable to change media type");
    }
    if media(&old) == "cdrom" {
        return Ok(true);
    }
    if old.file != new.file {
        return Ok(disks);
    }
    let hard = ["aio", "discard", "iothread", "queues", "product", "cache", "ssd", "vendor", "ro"];
    Ok(differ(&old.options, &new.options).iter().all(|key| !hard.contains(&key.as_str())))
}
