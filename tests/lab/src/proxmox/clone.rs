//! Cloning a virtual machine.

use super::call::Call;
use super::drive::{self, Drive};
use super::error::{Answer, ApiError, Work};
use super::guest::{Config, Guest};
use super::keys;
use super::props::SMBIOS;
use super::tasks::{self, Job};
use super::volumes::{SEED_SIZE, Wanted};
use super::world::{Event, World};
use super::{config, net};

/// What a clone was asked to be.
#[derive(Debug, Clone)]
struct Order {
    node: String,
    source: u32,
    target: u32,
    to_node: Option<String>,
    name: Option<String>,
    description: Option<String>,
    storage: Option<String>,
    full: Option<bool>,
    pool: Option<String>,
    format: bool,
    was_running: bool,
}

pub(super) fn clone(call: &mut Call<'_>) -> Answer {
    let text = |key: &str| call.params.get(key).filter(|text| !text.is_empty()).map(str::to_owned);
    let target = call.params.number("newid").and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    let order = Order {
        node: call.node().to_owned(),
        source: call.vmid(),
        target,
        to_node: text("target").filter(|node| node != call.node() && node != "localhost"),
        name: text("name"),
        description: text("description"),
        storage: text("storage"),
        full: call.params.get("full").map(|flag| flag == "1"),
        pool: text("pool"),
        format: call.params.get("format").is_some(),
        was_running: call.machine().is_ok_and(|guest| guest.running.is_some()),
    };
    if let Some(name) = call.params.get("snapname") {
        call.machine()?;
        return Err(ApiError::die(format!("snapshot '{name}' does not exist")));
    }
    check(call.world, &order)?;
    check_rights(call, &order)?;
    let id = order.source.to_string();
    let (first, last) = (order.clone(), order.clone());
    let job = Job {
        begin: Box::new(move |world, _| begin(world, &first)),
        finish: Box::new(move |world, _| {
            let done = finish(world, &last);
            if done.is_err() {
                drop(undo(world, &last));
            }
            done.map_err(|error| ApiError { message: format!("clone failed: {}", error.message), ..error })
        }),
        undo: Box::new(move |world, _| undo(world, &order)),
    };
    Ok(tasks::fork(call, "qmclone", &id, job).into())
}

/// What is checked before the worker starts, and again in it.
fn check(world: &World, order: &Order) -> Result<(), ApiError> {
    if let Some(pool) = order.pool.as_ref().filter(|pool| !world.pools.contains_key(*pool)) {
        return Err(ApiError::denied(&format!("pool '{pool}' does not exist")));
    }
    if let Some(node) = order.to_node.as_ref().filter(|node| !world.nodes.contains_key(*node)) {
        return Err(ApiError::die(format!("no such cluster node '{node}'")));
    }
    if let Some(name) = &order.storage {
        let storage = world.image_storage(name, &order.node)?;
        if let Some(node) = &order.to_node {
            world.enabled_storage(name, node)?;
            if !storage.shared {
                return Err(ApiError::die(format!("can't clone to non-shared storage '{name}'")));
            }
        }
    }
    let source = world.machine(&order.node, order.source)?;
    source.check_lock()?;
    if source.running.is_some() != order.was_running {
        return Err(ApiError::die("unexpected state change"));
    }
    let full = is_full(source, order);
    for (key, used) in [("storage", order.storage.is_some()), ("format", order.format)] {
        if used && !full {
            return Err(ApiError::die(format!("parameter '{key}' not allowed for linked clones")));
        }
    }
    check_drives(world, order, source, full)?;
    let exists = |guest: &Guest| guest.node == order.node || guest.container;
    if world.guests.get(&order.target).is_some_and(exists) {
        return Err(ApiError::die(format!(
            "unable to create VM {}: config file already exists",
            order.target
        )));
    }
    Ok(())
}

fn is_full(source: &Guest, order: &Order) -> bool {
    order.full.unwrap_or_else(|| !source.is_template())
}

fn check_drives(world: &World, order: &Order, source: &Guest, full: bool) -> Result<(), ApiError> {
    let mut shared = true;
    for (slot, drive) in source.drives().into_iter().filter(|(slot, _)| drive::is_slot(slot)) {
        let Some(storage) = drive.storage() else { continue };
        shared &= world.storages.get(storage).is_some_and(|storage| storage.shared);
        let copied = full || drive.is_cdrom() || drive.is_cloudinit();
        if !copied && !source.is_template() {
            let text = format!("Linked clone feature is not supported for '{}' ({slot})", drive.file);
            return Err(ApiError::die(text));
        }
    }
    match &order.to_node {
        Some(node) if !shared => {
            Err(ApiError::die(format!("can't clone VM to node '{node}' (VM uses local storage)")))
        }
        _ => Ok(()),
    }
}

fn check_rights(call: &Call<'_>, order: &Order) -> Result<(), ApiError> {
    let source = call.machine()?;
    for (_, drive) in
        source.drives().into_iter().filter(|(slot, drive)| drive::is_slot(slot) && !drive.is_cdrom())
    {
        let storage = order.storage.as_deref().or(drive.storage()).unwrap_or_default();
        if !drive.is_cloudinit() {
            call.all(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
        }
    }
    config::check_bridges(call, &source.config)
}

/// Puts a locked, empty configuration in place of the guest to come.
fn begin(world: &mut World, order: &Order) -> Work {
    world.flock(order.source)?;
    world.flock(order.target)?;
    check(world, order)?;
    if world.guests.contains_key(&order.target) {
        let path = format!("/etc/pve/nodes/{}/qemu-server/{}.conf", order.node, order.target);
        return Err(ApiError::die(format!("unable to open file '{path}.tmp' - File exists")));
    }
    let source = world.machine_mut(&order.node, order.source)?;
    if source.cloning {
        let path = format!("/var/lock/qemu-server/lock-{}.conf", order.source);
        return Err(ApiError::die(format!("can't lock file '{path}' - got timeout")));
    }
    source.cloning = order.was_running;
    let lock = Config::from([("lock".to_owned(), "clone".to_owned())]);
    world.guests.insert(order.target, Guest::new(order.target, &order.node, lock));
    world.history.push(Event::Cloned { vmid: order.target, from: order.source });
    Ok(())
}

fn finish(world: &mut World, order: &Order) -> Work {
    let source = world.machine(&order.node, order.source)?.clone();
    let mut made = copy_values(world, &source, order)?;
    let slots = source.drives().into_iter().filter(|(slot, _)| drive::is_slot(slot));
    for (slot, drive) in slots {
        let copy = if drive.is_cdrom() { drive } else { copy_drive(world, &source, order, drive)? };
        made.insert(slot, copy.print());
        // What exists so far is in the file, so that a failure frees it.
        if let Some(target) = world.guests.get_mut(&order.target) {
            target.config = made.clone();
            target.config.insert("lock".into(), "clone".into());
        }
    }
    let Some(target) = world.guests.get_mut(&order.target) else {
        return Err(ApiError::die(format!("unable to read configuration of VM {}", order.target)));
    };
    target.config = made;
    if let Some(node) = &order.to_node {
        target.node.clone_from(node);
    }
    if let Some(pool) = order.pool.as_ref().and_then(|pool| world.pools.get_mut(pool)) {
        pool.guests.insert(order.target);
    }
    release(world, order);
    Ok(())
}

fn release(world: &mut World, order: &Order) {
    if let Some(source) = world.guests.get_mut(&order.source) {
        source.cloning = false;
    }
}

/// Everything but the drives: tags and notes are copied, what identifies a guest is new.
fn copy_values(world: &mut World, source: &Guest, order: &Order) -> Result<Config, ApiError> {
    let left = ["template", "lock", "parent", "digest"];
    let kept = |key: &str| !drive::is_slot(key) && !keys::is_indexed(key, "unused") && !left.contains(&key);
    let mut made: Config = source.config.clone().into_iter().filter(|(key, _)| kept(key)).collect();
    for (key, value) in &mut made {
        if keys::is_indexed(key, "net") {
            let mut net = net::parse(key, value).map_err(ApiError::die)?;
            net.insert("macaddr".into(), world.random_mac());
            *value = net::print(&net);
        }
    }
    let smbios = made.get("smbios1").map_or("", String::as_str);
    let mut smbios = SMBIOS.parse("smbios1", smbios).map_err(ApiError::die)?;
    smbios.insert("uuid".into(), world.random_uuid());
    let smbios: Vec<_> = smbios.iter().map(|(key, value)| format!("{key}={value}")).collect();
    made.insert("smbios1".into(), smbios.join(","));
    if made.contains_key("vmgenid") {
        made.insert("vmgenid".into(), world.random_uuid());
    }
    let unnamed = source.config.get("name").cloned().unwrap_or_else(|| order.source.to_string());
    made.insert("name".into(), order.name.clone().unwrap_or_else(|| format!("Copy-of-VM-{unnamed}")));
    if let Some(description) = &order.description {
        made.insert("description".into(), description.trim_end().to_owned());
    }
    Ok(made)
}

fn copy_drive(world: &mut World, source: &Guest, order: &Order, mut drive: Drive) -> Result<Drive, ApiError> {
    let own = drive.storage().unwrap_or_default().to_owned();
    let storage = order.storage.clone().unwrap_or(own);
    if drive.is_cloudinit() {
        drive.file = world.allocate_seed(&storage, &order.node, order.target)?;
        drive.options.insert("size".into(), SEED_SIZE.to_string());
        return Ok(drive);
    }
    let size = world.volumes.get(&drive.file).map(|volume| volume.size);
    let size = size.ok_or_else(|| ApiError::die(format!("volume '{}' does not exist", drive.file)))?;
    let linked = !is_full(source, order);
    let wanted = Wanted {
        storage: &storage,
        node: &order.node,
        owner: order.target,
        size,
        source: Some(&drive.file),
        linked,
    };
    drive.file = world.allocate(&wanted)?;
    drive.options.insert("size".into(), size.to_string());
    Ok(drive)
}

/// Removes what a failed clone began.
fn undo(world: &mut World, order: &Order) -> Work {
    release(world, order);
    let Some(target) = world.guests.remove(&order.target) else { return Ok(()) };
    for volume in world.volumes_of(&target) {
        world.free(&volume)?;
    }
    world.history.push(Event::Destroyed { vmid: order.target });
    Ok(())
}
