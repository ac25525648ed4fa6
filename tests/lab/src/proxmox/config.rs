//! Changing a guest's configuration: what is checked first, and how the change is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::call::Call;
use super::drive::{self, Drive};
use super::error::{Answer, ApiError, Reply, Work};
use super::format::items;
use super::guest::Guest;
use super::host::GuestHost;
use super::keys::{self, Needs};
use super::tasks::{self, Job};
use super::volumes::Wanted;
use super::world::{Event, World};
use super::{hotplug, net};

/// A change that passed the first checks.
#[derive(Debug, Clone, Default)]
pub(super) struct Update {
    pub(super) node: String,
    pub(super) vmid: u32,
    pub(super) set: BTreeMap<String, String>,
    delete: Vec<String>,
    revert: BTreeSet<String>,
    force: bool,
    digest: Option<String>,
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
    check_drives_and_tags(call, &update)?;
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
    for (key, value) in set.iter().filter(|(key, _)| keys::is_indexed(key, "net")) {
        let Ok(net) = net::parse(key, value) else { continue };
        let Some(bridge) = net.get("bridge") else { continue };
        let tag = net.get("tag").map_or_else(String::new, |tag| format!("/{tag}"));
        call.all(&format!("/sdn/zones/localnetwork/{bridge}{tag}"), &["SDN.Use"])?;
    }
    Ok(())
}

fn check_drives_and_tags(call: &Call<'_>, update: &Update) -> Result<(), ApiError> {
    let Ok(guest) = call.machine() else { return Ok(()) };
    let path = format!("/vms/{}", update.vmid);
    let touched = update.set.keys().chain(&update.delete);
    for key in touched.filter(|key| drive::is_slot(key) || keys::is_indexed(key, "unused")) {
        let values = [update.set.get(key), guest.config.get(key), guest.pending.get(key)];
        for drive in values.into_iter().flatten().filter_map(|value| Drive::parse(key, value).ok()) {
            call.all(&path, drive_rights(&drive))?;
        }
    }
    for tags in
        [update.set.get("tags"), update.delete.iter().find(|key| *key == "tags")].into_iter().flatten()
    {
        let _ = tags;
        call.all(&path, &["VM.Config.Options"])?;
    }
    check_bridges(
        call,
        &guest.config.clone().into_iter().filter(|(key, _)| update.set.contains_key(key)).collect(),
    )
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
fn check(world: &World, update: &Update) -> Result<(), ApiError> {
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

/// Writes the change: all deletions, then all values, each as pending; then what can take effect does.
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
        delete(world, &update, key, &mut touched)?;
    }
    for (key, value) in &update.set {
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

/// The device as Proxmox prints it, with a new MAC if it came without.
pub(super) fn with_mac(world: &mut World, key: &str, value: &str) -> Result<String, ApiError> {
    let mut net =
        net::parse(key, value).map_err(|why| ApiError::param(key, format!("invalid format - {why}\n")))?;
    if !net.contains_key("macaddr") {
        net.insert("macaddr".into(), world.random_mac());
    }
    Ok(net::print(&net))
}

/// Joined with `;`, each once, in lower case and sorted unless the datacenter says otherwise.
pub(super) fn unique_tags(world: &World, value: &str) -> String {
    let style = |key: &str| world.options.get("tag-style").and_then(|style| style.get(key)).cloned();
    let folds = style("case-sensitive").is_none_or(|flag| flag != 1);
    let mut tags: Vec<String> = Vec::new();
    for tag in items(value) {
        let tag = if folds { tag.to_ascii_lowercase() } else { tag.to_owned() };
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if style("ordering").is_none_or(|order| order != "config") {
        tags.sort();
    }
    tags.join(";")
}

/// Hashed unless it looks hashed already. The hash is no real crypt, for nothing in the lab checks it.
pub(super) fn crypted(world: &mut World, value: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let is_hash = ["$1$", "$5$", "$6$", "$2a$", "$2y$"].iter().any(|scheme| value.starts_with(scheme));
    if is_hash && value.matches('$').count() >= 3 {
        return value.to_owned();
    }
    let salt = world.random_salt();
    let hash = sha2::Sha256::digest(format!("{salt}{value}"));
    format!("$5${salt}${}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash))
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

/// Makes the volume that a drive asks for, if it does; else reads the size of the one that it names.
pub(super) fn make_drive(
    world: &mut World,
    node: &str,
    owner: u32,
    key: &str,
    mut drive: Drive,
) -> Result<Drive, ApiError> {
    let storage = drive.storage().unwrap_or_default().to_owned();
    if drive.file.ends_with(":cloudinit") {
        let guest = world.guests.get(&owner);
        let other = guest.and_then(|guest| {
            let all = guest.drives().into_iter().chain(super::guest::drives(&guest.pending));
            all.filter(|(slot, drive)| slot != key && drive.is_cloudinit()).map(|(slot, _)| slot).next()
        });
        if let Some(other) = other {
            return Err(ApiError::die(format!("{key} - cloud-init drive is already attached at '{other}'")));
        }
        drive.file = world.allocate_seed(&storage, node, owner)?;
        drive.options.insert("media".into(), "cdrom".into());
        drive.options.remove("format");
    } else if let Some(size) = drive.new_size() {
        let source = drive.options.remove("import-from");
        let copied = source.as_ref().and_then(|source| world.volumes.get(source)).map(|volume| volume.size);
        let size = copied.unwrap_or(size);
        let wanted =
            Wanted { storage: &storage, node, owner, size, source: source.as_deref(), linked: false };
        drive.file = world.allocate(&wanted)?;
        drive.options.insert("size".into(), size.to_string());
        drive.options.remove("format");
    } else if drive.file != "none" && drive.file != "cdrom" {
        let Some(volume) = world.volumes.get(&drive.file) else {
            return Err(ApiError::die(format!("volume '{}' does not exist", drive.file)));
        };
        drive.options.insert("size".into(), volume.size.to_string());
    }
    Ok(drive)
}

/// Forgets pending values that equal the current ones, and deletions of what is not there.
pub(super) fn clean_pending(guest: &mut Guest) {
    let config = &guest.config;
    guest.pending.retain(|key, value| config.get(key) != Some(value));
    guest.deleting.retain(|key, _| config.contains_key(key));
}
