//! What keeps a guest from harm: its mark comes first, it is up once it has booted, late steps touch no stranger.

use super::*;

#[test]
fn a_guest_of_nobody_is_marked_before_anything_is_done_to_it() {
    let mut world = cluster();
    world.add_guest(101, "pve1", "web", "scsi0", 4096);
    let mut client = Client::new(world);
    let want: Spec = serde_json::from_value(json!({
        "vmid": 101, "node": "pve1", "cores": 1, "memory": "1GiB", "disk": { "slot": "scsi0", "size": "8GiB" },
    }))
    .unwrap();
    assert_eq!(client.converge(Some(&want)), Next::Settled);
    assert_eq!(
        client.log,
        ["mark vm 101 as managed by Holdfast", "grow scsi0 of vm 101 to 8 GiB", "start vm 101"]
    );
    assert!(client.world.objects()["101"].mark.is_some());
}

#[test]
fn a_clone_that_was_never_configured_is_found_after_its_name_is_gone() {
    let mut client = Client::new(cluster());
    let want = spec(&json!({}));
    let Next::Do(steps) = client.next(Some(&want)) else { panic!() };
    client.world.perform(&realm(), &name(), &steps[0], &Secrets::default()).unwrap();
    client.sleep(30);
    assert!(client.world.guest(101).unwrap().tags().all(|tag| tag != "holdfast"));
    assert_eq!(client.converge(None), Next::Settled);
    assert!(client.world.guest(101).is_none());
}

#[test]
fn an_image_that_a_crash_left_old_is_written_anew() {
    for crash in 1..=3 {
        let mut client = Client::new(cluster());
        let cloud_init = |user: &str| spec(&json!({ "cloudInit": { "user": user } }));
        assert_eq!(client.converge(Some(&cloud_init("ops"))), Next::Settled);
        client.dies_after = Some(client.writes + crash);
        assert_eq!(client.converge(Some(&cloud_init("admin"))), Next::Settled);
        let content = client.world.objects()["101"].content.clone();
        assert!(content.contains("seed: as configured"), "after {crash}: {content}");
        assert!(!content.contains("seed-due"), "after {crash}: {content}");
    }
}

#[test]
fn a_guest_is_settled_and_healthy_once_it_has_booted() {
    let mut client = Client::new(cluster());
    let want = spec(&json!({}));
    client.converge(Some(&want));
    let at = json!({ "node": "pve1", "vmid": 101 });
    let reboot: Step = serde_json::from_value(json!({ "do": "reboot", "at": at, "pending": [] })).unwrap();
    client.world.perform(&realm(), &name(), &reboot, &Secrets::default()).unwrap();
    client.sleep(10);
    for scope in [Scope::Only, Scope::All] {
        let Seen::Present { state, .. } = client.seen(scope, Some(&want)) else { panic!() };
        assert!(matches!(VirtualMachine::health(&state), Health::Unhealthy(_)), "{scope:?}");
    }
    assert!(matches!(client.next(Some(&want)), Next::Wait(_)));
    assert_eq!(client.converge(Some(&want)), Next::Settled);
    assert!(client.world.objects()["101"].healthy);
}

#[test]
fn a_late_step_does_nothing_to_whoever_took_the_number() {
    let mut world = cluster();
    world.add_guest(101, "pve1", "precious", "scsi0", 4096);
    let at = json!({ "node": "pve1", "vmid": 101 });
    for step in [
        json!({ "do": "start", "at": at }),
        json!({ "do": "shutdown", "at": at, "force": false }),
        json!({ "do": "reboot", "at": at, "pending": [] }),
        json!({ "do": "regenerateCloudInit", "at": at }),
    ] {
        let before = world.objects();
        let step: Step = serde_json::from_value(step).unwrap();
        let error = world.perform(&realm(), &name(), &step, &Secrets::default()).unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("another guest"), "{error}");
        assert_eq!(world.objects(), before);
    }
}
