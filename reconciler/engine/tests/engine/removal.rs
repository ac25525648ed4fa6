//! What removing promises: last, after two looks that agree, and told whatever comes of it.

use std::time::Duration;

use holdfast_core::kind::Owner;
use holdfast_core::plan::Hold;
use holdfast_core::report::Outcome;
use serde_json::json;

use crate::run::report;
use crate::world::{World, desired, id};

#[tokio::test(start_paused = true)]
async fn what_left_the_repository_goes_after_two_looks_that_agree() {
    let world = World::default();
    world.put("old", "o", Owner::Ours(id("old")));
    world.put("data", "data", Owner::Ours(id("data")));
    world.put("theirs", "x", Owner::Nobody);
    let keep = desired(&[("keep", json!({ "value": "k" }), &[])]);
    let report = report(&world, &keep).await;
    assert_eq!(world.attic().writes, ["keep=k", "old=-"]);
    assert!(matches!(report.outcomes[&id("data")], Outcome::Held(Hold::TooRisky(_))), "it holds data");
    assert!(matches!(report.outcomes[&id("old")], Outcome::Removed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_second_look_that_is_incomplete_removes_nothing() {
    let world = World::default();
    world.put("old", "o", Owner::Ours(id("old")));
    world.put("keep", "k", Owner::Ours(id("keep")));
    world.attic().second_look_incomplete = true;
    let keep = desired(&[("keep", json!({ "value": "k" }), &[])]);
    let report = report(&world, &keep).await;
    assert_eq!(world.attic().writes, Vec::<String>::new());
    assert!(!report.converged());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_short_at_first_does_not_loosen_the_brake() {
    let world = World::default();
    world.put("keep", "k", Owner::Ours(id("keep")));
    for name in ["a", "b", "c", "d"] {
        world.put(name, "o", Owner::Ours(id(name)));
    }
    world.attic().hidden_at_first.insert("d".to_owned());
    let keep = desired(&[("keep", json!({ "value": "k" }), &[])]);
    let report = report(&world, &keep).await;
    assert_eq!(world.attic().writes, Vec::<String>::new(), "three may go, and there are four");
    assert!(matches!(report.outcomes[&id("a")], Outcome::Held(Hold::Unseen(_))), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_takes_its_time_is_waited_for() {
    let world = World::default();
    world.put("old", "o", Owner::Ours(id("old")));
    world.put("keep", "k", Owner::Ours(id("keep")));
    world.attic().slow_to_leave.insert("old".to_owned());
    let keep = desired(&[("keep", json!({ "value": "k" }), &[])]);
    let running = tokio::spawn({
        let world = world.clone();
        async move { report(&world, &keep).await }
    });
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(!running.is_finished(), "it is not gone yet");
    world.attic().things.retain(|name, _| name.as_str() != "old");
    let report = running.await.unwrap();
    assert_eq!(report.status().description, "converged: 1 resource, 1 removed");
    assert_eq!(world.attic().writes, ["old=-"]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_never_ends_is_told_in_time() {
    let world = World::default();
    world.put("old", "leaving", Owner::Ours(id("old")));
    world.put("keep", "k", Owner::Ours(id("keep")));
    let keep = desired(&[("keep", json!({ "value": "k" }), &[])]);
    let begun = tokio::time::Instant::now();
    let report = report(&world, &keep).await;
    assert_eq!(report.status().description, "not gone in time: Thing/old: it is leaving");
    assert!((Duration::from_mins(10)..Duration::from_mins(11)).contains(&begun.elapsed()));
}
