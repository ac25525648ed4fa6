//! Scenarios of processes: restarts, power cuts, a lost journal, a second machine, and systems that are away.

use std::time::Duration;

use super::home::{guest, policy, small, workers};
use super::script::Scenario;
use crate::events::Event;
use crate::wire::Port;

pub(super) fn all() -> Vec<Scenario> {
    [restarts(), two_machines(), outages()].concat()
}

fn two_cores(name: &'static str) -> Scenario {
    Scenario::of(name, small()).commit("two cores, and a policy", |home| {
        guest(home, "g1").cores = 2;
        policy(home, "p1").writes = true;
    })
}

fn restarts() -> Vec<Scenario> {
    vec![
        two_cores("a clean restart in the middle").waits(3).happens(Event::Restart).converges().all_stands(),
        Scenario::of("a clean restart at rest", small())
            .happens(Event::Restart)
            .waits(600)
            .converges()
            .all_stands(),
        Scenario::of_nothing("a power cut while everything is made")
            .commit("the home", |home| *home = small())
            .waits(20)
            .happens(Event::PowerCut)
            .converges(),
        two_cores("the journal is lost in the middle")
            .waits(3)
            .happens(Event::JournalLost)
            .converges()
            .all_stands(),
        Scenario::of("the journal is lost at rest", workers())
            .happens(Event::JournalLost)
            .waits(600)
            .converges()
            .all_stands(),
        Scenario::of("the state folder is lost", small())
            .somebody("moves the service to a new disk", |home| home.machines[0].mirror.lose())
            .happens(Event::JournalLost)
            .waits(600)
            .converges()
            .all_stands(),
        two_cores("the clock jumps in the middle")
            .happens(Event::Jump { machine: 0, seconds: -7_200 })
            .waits(60)
            .happens(Event::ClockIsRight(0))
            .converges()
            .all_stands(),
    ]
}

fn two_machines() -> Vec<Scenario> {
    vec![
        two_cores("a second process starts, and ends")
            .on_two_machines()
            .happens(Event::SecondStarts)
            .waits(900)
            .happens(Event::SecondEnds)
            .converges()
            .all_stands(),
        two_cores("the first process stands still, and the second takes over")
            .on_two_machines()
            .happens(Event::SecondStarts)
            .happens(Event::Pause(Duration::from_mins(20)))
            .waits(1_800)
            .happens(Event::SecondEnds)
            .converges()
            .all_stands(),
    ]
}

fn outages() -> Vec<Scenario> {
    let away = |name, port| {
        Scenario::of(name, small())
            .happens(Event::Down(port))
            .commit("two cores, and a policy", |home| {
                guest(home, "g1").cores = 2;
                policy(home, "p1").writes = true;
            })
            .waits(2_400)
            .happens(Event::Up(port))
            .converges()
            .all_stands()
    };
    vec![
        away("proxmox is away for a while", Port::Proxmox),
        away("vault is away for a while", Port::Vault),
        away("kubernetes is away for a while", Port::Kubernetes),
        away("the forge is away for a while", Port::Forge),
    ]
}
