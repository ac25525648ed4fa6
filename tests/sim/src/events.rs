//! What happens to a world beside calls that fail: pushes, other people, processes, clocks, the branch.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::faults::{FaultKind, roll};
use crate::model::Time;
use crate::wire::Port;
use crate::workload::Workload;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The commit at this place of the workload is pushed. With `wakes` a webhook tells of it.
    Push {
        at: usize,
        wakes: bool,
    },
    /// Somebody else does something to a system, drawn by these dice.
    Meddle {
        port: Port,
        dice: u64,
    },
    /// A system comes back as it was some time ago.
    Restore(Port),
    Down(Port),
    Up(Port),
    /// A second process of the site starts on another machine, or ends.
    SecondStarts,
    SecondEnds,
    /// The first process that lives stands still for so long.
    Pause(Duration),
    Wake(u8),
    /// A process is started on a machine, where none lives.
    Start(usize),
    /// The service is ended well, and started again.
    Restart,
    /// It ends as by a power cut.
    PowerCut,
    /// A machine's clock jumps by so many seconds.
    Jump {
        machine: usize,
        seconds: i64,
    },
    ClockIsRight(usize),
    /// The branch is pushed back by force, or to a rewritten history, or deleted; and put back.
    Rewind(usize),
    Rewrite,
    BranchGone,
    BranchBack,
    Truncated(bool),
    JournalLost,
    /// The next task of a system is accepted and fails later.
    TaskFails(Port),
    /// A secret gets another value.
    Rotate {
        path: String,
        key: String,
    },
}

impl Event {
    /// The fault that it is; `None` for what is nobody's fault.
    pub fn fault(&self) -> Option<FaultKind> {
        Some(match self {
            Self::Meddle { .. } => FaultKind::Meddling,
            Self::Restore(_) => FaultKind::Restored,
            Self::SecondStarts => FaultKind::Second,
            Self::Jump { .. } => FaultKind::ClockJump,
            Self::Rewind(_) => FaultKind::Rewind,
            Self::Rewrite => FaultKind::Rewritten,
            Self::BranchGone => FaultKind::RefGone,
            Self::Truncated(true) => FaultKind::Truncated,
            Self::JournalLost => FaultKind::JournalLost,
            Self::TaskFails(_) => FaultKind::Lie,
            _ => return None,
        })
    }

    /// Whether it is but the other half of an earlier one: what is left when that is dropped does nothing.
    pub fn is_an_end(&self) -> bool {
        matches!(
            self,
            Self::Up(_)
                | Self::SecondEnds
                | Self::Wake(_)
                | Self::ClockIsRight(_)
                | Self::BranchBack
                | Self::Truncated(false)
        )
    }
}

/// The pushes of a workload at their times, and when the last of them was.
pub fn pushes(seed: u64, workload: &Workload) -> (Vec<(Time, Event)>, Time) {
    let wakes = roll(seed, "webhook", 0, 0).is_multiple_of(2);
    let mut now = Duration::from_secs(20);
    let mut events = Vec::new();
    let mut last = now;
    for (at, push) in workload.pushes.iter().enumerate() {
        last = now;
        events.push((now, Event::Push { at, wakes }));
        for (path, key) in &push.rotates {
            events.push((now, Event::Rotate { path: path.clone(), key: key.clone() }));
        }
        now += push.rest;
    }
    (events, last)
}

/// Everything that happens to a seed's world until its faults stop, and when that is.
pub fn draw(seed: u64, workload: &Workload) -> (Vec<(Time, Event)>, Time) {
    let (mut events, last) = pushes(seed, workload);
    let end = last + Duration::from_mins(20 + roll(seed, "end", 0, 0) % 40);
    for (sort, one) in SORTS.iter().enumerate() {
        let mut chance = SmallRng::seed_from_u64(roll(seed, "events", sort as u64, 0));
        // Swarm testing: most sorts are off in each seed.
        if !chance.random_bool(one.odds) {
            continue;
        }
        for _ in 0..chance.random_range(1..=one.most) {
            let at = Duration::from_secs(chance.random_range(30..end.as_secs()));
            (one.make)(&mut chance, at, end, &mut events);
        }
    }
    events.sort_by_key(|(at, _)| *at);
    (events, end)
}

/// One sort of events: how many seeds have it, how often at most, and what it is.
struct Sort {
    odds: f64,
    most: u32,
    make: fn(&mut SmallRng, Time, Time, &mut Vec<(Time, Event)>),
}

const SORTS: [Sort; 14] = [
    Sort { odds: 0.45, most: 3, make: meddle },
    Sort { odds: 0.15, most: 2, make: |chance, at, end, events| span(chance, at, end, events, down) },
    Sort { odds: 0.12, most: 1, make: second },
    Sort { odds: 0.2, most: 2, make: pause },
    Sort { odds: 0.2, most: 2, make: jump },
    Sort { odds: 0.12, most: 1, make: |chance, at, end, events| span(chance, at, end, events, rewind) },
    Sort { odds: 0.08, most: 1, make: |chance, at, end, events| span(chance, at, end, events, rewrite) },
    Sort { odds: 0.1, most: 1, make: |chance, at, end, events| span(chance, at, end, events, gone) },
    Sort { odds: 0.1, most: 1, make: |chance, at, end, events| span(chance, at, end, events, truncated) },
    Sort { odds: 0.1, most: 1, make: |_, at, _, events| events.push((at, Event::JournalLost)) },
    Sort { odds: 0.08, most: 1, make: restore },
    Sort { odds: 0.15, most: 2, make: task_fails },
    Sort { odds: 0.2, most: 1, make: |_, at, _, events| events.push((at, Event::Restart)) },
    Sort { odds: 0.2, most: 2, make: |_, at, _, events| events.push((at, Event::PowerCut)) },
];

fn port(chance: &mut SmallRng) -> Port {
    *Port::TARGETS.choose(chance).expect("there are four")
}

fn meddle(chance: &mut SmallRng, at: Time, _: Time, events: &mut Vec<(Time, Event)>) {
    events.push((at, Event::Meddle { port: port(chance), dice: chance.random() }));
}

/// Something that begins, and ends some time later.
fn span(
    chance: &mut SmallRng,
    at: Time,
    end: Time,
    events: &mut Vec<(Time, Event)>,
    both: fn(&mut SmallRng) -> (Event, Event),
) {
    let (begin, over) = both(chance);
    let lasts = Duration::from_secs(chance.random_range(60..3_000));
    events.push((at, begin));
    events.push(((at + lasts).min(end), over));
}

fn down(chance: &mut SmallRng) -> (Event, Event) {
    let all =
        [Port::Proxmox, Port::Hosts, Port::Vault, Port::Kubernetes, Port::Secrets, Port::Forge, Port::Git];
    let port = *all.choose(chance).expect("there are seven");
    (Event::Down(port), Event::Up(port))
}

fn rewind(chance: &mut SmallRng) -> (Event, Event) {
    (Event::Rewind(chance.random_range(1..4)), Event::BranchBack)
}

fn rewrite(_: &mut SmallRng) -> (Event, Event) {
    (Event::Rewrite, Event::BranchBack)
}

fn gone(_: &mut SmallRng) -> (Event, Event) {
    (Event::BranchGone, Event::BranchBack)
}

fn truncated(_: &mut SmallRng) -> (Event, Event) {
    (Event::Truncated(true), Event::Truncated(false))
}

fn second(chance: &mut SmallRng, at: Time, end: Time, events: &mut Vec<(Time, Event)>) {
    events.push((at, Event::SecondStarts));
    if chance.random_bool(0.7) {
        let lasts = Duration::from_secs(chance.random_range(60..5_000));
        events.push(((at + lasts).min(end), Event::SecondEnds));
    }
}

fn pause(chance: &mut SmallRng, at: Time, _: Time, events: &mut Vec<(Time, Event)>) {
    events.push((at, Event::Pause(Duration::from_secs(chance.random_range(10..900)))));
}

fn jump(chance: &mut SmallRng, at: Time, _: Time, events: &mut Vec<(Time, Event)>) {
    let far = [30, 600, 3_600, 86_400, 40_000_000][chance.random_range(0..5)];
    let seconds = if chance.random_bool(0.5) { far } else { -far };
    let machine = usize::from(chance.random_bool(0.3));
    events.push((at, Event::Jump { machine, seconds }));
    let lasts = Duration::from_secs(chance.random_range(60..3_000));
    events.push((at + lasts, Event::ClockIsRight(machine)));
}

fn restore(chance: &mut SmallRng, at: Time, _: Time, events: &mut Vec<(Time, Event)>) {
    let port = [Port::Proxmox, Port::Vault, Port::Kubernetes][chance.random_range(0..3)];
    events.push((at, Event::Restore(port)));
}

fn task_fails(chance: &mut SmallRng, at: Time, _: Time, events: &mut Vec<(Time, Event)>) {
    let port = if chance.random_bool(0.7) { Port::Proxmox } else { Port::Kubernetes };
    events.push((at, Event::TaskFails(port)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload;

    #[test]
    fn events_are_of_the_seed_and_what_begins_ends_in_time() {
        let workload = workload::draw(5);
        assert_eq!(draw(5, &workload), draw(5, &workload));
        for seed in 0..200 {
            let (events, end) = draw(seed, &workload::draw(seed));
            assert!(events.is_sorted_by_key(|(at, _)| *at));
            let begun = events.iter().filter(|(_, event)| matches!(event, Event::Down(_))).count();
            let over =
                events.iter().filter(|(at, event)| matches!(event, Event::Up(_)) && *at <= end).count();
            assert_eq!(begun, over);
        }
    }

    #[test]
    fn every_kind_of_fault_that_is_no_calls_happens_in_some_seed() {
        let all: Vec<Event> =
            (0..300).flat_map(|seed| draw(seed, &workload::draw(seed)).0).map(|(_, event)| event).collect();
        for kind in [
            FaultKind::Meddling,
            FaultKind::Restored,
            FaultKind::Second,
            FaultKind::ClockJump,
            FaultKind::Rewind,
            FaultKind::Rewritten,
            FaultKind::RefGone,
            FaultKind::Truncated,
            FaultKind::JournalLost,
            FaultKind::Lie,
        ] {
            assert!(all.iter().any(|event| event.fault() == Some(kind)), "{kind}");
        }
    }
}
