//! What one run promises, over a world in memory on a paused clock.

use std::time::Duration;

use crate::world::{World, commit, desired, engine, environment, id};
use holdfast_core::desired::Desired;
use holdfast_core::kind::{Owner, TargetError};
use holdfast_core::plan::Hold;
use holdfast_core::report::{Outcome, Report};
use holdfast_engine::run::{End, preview, run};
use serde_json::json;
use tokio_util::sync::CancellationToken;

async fn report(world: &World, desired: &Desired) -> Report {
    let (engine, _) = engine(world);
    match run(&engine, &environment(), &commit('a'), desired, &CancellationToken::new()).await.unwrap() {
        End::Finished { report, .. } => report,
        End::Stopped => panic!("nobody stopped it"),
    }
}

fn unavailable() -> TargetError {
    TargetError::unavailable("changing it", "connection refused")
}

fn chain() -> Desired {
    desired(&[
        ("bottom", json!({ "value": "b" }), &[]),
        ("top", json!({ "value": "t", "on": { "ref": "Thing/bottom", "output": "value" } }), &["bottom"]),
    ])
}

#[tokio::test(start_paused = true)]
async fn needs_come_first_and_their_outputs_are_passed_on() {
    let world = World::default();
    let report = report(&world, &chain()).await;
    assert!(report.converged(), "{report:?}");
    assert_eq!(world.attic().writes, ["bottom=b", "top=t"]);
    let on = world.attic().things.values().find_map(|(state, _)| state.on.clone());
    assert_eq!(on.as_deref(), Some("b"));
    assert!(matches!(&report.outcomes[&id("top")], Outcome::Applied(steps) if steps == &["put t"]));
}

#[tokio::test(start_paused = true)]
async fn the_second_run_writes_nothing_and_looks_once_a_kind() {
    let world = World::default();
    report(&world, &chain()).await;
    world.attic().writes.clear();
    world.attic().looks.clear();
    let report = report(&world, &chain()).await;
    assert!(report.converged());
    assert_eq!(world.attic().writes, Vec::<String>::new());
    // It cannot ask for `top` by name, since what that stands on is not known yet; the mark on it shows it.
    assert_eq!(world.attic().looks, [("All".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn one_failure_stops_only_what_needs_it() {
    let world = World::default();
    let desired = desired(&[
        ("a", json!({ "value": "forbidden" }), &[]),
        ("b", json!({ "value": "b" }), &["a"]),
        ("c", json!({ "value": "c" }), &["b"]),
        ("d", json!({ "value": "d" }), &[]),
    ]);
    let report = report(&world, &desired).await;
    assert_eq!(world.attic().writes, ["d=d"]);
    assert!(matches!(report.outcomes[&id("a")], Outcome::Held(Hold::Refused(_))));
    assert_eq!(report.outcomes[&id("c")], Outcome::Skipped(vec![id("a")]));
    assert_eq!(report.status().description, "held: Thing/a: it is forbidden (2 blocked by it)");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_is_waited_for() {
    let world = World::default();
    world.attic().apply_errors.insert("bottom".to_owned(), vec![unavailable(); 5]);
    let report = report(&world, &chain()).await;
    assert!(report.converged());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stays_away_is_given_up_at_the_deadline_and_holds_nobody_else() {
    let world = World::default();
    world.attic().unseen.insert("a".to_owned(), unavailable());
    let desired = desired(&[("a", json!({ "value": "a" }), &[]), ("b", json!({ "value": "b" }), &[])]);
    let begun = tokio::time::Instant::now();
    let report = report(&world, &desired).await;
    assert_eq!(world.attic().writes, ["b=b"]);
    assert_eq!(report.status().description, "out of reach: Thing/a: changing it: connection refused");
    let took = begun.elapsed();
    assert!((Duration::from_mins(10)..Duration::from_mins(11)).contains(&took), "{took:?}");
    let looks = world.attic().looks.len();
    assert!(looks < 200, "{looks} looks in ten minutes are too many");
}

#[tokio::test(start_paused = true)]
async fn what_a_person_must_mend_is_not_tried_again() {
    let world = World::default();
    let refused = TargetError::rejected("changing it", "permission denied");
    world.attic().apply_errors.insert("bottom".to_owned(), vec![refused; 9]);
    let begun = tokio::time::Instant::now();
    let report = report(&world, &chain()).await;
    assert_eq!(
        report.status().description,
        "failed: Thing/bottom: put b: changing it: permission denied (1 blocked by it)"
    );
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(world.attic().apply_errors["bottom"].len(), 8);
}

#[tokio::test(start_paused = true)]
async fn what_stays_unhealthy_blocks_what_needs_it() {
    let world = World::default();
    world.attic().stay_down.insert("bottom".to_owned());
    let report = report(&world, &chain()).await;
    assert_eq!(world.attic().writes, ["bottom=b"]);
    assert_eq!(
        report.status().description,
        "not healthy in time: Thing/bottom: it is down (1 blocked by it)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_succeeds_and_changes_nothing_is_a_failure() {
    let world = World::default();
    world.attic().ignored.insert("bottom".to_owned());
    let report = report(&world, &chain()).await;
    assert!(matches!(report.outcomes[&id("bottom")], Outcome::Failed { .. }));
    assert_eq!(world.attic().writes.len(), 3);
}

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
    assert!(matches!(report.outcomes[&id("old")], Outcome::Applied(_)));
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
async fn a_secret_that_changes_before_it_is_used_is_planned_again() {
    let world = World::default();
    world.attic().secrets = vec!["one".to_owned(), "two".to_owned()];
    let desired =
        desired(&[("a", json!({ "value": "a", "secret": { "vault": "kv/a", "key": "key" } }), &[])]);
    let report = report(&world, &desired).await;
    assert!(report.converged(), "{report:?}");
    assert_eq!(world.attic().writes, ["a=a"], "the value of the first read was never applied");
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_says_what_to_write() {
    let world = World::default();
    world.attic().secrets = vec!["one".to_owned()];
    let desired =
        desired(&[("a", json!({ "value": "a", "secret": { "vault": "kv/a", "key": "wrong" } }), &[])]);
    let report = report(&world, &desired).await;
    let text = report.status().description;
    assert!(text.contains("`kv/a` has no key `wrong`; write it to vault"), "{text}");
    assert_eq!(world.attic().writes, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn changes_at_once_are_bounded() {
    let world = World::default();
    world.attic().change_takes = Duration::from_secs(1);
    let names: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
    let many: Vec<_> =
        names.iter().map(|name| (name.as_str(), json!({ "value": "x" }), [].as_slice())).collect();
    let report = report(&world, &desired(&many)).await;
    assert!(report.converged());
    assert_eq!(world.attic().largest_concurrency, 16);
}

#[tokio::test(start_paused = true)]
async fn a_preview_changes_nothing() {
    let world = World::default();
    let (engine, _) = engine(&world);
    let plan = preview(&engine, &environment(), &chain()).await;
    assert_eq!(plan.items.len(), 2);
    assert_eq!(world.attic().writes, Vec::<String>::new());
}
