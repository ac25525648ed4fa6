//! Scenarios of guests: made, changed, restarted one at a time, renamed, let go.

use holdfast_core::desired::DriftMode;

use super::home::{core, environment, guest, is_gone, new_guest, small, workers};
use super::script::Scenario;
use crate::events::Event;
use crate::wire::Port;
use crate::workload::sketch::{GUEST, NO_TEMPLATE, name};

pub(super) fn all() -> Vec<Scenario> {
    [made(), changed(), in_a_group(), let_go()].concat()
}

fn made() -> Vec<Scenario> {
    vec![
        Scenario::of_nothing("create one of each").commit("the home", |home| *home = small()).converges(),
        Scenario::of_nothing("adopt a guest by its name")
            .somebody("makes a guest `g1`", |home| {
                home.proxmox.with(|cluster| cluster.add_guest(101, "pve1", "g1", "scsi0", 16 << 10));
            })
            .begins()
            .commit("a guest", |home| drop(core(home).guests.insert(name("g1"), new_guest(1))))
            .converges()
            .all_stands(),
        Scenario::of("a template that is missing, and then there", workers())
            .commit("another guest", |home| {
                drop(core(home).guests.insert(name("g4"), new_guest(4)));
                guest(home, "g4").template = NO_TEMPLATE;
            })
            .holds("core", "9999")
            .commit("of the right one", |home| guest(home, "g4").template = crate::workload::sketch::TEMPLATE)
            .converges()
            .all_stands(),
    ]
}

fn changed() -> Vec<Scenario> {
    vec![
        Scenario::of("quiet update", small())
            .commit("other words", |home| "the first".clone_into(&mut guest(home, "g1").description))
            .converges()
            .all_stands(),
        Scenario::of("disruptive update", small())
            .commit("two cores", |home| guest(home, "g1").cores = 2)
            .converges()
            .all_stands(),
        Scenario::of("a disk grows", small())
            .commit("32 GiB", |home| guest(home, "g1").disk = 32)
            .converges()
            .all_stands(),
        Scenario::of("a disk is to shrink, and the revert", small())
            .commit("8 GiB", |home| guest(home, "g1").disk = 8)
            .holds("core", "would shrink")
            .revert()
            .converges()
            .all_stands(),
        Scenario::of("drift is corrected", small())
            .somebody("gives vm 101 more cores", |home| home.proxmox.with(|one| one.set(101, "cores", "7")))
            .converges()
            .all_stands(),
        Scenario::of("drift is reported", {
            let mut home = small();
            core(&mut home).drift = DriftMode::Report;
            home
        })
        .somebody("gives vm 101 more cores", |home| home.proxmox.with(|one| one.set(101, "cores", "7")))
        .waits(7_200)
        .drifts("core")
        .all_stands(),
    ]
}

fn in_a_group() -> Vec<Scenario> {
    let more_cores = |name| {
        Scenario::of(name, workers())
            .commit("two cores each", |home| core(home).guests.values_mut().for_each(|one| one.cores = 2))
    };
    vec![
        more_cores("rolling over a group").converges().all_stands(),
        more_cores("a rolling change is killed").waits(40).happens(Event::PowerCut).converges().all_stands(),
        more_cores("a rolling change is overtaken")
            .waits(40)
            .commit("three cores each", |home| core(home).guests.values_mut().for_each(|one| one.cores = 3))
            .converges()
            .all_stands(),
        more_cores("a rolling change is taken back in its middle")
            .waits(40)
            .revert()
            .converges()
            .all_stands(),
    ]
}

fn let_go() -> Vec<Scenario> {
    let drop_g3 = |home: &mut crate::workload::Sketch| {
        core(home).guests.remove(&name("g3"));
        for (_, members) in core(home).groups.values_mut() {
            members.remove(&name("g3"));
        }
    };
    vec![
        Scenario::of("a guest is retired", workers())
            .commit("g3 goes", move |home| {
                drop_g3(home);
                core(home).retire.insert((GUEST, name("g3")));
            })
            .converges()
            .all_stands_but(&[(Port::Proxmox, "103"), (Port::Hosts, "10.78.1.13")]),
        Scenario::of("a guest is left out, and then retired", workers())
            .commit("g3 is left out", drop_g3)
            .holds("core", "may hold data")
            .all_stands()
            .commit("g3 goes", |home| {
                core(home).retire.insert((GUEST, name("g3")));
            })
            .converges()
            .asks("it is gone", |home| is_gone(home, Port::Proxmox, "103")),
        Scenario::of("a guest is renamed", workers())
            .commit("g3 is called web", |home| {
                let room = core(home);
                let guest = room.guests.remove(&name("g3")).expect("it is there");
                room.guests.insert(name("web"), guest);
                room.moved.insert((GUEST, name("g3")), name("web"));
                for (_, members) in room.groups.values_mut() {
                    members.remove(&name("g3"));
                    members.insert(name("web"));
                }
            })
            .converges()
            .all_stands(),
        Scenario::of("an environment leaves", super::home::two_rooms())
            .commit("without the lab", |home| drop(home.rooms.remove(&environment("lab"))))
            .converges()
            .all_stands(),
    ]
}
