//! What differs in the cloud-init settings: its drive, what the guest reads from it, and the password.

use std::collections::BTreeSet;

use holdfast_core::kind::Refusal;

use super::configure::{CLOUD_INIT_SLOT, Difference};
use super::notes::Notes;
use super::spec::{self, Spec};
use super::state::{Power, State};
use crate::client::forms::encode_ssh_keys;

/// Without its drive cloud-init reads nothing. A guest that never ran gets one; for one that runs that would
/// need a restart, and somebody took it away.
pub(super) fn drive(difference: &mut Difference, want: &Spec, seen: &State) -> Result<(), Refusal> {
    if seen.cloud_init.drive.is_some() {
        return Ok(());
    }
    let vmid = seen.vmid;
    let disk = want.disk.as_ref();
    let declared = disk.and_then(|disk| disk.storage.as_ref()).map(crate::names::StorageName::as_str);
    let there = disk
        .and_then(|disk| seen.disks.get(disk.slot.as_str()))
        .or_else(|| seen.disks.values().find(|disk| !disk.volume.contains(":iso/")));
    let storage = declared.or_else(|| Some(there?.volume.split_once(':')?.0));
    match storage {
        Some(storage) if seen.running == Power::Stopped && !seen.disks.contains_key(CLOUD_INIT_SLOT) => {
            let value = format!("{storage}:cloudinit");
            difference.write(CLOUD_INIT_SLOT, Some(value.clone()), "cloud-init drive", "", &value);
            Ok(())
        }
        _ => Err(Refusal {
            why: format!("vm {vmid} has no cloud-init drive, so `cloudInit` would do nothing"),
            ways_out: vec![
                format!("add one, with `qm set {vmid} --ide2 STORAGE:cloudinit`"),
                "or leave `cloudInit` out".to_owned(),
            ],
        }),
    }
}

pub(super) fn guest(difference: &mut Difference, want: &spec::CloudInit, seen: &State) {
    let seen = &seen.cloud_init;
    if let Some(user) = &want.user
        && seen.user.as_deref() != Some(user.as_str())
    {
        let from = seen.user.clone().unwrap_or_default();
        difference.write("ciuser", Some(user.to_string()), "user", &from, user.as_str());
    }
    if let Some(keys) = &want.ssh_keys {
        let wanted: BTreeSet<&str> = keys.iter().map(|key| key.as_str().trim()).collect();
        let there: BTreeSet<&str> = seen.ssh_keys.iter().map(String::as_str).collect();
        if wanted != there {
            let value =
                (!keys.is_empty()).then(|| encode_ssh_keys(keys.iter().map(|key| key.as_str().trim())));
            let show = |count: usize| format!("{count} key{}", if count == 1 { "" } else { "s" });
            difference.write("sshkeys", value, "sshKeys", &show(there.len()), &show(wanted.len()));
        }
    }
    if let Some(address) = want.address {
        let to = (address.to_string(), want.gateway.map(|gateway| gateway.to_string()));
        let from = (seen.address.clone().unwrap_or_default(), seen.gateway.clone());
        if from != to {
            let mut value = vec![format!("ip={address}")];
            value.extend(want.gateway.map(|gateway| format!("gw={gateway}")));
            value.extend(seen.others.clone());
            let show = |(ip, gateway): &(String, Option<String>)| {
                gateway.as_ref().map_or_else(|| ip.clone(), |gateway| format!("{ip} via {gateway}"))
            };
            difference.write("ipconfig0", Some(value.join(",")), "address", &show(&from), &show(&to));
        }
    }
    if let Some(servers) = &want.nameservers {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        if servers != seen.nameservers {
            let (from, to) = (seen.nameservers.join(" "), servers.join(" "));
            let value = (!to.is_empty()).then(|| to.clone());
            difference.write("nameserver", value, "nameservers", &from, &to);
        }
    }
    if let Some(domain) = &want.search_domain
        && seen.search_domain.as_deref() != Some(domain.as_str())
    {
        let from = seen.search_domain.clone().unwrap_or_default();
        difference.write("searchdomain", Some(domain.to_string()), "searchDomain", &from, domain.as_str());
    }
}

/// The password never reads back, so the stamp of the one that was set is kept in the notes. What we set we
/// also take back; a password of somebody else is left.
pub(super) fn password(
    difference: &mut Difference,
    notes: &mut Notes,
    want: &Spec,
    seen: &State,
) -> Result<(), Refusal> {
    let reference = want.cloud_init.as_ref().and_then(|cloud_init| cloud_init.password.as_ref());
    let was = if seen.notes.password.is_some() { "(another)" } else { "" };
    match reference {
        Some(reference) => {
            let Some(stamp) = &reference.stamp else {
                return Err(Refusal::new(
                    format!("the secret {reference} was not read, so it cannot be compared"),
                    "This is a fault of Holdfast; please report it.",
                ));
            };
            if seen.notes.password.as_ref() != Some(&stamp.digest) {
                notes.password = Some(stamp.digest.clone());
                difference.password = Some(reference.clone());
                difference.change("password", was, &format!("version {} of {reference}", stamp.version));
            }
        }
        None if notes.password.take().is_some() => {
            difference.write("cipassword", None, "password", was, "");
        }
        None => {}
    }
    Ok(())
}
