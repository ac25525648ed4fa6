//! Single changes of what a site wants.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::{EnvironmentName, Name};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::draw::{ROOMS, new_application, new_guest, new_host, new_policy};
use super::sketch::{APPLICATION, CONSOLE, GUEST, NO_TEMPLATE, POLICY, TOKEN, name};
use super::{Room, Sketch};

/// One change of one environment. Says what it is.
pub(super) fn edit(
    chance: &mut SmallRng,
    sketch: &mut Sketch,
    gentle: bool,
    rotates: &mut Vec<(String, String)>,
) -> String {
    if !gentle && chance.random_bool(0.04) {
        sketch.pause = Some("a move of the rack".to_owned());
        return "pause".to_owned();
    }
    if chance.random_bool(0.05) && sketch.rooms.len() == 2 {
        sketch.rooms.pop_last();
        return "an environment leaves".to_owned();
    }
    let rooms: Vec<EnvironmentName> = sketch.rooms.keys().cloned().collect();
    let environment = rooms.choose(chance).expect("there is at least one environment").clone();
    let third = ROOMS.iter().find(|(room, _)| *room == environment.as_str()).map_or(1, |(_, third)| *third);
    let others: BTreeSet<(EnvironmentName, Name)> = borrowed(sketch);
    let room = sketch.rooms.get_mut(&environment).expect("it was chosen of them");
    let what = match chance.random_range(0..20) {
        0 | 1 => guest_field(chance, room),
        2 => group_field(chance, room),
        3 => grow(chance, room),
        4 => add_guest(chance, room, third),
        5 => retire(chance, room, &environment, &others),
        6 if !gentle => drop_guest(chance, room, &environment, &others),
        7 => rename(chance, room, &environment, &others),
        8 | 9 => host_field(chance, room),
        10 => host_part(chance, room),
        12 => add_policy(chance, room, third),
        13 => prune_policy(chance, room),
        14 if !gentle => prune_many(room),
        15 => application(chance, room, third),
        16 if !gentle => immutable(chance, room),
        17 => {
            let (path, key) = if chance.random_bool(0.5) { CONSOLE } else { TOKEN };
            rotates.push((path.to_owned(), key.to_owned()));
            format!("rotates {path}")
        }
        18 if !gentle => no_template(chance, room, third),
        19 if !gentle
            && others.iter().all(|(lender, _)| *lender != environment)
            && chance.random_bool(0.3) =>
        {
            *room = Room::default();
            "nothing at all".to_owned()
        }
        _ => policy_field(chance, room),
    };
    format!("{environment}: {what}")
}

/// The guests that other environments need.
fn borrowed(sketch: &Sketch) -> BTreeSet<(EnvironmentName, Name)> {
    sketch
        .rooms
        .values()
        .flat_map(|room| room.policies.values())
        .flat_map(|policy| &policy.needs)
        .filter_map(|(elsewhere, _, name)| Some((elsewhere.clone()?, name.clone())))
        .collect()
}

fn any<'a, T>(chance: &mut SmallRng, map: &'a BTreeMap<Name, T>) -> Option<&'a Name> {
    let names: Vec<&Name> = map.keys().collect();
    names.choose(chance).copied()
}

fn guest_field(chance: &mut SmallRng, room: &mut Room) -> String {
    let Some(name) = any(chance, &room.guests).cloned() else { return "no guest".to_owned() };
    let guest = room.guests.get_mut(&name).expect("it was chosen of them");
    match chance.random_range(0..4) {
        0 => guest.cores = chance.random_range(1..=8),
        1 => guest.memory = 1024 * chance.random_range(1..=8),
        2 => guest.description = format!("changed {}", chance.random_range(0..1_000_u32)),
        _ => drop(guest.tags.insert(format!("t{}", chance.random_range(0..9_u32)))),
    }
    format!("guest {name} changes")
}

fn group_field(chance: &mut SmallRng, room: &mut Room) -> String {
    let cores = chance.random_range(1..=8);
    let Some((kind, members)) = room.groups.values().next().cloned() else {
        return guest_field(chance, room);
    };
    if kind == GUEST {
        for member in &members {
            if let Some(guest) = room.guests.get_mut(member) {
                guest.cores = cores;
            }
        }
        return format!("all workers get {cores} cores");
    }
    for member in &members {
        if let Some(host) = room.hosts.get_mut(member) {
            host.service = true;
            host.files.insert("/etc/app/app.conf".to_owned(), format!("mode = {cores}\n"));
        }
    }
    format!("all servers get mode {cores}")
}

fn grow(chance: &mut SmallRng, room: &mut Room) -> String {
    let Some(name) = any(chance, &room.guests).cloned() else { return "no guest".to_owned() };
    let guest = room.guests.get_mut(&name).expect("it was chosen of them");
    guest.disk += 8;
    format!("guest {name} gets {} GiB", guest.disk)
}

fn add_guest(chance: &mut SmallRng, room: &mut Room, third: u32) -> String {
    let is_free = |at: &u32| {
        let new = name(&format!("g{third}{at}"));
        let numbered = room.guests.values().any(|guest| guest.vmid == 100 * third + at);
        !numbered && !room.guests.contains_key(&new) && !room.retire.contains(&(GUEST, new))
    };
    let Some(at) = (5..=9).find(is_free) else { return "no number is free".to_owned() };
    let new = name(&format!("g{third}{at}"));
    room.guests.insert(new.clone(), new_guest(chance, third, at));
    if chance.random_bool(0.5) {
        room.hosts.insert(new.clone(), new_host(chance, &new));
    }
    format!("guest {new} comes")
}

/// A guest that may leave: nothing else needs it.
fn leaving(
    chance: &mut SmallRng,
    room: &Room,
    environment: &EnvironmentName,
    others: &BTreeSet<(EnvironmentName, Name)>,
) -> Option<Name> {
    let of_apps: BTreeSet<&Name> = room.applications.values().flat_map(|one| &one.needs).collect();
    let of_hosts =
        |guest: &Name| room.hosts.iter().any(|(host, one)| one.guest == *guest && of_apps.contains(host));
    let free: Vec<&Name> = room
        .guests
        .keys()
        // What was renamed stays: a rename has to end at something.
        .filter(|guest| {
            !guest.as_str().starts_with('r')
                && !of_hosts(guest)
                && !others.contains(&(environment.clone(), (*guest).clone()))
        })
        .collect();
    if room.guests.len() < 2 {
        return None;
    }
    free.choose(chance).map(|guest| (*guest).clone())
}

fn take_out(room: &mut Room, guest: &Name) {
    room.guests.remove(guest);
    room.hosts.retain(|_, host| host.guest != *guest);
    for (_, members) in room.groups.values_mut() {
        members.remove(guest);
    }
    room.groups.retain(|_, (_, members)| members.len() > 1);
}

fn retire(
    chance: &mut SmallRng,
    room: &mut Room,
    environment: &EnvironmentName,
    others: &BTreeSet<(EnvironmentName, Name)>,
) -> String {
    let Some(guest) = leaving(chance, room, environment, others) else { return "no guest may go".to_owned() };
    take_out(room, &guest);
    room.retire.insert((GUEST, guest.clone()));
    format!("guest {guest} is retired")
}

fn drop_guest(
    chance: &mut SmallRng,
    room: &mut Room,
    environment: &EnvironmentName,
    others: &BTreeSet<(EnvironmentName, Name)>,
) -> String {
    let Some(guest) = leaving(chance, room, environment, others) else { return "no guest may go".to_owned() };
    take_out(room, &guest);
    // What is retired is named in full: this lets nothing go.
    let short: String = guest.as_str().chars().take(guest.as_str().len() - 1).collect();
    room.retire.insert((GUEST, name(&short)));
    format!("guest {guest} is left out")
}

fn rename(
    chance: &mut SmallRng,
    room: &mut Room,
    environment: &EnvironmentName,
    others: &BTreeSet<(EnvironmentName, Name)>,
) -> String {
    let Some(old) = leaving(chance, room, environment, others) else { return "no guest may go".to_owned() };
    // One rename a guest: a chain of them is the manifest's business.
    if old.as_str().starts_with('r') {
        return "it was renamed before".to_owned();
    }
    let new = name(&format!("r{old}"));
    if room.guests.contains_key(&new) || room.moved.contains_key(&(GUEST, old.clone())) {
        return "the name is taken".to_owned();
    }
    let guest = room.guests.remove(&old).expect("it was chosen of them");
    room.guests.insert(new.clone(), guest);
    room.moved.insert((GUEST, old.clone()), new.clone());
    for host in room.hosts.values_mut().filter(|host| host.guest == old) {
        host.guest = new.clone();
    }
    for (kind, members) in room.groups.values_mut() {
        if *kind == GUEST && members.remove(&old) {
            members.insert(new.clone());
        }
    }
    format!("guest {old} is called {new} now")
}

fn host_field(chance: &mut SmallRng, room: &mut Room) -> String {
    let Some(name) = any(chance, &room.hosts).cloned() else { return "no host".to_owned() };
    let host = room.hosts.get_mut(&name).expect("it was chosen of them");
    let text = format!("mode = {}\n", chance.random_range(2..99_u32));
    host.files.insert("/etc/app/app.conf".to_owned(), text);
    format!("host {name} gets another file")
}

fn host_part(chance: &mut SmallRng, room: &mut Room) -> String {
    let Some(name) = any(chance, &room.hosts).cloned() else { return "no host".to_owned() };
    let host = room.hosts.get_mut(&name).expect("it was chosen of them");
    match chance.random_range(0..3) {
        0 => drop(host.packages.insert("jq".to_owned())),
        1 => host.secret = !host.secret,
        _ => host.service = true,
    }
    format!("host {name} gets other parts")
}

fn policy_field(chance: &mut SmallRng, room: &mut Room) -> String {
    let Some(name) = any(chance, &room.policies).cloned() else { return "no policy".to_owned() };
    let policy = room.policies.get_mut(&name).expect("it was chosen of them");
    policy.writes = !policy.writes;
    format!("policy {name} changes")
}

fn add_policy(chance: &mut SmallRng, room: &mut Room, third: u32) -> String {
    let at = chance.random_range(10..60);
    let new = name(&format!("p{third}{at}"));
    room.policies.insert(new.clone(), new_policy(chance, third, at));
    room.retire.remove(&(POLICY, new.clone()));
    format!("policy {new} comes")
}

fn prune_policy(chance: &mut SmallRng, room: &mut Room) -> String {
    let free: Vec<Name> = room
        .policies
        .iter()
        .filter(|(_, policy)| policy.needs.is_empty())
        .map(|(name, _)| name.clone())
        .collect();
    match free.choose(chance).filter(|_| room.policies.len() > 1) {
        Some(name) => {
            room.policies.remove(name);
            format!("policy {name} goes")
        }
        None => "no policy may go".to_owned(),
    }
}

fn prune_many(room: &mut Room) -> String {
    let gone: Vec<Name> = room.policies.keys().skip(1).cloned().collect();
    room.policies.retain(|name, _| !gone.contains(name));
    format!("{} policies go at once", gone.len())
}

fn application(chance: &mut SmallRng, room: &mut Room, third: u32) -> String {
    let one = any(chance, &room.applications).cloned();
    match (one, chance.random_range(0..3)) {
        (Some(name), 0) => {
            room.applications.remove(&name);
            format!("application {name} goes")
        }
        (Some(name), 1) => {
            let application = room.applications.get_mut(&name).expect("it was chosen of them");
            application.revision = format!("v{}", chance.random_range(1..9_u32));
            format!("application {name} gets another revision")
        }
        _ => {
            let at = chance.random_range(10..40);
            let new = name(&format!("a{third}{at}"));
            let application = new_application(chance, room, third, at);
            room.applications.insert(new.clone(), application);
            room.retire.remove(&(APPLICATION, new.clone()));
            format!("application {new} comes")
        }
    }
}

fn immutable(chance: &mut SmallRng, room: &mut Room) -> String {
    let Some(name) = any(chance, &room.guests).cloned() else { return "no guest".to_owned() };
    let guest = room.guests.get_mut(&name).expect("it was chosen of them");
    if chance.random_bool(0.5) {
        guest.disk = 8;
        format!("guest {name} is to shrink")
    } else {
        guest.vmid += 50;
        format!("guest {name} is to have another number")
    }
}

fn no_template(chance: &mut SmallRng, room: &mut Room, third: u32) -> String {
    let what = add_guest(chance, room, third);
    if let Some(guest) = room.guests.values_mut().next_back() {
        guest.template = NO_TEMPLATE;
    }
    format!("{what}, of a template that there is not")
}
