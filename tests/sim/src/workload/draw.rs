//! Drawing a sequence of commits from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::ident::{EnvironmentName, Name};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::edits::edit;
use super::sketch::{Application, GUEST, HOST, Host, Policy, TEMPLATE, name};
use super::{Body, Expectation, Follower, Guest, Push, Room, Sketch, Workload};
use crate::faults::roll;
use crate::simulated::PANICS;

/// The environments, in their order, with the third part of their guests' addresses.
pub(super) const ROOMS: [(&str, u32); 2] = [("core", 1), ("lab", 2)];

/// Draws the commits of a seed: each by a chance of its own.
pub fn draw(seed: u64) -> Workload {
    let mut pushes = Vec::new();
    let mut chance = SmallRng::seed_from_u64(roll(seed, "workload", 0, 0));
    let first = beginning(&mut chance);
    let count = chance.random_range(3..=8);
    let mut past = Past { follower: Follower::default(), all: Vec::new(), good: first.clone() };
    past.take(&first);
    pushes.push(push(&mut chance, "the home".to_owned(), Body::Site(Box::new(first))));
    for at in 1..count {
        let mut chance = SmallRng::seed_from_u64(roll(seed, "commit", at, 0));
        let one = next(&mut chance, &past, at + 1 == count);
        if let Some(sketch) = one.body.sketch() {
            past.take(sketch);
        }
        let panics = at == count / 2 && roll(seed, "panics", 0, 0).is_multiple_of(8);
        let one = if panics { with_a_panic(&mut chance, one) } else { one };
        pushes.push(one);
    }
    Workload { pushes }
}

/// The same, with one thing that makes its planner panic.
fn with_a_panic(chance: &mut SmallRng, mut push: Push) -> Push {
    if let Body::Site(sketch) = &mut push.body
        && let Some(room) = sketch.rooms.values_mut().next()
        && !room.policies.is_empty()
    {
        room.policies.insert(name(PANICS), new_policy(chance, 9, 9));
        push.label.push_str(", and one that panics");
    }
    push
}

/// What was pushed before.
struct Past {
    follower: Follower,
    all: Vec<Sketch>,
    /// The last one that converges.
    good: Sketch,
}

impl Past {
    fn take(&mut self, sketch: &Sketch) {
        let expected = self.follower.follow(sketch);
        if expected.values().all(Expectation::converges) {
            self.good = sketch.clone();
        }
        self.all.push(sketch.clone());
    }
}

fn push(chance: &mut SmallRng, label: String, body: Body) -> Push {
    let rest = match chance.random_range(0..5) {
        // One overtakes the other.
        0 => Duration::from_secs(chance.random_range(1..60)),
        1 | 2 => Duration::from_secs(chance.random_range(60..600)),
        _ => Duration::from_secs(chance.random_range(600..2_400)),
    };
    Push { label, body, rotates: Vec::new(), rest }
}

fn beginning(chance: &mut SmallRng) -> Sketch {
    let mut sketch = Sketch::default();
    for (at, (room, third)) in ROOMS.into_iter().enumerate() {
        if at == 0 || chance.random_bool(0.4) {
            let environment = EnvironmentName::new(room).expect("the simulation makes valid names");
            sketch.rooms.insert(environment, new_room(chance, third));
        }
    }
    if sketch.rooms.len() == 2 && chance.random_bool(0.5) {
        // One environment waits for a guest of the other.
        let (first, guest) = sketch
            .rooms
            .iter()
            .next()
            .and_then(|(environment, room)| Some((environment.clone(), room.guests.keys().next()?.clone())))
            .expect("each room has a guest");
        if let Some(policy) =
            sketch.rooms.values_mut().last().and_then(|room| room.policies.values_mut().next())
        {
            policy.needs.insert((Some(first), GUEST, guest));
        }
    }
    sketch
}

fn new_room(chance: &mut SmallRng, third: u32) -> Room {
    let mut room = Room::default();
    for at in 1..=chance.random_range(2..=4) {
        room.guests.insert(name(&format!("g{third}{at}")), new_guest(chance, third, at));
    }
    let guests: Vec<Name> = room.guests.keys().cloned().collect();
    for guest in &guests {
        if chance.random_bool(0.6) {
            room.hosts.insert(guest.clone(), new_host(chance, guest));
        }
    }
    for at in 0..chance.random_range(1..=6) {
        room.policies.insert(name(&format!("p{third}{at}")), new_policy(chance, third, at));
    }
    for at in 0..chance.random_range(0..=3) {
        room.applications.insert(name(&format!("a{third}{at}")), new_application(chance, &room, third, at));
    }
    if guests.len() >= 3 && chance.random_bool(0.7) {
        let members = guests.into_iter().collect();
        room.groups.insert(name("workers"), (GUEST, members));
    } else if room.hosts.len() >= 2 && chance.random_bool(0.7) {
        let members = room.hosts.keys().cloned().collect();
        room.groups.insert(name("servers"), (HOST, members));
    }
    room
}

pub(super) fn new_guest(chance: &mut SmallRng, third: u32, at: u32) -> Guest {
    Guest {
        vmid: 100 * third + at,
        template: TEMPLATE,
        cores: chance.random_range(1..=4),
        memory: 1024 * chance.random_range(1..=4),
        disk: 16,
        address: (third, 10 + at),
        description: format!("guest {at}"),
        tags: BTreeSet::from(["home".to_owned()]),
        password: chance.random_bool(0.3),
        reboots: true,
    }
}

pub(super) fn new_host(chance: &mut SmallRng, guest: &Name) -> Host {
    let mut files = BTreeMap::from([("/etc/motd".to_owned(), "welcome\n".to_owned())]);
    if chance.random_bool(0.6) {
        files.insert("/etc/app/app.conf".to_owned(), "mode = 1\n".to_owned());
    }
    Host {
        guest: guest.clone(),
        files,
        secret: chance.random_bool(0.4),
        packages: BTreeSet::from(["curl".to_owned()]),
        service: chance.random_bool(0.6),
    }
}

pub(super) fn new_policy(chance: &mut SmallRng, third: u32, at: u32) -> Policy {
    Policy {
        path: format!("kv/data/{third}/{at}/*"),
        writes: chance.random_bool(0.3),
        needs: BTreeSet::new(),
    }
}

pub(super) fn new_application(chance: &mut SmallRng, room: &Room, third: u32, at: u32) -> Application {
    let hosts: Vec<&Name> = room.hosts.keys().collect();
    let needs = hosts.choose(chance).filter(|_| at == 0).map(|host| (*host).clone()).into_iter().collect();
    Application { path: format!("apps/{third}/{at}"), revision: "main".to_owned(), needs }
}

/// The commit after some. The last one is seldom a bad one: most seeds end converged.
fn next(chance: &mut SmallRng, past: &Past, last: bool) -> Push {
    let now = past.all.last().expect("the first commit is valid");
    // What is held is mostly taken back first.
    let base = if *now == past.good || last || chance.random_bool(0.75) { &past.good } else { now };
    let special = if last { chance.random_range(0..40) } else { chance.random_range(0..16) };
    let body = match special {
        0 => Some(("a mistake", Body::Invalid)),
        1 => Some(("poison", Body::Panics)),
        2 => {
            Some(("poison", [Body::Hangs, Body::Kills, Body::Unreadable][chance.random_range(0..3)].clone()))
        }
        3 => Some(("nothing new", Body::Site(Box::new(now.clone())))),
        4 | 5 if past.all.len() > 1 => {
            Some(("revert", Body::Site(Box::new(past.all[past.all.len() - 2].clone()))))
        }
        _ => None,
    };
    if let Some((label, body)) = body {
        return push(chance, label.to_owned(), body);
    }
    let mut sketch = base.clone();
    sketch.pause = None;
    let (mut labels, mut rotates) = (Vec::new(), Vec::new());
    for _ in 0..chance.random_range(1..=3) {
        labels.push(edit(chance, &mut sketch, last, &mut rotates));
    }
    let mut push = push(chance, labels.join(", "), Body::Site(Box::new(sketch)));
    push.rotates = rotates;
    push
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_commits_and_seeds_give_all_sorts() {
        assert_eq!(draw(7), draw(7));
        let all: Vec<Push> = (0..400).flat_map(|seed| draw(seed).pushes).collect();
        for word in [
            "cores",
            "comes",
            "retired",
            "left out",
            "called",
            "another file",
            "policies go at once",
            "shrink",
            "another number",
            "rotates",
            "template",
            "nothing at all",
            "an environment leaves",
            "pause",
            "revert",
            "poison",
            "a mistake",
            "nothing new",
            "another revision",
        ] {
            assert!(all.iter().any(|push| push.label.contains(word)), "{word}");
        }
    }

    #[test]
    fn most_seeds_end_converged() {
        let ends = |seed: u64| {
            let workload = draw(seed);
            let mut follower = Follower::default();
            let expected: Vec<_> = workload
                .pushes
                .iter()
                .filter_map(|push| push.body.sketch())
                .map(|one| follower.follow(one))
                .collect();
            expected.last().is_some_and(|last| last.values().all(Expectation::converges))
        };
        let converged = (0..300).filter(|seed| ends(*seed)).count();
        assert!((150..295).contains(&converged), "{converged} of 300");
    }

    #[test]
    fn every_spec_fits_its_kind() {
        let kinds = crate::ports::manifests::Checker::new(crate::home::site()).kinds;
        for seed in 0..60 {
            for push in draw(seed).pushes {
                let Some(sketch) = push.body.sketch() else { continue };
                for (_, desired) in sketch.site().environments {
                    for resource in desired.resources.values() {
                        let fits = (kinds[&resource.id.kind].check)(&resource.spec);
                        assert_eq!(fits, Ok(()), "{}", resource.id);
                    }
                }
            }
        }
    }
}
