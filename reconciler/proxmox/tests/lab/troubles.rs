//! What goes wrong on the way: tasks that fail, locks, a full storage, no quorum, others who are faster.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::kind::StepResult;
use holdfast_core::plan::Action;
use holdfast_lab::http::Fault;
use holdfast_lab::proxmox::{MachineSeed, NoHost, StorageSeed, TaskMode};
use serde_json::json;

use crate::manifests::{small, whole, with};
use crate::world::{Lab, NAME, Rest, furnished};

#[track_caller]
fn unavailable(results: &[StepResult]) -> String {
    match &results[0] {
        StepResult::Failed(error) if error.is_unavailable() => error.to_string(),
        other => panic!("it is not tried again: {other:?}"),
    }
}

#[tokio::test]
async fn warnings_are_success_and_told() {
    let lab = Lab::start().await;
    for kind in ["qmclone", "qmconfig", "resize", "qmstart"] {
        lab.pve.next_task(kind, TaskMode::Warn);
    }
    let create = lab.next(NAME, &whole()).await;
    let results = lab.apply(NAME, &create).await;
    let [StepResult::Done { warning: Some(warning) }] = results.as_slice() else { panic!("{results:?}") };
    assert!(warning.contains("something was not as it should be"), "{warning}");
    assert_eq!(lab.converge(NAME, &whole()).await.1, Rest::Settled);
    lab.is_whole();
}

#[tokio::test]
async fn a_task_on_another_node_is_followed_there() {
    let lab = Lab::start().await;
    for kind in ["qmclone", "qmconfig"] {
        lab.pve.next_task(kind, TaskMode::OnNode("pve2".to_owned()));
    }
    assert_eq!(lab.converge(NAME, &whole()).await.1, Rest::Settled);
    lab.is_whole();
}

#[tokio::test]
async fn locks_that_time_out_are_tried_again() {
    let texts = [
        "can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout",
        "clone failed: cfs-lock 'storage-local-lvm' error: got lock request timeout",
        "clone failed: can't lock file '/var/lock/pve-manager/pve-storage-local-lvm' - got timeout",
        "'storage-local-lvm'-locked command timed out - aborting",
        "interrupted by signal",
    ];
    for text in texts {
        let lab = Lab::start().await;
        lab.pve.fail_task_next("qmclone", text);
        let rest = lab.go(NAME, &whole()).await.1;
        assert!(rest.is_tried_again() && rest.why().contains("lock") || text.contains("signal"), "{rest:?}");
        assert_eq!(lab.converge(NAME, &whole()).await.1, Rest::Settled, "{text}");
        assert_eq!(lab.guests(), [101]);
    }
    let lab = Lab::start().await;
    for vmid in [9000, 101] {
        lab.pve.time_out_flock(vmid, 2);
    }
    assert_eq!(lab.converge(NAME, &whole()).await.1, Rest::Settled);
    lab.is_whole();
}

#[tokio::test]
async fn a_full_storage_is_told_with_a_way_out_and_leaves_nothing_behind() {
    let thin = furnished()
        .storage(StorageSeed::new("small", "zfspool", 10))
        .machine(MachineSeed::new(9001, "debian", "pve1", 8).storage("small").template());
    let lab = Lab::with(thin).await;
    let before = lab.pve.world().volumes;
    // Told before: the copy alone does not fit.
    let spec = with(
        101,
        &json!({ "template": 9001, "disk": { "slot": "scsi0", "size": "16GiB", "storage": "small" } }),
    );
    let rest = lab.go(NAME, &spec).await.1;
    assert!(rest.why().contains("left, and the clone takes 8 GiB"), "{rest:?}");
    assert_eq!(lab.wire.writes(), []);
    // Told by the task, where nothing names the storage.
    let rest = lab.go(NAME, &with(101, &json!({ "template": 9001 }))).await.1;
    assert!(rest.why().contains("the storage is full") && !rest.is_tried_again(), "{rest:?}");
    assert!(rest.why().contains("free space on the storage"), "{rest:?}");
    assert_eq!((lab.guests(), lab.pve.world().volumes), (Vec::new(), before));
    lab.pve.set_storage_free("small", 40 << 30);
    assert_eq!(lab.converge(NAME, &spec).await.1, Rest::Settled);
}

#[tokio::test]
async fn a_step_that_fails_for_good_is_told_once_and_not_tried_again() {
    let lab = Lab::start().await;
    lab.pve.fail_task_next("qmstart", "start failed: QEMU exited with code 1");
    let (_, rest) = lab.go(NAME, &small(101)).await;
    assert!(!rest.is_tried_again(), "{rest:?}");
    assert_eq!(rest.why(), "starting vm 101: start failed: QEMU exited with code 1");
    assert_eq!(lab.converge(NAME, &small(101)).await.1, Rest::Settled);
}

#[tokio::test]
async fn a_locked_guest_is_waited_for_and_never_unlocked() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let spec = with(101, &json!({ "onBoot": true }));
    let update = lab.next(NAME, &spec).await;
    lab.pve.lock(101, "backup");
    unavailable(&lab.apply(NAME, &update).await);
    lab.wire.reset();
    assert_eq!(lab.go(NAME, &spec).await, (Vec::new(), Rest::Waits("vm 101 is locked (backup)".to_owned())));
    assert_eq!(lab.farewell(NAME, true).await, Action::Wait("vm 101 is locked (backup)".to_owned()));
    assert_eq!(lab.wire.writes(), []);
    lab.pve.unlock(101);
    assert_eq!(lab.go(NAME, &spec).await.1, Rest::Settled);
}

#[tokio::test]
async fn a_task_that_a_crash_left_behind_is_waited_for() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let spec = with(101, &json!({ "disk": { "slot": "scsi0", "size": "16GiB" } }));
    let grow = lab.next(NAME, &spec).await;
    lab.pve.next_task("resize", TaskMode::Hold);
    lab.wire.fail_next(|seen| seen.uri.ends_with("/resize"), Fault::CutAfter);
    unavailable(&lab.apply(NAME, &grow).await);
    let again = lab.reborn();
    assert_eq!(
        again.go(NAME, &spec).await,
        (Vec::new(), Rest::Waits("the task resize works on vm 101".to_owned()))
    );
    lab.pve.release_tasks();
    assert_eq!(again.converge(NAME, &spec).await, (Vec::new(), Rest::Settled));
    assert_eq!(lab.guest(101).disks["scsi0"].bytes, 16 << 30);
}

#[tokio::test]
async fn without_quorum_everything_is_read_and_nothing_written() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    lab.pve.set_quorate(false);
    assert_eq!(lab.go(NAME, &small(101)).await, (Vec::new(), Rest::Settled), "reads work");
    for (of, spec) in [(NAME, with(101, &json!({ "onBoot": true }))), ("new", small(102))] {
        let (done, rest) = lab.go(of, &spec).await;
        assert!(done.is_empty() && rest.is_tried_again() && rest.why().contains("no quorum"), "{rest:?}");
    }
    let before = lab.guest(101);
    let farewell = lab.farewell(NAME, true).await;
    assert!(unavailable(&lab.apply(NAME, &farewell).await).contains("no quorum"));
    assert_eq!(lab.guest(101), before);
    lab.pve.set_quorate(true);
    assert_eq!(lab.converge("new", &small(102)).await.1, Rest::Settled);
}

#[tokio::test]
async fn what_somebody_changed_meanwhile_is_not_overwritten() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let spec = with(101, &json!({ "disk": { "slot": "scsi0", "size": "16GiB" }, "onBoot": true }));
    for _ in ["the configuration", "the disk"] {
        let update = lab.next(NAME, &spec).await;
        lab.pve.set_config(101, "balloon", &format!("{}", 512 + lab.wire.requests().len()));
        assert!(unavailable(&lab.apply(NAME, &update).await).contains("checksum mismatch"));
        lab.turn(NAME, &spec).await.unwrap();
    }
    assert_eq!(lab.go(NAME, &spec).await.1, Rest::Settled);
    assert!(lab.guest(101).config.contains_key("balloon"));
}

#[tokio::test]
async fn a_guest_that_migrates_between_look_and_change_is_found_again() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let steps = [
        with(101, &json!({ "onBoot": true })),
        with(101, &json!({ "onBoot": true, "disk": { "slot": "scsi0", "size": "16GiB" } })),
        with(101, &json!({ "running": false })),
    ];
    let mut nodes = ["pve2", "pve1"].into_iter().cycle();
    for spec in steps {
        let update = lab.next(NAME, &spec).await;
        let node = nodes.next().unwrap();
        lab.pve.migrate(101, node);
        unavailable(&lab.apply(NAME, &update).await);
        assert_eq!(lab.converge(NAME, &spec).await.1, Rest::Settled);
        assert_eq!(lab.guest(101).node, node, "where it runs is its own affair");
    }
    assert_eq!(lab.guests(), [101]);
    let farewell = lab.farewell(NAME, true).await;
    lab.pve.migrate(101, "pve1");
    unavailable(&lab.apply(NAME, &farewell).await);
    assert_eq!(lab.guests(), [101]);
}

#[tokio::test]
async fn a_guest_that_migrates_between_list_and_read_is_unknown_and_not_absent() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let pve = lab.pve.clone();
    lab.wire.watch(move |seen, _| {
        if seen.uri.ends_with("/qemu/101/pending") {
            pve.migrate(101, "pve2");
        }
    });
    let rest = lab.go(NAME, &small(101)).await.1;
    assert!(rest.is_tried_again() && rest.why().contains("does not exist"), "{rest:?}");
    assert_eq!(lab.converge(NAME, &small(101)).await, (Vec::new(), Rest::Settled));
}

#[tokio::test]
async fn a_guest_of_the_ha_manager_is_given_time() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    lab.pve.set_ha(101, true);
    assert_eq!(lab.go(NAME, &small(101)).await, (Vec::new(), Rest::Settled));
    // Switching it off only files a request; it is filed once, and then waited for.
    let off = with(101, &json!({ "running": false }));
    let (done, rest) = lab.go(NAME, &off).await;
    assert_eq!(
        (done, rest.why()),
        (vec!["shut down vm 101".to_owned()], "the HA manager stops vm 101".to_owned())
    );
    lab.pve.power_off(101).unwrap();
    assert_eq!(lab.go(NAME, &off).await, (Vec::new(), Rest::Settled));
    let (done, rest) = lab.go(NAME, &small(101)).await;
    assert_eq!(
        (done, rest.why()),
        (vec!["start vm 101".to_owned()], "the HA manager starts vm 101".to_owned())
    );
    lab.pve.power_on(101).unwrap();
    assert_eq!(lab.go(NAME, &small(101)).await, (Vec::new(), Rest::Settled));
}

#[tokio::test]
async fn an_agent_that_is_silent_is_waited_for_and_never_long() {
    let never = NoHost::new(Duration::from_hours(1));
    let lab = Lab::with(furnished().host(Arc::new(never))).await;
    lab.pve.set_delays(Duration::from_millis(1), Duration::from_millis(1), Duration::from_hours(1));
    let spec = with(101, &json!({ "agent": true }));
    let (done, rest) = lab.go(NAME, &spec).await;
    assert_eq!(done.last().map(String::as_str), Some("start vm 101"));
    let Rest::Waits(what) = &rest else { panic!("{rest:?}") };
    assert!(what.contains("does not tell its SSH host key yet (no answer within 6 s)"), "{what}");
}
