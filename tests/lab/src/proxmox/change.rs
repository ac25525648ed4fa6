//! Writing a checked change of a guest's configuration: deletions, then values, each as pending; then what can take effect.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Update, bridge_path};
use super::drive::{self, Drive};
use super::error::{ApiError, Work};
use super::guest::Guest;
use super::host::GuestHost;
use super::values::{crypted, make_drive, unique_tags, with_mac};
use super::world::{Event, World};
use super::{hotplug, keys};

/// Rights that depend on what is there, which only the worker looks at, key by key: drives, tags, the bridge of the
/// device that was there.
fn check_value(world: &World, update: &Update, key: &str) -> Result<(), ApiError> {
    let guest = world.machine(&update.node, update.vmid)?;
    let path = format!("/vms/{}", update.vmid);
    let check = |path: &str, needed: &[&str]| world.access.all(&update.caller, path, needed, &world.pools);
    if drive::is_slot(key) || keys::is_indexed(key, "unused") {
        let values = [guest.config.get(key), update.set.get(key)];
        for drive in values.into_iter().flatten().filter_map(|value| Drive::parse(key, value).ok()) {
            check(&path, drive_rights(&drive))?;
        }
    }
    if key == "tags" {
        check(&path, &["VM.Config.Options"])?;
    }
    match guest.config.get(key).and_then(|value| bridge_path(key, value)) {
        Some(path) => check(&path, &["SDN.Use"]),
        None => Ok(()),
    }
}

/// What attaching or detaching that drive needs on the guest.
pub(super) fn drive_rights(drive: &Drive) -> &'static [&'static str] {
    if drive.is_cloudinit() {
        &["VM.Config.Cloudinit", "VM.Config.CDROM"]
    } else if drive.is_cdrom() {
        &["VM.Config.CDROM"]
    } else {
        &["VM.Config.Disk"]
    }
}

/// What is checked before a worker starts, and again in it.
pub(super) fn check(world: &World, update: &Update) -> Result<(), ApiError> {
    let guest = world.machine(&update.node, update.vmid)?;
    if update.digest.as_ref().is_some_and(|digest| !digest.is_empty() && *digest != guest.digest()) {
        return Err(ApiError::die("checksum mismatch (file change by other user?)"));
    }
    guest.check_lock()?;
    let value = |key: &str| {
        let of = |map: &BTreeMap<String, String>| map.get(key).cloned();
        of(&update.set).or_else(|| of(&guest.pending)).or_else(|| of(&guest.config))
    };
    let number =
        |key: &str| value(key).and_then(|text| text.trim_start_matches("current=").parse::<u64>().ok());
    let touched = update.set.contains_key("memory") || update.set.contains_key("balloon");
    if touched && number("balloon").unwrap_or(0) > number("memory").unwrap_or(512) {
        return Err(ApiError::die("balloon value too large (must be smaller than assigned memory)"));
    }
    Ok(())
}

/// Writes the change: all deletions, then all values, each as pending; then what can take effect does. What fails on
/// the way leaves behind what was written before it. The server takes the values in no order; here the one that
/// tells of the others comes first, and the one that is in force at once comes last.
pub(super) fn commit(world: &mut World, host: &dyn GuestHost, mut update: Update) -> Work {
    check(world, &update)?;
    let guest = world.machine(&update.node, update.vmid)?;
    for key in &update.revert {
        if let Some(value) = guest.config.get(key) {
            update.set.insert(key.clone(), value.clone());
        } else if guest.pending.contains_key(key) {
            update.delete.push(key.clone());
        }
    }
    let mut touched = BTreeSet::new();
    for key in &update.delete {
        check_value(world, &update, key)?;
        delete(world, &update, key, &mut touched)?;
    }
    let mut values: Vec<(&String, &String)> = update.set.iter().collect();
    values.sort_by_key(|(key, _)| (*key == "cipassword", *key != "description"));
    for (key, value) in values {
        check_value(world, &update, key)?;
        touched.insert(key.clone());
        set(world, &update, key, value, &mut touched)?;
    }
    let guest = world.machine_mut(&update.node, update.vmid)?;
    clean_pending(guest);
    let keys = touched.iter().cloned().collect();
    world.history.push(Event::Configured { vmid: update.vmid, keys });
    hotplug::apply(world, host, update.vmid, Some(&touched))
}

fn delete(world: &mut World, update: &Update, key: &str, touched: &mut BTreeSet<String>) -> Work {
    let guest = world.machine_mut(&update.node, update.vmid)?;
    let Some(value) = guest.config.get(key).or_else(|| guest.pending.get(key)).cloned() else {
        return Ok(());
    };
    touched.insert(key.to_owned());
    let was_pending = guest.pending.remove(key).is_some();
    let order = Guest::boot_order(&guest.config);
    if order.iter().any(|device| device == key) {
        let rest: Vec<_> = order.into_iter().filter(|device| device != key).collect();
        guest.pending.insert("boot".into(), format!("order={}", rest.join(";")));
        touched.insert("boot".into());
    }
    if keys::is_indexed(key, "unused") {
        guest.check_protection(&format!("can't remove unused disk '{value}'"))?;
        guest.config.remove(key);
        return world.free(&value);
    }
    if key == "tags" {
        guest.config.remove(key);
        return Ok(());
    }
    if drive::is_slot(key) {
        guest.check_protection(&format!("can't remove drive '{key}'"))?;
    }
    guest.deleting.insert(key.to_owned(), update.force);
    if let Some(drive) = Drive::parse(key, &value).ok().filter(|_| was_pending && drive::is_slot(key)) {
        world.register_unused(update.vmid, &drive);
    }
    Ok(())
}

fn set(world: &mut World, update: &Update, key: &str, value: &str, touched: &mut BTreeSet<String>) -> Work {
    let guest = world.machine(&update.node, update.vmid)?;
    if guest.pending.get(key).is_some_and(|pending| pending == value) {
        return Ok(());
    }
    let value = if drive::is_slot(key) {
        set_drive(world, update, key, value, touched)?
    } else {
        stored(world, update, key, value)?
    };
    let guest = world.machine_mut(&update.node, update.vmid)?;
    // A password is in force at once.
    let section = if key == "cipassword" { &mut guest.config } else { &mut guest.pending };
    section.insert(key.to_owned(), value);
    guest.deleting.remove(key);
    Ok(())
}

/// The value of a key as the file will have it.
fn stored(world: &mut World, update: &Update, key: &str, value: &str) -> Result<String, ApiError> {
    Ok(match key {
        "tags" => unique_tags(world, value),
        "description" => value.trim_end().to_owned(),
        "cipassword" => crypted(world, value),
        "vmgenid" if value == "1" => world.random_uuid(),
        "boot" => {
            check_boot(world.machine(&update.node, update.vmid)?, update, value)?;
            value.to_owned()
        }
        _ if keys::is_indexed(key, "net") => with_mac(world, key, value)?,
        _ => value.to_owned(),
    })
}

fn check_boot(guest: &Guest, update: &Update, value: &str) -> Work {
    let given = BTreeMap::from([("boot".to_owned(), value.to_owned())]);
    for device in Guest::boot_order(&given) {
        let known = [&guest.config, &guest.pending, &update.set].iter().any(|map| map.contains_key(&device));
        if !known || update.delete.contains(&device) {
            return Err(ApiError::die(format!("invalid bootorder: device '{device}' does not exist'")));
        }
    }
    Ok(())
}

fn set_drive(
    world: &mut World,
    update: &Update,
    key: &str,
    value: &str,
    touched: &mut BTreeSet<String>,
) -> Result<String, ApiError> {
    let drive =
        Drive::parse(key, value).map_err(|_| ApiError::param(key, "unable to parse drive options"))?;
    let guest = world.machine(&update.node, update.vmid)?;
    if let Some(pending) = guest.pending.get(key).and_then(|pending| Drive::parse(key, pending).ok()) {
        world.register_unused(update.vmid, &pending);
    }
    let made = make_drive(world, &update.node, update.vmid, key, drive)?;
    let guest = world.machine_mut(&update.node, update.vmid)?;
    let mut order = Guest::boot_order(&guest.config);
    if made.is_cdrom() && !order.is_empty() && !order.iter().any(|device| device == key) {
        order.push(key.to_owned());
        guest.pending.insert("boot".into(), format!("order={}", order.join(";")));
        touched.insert("boot".into());
    }
    Ok(made.print())
}

/// Forgets pending values that equal the current ones, and deletions of what is not there.
pub(super) fn clean_pending(guest: &mut Guest) {
    let config = &guest.config;
    guest.pending.retain(|key, value| config.get(key) != Some(value));
    guest.deleting.retain(|key, _| config.contains_key(key));
}
