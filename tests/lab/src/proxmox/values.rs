//! Values as the configuration file will have them: MACs drawn, tags sorted, passwords hashed, volumes made.

use super::drive::Drive;
use super::error::ApiError;
use super::format::items;
use super::net;
use super::volumes::Wanted;
use super::world::World;

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
