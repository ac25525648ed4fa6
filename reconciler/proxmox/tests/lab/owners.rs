//! Whose a guest is: marks of others, copied marks, adoption.

use holdfast_core::kind::{Owner, Scope, Seen, StepResult};
use holdfast_core::plan::{Action, Hold};
use holdfast_lab::proxmox::{GuestView, MachineSeed};
use serde_json::json;

use crate::manifests::{small, whole, with};
use crate::world::{Lab, NAME, Rest, furnished, mark, name, tags, uuid};

/// A guest that somebody made by hand.
fn by_hand(vmid: u32, called: &str) -> MachineSeed {
    MachineSeed::new(vmid, called, "pve1", 16)
        .set("cores", "2")
        .set("memory", "2048")
        .set("agent", "enabled=0")
}

#[tokio::test]
async fn a_guest_with_somebody_elses_mark_is_never_touched() {
    let uuid = "0a0b0c0d-0000-4000-8000-000000000001";
    for who in ["cabin/core/VirtualMachine/kube01", "home/kubernetes/VirtualMachine/kube01"] {
        let notes = format!("theirs\nholdfast: {who}@101/{uuid}");
        let seed = by_hand(101, NAME).set("description", &notes).set("smbios1", &format!("uuid={uuid}"));
        let lab = Lab::with(furnished().machine(seed)).await;
        let before = lab.guest(101);
        let (done, rest) = lab.go(NAME, &whole()).await;
        assert_eq!(done, Vec::<String>::new());
        assert_eq!(rest.why(), format!("it is managed by `{who}`"));
        assert_eq!(lab.guest(101), before);
        assert_eq!(lab.farewell(NAME, true).await, Action::Keep, "nor removed");
    }
}

#[tokio::test]
async fn a_mark_of_another_name_is_managed_under_that_name() {
    let lab = Lab::start().await;
    assert_eq!(lab.converge("old", &small(101)).await.1, Rest::Settled);
    let before = lab.guest(101);
    let (done, rest) = lab.go("new", &with(101, &json!({ "cores": 8 }))).await;
    assert_eq!((done.len(), rest.why()), (0, "it is managed as `VirtualMachine/old`".to_owned()));
    assert_eq!(lab.guest(101), before);
}

#[tokio::test]
async fn a_name_keeps_its_guest_when_its_number_changes() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let (done, rest) = lab.go(NAME, &small(102)).await;
    assert_eq!((done.len(), rest.why()), (0, "it is vm 101, which cannot become vm 102".to_owned()));
    assert_eq!(lab.guests(), [101]);
}

#[tokio::test]
async fn a_clone_that_somebody_made_of_our_guest_is_nobodys_and_told() {
    let lab = Lab::start().await;
    assert_eq!(lab.converge(NAME, &whole()).await.1, Rest::Settled);
    let original = lab.guest(101);
    let copied = |key: &str| original.config[key].clone();
    lab.pve.add(
        by_hand(150, "Copy-of-VM-kube01")
            .set("description", &copied("description"))
            .set("tags", &copied("tags")),
    );
    let look = lab.look(Scope::All, &[(NAME, whole())]).await;
    assert_eq!(look.seen.len(), 1, "it is no orphan of ours");
    assert_eq!(look.incomplete, None);
    assert_eq!(look.notices.len(), 1);
    assert!(look.notices[0].starts_with("vm 150 carries a mark that was copied"), "{:?}", look.notices);
    let look = lab.look(Scope::All, &[]).await;
    assert_eq!(look.seen.keys().map(ToString::to_string).collect::<Vec<_>>(), [NAME], "101 alone is ours");
    // Declared, it is held until a person takes the mark out.
    let spec = with(150, &json!({ "cores": 4 }));
    let before = lab.guest(150);
    let rest = lab.go("copy", &spec).await.1;
    assert!(rest.why().contains("a mark that was copied"), "{rest:?}");
    assert_eq!(lab.guest(150), before);
}

#[tokio::test]
async fn lines_of_ours_without_a_mark_are_of_no_account() {
    let lab = Lab::start().await;
    assert_eq!(lab.converge(NAME, &whole()).await.1, Rest::Settled);
    let original = lab.guest(101);
    // A clone by hand of which somebody took the mark out, as the notice says, and nothing else.
    let notes = original.config["description"].lines();
    let notes: Vec<&str> = notes.filter(|line| !line.starts_with("holdfast: ")).collect();
    let seed = by_hand(150, "copy").set("agent", "1").set("tags", "kubernetes;theirs");
    lab.pve.add(seed.set("description", &notes.join("\n")));
    lab.pve.power_on(150).unwrap();
    let spec = with(150, &json!({ "agent": true }));
    assert_eq!(lab.converge("copy", &spec).await.1, Rest::Settled);
    let copy = lab.guest(150);
    let pinned = |guest: &GuestView| {
        let line =
            guest.config["description"].lines().find_map(|line| line.strip_prefix("holdfast-host-key: "));
        line.map(ToOwned::to_owned)
    };
    assert!(pinned(&copy).is_some());
    assert_ne!(
        pinned(&copy),
        pinned(&original),
        "the key of the guest that it was copied from is not its own"
    );
    assert!(!copy.config["description"].contains("holdfast-password"), "nobody set one here");
    assert_eq!(
        tags(&copy),
        ["holdfast", "kubernetes", "theirs"],
        "no manifest of this guest ever had these tags"
    );
}

#[tokio::test]
async fn a_guest_of_nobody_that_is_as_wanted_is_marked_and_nothing_else() {
    let lab =
        Lab::with(furnished().machine(by_hand(101, NAME).set("tags", "mine").set("description", "by hand")))
            .await;
    lab.pve.power_on(101).unwrap();
    let before = lab.guest(101);
    let spec = with(
        101,
        &json!({
            "disk": { "slot": "scsi0", "size": "16GiB", "storage": "ceph" }, "network": { "bridge": "vmbr0" },
            "tags": ["mine"], "description": "by hand", "node": "pve2",
        }),
    );
    assert_eq!(lab.farewell(NAME, true).await, Action::Keep, "what was never marked is never removed");
    let (done, rest) = lab.converge(NAME, &spec).await;
    assert_eq!((done, rest), (vec!["mark vm 101 as managed by Holdfast".to_owned()], Rest::Settled));
    lab.is_settled(NAME, &spec).await;
    let after = lab.guest(101);
    let besides = |guest: &GuestView| {
        let config = guest.config.iter().filter(|(key, _)| !matches!(key.as_str(), "description" | "tags"));
        config.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
    };
    assert_eq!((besides(&after), after.boots, &after.disks), (besides(&before), before.boots, &before.disks));
    assert_eq!(tags(&after), ["holdfast", "mine"]);
    assert!(after.config["description"].starts_with("by hand\n\nholdfast: home/core/VirtualMachine/"));
    assert!(
        matches!(lab.farewell(NAME, false).await, Action::Hold(Hold::TooRisky(_))),
        "it is told when it goes"
    );
    // Somebody empties the notes: it is marked again.
    lab.write(101, &[("description", "by hand")]).await;
    assert_eq!(lab.converge(NAME, &spec).await.0, ["mark vm 101 as managed by Holdfast"]);
    lab.is_settled(NAME, &spec).await;
}

#[tokio::test]
async fn adoption_marks_with_the_first_change_and_keeps_what_is_others() {
    let seed =
        by_hand(101, NAME).set("tags", "Theirs;b").set("description", "by hand  \n").set("onboot", "0");
    let lab = Lab::with(furnished().machine(seed)).await;
    lab.pve.power_on(101).unwrap();
    let before = lab.guest(101);
    let spec = with(101, &json!({ "onBoot": true }));
    assert!(matches!(lab.next(NAME, &spec).await, Action::Adopt(_)));
    let (done, rest) = lab.go(NAME, &spec).await;
    assert_eq!((done, rest), (vec!["set onBoot of vm 101".to_owned()], Rest::Settled));
    let after = lab.guest(101);
    assert_eq!(after.config["onboot"], "1");
    let notes = format!("by hand\n\nholdfast: home/core/VirtualMachine/kube01@101/{}", uuid(&after));
    assert_eq!(after.config["description"], notes);
    assert_eq!(tags(&after), ["b", "holdfast", "theirs"]);
    for key in ["net0", "scsi0", "smbios1", "name", "boot", "cpu"] {
        assert_eq!(after.config[key], before.config[key], "{key}");
    }
    lab.is_settled(NAME, &spec).await;
}

#[tokio::test]
async fn a_guest_of_nobody_is_adopted_under_its_own_name_alone() {
    for called in ["windows", "kube01x", "x.kube01"] {
        let lab = Lab::with(furnished().machine(by_hand(101, called))).await;
        let before = lab.guest(101);
        let (done, rest) = lab.go(NAME, &whole()).await;
        assert_eq!(done, Vec::<String>::new());
        let Rest::Held(Hold::Refused(refusal)) = rest else { panic!("{rest:?}") };
        assert_eq!(refusal.why, format!("vm 101 is nobody's and called `{called}`, not `kube01`"));
        assert!(refusal.ways_out[1].contains("qm set 101 --name kube01"), "{:?}", refusal.ways_out);
        assert_eq!(lab.guest(101), before);
    }
    for called in ["kube01", "KUBE01", "kube01.home.lan"] {
        let lab = Lab::with(furnished().machine(by_hand(101, called))).await;
        assert_eq!(lab.converge(NAME, &with(101, &json!({ "cores": 3 }))).await.1, Rest::Settled);
        let guest = lab.guest(101);
        assert_eq!((guest.name.as_str(), mark(&guest).is_some()), (called, true));
    }
}

#[tokio::test]
async fn environments_leave_each_others_guests_alone() {
    let lab = Lab::start().await;
    let other = lab.of("kubernetes");
    assert_eq!(lab.converge("a", &small(101)).await.1, Rest::Settled);
    assert_eq!(other.converge("a", &small(102)).await.1, Rest::Settled);
    for (lab, vmid) in [(&lab, 101), (&other, 102)] {
        let look = lab.look(Scope::All, &[]).await;
        let Some(Seen::Present { state, owner: Owner::Ours(_) }) = look.seen.get(&name("a")) else {
            panic!()
        };
        assert_eq!((state["vmid"].as_u64(), look.seen.len()), (Some(vmid), 1));
        assert_eq!((look.incomplete, look.notices), (None, Vec::new()));
    }
}

#[tokio::test]
async fn what_is_acted_on_is_marked_before() {
    let lab = Lab::with(furnished().machine(by_hand(101, NAME))).await;
    let spec = with(101, &json!({ "disk": { "slot": "scsi0", "size": "20GiB" } }));
    let (done, rest) = lab.converge(NAME, &spec).await;
    assert_eq!(
        done,
        ["mark vm 101 as managed by Holdfast", "grow scsi0 of vm 101 to 20 GiB", "start vm 101"]
    );
    assert_eq!(rest, Rest::Settled);
    lab.converge(NAME, &with(101, &json!({ "running": false }))).await;
    assert_ne!(lab.farewell(NAME, true).await, Action::Keep, "it is ours since");
}

#[tokio::test]
async fn a_step_that_comes_late_does_nothing_to_whoever_took_the_number() {
    let cloud =
        |user: &str| with(101, &json!({ "cloudInit": { "user": user }, "restart": "allowed", "cores": 4 }));
    let reboot = with(101, &json!({ "restart": "allowed", "cores": 4 }));
    let off = with(101, &json!({ "running": false }));
    // What it was, what it is to become, whether a turn comes before the step, and whether the other one runs.
    let steps = [
        (small(101), off.clone(), false, true),
        (off, small(101), false, false),
        (small(101), reboot, true, true),
    ];
    for (before, after, turns, running) in steps {
        let lab = Lab::start().await;
        lab.converge(NAME, &before).await;
        if turns {
            lab.turn(NAME, &after).await.unwrap();
        }
        let late = lab.next(NAME, &after).await;
        lab.pve.power_off(101).unwrap();
        lab.pve.remove(101).unwrap();
        lab.pve.add(MachineSeed::new(101, "precious", "pve1", 100));
        if running {
            lab.pve.power_on(101).unwrap();
        }
        let theirs = lab.guest(101);
        lab.wire.reset();
        let results = lab.apply(NAME, &late).await;
        let [StepResult::Failed(error)] = results.as_slice() else { panic!("{late:?}: {results:?}") };
        assert!(error.is_unavailable() && error.to_string().contains("another guest"), "{error}");
        assert_eq!(lab.guest(101), theirs);
        assert_eq!(lab.wire.writes(), []);
    }
    // The image is made anew by the step after the write that marks.
    let lab = Lab::start().await;
    lab.converge(NAME, &cloud("ops")).await;
    let (done, rest) = lab.converge(NAME, &cloud("root")).await;
    assert!(done.iter().any(|step| step.contains("cloud-init drive of vm 101 anew")), "{done:?}");
    assert_eq!(rest, Rest::Settled);
}
