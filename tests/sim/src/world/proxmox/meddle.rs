//! What somebody else does to guests.

use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::Proxmox;
use super::notes;
use crate::model::Meddling;

/// Numbers that manifests declare as well, so that a stranger may be in their way.
const CONTESTED: std::ops::Range<u32> = 100..130;
/// Numbers that nobody else uses.
const REMOTE: std::ops::Range<u32> = 900_000..900_100;

pub(super) fn meddle(world: &mut Proxmox, chance: &mut SmallRng) -> Option<Meddling> {
    let quiet = |vmid: &u32| world.works_on(*vmid).is_none();
    let guests = world.guests.iter().filter(|(_, guest)| !guest.template && guest.lock.is_none());
    let all: Vec<u32> = guests.map(|(vmid, _)| *vmid).filter(quiet).collect();
    let what = chance.random_range(0..10);
    if what == 9 {
        return make(world, chance);
    }
    let vmid = *all.choose(chance)?;
    let now = world.now;
    if what == 8 {
        return copy(world, vmid, chance);
    }
    let guest = world.guests.get_mut(&vmid)?;
    // What waits for a restart takes effect with one, and cannot be taken back without another.
    let owes = !guest.pending.is_empty();
    let (did, needs_a_person) = match what {
        0 | 1 if guest.is_on() => {
            guest.switch_off();
            ("stops", owes)
        }
        0 | 1 => {
            guest.switch_on(vmid, now);
            ("starts", owes)
        }
        2 => {
            let value = another(guest.value("cores"), chance.random_range(1..9));
            guest.write("cores", Some(&value));
            ("changes the cores of", false)
        }
        3 => {
            let value = another(guest.value("memory"), 512 * chance.random_range(1..17));
            guest.write("memory", Some(&value));
            ("changes the memory of", false)
        }
        4 => {
            let old = guest.config.get("description").cloned().unwrap_or_default();
            let text = format!("looked after by hand, {}", chance.random_range(0..100_u32));
            guest.config.insert("description".to_owned(), notes::with_text(&old, &text));
            ("writes into the notes of", false)
        }
        5 => {
            let tags: Vec<String> = guest.tags().filter(|tag| tag != "holdfast").collect();
            guest.config.insert("tags".to_owned(), tags.join(";"));
            ("takes our tag from", false)
        }
        6 => {
            guest.config.remove("description");
            ("empties the notes of", true)
        }
        _ => {
            guest.config.insert("protection".to_owned(), "1".to_owned());
            ("protects", true)
        }
    };
    guest.note();
    Some(Meddling { what: format!("somebody {did} vm {vmid}"), key: vmid.to_string(), needs_a_person })
}

/// A value that is not the one that is there.
fn another(there: Option<&str>, value: u32) -> String {
    if there.is_some_and(|there| there.parse() == Ok(value)) { value + 1 } else { value }.to_string()
}

/// A number that is free, and whether a manifest may come to want it.
fn free(world: &Proxmox, chance: &mut SmallRng) -> Option<(u32, bool)> {
    let contested = chance.random_bool(0.5);
    let numbers = if contested { CONTESTED } else { REMOTE };
    let free: Vec<u32> = numbers.filter(|vmid| !world.guests.contains_key(vmid)).collect();
    free.choose(chance).map(|vmid| (*vmid, contested))
}

fn make(world: &mut Proxmox, chance: &mut SmallRng) -> Option<Meddling> {
    let (vmid, needs_a_person) = free(world, chance)?;
    let node = world.nodes.iter().next()?.clone();
    world.add_guest(vmid, &node, "stranger", "scsi0", 4096);
    Some(Meddling { what: format!("somebody makes vm {vmid}"), key: vmid.to_string(), needs_a_person })
}

/// A clone has the notes and tags of what it was cloned from, with the mark in them.
fn copy(world: &mut Proxmox, from: u32, chance: &mut SmallRng) -> Option<Meddling> {
    let (vmid, needs_a_person) = free(world, chance)?;
    let guest = world.guests.get(&from)?.clone();
    let mut copy = world.copy(&guest, &guest.node, vmid, None);
    let name = guest.config.get("name").map_or_else(|| from.to_string(), Clone::clone);
    copy.config.insert("name".to_owned(), format!("Copy-of-VM-{name}"));
    world.guests.insert(vmid, copy);
    world.note(vmid);
    let what = format!("somebody clones vm {from} to vm {vmid}, notes and all");
    Some(Meddling { what, key: vmid.to_string(), needs_a_person })
}
