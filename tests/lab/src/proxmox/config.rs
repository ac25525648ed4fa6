//! Asking for a change of a guest's configuration, and what is checked before it is begun.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::call::Call;
use super::change::{check, commit};
use super::drive::{self, Drive};
use super::error::{Answer, ApiError, Reply};
use super::format::items;
use super::keys::{self, Needs};
use super::tasks::{self, Job};
use super::{hotplug, net};

/// A change that passed the first checks.
#[derive(Debug, Clone, Default)]
pub(super) struct Update {
    pub(super) node: String,
    pub(super) vmid: u32,
    pub(super) set: BTreeMap<String, String>,
    pub(super) delete: Vec<String>,
    pub(super) revert: BTreeSet<String>,
    pub(super) force: bool,
    pub(super) digest: Option<String>,
    pub(super) caller: String,
}

/// Keys of the call that are no configuration.
const OTHERS: &[&str] = &[
    "node",
    "vmid",
    "digest",
    "delete",
    "revert",
    "force",
    "skiplock",
    "background_delay",
    "import-working-storage",
];

/// `PUT config`: done when it answers.
pub(super) fn put(call: &mut Call<'_>) -> Answer {
    let update = prepare(call)?;
    check(call.world, &update)?;
    call.world.flock(update.vmid)?;
    commit(call.world, call.host, update)?;
    Ok(().into())
}

/// `POST config`: the first checks answer, the rest is a task.
pub(super) fn post(call: &mut Call<'_>) -> Answer {
    let patience = call.params.number("background_delay").map(Duration::from_secs);
    let update = prepare(call)?;
    check(call.world, &update)?;
    let id = update.vmid.to_string();
    let job = Job::at_end(move |world, host| {
        world.flock(update.vmid)?;
        commit(world, host, update)
    });
    let upid = tasks::fork(call, "qmconfig", &id, job);
    match patience {
        Some(patience) => Ok(Reply { wait: Some((upid, patience)), ..Reply::default() }),
        None => Ok(upid.into()),
    }
}

/// `PUT cloudinit`: the image is written anew from the configuration.
pub(super) fn regenerate(call: &mut Call<'_>) -> Answer {
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    call.world.flock(vmid)?;
    let guest = call.world.machine_mut(&node, vmid)?;
    guest.check_lock()?;
    hotplug::write_seed(guest);
    Ok(().into())
}

fn prepare(call: &Call<'_>) -> Result<Update, ApiError> {
    call.only_root(&["skiplock"])?;
    let params = &call.params;
    let set = params.0.keys().filter(|key| !OTHERS.contains(&key.as_str()));
    let set = set.filter_map(|key| Some((key.clone(), params.get(key)?.to_owned())));
    let mut update = Update {
        node: call.node().to_owned(),
        vmid: call.vmid(),
        set: set.collect(),
        delete: Vec::new(),
        revert: BTreeSet::new(),
        force: params.flag("force"),
        digest: params.get("digest").map(str::to_owned),
        caller: call.caller.to_owned(),
    };
    check_ssh_keys(&update.set)?;
    let (delete, revert) =
        (params.get("delete").unwrap_or_default(), params.get("revert").unwrap_or_default());
    if delete.is_empty() && revert.is_empty() && update.set.is_empty() {
        return Err(ApiError::die("no options specified"));
    }
    if let Some(value) = update.set.remove("cdrom") {
        update.set.insert("ide2".into(), value);
    }
    read_lists(&mut update, delete, revert)?;
    normalise(&mut update.set)?;
    check_rights(call, update.vmid, update.delete.iter().chain(update.set.keys()))?;
    check_storages(call, &update.set)?;
    check_bridges(call, &update.set)?;
    Ok(update)
}

pub(super) fn check_ssh_keys(set: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let Some(keys) = set.get("sshkeys") else { return Ok(()) };
    let keys = percent_encoding::percent_decode_str(keys).decode_utf8_lossy();
    let is_key = |line: &str| {
        let mut words = line.split_whitespace();
        let kinds = ["ssh-", "ecdsa-sha2-", "sk-"];
        let typed = words.any(|word| kinds.iter().any(|kind| word.starts_with(kind)));
        let blob = |word: &str| {
            word.starts_with("AAAA")
                && word.bytes().all(|it| it.is_ascii_alphanumeric() || b"+/=".contains(&it))
        };
        typed && words.next().is_some_and(blob)
    };
    if keys.lines().filter(|line| !line.trim().is_empty()).all(is_key) {
        return Ok(());
    }
    Err(ApiError::die("SSH public key validation error"))
}

fn read_lists(update: &mut Update, delete: &str, revert: &str) -> Result<(), ApiError> {
    for key in items(revert) {
        if !keys::exists(key) {
            return Err(ApiError::param("revert", format!("unknown option '{key}'")));
        }
        if update.set.contains_key(key) {
            let text = format!("you can't use '-{key}' and -revert {key}' at the same time");
            return Err(ApiError::param("delete", text));
        }
        update.revert.insert(key.to_owned());
    }
    for key in items(delete) {
        let key = if key == "cdrom" { "ide2" } else { key };
        if update.set.contains_key(key) {
            let text = format!("you can't use '-{key}' and -delete {key}' at the same time");
            return Err(ApiError::param("delete", text));
        }
        if update.revert.contains(key) {
            let text = format!("you can't use '-delete {key}' and -revert {key}' at the same time");
            return Err(ApiError::param("revert", text));
        }
        if !keys::exists(key) {
            return Err(ApiError::param("delete", format!("unknown option '{key}'")));
        }
        update.delete.push(key.to_owned());
    }
    Ok(())
}

/// Brings drives into the printed form, and checks what only their values tell.
pub(super) fn normalise(set: &mut BTreeMap<String, String>) -> Result<(), ApiError> {
    for (key, value) in set.iter_mut() {
        if key != "description" && value.contains(['\n', '\r']) {
            return Err(ApiError::die(format!("{key}: property contains a line feed")));
        }
        if !drive::is_slot(key) {
            continue;
        }
        let drive =
            Drive::parse(key, value).map_err(|_| ApiError::param(key, "unable to parse drive options"))?;
        if drive.options.contains_key("import-from") && drive.new_size() != Some(0) {
            let text = "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>";
            return Err(ApiError::param(key, text));
        }
        if drive.file.contains(":iso/") && !drive.is_cdrom() {
            return Err(ApiError::param(key, "explicit 'media=cdrom' is required for iso images"));
        }
        *value = drive.print();
    }
    Ok(())
}

pub(super) fn check_rights<'a>(
    call: &Call<'_>,
    vmid: u32,
    changed: impl Iterator<Item = &'a String>,
) -> Result<(), ApiError> {
    if call.caller == "root@pam" {
        return Ok(());
    }
    let path = format!("/vms/{vmid}");
    for key in changed {
        match keys::needs(key) {
            Needs::Any(privileges) => call.any(&path, privileges)?,
            Needs::Startup => {
                call.all(&path, &["VM.Config.Options"])?;
                call.all("/", &["Sys.Modify"])?;
            }
            Needs::Root => return Err(ApiError::die(format!("only root can set '{key}' config"))),
            Needs::Value => {}
        }
    }
    Ok(())
}

/// New disks need space on their storage, and one that takes disks.
pub(super) fn check_storages(call: &Call<'_>, set: &BTreeMap<String, String>) -> Result<(), ApiError> {
    for (key, value) in set.iter().filter(|(key, _)| drive::is_slot(key)) {
        let Ok(drive) = Drive::parse(key, value) else { continue };
        let Some(storage) = drive.storage() else { continue };
        if drive.new_size().is_some() {
            call.all(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
            call.world.image_storage(storage, call.node())?;
        } else if !call.world.storages.contains_key(storage) {
            return Err(ApiError::die(format!("storage '{storage}' does not exist")));
        }
        if let Some(source) =
            drive.options.get("import-from").filter(|source| !call.world.volumes.contains_key(*source))
        {
            return Err(ApiError::die(format!("volume '{source}' does not exist")));
        }
    }
    Ok(())
}

/// Using a bridge, or a VLAN on it, is a right of its own.
pub(super) fn check_bridges(call: &Call<'_>, set: &BTreeMap<String, String>) -> Result<(), ApiError> {
    for path in set.iter().filter_map(|(key, value)| bridge_path(key, value)) {
        call.all(&path, &["SDN.Use"])?;
    }
    Ok(())
}

/// The path on which using that device's bridge is a right.
pub(super) fn bridge_path(key: &str, value: &str) -> Option<String> {
    if !keys::is_indexed(key, "net") {
        return None;
    }
    let net = net::parse(key, value).ok()?;
    let tag = net.get("tag").map_or_else(String::new, |tag| format!("/{tag}"));
    Some(format!("/sdn/zones/localnetwork/{}{tag}", net.get("bridge")?))
}
