//! What rolling changes promise: of a group only so many are away at once, whatever happens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::desired::{Desired, Group};
use holdfast_core::ident::Name;
use holdfast_core::kind::{Owner, TargetError};
use holdfast_core::plan::Hold;
use holdfast_core::report::Outcome;
use holdfast_engine::run::{Why, run};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::run::{job, report, report_of};
use crate::world::{World, desired, engine, id};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Five things that are up, each to be rebooted for a change.
fn five(value: &str, max_unavailable: usize) -> (World, Desired) {
    let world = World::default();
    for name in NAMES {
        world.put(name, "reboot-1", Owner::Ours(id(name)));
    }
    world.attic().reboots_take = Duration::from_mins(2);
    let mut wanted = desired(&NAMES.map(|name| (name, json!({ "value": value }), [].as_slice())));
    wanted.groups.push(Group {
        name: Name::new("five").expect("a valid test value"),
        members: NAMES.map(id).into_iter().collect(),
        max_unavailable,
        max_failures: 1,
    });
    (world, wanted)
}

#[tokio::test(start_paused = true)]
async fn all_are_changed_and_no_more_than_allowed_are_away_at_once() {
    for max in 1..=3 {
        let (world, wanted) = five("reboot-2", max);
        let report = report(&world, &wanted).await;
        assert!(report.converged(), "{report:?}");
        assert_eq!(world.attic().writes.len(), 5, "each once");
        assert_eq!(world.attic().most_down, max);
    }
}

#[tokio::test(start_paused = true)]
async fn quiet_changes_wait_for_nobody() {
    let (world, wanted) = five("2", 1);
    world.attic().change_takes = Duration::from_secs(1);
    assert!(report(&world, &wanted).await.converged());
    assert_eq!(world.attic().largest_concurrency, 5);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_down_for_another_reason_counts() {
    let (world, wanted) = five("reboot-2", 1);
    world.state("c", |state| state.up = false);
    world.attic().stay_down = BTreeSet::from(["c".to_owned()]);
    let report = report(&world, &wanted).await;
    assert!(matches!(&report.outcomes[&id("c")], Outcome::Waiting(_)), "{report:?}");
    assert_eq!(world.attic().writes, ["c=reboot-2"], "it alone may be changed, since it is away already");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_others_are_left_as_they_are() {
    let (world, wanted) = five("reboot-2", 1);
    world.attic().stay_down = NAMES.map(str::to_owned).into();
    let report = report(&world, &wanted).await;
    let held = |name: &&str| matches!(&report.outcomes[&id(name)], Outcome::Held(Hold::NotNow(_)));
    assert_eq!(world.attic().writes.len(), 1);
    assert_eq!(NAMES.iter().filter(|name| held(name)).count(), 4, "{report:?}");
    let Outcome::Held(Hold::NotNow(why)) = &report.outcomes[&id("e")] else { panic!("{report:?}") };
    assert_eq!(why, "group `five` is left as it is: Thing/a failed");
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_middle_is_continued_without_taking_more_away() {
    for seconds in (1..700).step_by(23) {
        let (world, wanted) = five("reboot-2", 1);
        let (engine, _) = engine(&world);
        let first = {
            let (engine, job) = (engine.clone(), job(&wanted, Why::Commit));
            tokio::spawn(async move { run(&engine, &job, &CancellationToken::new()).await.is_ok() })
        };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        first.abort();
        drop(first.await);
        let report = report_of(&engine, job(&wanted, Why::Commit)).await;
        assert!(report.converged(), "{report:?}");
        let attic = world.attic();
        assert_eq!((attic.most_down, attic.writes.len()), (1, 5), "killed after {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn two_groups_with_a_member_in_common_both_hold() {
    let (world, mut wanted) = five("reboot-2", 3);
    wanted.groups.push(Group {
        name: Name::new("pair").unwrap(),
        members: BTreeSet::from([id("a"), id("b")]),
        max_unavailable: 1,
        max_failures: 1,
    });
    let world = Arc::new(world);
    assert!(report(&world, &wanted).await.converged());
    assert!(world.attic().most_down <= 3);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_cannot_be_seen_lets_nobody_in() {
    let (world, wanted) = five("reboot-2", 1);
    // Every look at a member fails from the first change on, and comes back a while later.
    world.attic().blind_after_change = Some(Duration::from_mins(5));
    let report = report(&world, &wanted).await;
    assert!(world.attic().most_down <= 1, "{} at once", world.attic().most_down);
    assert!(!world.attic().writes.is_empty(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_came_up_before_its_change_waits_for_its_turn_again() {
    let (world, wanted) = five("reboot-2", 1);
    {
        let mut attic = world.attic();
        for name in ["a", "b"] {
            attic.down_until.insert(id(name).name, Instant::now() + Duration::from_secs(5));
        }
        // Both are down already, so that both may be changed; the first change of one fails.
        let busy = TargetError::unavailable("rebooting", "too many requests");
        attic.apply_errors.insert("a".to_owned(), vec![busy; 6]);
    }
    let running = tokio::spawn({
        let world = world.clone();
        async move { report(&world, &wanted).await }
    });
    tokio::time::sleep(Duration::from_secs(7)).await;
    world.attic().most_down = 0;
    let report = running.await.unwrap();
    assert!(report.converged(), "{report:?}");
    assert_eq!(world.attic().most_down, 1);
}
