//! What is to come of a commit, told without the engine: by what was there and what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::{EnvironmentName, KindName, Name};

use super::sketch::{APPLICATION, GUEST, NO_TEMPLATE, POLICY, Room, Sketch};
use crate::simulated::PANICS;

/// What an environment comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expectation {
    /// What the status may give as the reason, if it is held; one of these phrases. Empty: it converges.
    pub holds: BTreeSet<&'static str>,
    /// Whether it depends on which of the commits before were applied.
    pub may_converge: bool,
}

impl Expectation {
    pub fn converges(&self) -> bool {
        self.holds.is_empty()
    }
}

const SHRINKS: &str = "would shrink";
const RENUMBERED: &str = "cannot become vm";
const HOLDS_DATA: &str = "may hold data";
const NO_SUCH_TEMPLATE: &str = "9999";
const BRAKE: &str = "in one commit";
const NOTHING: &str = "declares nothing at all";
const PAUSED: &str = "the site is paused";
const MANAGED_AS: &str = "is managed as";
const ANOTHER: &str = "another object than the one";
const PANICKED: &str = "planning it panicked";
const ELSEWHERE: &str = "in its own environment";
const BLOCKED: &str = "blocked by ";
const ALL: [&str; 10] = [
    SHRINKS,
    RENUMBERED,
    HOLDS_DATA,
    NO_SUCH_TEMPLATE,
    BRAKE,
    NOTHING,
    PAUSED,
    MANAGED_AS,
    ANOTHER,
    PANICKED,
];

/// What stands in one environment after some commits, one after the other and none disturbed.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// VMID and disk of each guest.
    guests: BTreeMap<Name, (u32, u32)>,
    others: BTreeMap<KindName, BTreeSet<Name>>,
    /// A rename was taken back: what comes of it depends on whether the new name was written down before.
    blurred: bool,
    /// The renames so far.
    renames: BTreeSet<(KindName, Name)>,
}

/// Follows a sequence of commits.
#[derive(Debug, Clone, Default)]
pub struct Follower {
    rooms: BTreeMap<EnvironmentName, Standing>,
    /// Environments that converged once.
    converged: BTreeSet<EnvironmentName>,
}

impl Follower {
    /// What comes of a valid commit, of each environment. Every commit before it had come to its end.
    pub fn follow(&mut self, sketch: &Sketch) -> BTreeMap<EnvironmentName, Expectation> {
        let mut expectations = BTreeMap::new();
        for (name, room) in &sketch.rooms {
            let standing = self.rooms.entry(name.clone()).or_default();
            let first = !self.converged.contains(name);
            let before = standing.clone();
            let mut holds = standing.take(room, first);
            if sketch.pause.is_some() {
                // Where there is nothing to do a pause holds nothing up.
                *standing =
                    Standing { blurred: standing.blurred, renames: standing.renames.clone(), ..before };
                holds.insert(PAUSED);
                if standing.blurred {
                    holds.extend(ALL);
                }
                expectations.insert(name.clone(), Expectation { holds, may_converge: true });
                continue;
            }
            if holds.is_empty() {
                self.converged.insert(name.clone());
            }
            let may_converge = standing.blurred;
            if may_converge {
                holds.extend(ALL);
            }
            expectations.insert(name.clone(), Expectation { holds, may_converge });
        }
        wait_for_others(sketch, &mut expectations);
        expectations
    }
}

/// What needs something of an environment that is held may be held as well, or have been settled before.
fn wait_for_others(sketch: &Sketch, expectations: &mut BTreeMap<EnvironmentName, Expectation>) {
    let held: BTreeSet<EnvironmentName> =
        expectations.iter().filter(|(_, of)| !of.converges()).map(|(name, _)| name.clone()).collect();
    for (name, room) in &sketch.rooms {
        if room.borrowed_from().into_iter().any(|other| held.contains(other))
            && let Some(expectation) = expectations.get_mut(name)
        {
            expectation.may_converge |= expectation.converges();
            expectation.holds.extend([ELSEWHERE, BLOCKED]);
        }
    }
}

impl Standing {
    /// Takes a commit in, as far as it is carried out. Gives why the rest is held.
    fn take(&mut self, room: &Room, first: bool) -> BTreeSet<&'static str> {
        let mut holds = BTreeSet::new();
        self.blurred |= self.renames.iter().any(|old| !room.moved.contains_key(old));
        self.renames.extend(room.moved.keys().cloned());
        for ((kind, old), new) in &room.moved {
            if *kind == GUEST
                && let Some(guest) = self.guests.remove(old)
            {
                self.guests.insert(new.clone(), guest);
            }
        }
        for (name, wanted) in &room.guests {
            let numbered = |(other, (vmid, _)): (&Name, &(u32, u32))| other != name && *vmid == wanted.vmid;
            self.blurred |= self.guests.iter().any(numbered);
            match self.guests.get_mut(name) {
                Some((vmid, _)) if *vmid != wanted.vmid => holds.extend([RENUMBERED, ANOTHER]),
                Some((_, disk)) if *disk > wanted.disk => drop(holds.insert(SHRINKS)),
                Some((_, disk)) => *disk = wanted.disk,
                None if wanted.template == NO_TEMPLATE => drop(holds.insert(NO_SUCH_TEMPLATE)),
                None => drop(self.guests.insert(name.clone(), (wanted.vmid, wanted.disk))),
            }
        }
        let is_retired = |kind: &KindName, name: &Name| room.retire.contains(&(kind.clone(), name.clone()));
        self.guests.retain(|name, _| room.guests.contains_key(name) || !is_retired(&GUEST, name));
        if self.guests.keys().any(|name| !room.guests.contains_key(name)) {
            holds.insert(HOLDS_DATA);
        }
        let is_poison = |name: &Name| name.as_str() == PANICS;
        if room.policies.keys().any(is_poison) {
            holds.insert(PANICKED);
        }
        let policies = room.policies.keys().filter(|name| !is_poison(name)).cloned().collect();
        let applications = room.applications.keys().cloned().collect();
        for (kind, wanted) in [(POLICY, policies), (APPLICATION, applications)] {
            let there = self.others.entry(kind.clone()).or_default();
            holds.extend(others(there, &wanted, |name| is_retired(&kind, name), first, room.is_empty()));
        }
        holds
    }
}

/// What comes of the objects of a kind that may go when they leave the repository.
fn others(
    there: &mut BTreeSet<Name>,
    wanted: &BTreeSet<Name>,
    is_retired: impl Fn(&Name) -> bool,
    first: bool,
    wants_nothing: bool,
) -> Option<&'static str> {
    there.retain(|name| wanted.contains(name) || !is_retired(name));
    let all = there.len();
    let going = there.difference(wanted).count();
    let held = match going {
        0 => None,
        _ if wants_nothing => Some(NOTHING),
        4.. if going * 10 > all => Some(BRAKE),
        _ => {
            // A first run removes nothing.
            if !first {
                there.retain(|name| wanted.contains(name));
            }
            None
        }
    };
    there.extend(wanted.iter().cloned());
    held
}

/// What may come of the last of some commits, whichever of those before it were applied: each commit overtakes.
pub fn whichever(before: &[&Sketch], last: &Sketch) -> BTreeMap<EnvironmentName, Expectation> {
    let mut all: BTreeMap<EnvironmentName, (BTreeSet<&'static str>, bool)> = BTreeMap::new();
    let mut consider = |sketches: &[&Sketch]| {
        let mut follower = Follower::default();
        for sketch in sketches {
            follower.follow(sketch);
        }
        for (name, expectation) in follower.follow(last) {
            let (holds, may_converge) = all.entry(name).or_default();
            *may_converge |= expectation.converges() || expectation.may_converge;
            holds.extend(expectation.holds);
        }
    };
    // Every choice of a few commits: more than these make no other difference.
    let recent = &before[before.len().saturating_sub(8)..];
    for choice in 0..1_u32 << recent.len() {
        let chosen: Vec<&Sketch> =
            recent.iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1).map(|(_, one)| *one).collect();
        consider(&chosen);
    }
    all.into_iter().map(|(name, (holds, may_converge))| (name, Expectation { holds, may_converge })).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Guest, Policy, name};
    use super::*;

    fn home() -> EnvironmentName {
        EnvironmentName::new("core").expect("a valid test value")
    }

    fn with(change: impl FnOnce(&mut Room)) -> Sketch {
        let guest = Guest {
            vmid: 101,
            template: 9000,
            cores: 1,
            memory: 1024,
            disk: 16,
            address: (1, 11),
            description: String::new(),
            tags: BTreeSet::new(),
            password: false,
            reboots: true,
        };
        let policy = Policy { path: "kv/data/a".to_owned(), writes: false, needs: BTreeSet::new() };
        let mut room = Room::default();
        room.guests.insert(name("a"), guest);
        room.policies.extend((0..5).map(|at| (name(&format!("p{at}")), policy.clone())));
        change(&mut room);
        Sketch { rooms: BTreeMap::from([(home(), room)]), ..Sketch::default() }
    }

    fn last(sketches: &[Sketch]) -> Vec<&'static str> {
        let mut follower = Follower::default();
        let all: Vec<_> = sketches.iter().map(|sketch| follower.follow(sketch)).collect();
        all.last().expect("there is one")[&home()].holds.iter().copied().collect()
    }

    #[test]
    fn what_is_held_is_known_beforehand() {
        let plain = with(|_| {});
        let none = with(|room| room.guests.clear());
        let retired = with(|room| {
            room.guests.clear();
            room.retire.insert((GUEST, name("a")));
        });
        let larger = with(|room| room.guests.values_mut().for_each(|guest| guest.disk = 32));
        let few = with(|room| room.policies.retain(|policy, _| policy.as_str() == "p0"));
        let fewer = with(|room| room.policies.retain(|policy, _| policy.as_str() < "p2"));
        let empty = with(|room| *room = Room::default());
        assert_eq!(last(std::slice::from_ref(&plain)), Vec::<&str>::new());
        assert_eq!(last(&[plain.clone(), none]), [HOLDS_DATA]);
        assert_eq!(last(&[plain.clone(), retired]), Vec::<&str>::new());
        assert_eq!(last(&[plain.clone(), larger.clone(), plain.clone()]), [SHRINKS]);
        assert_eq!(last(&[plain.clone(), few]), [BRAKE]);
        assert_eq!(last(&[plain.clone(), fewer]), Vec::<&str>::new());
        assert!(last(&[plain.clone(), empty]).contains(&NOTHING));
        let maybe = &whichever(&[&plain, &larger], &plain)[&home()];
        assert!(maybe.may_converge && maybe.holds.contains(SHRINKS));
    }
}
