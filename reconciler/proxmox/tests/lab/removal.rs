//! A guest that goes: only where it is ours, only where nothing protects it, and never another in its place.

use holdfast_core::kind::StepResult;
use holdfast_core::plan::{Action, Hold};
use holdfast_lab::http::{Fault, Moment};
use holdfast_lab::proxmox::{Event, MachineSeed, TaskMode};
use serde_json::json;

use crate::manifests::{small, whole, with};
use crate::world::{Lab, NAME, Rest, tags};

#[track_caller]
fn error(results: &[StepResult]) -> &holdfast_core::kind::TargetError {
    let failed = results.iter().find_map(|result| match result {
        StepResult::Failed(error) => Some(error),
        _ => None,
    });
    failed.unwrap_or_else(|| panic!("it did not fail: {results:?}"))
}

#[tokio::test]
async fn a_retired_guest_is_stopped_and_destroyed_with_its_disks_and_nothing_else() {
    let lab = Lab::start().await;
    lab.converge(NAME, &whole()).await;
    lab.converge("other", &small(102)).await;
    assert!(
        matches!(lab.farewell(NAME, false).await, Action::Hold(Hold::TooRisky(_))),
        "unless it is retired"
    );
    let farewell = lab.farewell(NAME, true).await;
    assert_eq!(lab.apply(NAME, &farewell).await, [StepResult::DONE, StepResult::DONE]);
    assert_eq!(lab.guests(), [102]);
    let volumes: Vec<String> = lab.pve.world().volumes.into_keys().collect();
    assert!(!volumes.iter().any(|volume| volume.contains("-101-")), "{volumes:?}");
    assert!(volumes.iter().any(|volume| volume.contains("base-9000-")), "{volumes:?}");
    assert_eq!(lab.farewell(NAME, true).await, Action::Keep);
}

#[tokio::test]
async fn what_proxmox_protects_is_not_destroyed() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let farewell = lab.farewell(NAME, true).await;
    lab.pve.set_config(101, "protection", "1");
    lab.wire.reset();
    let Action::Hold(Hold::Refused(refusal)) = lab.farewell(NAME, true).await else { panic!("it is held") };
    assert_eq!(refusal.why, "vm 101 is protected from removal");
    assert!(refusal.ways_out[0].contains("--protection 0"));
    assert_eq!(lab.wire.writes(), []);
    // Switched on after the look: nothing is even stopped.
    let results = lab.apply(NAME, &farewell).await;
    assert!(matches!(results.as_slice(), [StepResult::Failed(_), StepResult::NotRun]), "{results:?}");
    assert!(lab.guest(101).running);
    lab.nothing_was_destroyed();
}

#[tokio::test]
async fn a_guest_that_came_to_the_number_meanwhile_is_not_destroyed_in_its_place() {
    for running in [true, false] {
        let lab = Lab::start().await;
        lab.converge(NAME, &with(101, &json!({ "running": running }))).await;
        let farewell = lab.farewell(NAME, true).await;
        lab.pve.remove(101).unwrap();
        lab.pve.add(MachineSeed::new(101, "precious", "pve1", 100));
        lab.pve.power_on(101).unwrap();
        let before = lab.guest(101);
        lab.wire.reset();
        let results = lab.apply(NAME, &farewell).await;
        assert!(error(&results).is_unavailable(), "the next look tells: {results:?}");
        assert!(error(&results).to_string().contains("another guest"), "{results:?}");
        assert_eq!(lab.guest(101), before);
        assert_eq!(lab.wire.writes(), []);
        assert_eq!(lab.farewell(NAME, true).await, Action::Keep);
    }
}

#[tokio::test]
async fn a_guest_that_changes_hands_while_it_stops_is_not_destroyed() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let farewell = lab.farewell(NAME, true).await;
    let pve = lab.pve.clone();
    lab.wire.watch(move |seen, moment| {
        // Between the end of the first step and the second.
        if moment == Moment::After
            && seen.uri.contains("qmshutdown")
            && pve.guest(101).is_some_and(|it| !it.running)
        {
            pve.set_config(101, "description", "mine now");
        }
    });
    let results = lab.apply(NAME, &farewell).await;
    assert!(matches!(results.as_slice(), [StepResult::Done { .. }, StepResult::Failed(_)]), "{results:?}");
    assert_eq!(lab.guests(), [101]);
    lab.nothing_was_destroyed();
}

#[tokio::test]
async fn a_removal_that_breaks_anywhere_is_gone_on_with() {
    let places = [("/status/shutdown", "POST"), ("/qemu/101?", "DELETE")];
    for (place, method) in places {
        for fault in [Fault::CutBefore, Fault::CutAfter, Fault::Status(595)] {
            let lab = Lab::start().await;
            lab.converge(NAME, &whole()).await;
            let farewell = lab.farewell(NAME, true).await;
            lab.wire.fail_next(move |seen| seen.method == method && seen.uri.contains(place), fault);
            let results = lab.apply(NAME, &farewell).await;
            assert!(error(&results).is_unavailable(), "{place} {fault:?}: {results:?}");
            gone(&lab.reborn()).await;
        }
    }
    for kind in ["qmshutdown", "qmdestroy"] {
        for done in [true, false] {
            let lab = Lab::start().await;
            lab.converge(NAME, &whole()).await;
            let farewell = lab.farewell(NAME, true).await;
            lab.pve.next_task(kind, TaskMode::Lost { done });
            assert!(error(&lab.apply(NAME, &farewell).await).is_unavailable());
            gone(&lab.reborn()).await;
        }
    }
}

/// Goes on until it is gone, and nothing else is.
async fn gone(lab: &Lab) {
    for _ in 0..5 {
        assert!(lab.pve.idle(std::time::Duration::from_secs(10)).await);
        match lab.farewell(NAME, true).await {
            Action::Keep => break,
            farewell => drop(lab.apply(NAME, &farewell).await),
        }
    }
    assert_eq!(lab.guests(), Vec::<u32>::new());
    let world = lab.pve.world();
    assert_eq!(world.volumes.len(), 2, "the template's: {:?}", world.volumes);
    let destroyed = |event: &&Event| matches!(event, Event::Destroyed { .. });
    assert_eq!(world.history.iter().filter(destroyed).collect::<Vec<_>>(), [&Event::Destroyed { vmid: 101 }]);
}

#[tokio::test]
async fn a_list_that_lags_behind_makes_no_removal_a_failure_for_good() {
    let lab = Lab::start().await;
    lab.converge(NAME, &with(101, &json!({ "running": false }))).await;
    let farewell = lab.farewell(NAME, true).await;
    assert!(matches!(&farewell, Action::Delete(steps) if steps.len() == 1), "{farewell:?}");
    lab.pve.power_on(101).unwrap();
    let results = lab.apply(NAME, &farewell).await;
    assert!(error(&results).is_unavailable(), "the next look tells that it runs: {results:?}");
    assert_eq!(lab.guests(), [101]);
    gone(&lab).await;
}

#[tokio::test]
async fn a_guest_of_the_ha_manager_is_stopped_by_it_before_it_goes() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    lab.pve.set_ha(101, true);
    let farewell = lab.farewell(NAME, true).await;
    assert_eq!(lab.apply(NAME, &farewell).await, [StepResult::DONE], "a request was filed");
    assert_eq!(lab.farewell(NAME, true).await, Action::Wait("the HA manager stops vm 101".to_owned()));
    lab.pve.power_off(101).unwrap();
    gone(&lab).await;
}

#[tokio::test]
async fn a_guest_that_was_half_made_can_go_too() {
    let lab = Lab::start().await;
    // It has no tag before it is configured.
    lab.turn(NAME, &whole()).await.unwrap();
    assert_eq!(tags(&lab.guest(101)), ["debian", "packer"]);
    gone(&lab).await;
    assert_eq!(lab.converge(NAME, &whole()).await.1, Rest::Settled);
}
