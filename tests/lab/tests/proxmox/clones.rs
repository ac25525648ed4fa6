//! Cloning: what is copied, what is new, what is refused, what a failure leaves.

use holdfast_lab::proxmox::{Event, MachineSeed, TaskMode};
use serde_json::json;

use super::Lab;

const CLONE: &str = "/nodes/pve1/qemu/9000/clone";

#[tokio::test]
async fn a_clone_copies_tags_and_notes_and_renews_what_identifies() {
    let lab = Lab::start().await;
    lab.pve.set_config(9000, "tags", "base;holdfast");
    lab.pve.set_config(9000, "description", "holdfast: home/core/VirtualMachine/x@9000/y");
    assert_eq!(lab.clone_to("101").await, "OK");
    let (template, clone) =
        (lab.pve.guest(9000).expect("it stays"), lab.pve.guest(101).expect("it was made"));
    for key in ["tags", "description", "cores", "memory", "ostype"] {
        assert_eq!(template.config[key], clone.config[key], "{key} is copied");
    }
    for key in ["smbios1", "vmgenid", "net0"] {
        assert_ne!(template.config[key], clone.config[key], "{key} is new");
    }
    assert_eq!((clone.name.as_str(), clone.template, clone.lock), ("kube01", false, None));
    assert_eq!(clone.config["scsi0"], "local-lvm:vm-101-disk-0,size=8G");
    assert_eq!(clone.config["ide2"], "local-lvm:vm-101-cloudinit,media=cdrom,size=4M");
    assert_eq!(clone.disks["scsi0"].from, Some(template.disks["scsi0"].birth));
    assert_eq!(template.config["scsi0"], "local-lvm:base-9000-disk-0,size=8G");
}

#[tokio::test]
async fn a_given_description_replaces_the_copied_one_and_the_name_has_a_default() {
    let lab = Lab::start().await;
    lab.pve.set_config(9000, "description", "of the template");
    assert_eq!(lab.task("POST", CLONE, &[("newid", "101"), ("description", "mine\n")]).await, "OK");
    let config = lab.config(101).await;
    assert_eq!((&config["description"], &config["name"]), (&json!("mine"), &json!("Copy-of-VM-debian-12")));
}

#[tokio::test]
async fn templates_are_cloned_linked_unless_asked_otherwise() {
    let lab = Lab::start().await;
    let said = lab.post(CLONE, &[("newid", "101"), ("storage", "ceph")]).await;
    assert_eq!((said.status, said.message()), (500, "parameter 'storage' not allowed for linked clones\n"));
    assert_eq!(lab.task("POST", CLONE, &[("newid", "101"), ("storage", "ceph"), ("full", "1")]).await, "OK");
    assert_eq!(lab.pve.guest(101).expect("it was made").disks["scsi0"].volume, "ceph:vm-101-disk-0");
    assert_eq!(lab.task("POST", CLONE, &[("newid", "102")]).await, "OK");
    let exit = lab.task("DELETE", "/nodes/pve1/qemu/9000", &[]).await;
    assert_eq!(exit, "base volume 'base-9000-disk-0' is still in use by linked cloned");
}

#[tokio::test]
async fn a_clone_that_runs_holds_a_lock_and_shows_no_name() {
    let lab = Lab::start().await;
    lab.pve.next_task("qmclone", TaskMode::Hold);
    let upid = lab.post(CLONE, &[("newid", "101"), ("name", "kube01"), ("full", "1")]).await.text();
    lab.appears("101").await;
    let config = lab.config(101).await;
    assert_eq!((&config["lock"], &config["name"]), (&json!("clone"), &json!(null)));
    let said = lab.post("/nodes/pve1/qemu/101/config", &[("cores", "2")]).await;
    assert_eq!((said.status, said.message()), (500, "VM is locked (clone)\n"));
    assert_eq!(lab.task("POST", "/nodes/pve1/qemu/101/status/start", &[]).await, "VM is locked (clone)");
    lab.pve.release_tasks();
    assert_eq!(lab.exit(&upid).await, "OK");
}

#[tokio::test]
async fn a_taken_vmid_is_refused_whoever_has_it() {
    let lab = Lab::start().await;
    for vmid in ["100", "200"] {
        let said = lab.post(CLONE, &[("newid", vmid)]).await;
        assert_eq!(said.message(), format!("unable to create VM {vmid}: config file already exists\n"));
    }
    let said = lab.post("/nodes/pve1/qemu", &[("vmid", "200")]).await;
    assert_eq!(said.message(), "unable to create VM 200 - CT 200 already exists on node 'pve2'\n");
    // On another node the clash is found by the worker.
    lab.pve.migrate(100, "pve2");
    let exit = lab.task("POST", CLONE, &[("newid", "100")]).await;
    assert!(exit.starts_with("unable to open file '/etc/pve/nodes/pve1/qemu-server/100.conf"), "{exit}");
    assert_eq!(lab.pve.guest(100).map(|guest| guest.name), Some("old".into()));
}

#[tokio::test]
async fn somebody_else_may_be_faster() {
    let lab = Lab::start().await;
    assert_eq!(lab.get("/cluster/nextid").await.data(), "101");
    lab.pve.add(MachineSeed::new(101, "theirs", "pve1", 4));
    let said = lab.post(CLONE, &[("newid", "101")]).await;
    assert_eq!(said.message(), "unable to create VM 101: config file already exists\n");
    lab.pve.remove(101).expect("nobody needs it");
    assert_eq!(lab.clone_to("101").await, "OK");
}

#[tokio::test]
async fn a_missing_template_is_not_on_that_node() {
    let lab = Lab::start().await;
    let said = lab.post("/nodes/pve2/qemu/9000/clone", &[("newid", "101")]).await;
    assert_eq!(said.message(), "Configuration file 'nodes/pve2/qemu-server/9000.conf' does not exist\n");
}

#[tokio::test]
async fn a_failed_clone_leaves_nothing() {
    let lab = Lab::start().await;
    lab.pve.set_storage_free("local-lvm", 1 << 30);
    let exit = lab.clone_to("101").await;
    assert!(exit.starts_with("clone failed: lvcreate 'pve/vm-101-disk-0' error:"), "{exit}");
    lab.pve.set_storage_free("local-lvm", 100 << 30);
    lab.pve.fail_task_next("qmclone", "clone failed: no such luck");
    assert_eq!(lab.clone_to("101").await, "clone failed: no such luck");
    let world = lab.pve.world();
    assert!(!world.guests.contains_key(&101));
    assert!(world.volumes.keys().all(|volume| !volume.contains("101")), "{:?}", world.volumes);
    assert_eq!(lab.clone_to("101").await, "OK", "a new clone is the way on");
}

#[tokio::test]
async fn a_killed_clone_leaves_a_locked_guest() {
    let lab = Lab::start().await;
    lab.pve.next_task("qmclone", TaskMode::Lost { done: false });
    assert_eq!(lab.clone_to("101").await, "unexpected status");
    assert_eq!(lab.config(101).await["lock"], "clone");
    lab.pve.next_task("qmclone", TaskMode::Lost { done: true });
    assert_eq!(lab.clone_to("102").await, "unexpected status");
    assert_eq!(lab.config(102).await["name"], "kube01");
}

#[tokio::test]
async fn a_clone_goes_to_another_node_only_on_shared_storage() {
    let lab = Lab::start().await;
    let form = [("newid", "101"), ("full", "1"), ("target", "pve2")];
    let said = lab.post(CLONE, &form).await;
    assert_eq!(said.message(), "can't clone VM to node 'pve2' (VM uses local storage)\n");
    let said = lab.post(CLONE, &[form[0], form[1], form[2], ("storage", "local-lvm")]).await;
    assert_eq!(said.message(), "can't clone to non-shared storage 'local-lvm'\n");
    let said = lab.post(CLONE, &[("newid", "101"), ("full", "1"), ("storage", "local")]).await;
    assert_eq!(said.error("storage"), "storage 'local' does not support vm images");
    let said = lab.post(CLONE, &[("newid", "101"), ("full", "1"), ("storage", "none")]).await;
    assert_eq!(said.message(), "storage 'none' does not exist\n");
}

#[tokio::test]
async fn clones_of_one_template_run_side_by_side_but_a_running_guest_is_read_by_one() {
    let lab = Lab::start().await;
    lab.pve.hold_tasks();
    let mut upids = Vec::new();
    for vmid in ["101", "102"] {
        upids.push(lab.post(CLONE, &[("newid", vmid), ("full", "1")]).await.text());
        lab.appears(vmid).await;
    }
    lab.pve.release_tasks();
    for upid in &upids {
        assert_eq!(lab.exit(upid).await, "OK");
    }
    lab.pve.power_on(100).expect("it starts");
    lab.pve.hold_tasks();
    let path = "/nodes/pve1/qemu/100/clone";
    let first = lab.post(path, &[("newid", "103")]).await.text();
    lab.appears("103").await;
    let second = lab.task("POST", path, &[("newid", "104")]).await;
    assert_eq!(second, "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout");
    lab.pve.release_tasks();
    assert_eq!(lab.exit(&first).await, "OK");
}

#[tokio::test]
async fn the_history_tells_what_was_made_and_unmade() {
    let lab = Lab::start().await;
    assert_eq!(lab.clone_to("101").await, "OK");
    assert_eq!(lab.task("DELETE", "/nodes/pve1/qemu/101?purge=1", &[]).await, "OK");
    let history = lab.pve.world().history;
    assert_eq!(history[0], Event::Cloned { vmid: 101, from: 9000 });
    assert_eq!(history.last(), Some(&Event::Destroyed { vmid: 101 }));
    let destroyed = history.iter().filter(|event| matches!(event, Event::DiskDestroyed { .. }));
    assert_eq!(destroyed.count(), 2);
}
