//! Switching guests on and off.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::call::{Call, Shared};
use super::error::{Answer, ApiError, Reply, Work};
use super::guest::{Guest, Running};
use super::host::{Boot, GuestHost};
use super::hotplug;
use super::params::{Given, Params};
use super::props::SMBIOS;
use super::tasks::{self, Job};
use super::world::{Event, World};

/// For guests under high availability the task only files a request, as the state that their manager is to
/// bring about.
fn file_request(call: &mut Call<'_>, kind: &str, state: &'static str) -> Reply {
    let (vmid, id) = (call.vmid(), call.vmid().to_string());
    let file = move |world: &mut World, _: &dyn GuestHost| {
        if let Some(guest) = world.guests.get_mut(&vmid) {
            guest.ha = Some(state);
        }
        Ok(())
    };
    tasks::fork(call, kind, &id, Job::at_end(file)).into()
}

pub(super) fn start(call: &mut Call<'_>) -> Answer {
    call.only_root(&[
        "stateuri",
        "skiplock",
        "migratedfrom",
        "migration_type",
        "migration_network",
        "targetstorage",
        "force-cpu",
        "with-conntrack-state",
        "nets-host-mtu",
    ])?;
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    if call.machine().is_ok_and(|guest| guest.ha.is_some()) {
        return Ok(file_request(call, "hastart", "started"));
    }
    let job = Job::at_end(move |world, host| {
        world.flock(vmid)?;
        power_on(world, host, &node, vmid)
    });
    Ok(tasks::fork(call, "qmstart", &vmid.to_string(), job).into())
}

pub(super) fn stop(call: &mut Call<'_>) -> Answer {
    call.only_root(&["skiplock", "keepActive", "migratedfrom"])?;
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    let overrule = call.params.flag("overrule-shutdown");
    if call.machine().is_ok_and(|guest| guest.ha.is_some()) {
        if overrule {
            return Err(ApiError::param("overrule-shutdown", "Not applicable for HA resources."));
        }
        return Ok(file_request(call, "hastop", "request_stop"));
    }
    if overrule {
        call.world.tasks.abort("qmshutdown", &vmid.to_string());
        call.shared.notify();
    }
    let job = Job::at_end(move |world, host| {
        // A shutdown that runs holds the file's lock.
        if world.tasks.is_running("qmshutdown", &vmid.to_string()) {
            let path = format!("/var/lock/qemu-server/lock-{vmid}.conf");
            return Err(ApiError::die(format!("can't lock file '{path}' - got timeout")));
        }
        power_off(world, host, &node, vmid)
    });
    Ok(tasks::fork(call, "qmstop", &vmid.to_string(), job).into())
}

pub(super) fn shutdown(call: &mut Call<'_>) -> Answer {
    call.only_root(&["skiplock", "keepActive"])?;
    let (node, vmid, force) = (call.node().to_owned(), call.vmid(), call.params.flag("forceStop"));
    if call.machine().is_ok_and(|guest| guest.paused) && !force {
        return Err(ApiError::die("VM is paused - cannot shutdown"));
    }
    if call.machine().is_ok_and(|guest| guest.ha.is_some()) {
        return Ok(file_request(call, "hastop", "request_stop"));
    }
    let job = Job::at_end(move |world, host| {
        world.flock(vmid)?;
        power_down(world, host, &node, vmid, force)
    });
    Ok(fork_patiently(call, "qmshutdown", job))
}

/// Waits for guests that do not shut down as long as they are waited for.
fn fork_patiently(call: &mut Call<'_>, kind: &str, job: Job) -> Reply {
    let vmid = call.vmid();
    let asked = call.params.number("timeout").map(Duration::from_secs);
    let patience =
        asked.map_or(call.world.knobs.shutdown_timeout, |asked| asked.min(call.world.knobs.shutdown_timeout));
    let usual = call.world.knobs.task_times.get(kind).copied();
    let deaf =
        call.world.knobs.deaf.contains(&vmid) && call.machine().is_ok_and(|guest| guest.running.is_some());
    if deaf {
        call.world.knobs.task_times.insert(kind.to_owned(), patience);
    }
    let upid = tasks::fork(call, kind, &vmid.to_string(), job);
    if deaf {
        match usual {
            Some(usual) => call.world.knobs.task_times.insert(kind.to_owned(), usual),
            None => call.world.knobs.task_times.remove(kind),
        };
    }
    upid.into()
}

pub(super) fn reboot(call: &mut Call<'_>) -> Answer {
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    let guest = call.machine();
    if guest.as_ref().is_ok_and(|guest| guest.paused) {
        return Err(ApiError::die("VM is paused - cannot shutdown"));
    }
    if !guest.is_ok_and(|guest| guest.running.is_some()) {
        return Err(ApiError::die(format!("VM {vmid} not running")));
    }
    let at = node.clone();
    let job = Job::at_end(move |world, host| {
        world.flock(vmid)?;
        power_down(world, host, &at, vmid, false)
    });
    let reply = fork_patiently(call, "qmreboot", job);
    let upid = reply.data.as_str().unwrap_or_default().to_owned();
    tokio::spawn(start_again(Arc::clone(call.shared), upid, node, vmid));
    Ok(reply)
}

/// The reboot's task ends as soon as the guest is off. The node's event daemon then starts it again, in a task of its
/// own and a moment later.
async fn start_again(shared: Arc<Shared>, reboot: String, node: String, vmid: u32) {
    let mut changed = shared.changed.subscribe();
    while shared.with(|world, _| world.tasks.all.get(&reboot).is_some_and(|task| task.exit.is_none())) {
        // The sender lives in `shared`.
        drop(changed.changed().await);
    }
    let pause = shared.with(|world, _| world.knobs.task_time);
    tokio::time::sleep(pause).await;
    shared.with(|world, host| {
        if world.machine(&node, vmid).is_ok_and(|guest| guest.running.is_none()) {
            let given = [("node", node.clone()), ("vmid", vmid.to_string())];
            let given = given.into_iter().map(|(key, value)| (key.to_owned(), Given::One(value)));
            let params = Params(given.collect());
            let mut call = Call { world, host, shared: &shared, caller: "root@pam", params };
            // Nobody waits for its answer.
            drop(start(&mut call));
        }
    });
    shared.notify();
}

pub(super) fn reset(call: &mut Call<'_>) -> Answer {
    call.only_root(&["skiplock"])?;
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    if !call.machine().is_ok_and(|guest| guest.running.is_some()) {
        return Err(ApiError::die(format!("VM {vmid} not running")));
    }
    let job = Job::at_end(move |world, host| {
        let guest = world.machine(&node, vmid)?;
        guest.check_lock()?;
        let boot = boot_of(world, guest);
        host.stop(vmid);
        host.start(&boot);
        world.machine_mut(&node, vmid)?.boots += 1;
        Ok(())
    });
    Ok(tasks::fork(call, "qmreset", &vmid.to_string(), job).into())
}

/// Starts a stopped guest: pending changes take effect, and the cloud-init drive is written anew.
pub(super) fn power_on(world: &mut World, host: &dyn GuestHost, node: &str, vmid: u32) -> Work {
    let guest = world.machine(node, vmid)?;
    if guest.is_template() {
        return Err(ApiError::die("you can't start a vm if it's a template"));
    }
    guest.check_lock()?;
    if guest.running.is_some() {
        return Err(ApiError::die(format!("VM {vmid} already running")));
    }
    hotplug::settle(world, vmid);
    let guest = world.machine_mut(node, vmid)?;
    hotplug::write_seed(guest);
    let guest = world.machine(node, vmid)?;
    let named = guest.drives().into_values().filter(|drive| !drive.is_cdrom() && drive.storage().is_some());
    for drive in named {
        if !world.volumes.contains_key(&drive.file) {
            return Err(ApiError::die(format!("no such volume '{}'", drive.file)));
        }
    }
    let boot = boot_of(world, guest);
    let guest = world.machine_mut(node, vmid)?;
    guest.boots += 1;
    let pid = 40_000 + vmid % 20_000;
    guest.running = Some(Running { since: Instant::now(), aged: Duration::ZERO, pid });
    world.history.push(Event::Started { vmid });
    host.start(&boot);
    Ok(())
}

/// Ends a guest at once. One that is stopped stays so, which is no error.
pub(super) fn power_off(world: &mut World, host: &dyn GuestHost, node: &str, vmid: u32) -> Work {
    let guest = world.machine_mut(node, vmid)?;
    if guest.running.is_none() {
        return Ok(());
    }
    guest.check_lock()?;
    guest.running = None;
    guest.paused = false;
    if guest.ha == Some("request_stop") {
        guest.ha = Some("stopped");
    }
    hotplug::settle(world, vmid);
    world.history.push(Event::Stopped { vmid });
    host.stop(vmid);
    Ok(())
}

fn power_down(world: &mut World, host: &dyn GuestHost, node: &str, vmid: u32, force: bool) -> Work {
    let running = world.machine(node, vmid)?.running.is_some();
    if running && !force && world.knobs.deaf.contains(&vmid) {
        return Err(ApiError::die("VM quit/powerdown failed - got timeout"));
    }
    power_off(world, host, node, vmid)
}

/// What the machine behind the guest is told.
fn boot_of(world: &World, guest: &Guest) -> Boot {
    let smbios = guest.config.get("smbios1").map_or("", String::as_str);
    let uuid = SMBIOS.parse("smbios1", smbios).ok().and_then(|mut smbios| smbios.remove("uuid"));
    let drives = guest.drives();
    let order = Guest::boot_order(&guest.config);
    let disks = || drives.iter().filter(|(_, drive)| !drive.is_cdrom() && !drive.is_cloudinit());
    let first = order.iter().find_map(|device| disks().find(|(slot, _)| *slot == device));
    let disk = first.or_else(|| disks().next()).and_then(|(_, drive)| world.volumes.get(&drive.file));
    Boot {
        vmid: guest.vmid,
        node: guest.node.clone(),
        name: guest.name(),
        uuid: uuid.unwrap_or_default(),
        mac: guest.mac("net0"),
        address: guest.config.get("ipconfig0").cloned(),
        disk: disk.map(|volume| volume.birth),
        seed: guest.seed.clone(),
    }
}
