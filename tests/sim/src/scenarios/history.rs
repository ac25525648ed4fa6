//! Scenarios of commits: one overtakes the other, is taken back, is bad, comes by force, and pauses.

use std::time::Duration;

use holdfast_core::schedule::{Schedule, Window};

use super::home::{core, guest, policies, policy, small, workers};
use super::script::Scenario;
use crate::events::Event;
use crate::workload::Body;

pub(super) fn all() -> Vec<Scenario> {
    [one_after_the_other(), bad(), by_force(), paused()].concat()
}

fn one_after_the_other() -> Vec<Scenario> {
    vec![
        Scenario::of("a newer commit overtakes one in the middle", small())
            .commit("two cores", |home| guest(home, "g1").cores = 2)
            .waits(5)
            .commit("three cores", |home| guest(home, "g1").cores = 3)
            .converges()
            .all_stands(),
        Scenario::of_nothing("a newer commit overtakes the first of all")
            .commit("the home", |home| *home = small())
            .waits(60)
            .commit("p1 writes", |home| policy(home, "p1").writes = true)
            .converges(),
        Scenario::of("a commit that changes nothing", small())
            .commit("nothing new", |_| {})
            .converges()
            .all_stands(),
        Scenario::of("what could not be is taken back", workers())
            .commit("another number", |home| guest(home, "g1").vmid = 155)
            .holds("core", "cannot become vm")
            .revert()
            .converges()
            .all_stands(),
    ]
}

fn bad() -> Vec<Scenario> {
    let then_good = |scenario: Scenario| {
        scenario.commit("a good one", |home| policy(home, "p1").writes = true).converges().all_stands()
    };
    vec![
        then_good(
            Scenario::of("an invalid commit, and then a good one", policies(2))
                .bad("a mistake", Body::Invalid)
                .refuses("`cores` is missing"),
        ),
        then_good(
            Scenario::of("a commit that panics, and then a good one", policies(2))
                .bad("poison", Body::Panics)
                .refuses(""),
        ),
        then_good(
            Scenario::of("a commit that kills, and then a good one", policies(2))
                .bad("poison", Body::Kills)
                .refuses("push another one"),
        ),
        Scenario::of("an invalid commit comes in the middle", small())
            .commit("two cores", |home| guest(home, "g1").cores = 2)
            .waits(5)
            .bad("a mistake", Body::Invalid)
            .refuses("`cores` is missing")
            .commit("three cores", |home| guest(home, "g1").cores = 3)
            .converges()
            .all_stands(),
    ]
}

fn by_force() -> Vec<Scenario> {
    vec![
        Scenario::of("a rewritten history is held", policies(2))
            .commit("p1 writes", |home| policy(home, "p1").writes = true)
            .converges()
            .happens(Event::Rewrite)
            .tells("does not descend from")
            .all_stands()
            .happens(Event::BranchBack)
            .converges(),
        Scenario::of("going back is allowed where it is said", policies(2))
            .commit("p1 writes", |home| policy(home, "p1").writes = true)
            .converges()
            .rewinds("by force, and said", |home| policy(home, "p2").writes = true)
            .converges()
            .all_stands(),
        Scenario::of("the branch is gone for a while", policies(2))
            .happens(Event::BranchGone)
            .waits(3_600)
            .all_stands()
            .happens(Event::BranchBack)
            .commit("p1 writes", |home| policy(home, "p1").writes = true)
            .converges()
            .all_stands(),
        Scenario::of("a fetch breaks off for a while", policies(2))
            .happens(Event::Truncated(true))
            .commit("p1 writes", |home| policy(home, "p1").writes = true)
            .waits(1_800)
            .happens(Event::Truncated(false))
            .converges()
            .all_stands(),
    ]
}

fn paused() -> Vec<Scenario> {
    // The world begins at 21:00.
    let at_night = || Window {
        opens: Schedule::new("0 23 * * *", "UTC").expect("it is a valid schedule"),
        lasts: Duration::from_hours(1),
    };
    vec![
        Scenario::of("pause, and resume", small())
            .commit("pause, and two cores", |home| {
                home.pause = Some("a move of the rack".to_owned());
                guest(home, "g1").cores = 2;
            })
            .holds("core", "the site is paused")
            .commit("resume", |home| home.pause = None)
            .converges()
            .all_stands(),
        Scenario::of("the operator pauses the machine", small())
            .somebody("pauses the machine", |home| home.machines[0].halt.pause("a look at the disks"))
            .commit("two cores", |home| guest(home, "g1").cores = 2)
            .waits(1_800)
            .somebody("resumes", |home| home.machines[0].halt.resume())
            .converges()
            .all_stands(),
        Scenario::of("a maintenance window", {
            let mut home = small();
            core(&mut home).maintenance = Some(at_night());
            home
        })
        .commit("two cores, and a policy", |home| {
            guest(home, "g1").cores = 2;
            policy(home, "p1").writes = true;
        })
        .tells("maintenance window")
        .converges()
        .all_stands(),
    ]
}
