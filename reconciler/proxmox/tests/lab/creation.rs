//! From nothing to settled, and who else may be at a number.

use holdfast_core::kind::{Scope, Seen};
use holdfast_core::plan::Action;
use holdfast_lab::proxmox::{MachineSeed, TaskMode};
use serde_json::json;

use crate::manifests::{small, whole, with};
use crate::world::{Lab, NAME, Rest, furnished, mac, mark, name, tags, uuid};

#[tokio::test]
async fn a_guest_comes_up_whole_and_a_second_look_writes_nothing() {
    let lab = Lab::start().await;
    let (done, rest) = lab.converge(NAME, &whole()).await;
    assert_eq!(rest, Rest::Settled);
    assert_eq!(
        done,
        [
            "clone template 9000 to vm 101 on pve1, storage local-lvm",
            "set cores, memory, network, onBoot, user, sshKeys, address, nameservers, searchDomain, password and tags of vm 101",
            "grow scsi0 of vm 101 to 16 GiB",
            "start vm 101",
            "pin the SSH host key of vm 101 as the guest agent reads it",
        ]
    );
    lab.is_whole();
    assert_eq!(lab.guest(101).boots, 1);
    lab.is_settled(NAME, &whole()).await;
}

#[tokio::test]
async fn the_mac_of_the_clone_stays_over_all_writes() {
    let lab = Lab::start().await;
    let spec = whole();
    assert_eq!(lab.turn(NAME, &spec).await.unwrap().len(), 1, "the clone");
    let born = mac(&lab.guest(101));
    lab.converge(NAME, &spec).await;
    assert_eq!(mac(&lab.guest(101)), born);
    let moved = with(
        101,
        &json!({ "network": { "bridge": "vmbr0" }, "agent": true, "restart": "allowed", "cores": 4 }),
    );
    assert_eq!(lab.converge(NAME, &moved).await.1, Rest::Settled);
    let guest = lab.guest(101);
    assert_eq!(mac(&guest), born);
    assert!(guest.config["net0"].contains("bridge=vmbr0") && !guest.config["net0"].contains("tag="));
}

#[tokio::test]
async fn what_a_template_says_of_itself_does_not_leak() {
    let template = MachineSeed::new(9001, "marked", "pve1", 8).template().set("tags", "holdfast;secret").set(
        "description",
        "base\nholdfast: home/core/VirtualMachine/kube01@9001/0000\nholdfast-tags: secret",
    );
    let lab = Lab::with(furnished().machine(template)).await;
    let spec = with(101, &json!({ "template": 9001 }));
    assert_eq!(lab.converge(NAME, &spec).await.1, Rest::Settled);
    let guest = lab.guest(101);
    assert_eq!(tags(&guest), ["holdfast"]);
    let notes = format!("holdfast: home/core/VirtualMachine/kube01@101/{}", uuid(&guest));
    assert_eq!(guest.config["description"], notes);
}

#[tokio::test]
async fn a_guest_for_another_node_is_cloned_on_shared_storage() {
    let template = MachineSeed::new(9001, "shared", "pve1", 8).storage("ceph").template();
    let lab = Lab::with(furnished().machine(template)).await;
    let spec = with(101, &json!({ "node": "pve2", "template": 9001 }));
    assert_eq!(lab.converge(NAME, &spec).await.1, Rest::Settled);
    assert_eq!(lab.guest(101).node, "pve2");
    let rest = lab.converge("local", &with(102, &json!({ "node": "pve2" }))).await.1;
    assert!(rest.why().contains("make the guest on the template's node"), "{rest:?}");
    assert_eq!(lab.guests(), [101]);
}

#[tokio::test]
async fn a_stranger_who_takes_the_number_first_is_not_touched() {
    let lab = Lab::start().await;
    let spec = whole();
    let create = lab.next(NAME, &spec).await;
    assert!(matches!(create, Action::Create(_)));
    lab.pve.add(MachineSeed::new(101, "windows", "pve2", 40).set("description", "by hand"));
    let before = lab.guest(101);
    let results = lab.apply(NAME, &create).await;
    let holdfast_core::kind::StepResult::Failed(error) = &results[0] else { panic!("{results:?}") };
    assert!(error.is_unavailable(), "the next look tells whose it is: {error}");
    let (done, rest) = lab.converge(NAME, &spec).await;
    assert_eq!(done, Vec::<String>::new());
    assert!(rest.why().contains("101") && rest.why().contains("`windows`"), "{rest:?}");
    assert_eq!(lab.guest(101), before);
    assert_eq!(lab.wire.writes(), []);
}

#[tokio::test]
async fn a_stranger_who_is_faster_than_the_clone_itself_is_not_touched() {
    let lab = Lab::start().await;
    let pve = lab.pve.clone();
    // After all that is checked before, and before the clone is asked for.
    lab.wire.watch(move |seen, moment| {
        if seen.uri.ends_with("/9000/clone")
            && moment == holdfast_lab::http::Moment::Before
            && pve.guest(101).is_none()
        {
            pve.add(MachineSeed::new(101, "windows", "pve2", 40));
        }
    });
    let (done, rest) = lab.converge(NAME, &whole()).await;
    assert_eq!(done, Vec::<String>::new());
    assert!(rest.why().contains("`windows`"), "{rest:?}");
    let guest = lab.guest(101);
    assert_eq!((guest.node.as_str(), mark(&guest), guest.boots), ("pve2", None, 0));
    lab.nothing_was_destroyed();
}

#[tokio::test]
async fn a_container_at_the_number_is_told_and_left() {
    let lab = Lab::with(furnished().container(101, "dns", "pve1")).await;
    let (done, rest) = lab.converge(NAME, &whole()).await;
    assert_eq!(done, Vec::<String>::new());
    assert!(rest.why().contains("101 is a container (dns): declare a number that is free"), "{rest:?}");
    assert_eq!(lab.wire.writes(), []);
}

#[tokio::test]
async fn two_clones_of_one_number_make_one_guest() {
    let lab = Lab::start().await;
    let spec = small(101);
    let create = lab.next(NAME, &spec).await;
    lab.pve.next_task("qmclone", TaskMode::Hold);
    // A process that is cut off after it asked; the one after it looks, and sees a guest that is being made.
    lab.wire.fail_next(|seen| seen.uri.ends_with("/clone"), holdfast_lab::http::Fault::CutAfter);
    let results = lab.apply(NAME, &create).await;
    assert!(matches!(&results[0], holdfast_core::kind::StepResult::Failed(error) if error.is_unavailable()));
    let again = lab.reborn();
    let (done, rest) = again.go(NAME, &spec).await;
    assert_eq!((done.len(), rest), (0, Rest::Waits("vm 101 is locked (clone)".to_owned())));
    // One that acts on an old look makes none either.
    let results = again.apply(NAME, &create).await;
    assert!(matches!(&results[0], holdfast_core::kind::StepResult::Failed(error) if error.is_unavailable()));
    lab.pve.release_tasks();
    assert_eq!(again.converge(NAME, &spec).await.1, Rest::Settled);
    assert_eq!(lab.guests(), [101]);
    lab.nothing_was_destroyed();
}

#[tokio::test]
async fn what_cannot_be_made_is_told_before_anything_is_asked() {
    let lab = Lab::with(
        furnished().machine(MachineSeed::new(300, "plain", "pve1", 8)).container(301, "ct", "pve1"),
    )
    .await;
    lab.pve.resolve("printer");
    let cases = [
        (json!({ "template": 9999 }), "there is no template 9999"),
        (json!({ "template": 300 }), "vm 300 is no template"),
        (json!({ "template": 301 }), "301 is a container"),
        (json!({ "node": "pve9" }), "there is no node `pve9`: declare one of `pve1`, `pve2`"),
        (json!({ "node": "printer" }), "there is no node `printer`"),
        (json!({ "disk": { "slot": "scsi0", "size": "4GiB" } }), "cannot shrink to 4 GiB"),
        (json!({ "disk": { "slot": "virtio0", "size": "16GiB" } }), "no disk at virtio0"),
        (json!({ "disk": { "slot": "scsi0", "size": "16GiB", "storage": "nas" } }), "no storage `nas`"),
    ];
    for (more, text) in cases {
        let (done, rest) = lab.go(NAME, &with(101, &more)).await;
        assert_eq!(done, Vec::<String>::new());
        assert!(rest.why().contains(text) && !rest.is_tried_again(), "{text}: {rest:?}");
    }
    assert_eq!(lab.wire.writes(), []);
    let look = lab.look(Scope::All, &[(NAME, with(101, &json!({ "node": "printer" })))]).await;
    assert!(
        matches!(&look.seen[&name(NAME)], Seen::Unknown(error) if error.to_string().contains("no node `printer`"))
    );
}
