//! What one run promises, over a world in memory on a paused clock.

use std::sync::Arc;
use std::time::Duration;

use crate::world::{World, commit, desired, engine, environment, id};
use holdfast_core::desired::{Desired, Place, Resource};
use holdfast_core::ident::ResourceId;
use holdfast_core::kind::{Owner, TargetError};
use holdfast_core::plan::{Action, Hold};
use holdfast_core::report::{Outcome, Report};
use holdfast_engine::Engine;
use holdfast_engine::ports::Epoch;
use holdfast_engine::run::{End, Job, Why, preview, run};
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub(crate) async fn report(world: &World, desired: &Desired) -> Report {
    let (engine, _) = engine(world);
    report_of(&engine, job(desired, Why::Commit)).await
}

pub(crate) fn job(desired: &Desired, why: Why) -> Job {
    Job {
        environment: environment(),
        commit: commit('a'),
        desired: Arc::new(desired.clone()),
        epoch: Epoch(0),
        why,
        drift: why == Why::Drift,
        past: Arc::default(),
    }
}

pub(crate) async fn report_of(engine: &Engine, job: Job) -> Report {
    match run(engine, &job, &CancellationToken::new()).await.unwrap() {
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
    // `top` can be asked for once it is known what it stands on.
    assert_eq!(world.attic().looks, [("All".to_owned(), 1), ("Only".to_owned(), 1)]);
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
    assert_eq!(report.status().description, "held: Thing/a: it is forbidden; do not (2 blocked by it)");
}

#[tokio::test(start_paused = true)]
async fn what_another_environment_settles_meanwhile_is_settled() {
    let world = World::default();
    let mut desired = desired(&[
        ("own", json!({ "value": "o" }), &[]),
        ("theirs", json!({ "value": "t" }), &[]),
        ("top", json!({ "value": "t" }), &["theirs"]),
    ]);
    desired.resources.get_mut(&id("theirs")).unwrap().borrowed = true;
    let hidden = TargetError::rejected("looking at it", "it cannot be seen");
    world.attic().unseen.insert("theirs".to_owned(), hidden);
    world.attic().change_takes = Duration::from_secs(2);
    let theirs = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.attic().unseen.clear();
        world.put("theirs", "t", Owner::Ours(id("theirs")));
    };
    let (report, ()) = tokio::join!(report(&world, &desired), theirs);
    assert!(report.converged(), "{report:?}");
    assert_eq!(world.attic().writes, ["own=o", "top=t"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_is_waited_for() {
    let world = World::default();
    world.attic().apply_errors.insert("bottom".to_owned(), vec![unavailable(); 5]);
    let report = report(&world, &chain()).await;
    assert!(report.converged());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stays_away_is_given_up_when_its_retries_are_spent_and_holds_nobody_else() {
    let world = World::default();
    world.attic().unseen.insert("a".to_owned(), unavailable());
    let desired = desired(&[("a", json!({ "value": "a" }), &[]), ("b", json!({ "value": "b" }), &[])]);
    let begun = tokio::time::Instant::now();
    let report = report(&world, &desired).await;
    assert_eq!(world.attic().writes, ["b=b"]);
    assert_eq!(report.status().description, "out of reach: Thing/a: changing it: connection refused");
    let took = begun.elapsed();
    assert!(took < Duration::from_mins(11), "{took:?}");
    let looks = world.attic().looks.len();
    assert!((10..=15).contains(&looks), "{looks} looks: ten retries, and those of the other thing");
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
        "failed: Thing/bottom: changing it: permission denied (1 blocked by it)"
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
    assert_eq!(
        report.status().description,
        "held: Thing/a: reading the secret kv/a#wrong: there is no such key; write it to vault, or correct the reference"
    );
    assert_eq!(world.attic().writes, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_drifts_while_another_is_waited_for_is_seen_before_success() {
    let world = World::default();
    world.put("quick", "q", Owner::Ours(id("quick")));
    world.put("slow", "s", Owner::Ours(id("slow")));
    world.state("slow", |state| state.up = false);
    let desired = desired(&[("quick", json!({ "value": "q" }), &[]), ("slow", json!({ "value": "s" }), &[])]);
    let running = tokio::spawn({
        let world = world.clone();
        async move { report(&world, &desired).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.state("quick", |state| state.value = "drifted".to_owned());
    world.state("slow", |state| state.up = true);
    let report = running.await.unwrap();
    assert!(report.converged(), "{report:?}");
    assert_eq!(world.attic().writes, ["quick=q"], "success without a look at the whole would be a guess");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_changes_back_is_given_up() {
    let world = World::default();
    world.attic().fought_over.insert("bottom".to_owned());
    let chain = chain();
    let ended = tokio::time::timeout(Duration::from_secs(30), report(&world, &chain)).await;
    let report = ended.expect("a run always ends");
    assert_eq!(
        report.status().description,
        "failed: Thing/bottom: put b: it succeeded 3 times, and is still to be done; does \
         somebody else change it back? (1 blocked by it)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_never_stays_is_given_up() {
    let world = World::default();
    world.attic().secrets = (0..5_000).map(|n| n.to_string()).collect();
    let desired =
        desired(&[("a", json!({ "value": "a", "secret": { "vault": "kv/a", "key": "key" } }), &[])]);
    let report = report(&world, &desired).await;
    assert!(!report.converged());
    let left = world.attic().secrets.len();
    assert!(left > 4_500, "{left} of 5000 left: it is read again and again, without a pause");
}

/// A wanted thing, and one of another environment that it needs.
fn borrowing() -> (Desired, ResourceId) {
    let theirs = ResourceId::parse_in(&environment(), "cellar/Thing/theirs").unwrap();
    let mut desired = desired(&[("ours", json!({ "value": "o" }), &[])]);
    desired.resources.get_mut(&id("ours")).unwrap().needs.insert(theirs.clone());
    let resource = Resource {
        id: theirs.clone(),
        spec: json!({ "value": "t" }),
        needs: std::collections::BTreeSet::new(),
        borrowed: true,
        declared: Place::default(),
    };
    desired.resources.insert(theirs.clone(), resource);
    desired.order.insert(0, theirs.clone());
    (desired, theirs)
}

#[tokio::test(start_paused = true)]
async fn what_another_environment_has_to_do_is_waited_for() {
    let world = World::default();
    let (desired, theirs) = borrowing();
    let running = tokio::spawn({
        let (world, desired) = (world.clone(), desired.clone());
        async move { report(&world, &desired).await }
    });
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.attic().writes, Vec::<String>::new());
    world.put("theirs", "t", Owner::Ours(theirs));
    let converged = running.await.unwrap();
    assert_eq!(converged.status().description, "converged: 1 resource, 1 changed");
    assert_eq!(world.attic().writes, ["ours=o"]);

    world.put("ours", "drifted", Owner::Ours(id("ours")));
    world.attic().things.retain(|name, _| name.as_str() != "theirs");
    assert_eq!(
        report(&world, &desired).await.status().description,
        "not healthy in time: cellar/Thing/theirs: it does not exist yet (1 blocked by it)"
    );
}

#[tokio::test(start_paused = true)]
async fn what_nothing_waits_for_is_the_other_environments_business() {
    let world = World::default();
    let (desired, theirs) = borrowing();
    world.put("ours", "o", Owner::Ours(id("ours")));
    world.put("theirs", "drifted", Owner::Ours(theirs));
    let begun = tokio::time::Instant::now();
    assert_eq!(report(&world, &desired).await.status().description, "converged: 1 resource");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(world.attic().writes, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn every_hold_is_told_also_of_what_is_blocked_anyhow() {
    let world = World::default();
    let desired = desired(&[
        ("a", json!({ "value": "forbidden" }), &[]),
        ("b", json!({ "value": "forbidden" }), &["a"]),
        ("c", json!({ "value": "c" }), &["b"]),
    ]);
    let report = report(&world, &desired).await;
    assert!(matches!(report.outcomes[&id("b")], Outcome::Held(Hold::Refused(_))), "{report:?}");
    assert_eq!(report.status().description, "held: Thing/a: it is forbidden; do not (+1, 1 blocked)");
}

#[tokio::test(start_paused = true)]
async fn a_full_look_asks_for_everything_even_for_what_refers_to_its_own_kind() {
    let world = World::default();
    world.put("bottom", "b", Owner::Nobody);
    world.put("top", "t", Owner::Nobody);
    world.state("top", |state| state.on = Some("b".to_owned()));
    let (engine, _) = engine(&world);
    let plan = preview(&engine, &environment(), &chain()).await;
    assert!(plan.items.iter().all(|item| item.action == Action::Keep), "{plan:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_over_one_resource_stops_only_what_needs_it() {
    let world = World::default();
    world.attic().poison.insert("bottom".to_owned());
    let mut desired = chain();
    desired.resources.extend(self::desired(&[("other", json!({ "value": "o" }), &[])]).resources);
    desired.order.push(id("other"));
    let report = report(&world, &desired).await;
    assert_eq!(world.attic().writes, ["other=o"]);
    assert_eq!(
        report.status().description,
        "failed: Thing/bottom: converging it: internal error: it panicked; see the service's log (1 blocked by it)"
    );
}

#[tokio::test(start_paused = true)]
async fn what_had_to_wait_for_its_turn_has_its_full_time() {
    let world = World::default();
    world.attic().change_takes = Duration::from_mins(6);
    world.attic().apply_errors.insert("n32".to_owned(), vec![unavailable()]);
    let names: Vec<String> = (0..33).map(|n| format!("n{n:02}")).collect();
    let many: Vec<_> =
        names.iter().map(|name| (name.as_str(), json!({ "value": "x" }), [].as_slice())).collect();
    let report = report(&world, &desired(&many)).await;
    assert!(report.converged(), "{:?}", report.status());
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
