//! What keeps a run from doing harm: the fence, the moment's restraint, doubt, and the retry budget.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::desired::{Desired, DriftMode};
use holdfast_core::kind::{Owner, TargetError};
use holdfast_core::plan::Hold;
use holdfast_core::report::{Outcome, Report};
use holdfast_engine::past::Past;
use holdfast_engine::run::{Job, Why};
use serde_json::json;

use crate::run::{job, report, report_of};
use crate::world::{World, desired, engine, id};

fn three(value: &str) -> Desired {
    desired(&["a", "b", "c"].map(|name| (name, json!({ "value": value }), [].as_slice())))
}

fn there(value: &str) -> World {
    let world = World::default();
    for name in ["a", "b", "c"] {
        world.put(name, value, Owner::Ours(id(name)));
    }
    world
}

fn held(report: &Report, name: &str) -> String {
    match &report.outcomes[&id(name)] {
        Outcome::Held(hold) => hold.reason(&report.environment),
        other => format!("not held: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_lease_writes_nothing_more() {
    let world = there("1");
    let (engine, memory) = engine(&world);
    world.attic().change_takes = Duration::from_secs(1);
    // Another process takes over while the first change is on its way.
    let lease = memory.clone();
    world.attic().before_change =
        Some(Box::new(move || *lease.lease.lock().unwrap() = ("another".to_owned(), 7)));
    let report = report_of(&engine, job(&three("2"), Why::Commit)).await;
    assert!(world.attic().writes.is_empty());
    assert!(!report.converged());
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_the_repository_changes_nothing_and_says_what_it_would() {
    let world = there("1");
    let mut wanted = three("2");
    wanted.pause = Some("the basement is under water".to_owned());
    let report = report(&world, &wanted).await;
    assert!(world.attic().writes.is_empty());
    assert_eq!(held(&report, "a"), "the site is paused: the basement is under water; would put 2");
    assert!(report.rests());
}

#[tokio::test(start_paused = true)]
async fn drift_is_only_reported_where_that_is_asked_for_and_a_commit_is_still_converged_to() {
    let world = there("1");
    let mut wanted = three("2");
    wanted.drift.mode = DriftMode::Report;
    let (engine, _) = engine(&world);
    let drifted = report_of(&engine, job(&wanted, Why::Drift)).await;
    assert_eq!(held(&drifted, "b"), "drift is only reported here; would put 2");
    assert!(world.attic().writes.is_empty());
    assert!(report_of(&engine, job(&wanted, Why::Commit)).await.converged());
    assert_eq!(world.attic().writes.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_everything_is_gone_is_doubted_until_somebody_pushes_again() {
    let world = there("1");
    let (engine, _) = engine(&world);
    world.attic().empty = true;
    let past = Arc::new(Mutex::new(Past::new(BTreeSet::from(["a", "b", "c"].map(id)))));
    let job = |digit| Job {
        past: past.clone(),
        commit: crate::world::commit(digit),
        ..job(&three("1"), Why::Drift)
    };
    let report = report_of(&engine, job('a')).await;
    assert!(world.attic().writes.is_empty());
    assert!(held(&report, "a").contains("none of the 3 that were here is there any more"), "{report:?}");
    assert!(!report_of(&engine, job('a')).await.converged());
    assert!(world.attic().writes.is_empty());
    world.attic().things.clear();
    world.attic().empty = false;
    assert!(report_of(&engine, job('b')).await.converged(), "they are really gone, and somebody pushed");
    assert_eq!(world.attic().writes.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_run_removed_itself_may_be_missing() {
    let world = there("1");
    let (engine, _) = engine(&world);
    let past = Arc::new(Mutex::new(Past::new(BTreeSet::from(["a", "b", "c"].map(id)))));
    let job = |digit, wanted: &Desired| Job {
        past: past.clone(),
        commit: crate::world::commit(digit),
        ..job(wanted, Why::Commit)
    };
    // The three leave, and something else keeps the commit from converging.
    let other = desired(&[("other", json!({ "value": "forbidden" }), &[])]);
    assert!(!report_of(&engine, job('a', &other)).await.converged());
    assert_eq!(world.attic().writes, ["a=-", "b=-", "c=-"]);
    // The revert makes them anew at once.
    assert!(report_of(&engine, job('b', &three("1"))).await.converged());
}

#[tokio::test(start_paused = true)]
async fn a_renamed_resource_is_not_touched() {
    let world = there("1");
    world.state("a", |state| state.value = "data".to_owned());
    let mut wanted = desired(&["new", "b", "c"].map(|name| (name, json!({ "value": "1" }), [].as_slice())));
    wanted.moved.insert(id("a"), id("new"));
    // The object is another one by its name here, so that the new name would have to be made.
    let report = report(&world, &wanted).await;
    assert!(held(&report, "new").contains("is `Thing/a`, which is another object"), "{report:?}");
    assert!(world.attic().writes.is_empty(), "and what it was does not go");
    // The same object under its new name, with the mark of the old.
    world.put("new", "1", Owner::Ours(id("a")));
    world.attic().things.remove(&id("a").name);
    let report = crate::run::report(&world, &wanted).await;
    assert!(report.converged(), "{report:?}");
    assert!(world.attic().writes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_unseen_keeps_everything_of_its_system_from_being_removed() {
    let world = there("1");
    world.put("left", "1", Owner::Ours(id("left")));
    world.attic().unseen.insert("b".to_owned(), TargetError::rejected("looking", "permission denied"));
    let report = report(&world, &three("1")).await;
    assert!(world.attic().writes.is_empty());
    assert!(held(&report, "left").contains("Thing/b could not be seen"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_there_and_cannot_be_seen_is_not_gone() {
    let world = there("1");
    let (engine, memory) = engine(&world);
    world.attic().outage = Some(TargetError::unavailable("looking", "connection refused"));
    let job = |known: &[&str], wanted: &Desired| Job {
        past: Arc::new(Mutex::new(Past::new(known.iter().map(|name| id(name)).collect()))),
        ..job(wanted, Why::Commit)
    };
    let nothing = desired(&[]);
    let report = report_of(&engine, job(&["a"], &nothing)).await;
    assert_eq!(
        report.status().description,
        "out of reach: Thing/a: whether it is still there is not known: looking: connection refused"
    );
    assert!(report_of(&engine, job(&[], &nothing)).await.converged(), "of that kind nothing was ever there");
    // What a run that was broken off may have made is no less known.
    let past = Arc::new(Mutex::new(Past::default()));
    let job_of = |wanted: &Desired| Job { past: past.clone(), ..job(&[], wanted) };
    assert!(!report_of(&engine, job_of(&three("1"))).await.converged());
    assert!(!report_of(&engine, job_of(&nothing)).await.converged());
    // Where it can be seen again, it goes like all others.
    world.attic().outage = None;
    let report = report_of(&engine, job(&["a"], &three("1"))).await;
    assert!(report.converged(), "{report:?}");
    assert!(memory.removals.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_protected_by_name_stays() {
    let world = there("1");
    world.put("left", "1", Owner::Ours(id("left")));
    let mut wanted = three("1");
    wanted.protect.insert(id("left"));
    let report = report(&world, &wanted).await;
    assert!(world.attic().writes.is_empty());
    assert!(matches!(&report.outcomes[&id("left")], Outcome::Held(Hold::TooRisky(_))));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_asked_about_no_more_than_a_tenth_more_often_than_health() {
    let looks = |outage: bool| async move {
        let world = there("1");
        let (engine, memory) = engine(&world);
        if outage {
            world.attic().outage = Some(TargetError::unavailable("looking", "connection refused"));
        }
        let goal = holdfast_engine::lane::Goal::Converge(holdfast_engine::lane::Wanted {
            commit: crate::world::commit('a'),
            desired: Arc::new(three("1")),
            begun: BTreeSet::new(),
        });
        let (_sender, receiver) = tokio::sync::watch::channel(goal);
        let shutdown = tokio_util::sync::CancellationToken::new();
        let working = tokio::sync::watch::channel(None).0;
        let lane = holdfast_engine::lane::lane(
            engine,
            crate::world::environment(),
            receiver,
            working,
            shutdown.clone(),
        );
        let running = tokio::spawn(lane);
        tokio::time::sleep(Duration::from_hours(24)).await;
        shutdown.cancel();
        running.await.unwrap();
        drop(memory);
        world.attic().looks.len()
    };
    let (healthy, outage) = (looks(false).await, looks(true).await);
    // Ten retries are saved up at the start.
    assert!(outage <= healthy * 11 / 10 + 11, "{outage} looks in a day without answers, {healthy} with");
    assert!(outage >= healthy * 9 / 10, "and no less: {outage} of {healthy}");
}
