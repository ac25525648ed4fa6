//! What somebody else does on hosts.

use holdfast_host::ledger::{Origin, Part};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::Hosts;
use super::machine::{Computer, Node};
use super::units::Active;
use crate::model::{Meddling, Time};

pub(super) fn meddle(world: &mut Hosts, chance: &mut SmallRng) -> Option<Meddling> {
    let up: Vec<String> =
        world.addresses().into_iter().filter(|address| world.offers(address).is_some()).collect();
    let address = up.choose(chance)?.clone();
    let birth = world.count();
    let now = world.now;
    let computer = world.computer_mut(&address)?;
    let (did, needs_a_person) = match chance.random_range(0..8) {
        0 => edit(computer, chance, now)?,
        1 => mode(computer, chance)?,
        2 => stop(computer, chance)?,
        3 => remove_package(computer, chance)?,
        4 => {
            let path = format!("/srv/by-hand-{}", chance.random_range(0..5_u32));
            computer.put_foreign(&path, &format!("made by hand, {birth}\n"), birth, now);
            (format!("writes {path}"), false)
        }
        5 => delete(computer, chance)?,
        6 => {
            computer.ledger.take()?;
            ("deletes the ledger".to_owned(), false)
        }
        _ => {
            let from = up.iter().find(|other| **other != address)?.clone();
            let ledger = world.computer(&from)?.ledger.clone()?;
            let computer = world.computer_mut(&address)?;
            if computer.ledger.replace(ledger.clone()).as_ref() == Some(&ledger) {
                return None;
            }
            (format!("puts the ledger of {from}"), true)
        }
    };
    world.computer_mut(&address)?.note();
    Some(Meddling { what: format!("somebody {did} on {address}"), key: address, needs_a_person })
}

/// The paths of files that the ledger names and that are there.
fn managed(computer: &Computer) -> Vec<String> {
    let parts = computer.ledger.iter().flat_map(|ledger| &ledger.lines);
    parts
        .filter_map(|(part, _)| match part {
            Part::File(path) if computer.text(path.as_str()).is_some() => Some(path.to_string()),
            _ => None,
        })
        .collect()
}

/// A change of ours that a later commit would remove is a conflict for a person.
fn edit(computer: &mut Computer, chance: &mut SmallRng, now: Time) -> Option<(String, bool)> {
    let path = managed(computer).choose(chance)?.clone();
    let text = format!("{}# {} by hand\n", computer.text(&path)?, chance.random_range(0..100_u32));
    let (mode, owner, group) = match computer.paths.get(&path)? {
        Node::File { mode, owner, group, .. } => (*mode, owner.clone(), group.clone()),
        Node::Directory { .. } | Node::Link => return None,
    };
    computer.put_foreign(&path, &text, 0, now);
    if let Some(Node::File { mode: own, owner: user, group: of, .. }) = computer.paths.get_mut(&path) {
        (*own, *user, *of) = (mode, owner, group);
    }
    Some((format!("edits {path}"), true))
}

fn mode(computer: &mut Computer, chance: &mut SmallRng) -> Option<(String, bool)> {
    let path = managed(computer).choose(chance)?.clone();
    match computer.paths.get_mut(&path)? {
        Node::File { mode, .. } => {
            let odd = holdfast_host::mode::Mode::from_bits(0o640);
            let other = holdfast_host::mode::Mode::from_bits(0o666);
            *mode = if *mode == odd { other } else { odd };
        }
        Node::Directory { .. } | Node::Link => return None,
    }
    Some((format!("changes the mode of {path}"), false))
}

fn stop(computer: &mut Computer, chance: &mut SmallRng) -> Option<(String, bool)> {
    let running = computer.units.iter().filter(|(_, unit)| unit.active != Active::Inactive);
    let unit = running.map(|(name, _)| name.clone()).collect::<Vec<_>>().choose(chance)?.clone();
    computer.stop(&unit);
    Some((format!("stops {unit}"), false))
}

fn remove_package(computer: &mut Computer, chance: &mut SmallRng) -> Option<(String, bool)> {
    let parts = computer.ledger.iter().flat_map(|ledger| &ledger.lines);
    let ours: Vec<String> = parts
        .filter_map(|(part, _)| match part {
            Part::Package(name) if computer.is_installed(name.as_str()) => Some(name.to_string()),
            _ => None,
        })
        .collect();
    let name = ours.choose(chance)?.clone();
    computer.remove_package(&name);
    Some((format!("removes the package {name}"), false))
}

/// A file that is deleted is written again, and whose it is after that depends on what the ledger says.
fn delete(computer: &mut Computer, chance: &mut SmallRng) -> Option<(String, bool)> {
    let lines = computer.ledger.iter().flat_map(|ledger| &ledger.lines);
    let ours: Vec<String> = lines
        .filter_map(|(part, entry)| match part {
            Part::File(path) if entry.origin != Origin::Existed => Some(path.to_string()),
            _ => None,
        })
        .filter(|path| computer.text(path).is_some())
        .collect();
    let path = ours.choose(chance)?.clone();
    computer.paths.remove(&path);
    Some((format!("deletes {path}"), false))
}
