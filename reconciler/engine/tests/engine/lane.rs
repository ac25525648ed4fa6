//! What a lane promises: the newest commit wins, and every commit gets its word.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::memory::Memory;
use crate::world::{World, commit, desired, engine, environment, id};
use holdfast_core::desired::Desired;
use holdfast_core::kind::{Owner, TargetError};
use holdfast_engine::lane::{Goal, Wanted, lane};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

fn wanted(digit: char, desired: Desired) -> Goal {
    Goal::Converge(Wanted { commit: commit(digit), desired: Arc::new(desired), begun: BTreeSet::new() })
}

/// Lets the lane work until `done` says so, for an hour of its clock at most.
async fn until(done: impl Fn() -> bool) {
    for _ in 0..36_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it did not happen within an hour");
}

#[tokio::test(start_paused = true)]
async fn a_newer_commit_stops_the_older_run_at_a_safe_point() {
    let world = World::default();
    world.attic().change_takes = Duration::from_secs(10);
    let (engine, memory) = engine(&world);
    let older = desired(&[("a", json!({ "value": "1" }), &[]), ("b", json!({ "value": "1" }), &["a"])]);
    let newer = desired(&[("a", json!({ "value": "2" }), &[]), ("b", json!({ "value": "2" }), &["a"])]);
    let (sender, receiver) = watch::channel(wanted('a', older));
    let shutdown = CancellationToken::new();
    let running =
        tokio::spawn(lane(engine, environment(), receiver, watch::channel(None).0, shutdown.clone()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    sender.send_replace(wanted('b', newer));
    until(|| memory.statuses_of(&commit('b')).len() == 1).await;
    assert_eq!(memory.statuses_of(&commit('a')), ["error: superseded by bbbbbbb"]);
    assert_eq!(memory.statuses_of(&commit('b')), ["success: converged: 2 resources, 2 changed"]);
    assert_eq!(
        world.attic().writes,
        ["a=1", "a=2", "b=2"],
        "what was begun was finished, and nothing more of it"
    );
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failure_becomes_success_when_the_outage_ends() {
    let world = World::default();
    world.attic().unseen.insert("a".to_owned(), TargetError::unavailable("looking", "connection refused"));
    let (engine, memory) = engine(&world);
    let (_sender, receiver) = watch::channel(wanted('a', desired(&[("a", json!({ "value": "1" }), &[])])));
    let shutdown = CancellationToken::new();
    let running =
        tokio::spawn(lane(engine, environment(), receiver, watch::channel(None).0, shutdown.clone()));
    until(|| !memory.statuses_of(&commit('a')).is_empty()).await;
    world.attic().unseen.clear();
    until(|| memory.statuses_of(&commit('a')).len() == 2).await;
    assert_eq!(
        memory.statuses_of(&commit('a')),
        [
            "error: out of reach: Thing/a: looking: connection refused",
            "success: converged: 1 resource, 1 changed"
        ]
    );
    assert_eq!(memory.kept.lock().unwrap().get(&environment()), Some(&commit('a')));
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_poison_commit_is_said_to_be_one_and_the_next_one_runs() {
    let world = World::default();
    let (engine, memory) = engine(&world);
    let on = json!({ "ref": "Thing/a", "output": "value" });
    let poison = desired(&[
        ("a", json!({ "value": "poison" }), &[]),
        ("b", json!({ "value": "1", "on": on }), &["a"]),
    ]);
    let (sender, receiver) = watch::channel(wanted('a', poison));
    let shutdown = CancellationToken::new();
    let running =
        tokio::spawn(lane(engine, environment(), receiver, watch::channel(None).0, shutdown.clone()));
    until(|| !memory.statuses_of(&commit('a')).is_empty()).await;
    assert!(memory.statuses_of(&commit('a'))[0].starts_with("error: internal error"));
    sender.send_replace(wanted('b', desired(&[("b", json!({ "value": "1" }), &[])])));
    until(|| !memory.statuses_of(&commit('b')).is_empty()).await;
    assert!(memory.statuses_of(&commit('b'))[0].starts_with("success"));
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_service_finishes_what_was_begun_and_says_nothing_final() {
    let world = World::default();
    world.attic().change_takes = Duration::from_secs(10);
    let (engine, memory) = engine(&world);
    let chain = desired(&[("a", json!({ "value": "1" }), &[]), ("b", json!({ "value": "1" }), &["a"])]);
    let (_sender, receiver) = watch::channel(wanted('a', chain));
    let shutdown = CancellationToken::new();
    let running =
        tokio::spawn(lane(engine, environment(), receiver, watch::channel(None).0, shutdown.clone()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(world.attic().writes, ["a=1"]);
    assert_eq!(
        memory.statuses_of(&commit('a')),
        Vec::<String>::new(),
        "it stays pending, and the next start goes on"
    );
}

#[tokio::test(start_paused = true)]
async fn drift_is_corrected_without_a_word_on_the_commit() {
    let world = World::default();
    let (engine, memory) = engine(&world);
    let (_sender, receiver) = watch::channel(wanted('a', desired(&[("a", json!({ "value": "1" }), &[])])));
    let shutdown = CancellationToken::new();
    let running =
        tokio::spawn(lane(engine, environment(), receiver, watch::channel(None).0, shutdown.clone()));
    until(|| memory.reports.lock().unwrap().len() == 1).await;
    world.attic().things.values_mut().for_each(|(state, _)| state.value = "drifted".to_owned());
    until(|| memory.reports.lock().unwrap().len() == 2).await;
    assert_eq!(world.attic().writes, ["a=1", "a=1"]);
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_leaves_is_told_and_left_as_it_is() {
    let world = World::default();
    world.attic().change_takes = Duration::from_secs(10);
    let (engine, memory) = engine(&world);
    let (sender, receiver) = watch::channel(wanted('a', desired(&[("a", json!({ "value": "1" }), &[])])));
    let shutdown = CancellationToken::new();
    let running =
        tokio::spawn(lane(engine, environment(), receiver, watch::channel(None).0, shutdown.clone()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    sender.send_replace(Goal::Rest(commit('b')));
    until(|| !memory.statuses_of(&commit('a')).is_empty()).await;
    assert_eq!(memory.statuses_of(&commit('a')), ["error: superseded by bbbbbbb"]);
    assert_eq!(world.attic().writes, ["a=1"]);
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_slept_while_another_process_began_a_newer_commit_does_not_carry_out_the_old_one() {
    let world = World::default();
    let (engine, memory) = engine(&world);
    for digit in ['a', 'b'] {
        memory.push(commit(digit), &[]);
    }
    let (_sender, receiver) = watch::channel(wanted('a', desired(&[("a", json!({ "value": "1" }), &[])])));
    let shutdown = CancellationToken::new();
    let running =
        tokio::spawn(lane(engine, environment(), receiver, watch::channel(None).0, shutdown.clone()));
    until(|| memory.statuses_of(&commit('a')).len() == 1).await;
    // Another process has the environment for a while, and begins `b`.
    *memory.lease.lock().unwrap() = ("another".to_owned(), 7);
    *memory.begun.lock().unwrap() = Some(commit('b'));
    world.put("a", "2", Owner::Ours(id("a")));
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(world.attic().writes, ["a=1"]);
    shutdown.cancel();
    running.await.unwrap();
}

/// Runs a lane for a while over a world with an object of ours that no manifest declares, and gives the writes and what
/// was told of commit `a`.
async fn wakes(prepare: impl FnOnce(&Memory), begun: &[char]) -> (Vec<String>, Vec<String>) {
    let world = World::default();
    world.put("left", "1", Owner::Ours(id("left")));
    let (engine, memory) = engine(&world);
    for digit in ['a', 'b'] {
        memory.push(commit(digit), &[]);
    }
    prepare(&memory);
    let goal = Goal::Converge(Wanted {
        commit: commit('a'),
        desired: Arc::new(desired(&[("a", json!({ "value": "1" }), &[])])),
        begun: begun.iter().map(|digit| commit(*digit)).collect(),
    });
    let (_sender, receiver) = watch::channel(goal);
    let shutdown = CancellationToken::new();
    let running =
        tokio::spawn(lane(engine, environment(), receiver, watch::channel(None).0, shutdown.clone()));
    tokio::time::sleep(Duration::from_mins(1)).await;
    shutdown.cancel();
    running.await.unwrap();
    let writes = world.attic().writes.clone();
    (writes, memory.statuses_of(&commit('a')))
}

#[tokio::test(start_paused = true)]
async fn who_gets_an_environment_in_which_a_newer_commit_was_begun_leaves_it_alone() {
    let newer = |memory: &Memory| *memory.begun.lock().unwrap() = Some(commit('b'));
    assert_eq!(wakes(newer, &[]).await, (vec![], vec![]));
    // Where that was known when the commit was decided on, as after a rewind that the site allows, it is carried out.
    let (writes, _) = wakes(newer, &['b']).await;
    assert_eq!(writes, ["a=1", "left=-"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_life_removed_for_a_commit_counts_for_its_brake() {
    let removed = |names: &'static [&str]| {
        move |memory: &Memory| {
            let of = names.iter().map(|name| (commit('a'), id(name)));
            memory.removals.lock().unwrap().extend(of);
        }
    };
    let (writes, _) = wakes(removed(&["x", "y"]), &[]).await;
    assert_eq!(writes, ["a=1", "left=-"], "three may go");
    let (writes, told) = wakes(removed(&["x", "y", "z"]), &[]).await;
    assert_eq!(writes, ["a=1"]);
    let why = "4 of 5 Thing would be removed in one commit";
    assert!(told.last().is_some_and(|last| last.contains(why)), "{told:?}");
}
