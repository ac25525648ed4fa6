//! A guest that is there, and a manifest that changes.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::kind::{Health, Scope, Seen};
use holdfast_core::plan::{Action, Hold};
use holdfast_lab::proxmox::{CONVERGE_GUESTS, MachineSeed, NoHost};
use serde_json::{Value, json};

use crate::manifests::{PASSWORD, small, whole, with};
use crate::world::{Lab, NAME, Rest, SECRET, furnished, mac, name, tags};

#[tokio::test]
async fn what_needs_a_restart_is_set_and_held_unless_a_restart_is_allowed() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let more = json!({ "cores": 4, "memory": "4GiB" });
    let (done, rest) = lab.go(NAME, &with(101, &more)).await;
    assert_eq!(done, ["set cores and memory of vm 101; held then, until a restart applies cores and memory"]);
    let Rest::Held(Hold::Refused(refusal)) = rest else { panic!("{rest:?}") };
    assert_eq!(refusal.why, "vm 101 needs a restart to apply `cores` and `memory`");
    assert_eq!(
        (lab.guest(101).boots, lab.guest(101).config["cores"].as_str()),
        (1, "2"),
        "nothing restarts unasked"
    );
    lab.wire.reset();
    lab.go(NAME, &with(101, &more)).await;
    assert_eq!(lab.wire.writes(), [], "a hold writes nothing");
    // A crash between the write and the reboot: the next process sees what is pending, and goes on.
    let mut allowed = with(101, &more);
    allowed["restart"] = json!("allowed");
    let (done, rest) = lab.reborn().converge(NAME, &allowed).await;
    assert_eq!((done[0].as_str(), rest), ("reboot vm 101 to apply cores and memory", Rest::Settled));
    let guest = lab.guest(101);
    assert_eq!(
        (guest.boots, guest.config["cores"].as_str(), guest.config["memory"].as_str()),
        (2, "4", "4096")
    );
    assert_eq!(guest.pending.len(), 0);
    lab.is_settled(NAME, &allowed).await;
}

#[tokio::test]
async fn a_guest_that_its_reboot_leaves_off_for_a_moment_comes_up_once() {
    for pause in [20, 60, 150] {
        let lab = Lab::start().await;
        lab.converge(NAME, &small(101)).await;
        let spec = with(101, &json!({ "cores": 4, "restart": "allowed" }));
        lab.turn(NAME, &spec).await.unwrap();
        // The node starts it by itself this long after the reboot's task has ended. Who is first does not matter.
        lab.pve.set_task_time(Duration::from_millis(pause));
        let (done, rest) = lab.converge(NAME, &spec).await;
        assert_eq!((done[0].as_str(), rest), ("reboot vm 101 to apply cores", Rest::Settled), "{done:?}");
        assert!(done.iter().skip(1).all(|step| step == "start vm 101"), "{done:?}");
        assert!(lab.pve.idle(Duration::from_secs(10)).await);
        assert_eq!((lab.guest(101).boots, lab.guest(101).running), (2, true), "after {pause} ms");
    }
}

#[tokio::test]
async fn a_guest_that_boots_is_neither_settled_nor_healthy() {
    let lab = Lab::with(furnished().host(Arc::new(NoHost::new(Duration::from_millis(400))))).await;
    let spec = |cores: u32| with(101, &json!({ "cores": cores, "agent": true, "restart": "allowed" }));
    assert_eq!(lab.converge(NAME, &spec(2)).await.1, Rest::Settled);
    let (done, rest) = lab.go(NAME, &spec(4)).await;
    assert_eq!(done.last().map(String::as_str), Some("reboot vm 101 to apply cores"));
    let Rest::Waits(why) = rest else { panic!("{rest:?}") };
    assert!(why.starts_with("vm 101 boots: its guest agent does not answer yet"), "{why}");
    for scope in [Scope::Only, Scope::All] {
        let look = lab.look(scope, &[(NAME, spec(4))]).await;
        let Seen::Present { state, .. } = &look.seen[&name(NAME)] else { panic!("{look:?}") };
        assert_ne!((lab.kind.info().health)(state), Health::Healthy, "{scope:?}");
    }
    assert_eq!(lab.converge(NAME, &spec(4)).await.1, Rest::Settled);
}

#[tokio::test]
async fn a_restart_by_somebody_else_lifts_the_hold() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let spec = with(101, &json!({ "cores": 4 }));
    assert!(matches!(lab.go(NAME, &spec).await.1, Rest::Held(_)));
    lab.pve.power_off(101).unwrap();
    assert_eq!(lab.go(NAME, &spec).await, (vec!["start vm 101".to_owned()], Rest::Settled));
    lab.is_settled(NAME, &spec).await;
}

#[tokio::test]
async fn what_others_left_pending_reboots_nothing() {
    let lab = Lab::start().await;
    let spec = with(101, &json!({ "restart": "allowed", "disk": { "slot": "scsi0", "size": "16GiB" } }));
    lab.converge(NAME, &spec).await;
    let disk = lab.guest(101).config["scsi0"].clone();
    lab.write(101, &[("cpu", "host"), ("scsi0", &format!("{disk},discard=on")), ("numa", "1")]).await;
    let pending: Vec<String> = lab.guest(101).pending.keys().cloned().collect();
    assert_eq!(pending, ["cpu", "numa", "scsi0"]);
    lab.is_settled(NAME, &spec).await;
    assert_eq!(lab.guest(101).boots, 1);
}

#[tokio::test]
async fn a_disk_grows_while_the_guest_runs_and_never_shrinks() {
    let lab = Lab::start().await;
    let disk = |size: &str| with(101, &json!({ "disk": { "slot": "scsi0", "size": size } }));
    lab.converge(NAME, &disk("16GiB")).await;
    let volume = lab.guest(101).disks["scsi0"].clone();
    let (done, rest) = lab.go(NAME, &disk("20GiB")).await;
    assert_eq!((done, rest), (vec!["grow scsi0 of vm 101 to 20 GiB".to_owned()], Rest::Settled));
    let grown = lab.guest(101).disks["scsi0"].clone();
    assert_eq!(
        (grown.bytes, grown.birth, grown.volume),
        (20 << 30, volume.birth, volume.volume),
        "the same disk"
    );
    lab.wire.reset();
    let rest = lab.go(NAME, &disk("16GiB")).await.1;
    assert_eq!(rest.why(), "the disk would shrink from 20 GiB to 16 GiB");
    assert_eq!(lab.wire.writes(), []);
    let rest = lab.go(NAME, &with(101, &json!({ "disk": { "slot": "scsi1", "size": "16GiB" } }))).await.1;
    assert!(rest.why().contains("no disk at scsi1"), "{rest:?}");
    assert_eq!(lab.wire.writes(), [], "no disk is ever allocated into a slot");
    lab.nothing_was_destroyed();
}

#[tokio::test]
async fn tags_of_others_stay_and_a_declared_one_goes_with_its_line() {
    let lab = Lab::start().await;
    let spec = |tags: &[&str]| with(101, &json!({ "tags": tags }));
    lab.converge(NAME, &spec(&["a", "b"])).await;
    lab.pve.set_config(101, "tags", "a;b;holdfast;theirs");
    lab.is_settled(NAME, &spec(&["a", "b"])).await;
    assert_eq!(lab.go(NAME, &spec(&["b", "c"])).await.1, Rest::Settled);
    assert_eq!(tags(&lab.guest(101)), ["b", "c", "holdfast", "theirs"]);
    // Somebody takes ours away, and one that is declared.
    lab.pve.set_config(101, "tags", "theirs");
    assert_eq!(lab.go(NAME, &spec(&["b", "c"])).await.1, Rest::Settled);
    assert_eq!(tags(&lab.guest(101)), ["b", "c", "holdfast", "theirs"]);
    assert_eq!(lab.go(NAME, &small(101)).await.1, Rest::Settled);
    assert_eq!(tags(&lab.guest(101)), ["holdfast", "theirs"]);
}

#[tokio::test]
async fn tags_are_compared_as_the_datacenter_keeps_them() {
    let lab = Lab::start().await;
    lab.converge(NAME, &with(101, &json!({ "tags": ["z", "a"] }))).await;
    for (case, order) in [(true, "config"), (false, "config"), (true, "alphabetical")] {
        lab.pve.set_tag_style(case, order);
        lab.pve.set_config(101, "tags", "z;holdfast;a;Theirs");
        lab.is_settled(NAME, &with(101, &json!({ "tags": ["z", "a"] }))).await;
        assert_eq!(lab.go(NAME, &with(101, &json!({ "tags": ["z", "b"] }))).await.1, Rest::Settled);
        let guest = lab.guest(101);
        let theirs = if case { "Theirs" } else { "theirs" };
        assert!(tags(&guest).contains(&theirs), "{:?}", tags(&guest));
        assert_eq!(lab.go(NAME, &with(101, &json!({ "tags": ["z", "a"] }))).await.1, Rest::Settled);
    }
}

/// A guest with a password and nothing else of cloud-init.
fn with_password(version: u64, digest: &str) -> Value {
    let stamp = json!({ "version": version, "digest": digest });
    with(
        101,
        &json!({ "cloudInit": { "password": { "vault": "kv/guests", "key": "console", "stamp": stamp } } }),
    )
}

#[tokio::test]
async fn a_password_is_set_once_and_again_when_it_was_rotated() {
    let lab = Lab::start().await;
    let first = with_password(1, "0011");
    assert_eq!(lab.converge(NAME, &first).await.1, Rest::Settled);
    let set = lab.guest(101).config["cipassword"].clone();
    assert!(set.starts_with("$5$"));
    lab.is_settled(NAME, &first).await;
    // Another version with the same value is no change.
    lab.is_settled(NAME, &with_password(2, "0011")).await;
    let (done, rest) = lab.go(NAME, &with_password(3, "2233")).await;
    assert_eq!(rest, Rest::Settled);
    assert_eq!(done[0], "set password of vm 101");
    let rotated = lab.guest(101).config["cipassword"].clone();
    assert_ne!(rotated, set);
    let seed = lab.guest(101).seed.expect("there is a drive");
    assert!(
        seed.user_data.contains(&rotated),
        "the drive of a guest that runs is written anew: {}",
        seed.user_data
    );
    lab.is_settled(NAME, &with_password(3, "2233")).await;
    assert_eq!(lab.go(NAME, &small(101)).await.1, Rest::Settled);
    assert!(!lab.guest(101).config.contains_key("cipassword"), "what we set we take back");
    // The value went into bodies alone.
    for seen in lab.wire.requests() {
        assert!(!seen.uri.contains("hunter2"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_password_is_in_nothing_that_people_read() {
    let lab = Lab::start().await;
    let look = lab.look(Scope::Only, &[(NAME, whole())]).await;
    assert!(!format!("{look:?}").contains(PASSWORD));
    lab.pve.fail_task_next("qmconfig", "hotplug problem - nothing to say");
    let action = lab.next(NAME, &whole()).await;
    lab.apply(NAME, &action).await;
    let action = lab.next(NAME, &whole()).await;
    let Action::Update(steps) = &action else { panic!("{action:?}") };
    assert!(steps[0].secrets.len() == 1 && !serde_json::to_string(steps).unwrap().contains(PASSWORD));
    let results = lab.apply(NAME, &action).await;
    assert!(format!("{results:?}").contains("hotplug problem") && !format!("{results:?}").contains(PASSWORD));
}

#[tokio::test]
async fn notes_and_keys_survive_their_way_there_and_back() {
    let lab = Lab::start().await;
    let texts = [
        "plain",
        "größer als 100 %: %41 %0A ; & = + # \"'\\ 日本 🙂",
        "# heading\n\n- one\n- two\n\n\ttabbed\n\nholdon: not ours",
        "  indented\n\n\nlines   \nwith blanks at their ends  ",
    ];
    for text in texts {
        let spec = with(101, &json!({ "description": text }));
        assert_eq!(lab.converge(NAME, &spec).await.1, Rest::Settled, "{text}");
        assert!(lab.guest(101).config["description"].starts_with(text.trim_end()), "{text}");
        lab.is_settled(NAME, &spec).await;
    }
    let keys =
        ["ssh-ed25519 AAAAC3Nz+/a+b== ä%20ö@x;y&z=1+1", "sk-ssh-ed25519@openssh.com AAAAG c'o(m)m*e~n!t"];
    let spec = with(101, &json!({ "cloudInit": { "sshKeys": keys } }));
    assert_eq!(lab.converge(NAME, &spec).await.1, Rest::Settled);
    let seed = lab.guest(101).seed.expect("there is a drive");
    for key in keys {
        assert!(seed.user_data.contains(&format!("  - {key}\n")), "{}", seed.user_data);
    }
    lab.is_settled(NAME, &spec).await;
    // Without a description in the manifest, what people write is theirs.
    let written = format!("by hand\n{}", lab.guest(101).config["description"]);
    lab.pve.set_config(101, "description", &written);
    lab.is_settled(NAME, &spec).await;
    assert_eq!(lab.converge(NAME, &with(101, &json!({ "tags": ["x"] }))).await.1, Rest::Settled);
    assert!(lab.guest(101).config["description"].starts_with("by hand\n"));
}

#[tokio::test]
async fn a_network_card_is_plugged_elsewhere_while_the_guest_runs() {
    let lab = Lab::start().await;
    let net =
        |bridge: &str, vlan: Value| with(101, &json!({ "network": { "bridge": bridge, "vlan": vlan } }));
    lab.converge(NAME, &net("vmbr0", json!(20))).await;
    let born = mac(&lab.guest(101));
    let value = lab.guest(101).config["net0"].clone();
    lab.write(101, &[("net0", &format!("{value},firewall=1,mtu=1400"))]).await;
    lab.is_settled(NAME, &net("vmbr0", json!(20))).await;
    assert_eq!(lab.go(NAME, &net("vmbr1", json!(30))).await.1, Rest::Settled);
    let guest = lab.guest(101);
    assert_eq!((mac(&guest), guest.boots), (born, 1));
    for part in ["virtio=", "bridge=vmbr1", "tag=30", "firewall=1", "mtu=1400"] {
        assert!(guest.config["net0"].contains(part), "{part}: {}", guest.config["net0"]);
    }
}

#[tokio::test]
async fn a_change_that_takes_in_part_is_gone_on_with() {
    let lab = Lab::start().await;
    lab.converge(NAME, &whole()).await;
    lab.pve.break_key(101, "net0", Some("error on hot-plugging net0"));
    let mut spec = whole();
    spec["network"] = json!({ "bridge": "vmbr2" });
    spec["tags"] = json!(["kubernetes", "more"]);
    let (_, rest) = lab.go(NAME, &spec).await;
    assert!(rest.why().contains("hotplug problem - error on hot-plugging net0"), "{rest:?}");
    assert_eq!(lab.guest(101).pending.keys().map(String::as_str).collect::<Vec<_>>(), ["net0"]);
    assert!(tags(&lab.guest(101)).contains(&"more"), "the rest took");
    // What is pending is as wanted, and waits for a restart.
    let rest = lab.go(NAME, &spec).await.1;
    assert_eq!(rest.why(), "vm 101 needs a restart to apply `net0`");
    lab.pve.break_key(101, "net0", None);
    spec["restart"] = json!("allowed");
    assert_eq!(lab.converge(NAME, &spec).await.1, Rest::Settled);
    assert!(lab.guest(101).config["net0"].contains("bridge=vmbr2"));
}

#[tokio::test]
async fn power_follows_the_manifest_and_a_guest_that_does_not_listen_is_left_running() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let off = with(101, &json!({ "running": false }));
    assert_eq!(lab.go(NAME, &off).await, (vec!["shut down vm 101".to_owned()], Rest::Settled));
    lab.is_settled(NAME, &off).await;
    assert_eq!(lab.go(NAME, &small(101)).await.1, Rest::Settled);
    lab.pve.ignore_shutdown(101, Duration::from_millis(50));
    let rest = lab.go(NAME, &off).await.1;
    assert!(rest.why().contains("shut it down from inside, or stop it by hand"), "{rest:?}");
    assert!(lab.guest(101).running && !rest.is_tried_again());
}

#[tokio::test]
async fn a_write_that_fails_half_way_is_made_again_and_nothing_in_it_is_taken_for_done() {
    let rights: Vec<&str> =
        CONVERGE_GUESTS.iter().copied().filter(|right| *right != "VM.Config.CDROM").collect();
    let template = MachineSeed::new(9001, "bare", "pve1", 8).without_cloud_init().template();
    let builder = furnished().machine(template).token("less@pve!main", SECRET, &rights);
    let lab = Lab::with(builder).await.through("less@pve!main");
    let mut spec = with_password(1, "0011");
    spec["template"] = json!(9001);
    spec["tags"] = json!(["web"]);
    spec["description"] = json!("first");
    let (_, rest) = lab.converge(NAME, &spec).await;
    assert!(rest.why().contains("the token lacks `VM.Config.CDROM` on `/vms/101`"), "{rest:?}");
    assert!(lab.guest(101).pending.contains_key("description"), "what was written first is left pending");
    lab.pve.grant("/vms", "less@pve", CONVERGE_GUESTS, true);
    lab.pve.grant("/vms", "less@pve!main", CONVERGE_GUESTS, true);
    assert_eq!(lab.reborn().converge(NAME, &spec).await.1, Rest::Settled);
    let guest = lab.guest(101);
    assert!(
        guest.config.contains_key("cipassword"),
        "its stamp stands in the notes, so it must have been set"
    );
    assert_eq!((tags(&guest), guest.pending.len()), (vec!["holdfast", "web"], 0));
    lab.is_settled(NAME, &spec).await;
}
