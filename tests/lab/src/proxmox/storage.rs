//! Storages and what is on them, and growing a disk.

use serde_json::{Value, json};

use super::call::Call;
use super::drive::Drive;
use super::error::{Answer, ApiError, Reply, Work};
use super::format::items;
use super::size;
use super::tasks::{self, Job};
use super::world::{Event, Storage, World};

fn describe(call: &Call<'_>, name: &str, storage: &Storage) -> Value {
    let used = call.world.used(name, call.node());
    let content: Vec<_> = storage.content.iter().map(String::as_str).collect();
    json!({
        "type": storage.kind, "content": content.join(","), "active": 1, "enabled": 1,
        "shared": u8::from(storage.shared), "total": storage.total, "used": used,
        "avail": storage.total.saturating_sub(used),
    })
}

pub(super) fn list(call: &mut Call<'_>) -> Reply {
    let params = &call.params;
    let mut rows = Vec::new();
    for (name, storage) in &call.world.storages {
        let seen =
            call.any(&format!("/storage/{name}"), &["Datastore.Audit", "Datastore.AllocateSpace"]).is_ok();
        let wanted = params.get("storage").is_none_or(|only| only == name)
            && params.get("content").is_none_or(|all| items(all).any(|it| storage.content.contains(it)));
        if seen && wanted && call.world.enabled_storage(name, call.node()).is_ok() {
            let mut row = describe(call, name, storage);
            row["storage"] = name.clone().into();
            rows.push(row);
        }
    }
    Value::from(rows).into()
}

pub(super) fn status(call: &mut Call<'_>) -> Answer {
    let name = call.params.get("storage").unwrap_or_default();
    let storage = call.world.enabled_storage(name, call.node())?;
    Ok(describe(call, name, storage).into())
}

pub(super) fn content(call: &mut Call<'_>) -> Answer {
    let name = call.params.get("storage").unwrap_or_default();
    let storage = call.world.enabled_storage(name, call.node())?;
    let prefix = format!("{name}:");
    let mut rows = Vec::new();
    for (id, volume) in call.world.volumes.iter().filter(|(id, _)| id.starts_with(&prefix)) {
        let wanted = (storage.shared || volume.node == call.node())
            && call.params.get("content").is_none_or(|content| content == volume.content)
            && call.params.number("vmid").is_none_or(|vmid| vmid == u64::from(volume.owner));
        let seen = call.all(&format!("/storage/{name}"), &["Datastore.Audit"]).is_ok()
            || call.all(&format!("/vms/{}", volume.owner), &["VM.Config.Disk"]).is_ok();
        if wanted && seen {
            let mut row = json!({
                "volid": id, "content": volume.content, "format": volume.format, "size": volume.size, "vmid": volume.owner,
            });
            if let Some(base) = &volume.base {
                row["parent"] = base.clone().into();
            }
            rows.push(row);
        }
    }
    Ok(Value::from(rows).into())
}

/// Everything but the wish itself is checked in the worker, so what is wrong is a task's error.
pub(super) fn resize(call: &mut Call<'_>) -> Answer {
    call.only_root(&["skiplock"])?;
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    let text = |key: &str| call.params.get(key).unwrap_or_default().to_owned();
    let (disk, wanted, digest) = (text("disk"), text("size"), text("digest"));
    let caller = call.caller.to_owned();
    let job = Job::at_end(move |world, _| {
        world.flock(vmid)?;
        let guest = world.machine(&node, vmid)?;
        if !digest.is_empty() && digest != guest.digest() {
            return Err(ApiError::die("checksum mismatch (file change by other user?)"));
        }
        guest.check_lock()?;
        grow(world, &node, vmid, &disk, &wanted, &caller)
    });
    Ok(tasks::fork(call, "resize", &vmid.to_string(), job).into())
}

fn grow(world: &mut World, node: &str, vmid: u32, slot: &str, wanted: &str, caller: &str) -> Work {
    let text = world.machine(node, vmid)?.config.get(slot).cloned();
    let text = text.ok_or_else(|| ApiError::die(format!("disk '{slot}' does not exist")))?;
    let mut drive = Drive::parse(slot, &text).map_err(ApiError::die)?;
    if drive.is_cdrom() || drive.is_cloudinit() {
        return Err(ApiError::die("you can't resize a cdrom"));
    }
    let storage = drive.storage().unwrap_or_default().to_owned();
    world.access.all(caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"], &world.pools)?;
    let now = world.volumes.get(&drive.file).map(|volume| volume.size);
    let unknown = || ApiError::die(format!("Could not determine current size of volume '{}'", drive.file));
    let now = now.ok_or_else(unknown)?;
    let more = wanted.strip_prefix('+');
    let bytes = size::parse(more.unwrap_or(wanted)).unwrap_or(0) + more.map_or(0, |_| now);
    if bytes < now {
        return Err(ApiError::die("shrinking disks is not supported"));
    }
    if bytes == now {
        return Ok(());
    }
    let name = drive.file.split_once(':').map_or("", |(_, name)| name).to_owned();
    world.check_space(&storage, node, bytes - now, &name)?;
    if let Some(volume) = world.volumes.get_mut(&drive.file) {
        volume.size = bytes;
    }
    drive.options.insert("size".into(), bytes.to_string());
    world.machine_mut(node, vmid)?.config.insert(slot.to_owned(), drive.print());
    world.history.push(Event::Resized { vmid, disk: slot.to_owned(), bytes });
    Ok(())
}
