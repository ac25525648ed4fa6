//! Configurations: what is pending, what takes effect when, how values are rewritten.

use serde_json::json;

use super::Lab;

const CONFIG: &str = "/nodes/pve1/qemu/100/config";

#[tokio::test]
async fn a_stopped_guest_takes_everything_at_once() {
    let lab = Lab::start().await;
    assert_eq!(
        lab.configure(100, &[("cores", "4"), ("memory", "4096"), ("net0", "virtio,bridge=vmbr0,tag=20")])
            .await,
        "OK"
    );
    assert!(lab.pending(100).await.is_empty());
    let config = lab.config(100).await;
    assert_eq!((&config["cores"], &config["memory"]), (&json!(4), &json!("4096")));
}

#[tokio::test]
async fn a_running_guest_keeps_restart_keys_pending() {
    let lab = Lab::start().await;
    lab.pve.power_on(100).expect("it starts");
    let form = [
        ("cores", "4"),
        ("memory", "4096"),
        ("cpu", "host"),
        ("agent", "0"),
        ("name", "new"),
        ("onboot", "1"),
        ("tags", "b,a;A"),
        ("cpulimit", "2"),
        ("description", "notes"),
        ("balloon", "512"),
    ];
    assert_eq!(lab.configure(100, &form).await, "OK");
    let pending = lab.pending(100).await;
    assert_eq!(pending.keys().collect::<Vec<_>>(), ["agent", "cores", "cpu", "memory"]);
    assert_eq!(pending["cores"], json!({ "key": "cores", "value": 1, "pending": 4 }));
    // The plain view shows what will be, `current` what is.
    assert_eq!(lab.config(100).await["cores"], 4);
    let current = lab.get(&format!("{CONFIG}?current=1")).await.data();
    assert_eq!((&current["cores"], &current["tags"]), (&json!(1), &json!("a;b")));
    assert_eq!(lab.task("POST", "/nodes/pve1/qemu/100/status/reboot", &[]).await, "OK");
    lab.runs(100).await;
    assert!(lab.pending(100).await.is_empty());
    assert_eq!(
        lab.pve.guest(100).map(|guest| (guest.config["cores"].clone(), guest.boots)),
        Some(("4".into(), 2))
    );
}

#[tokio::test]
async fn a_pending_change_is_reverted_or_dropped_when_it_equals_what_is() {
    let lab = Lab::start().await;
    lab.pve.power_on(100).expect("it starts");
    assert_eq!(lab.configure(100, &[("cores", "4"), ("numa", "1")]).await, "OK");
    assert_eq!(lab.configure(100, &[("revert", "cores,numa")]).await, "OK");
    assert!(lab.pending(100).await.is_empty());
    assert_eq!(lab.configure(100, &[("cores", "4")]).await, "OK");
    assert_eq!(lab.configure(100, &[("cores", "1")]).await, "OK");
    assert!(lab.pending(100).await.is_empty());
    assert_eq!(lab.configure(100, &[("delete", "cores")]).await, "OK");
    assert_eq!(lab.pending(100).await["cores"], json!({ "key": "cores", "value": 1, "delete": 1 }));
    assert_eq!(lab.config(100).await.get("cores"), None, "deletions are merged in too");
}

#[tokio::test]
async fn network_devices_change_live_unless_hotplug_is_off() {
    let lab = Lab::start().await;
    let mac = lab.pve.guest(100).expect("it is there").config["net0"].clone();
    lab.pve.set_config(100, "hotplug", "0");
    lab.pve.power_on(100).expect("it starts");
    assert_eq!(lab.configure(100, &[("net0", &format!("{mac},tag=30"))]).await, "OK");
    assert!(lab.pending(100).await.is_empty(), "a VLAN changes without plugging");
    assert_eq!(lab.configure(100, &[("net0", "virtio,bridge=vmbr0,tag=30")]).await, "OK");
    assert!(lab.pending(100).await.contains_key("net0"), "a new MAC needs plugging");
    lab.pve.set_config(100, "hotplug", "network");
    assert_eq!(lab.configure(100, &[("net0", "virtio,bridge=vmbr0,tag=31")]).await, "OK");
    assert!(lab.pending(100).await.is_empty());
}

#[tokio::test]
async fn a_network_device_without_a_mac_gets_a_new_one_every_time() {
    let lab = Lab::start().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        assert_eq!(lab.configure(100, &[("net0", "model=virtio,tag=20,bridge=vmbr0")]).await, "OK");
        seen.push(lab.config(100).await["net0"].as_str().expect("it is text").to_owned());
    }
    assert!(seen[0].starts_with("virtio=BC:24:11:") && seen[0].ends_with(",bridge=vmbr0,tag=20"), "{seen:?}");
    assert_ne!(seen[0], seen[1]);
    let kept = seen[1].to_ascii_lowercase();
    assert_eq!(lab.configure(100, &[("net0", &kept)]).await, "OK");
    assert_eq!(lab.config(100).await["net0"], seen[1], "upper case, same MAC");
}

#[tokio::test]
async fn the_digest_changes_with_the_file_and_a_stale_one_is_refused() {
    let lab = Lab::start().await;
    let digest = lab.config(100).await["digest"].as_str().expect("it is text").to_owned();
    assert_eq!(lab.configure(100, &[("cores", "2"), ("digest", &digest)]).await, "OK");
    assert_ne!(lab.config(100).await["digest"], digest);
    let said = lab.post(CONFIG, &[("cores", "3"), ("digest", &digest)]).await;
    assert_eq!((said.status, said.message()), (500, "checksum mismatch (file change by other user?)\n"));
    let exit = lab
        .task(
            "PUT",
            "/nodes/pve1/qemu/100/resize",
            &[("disk", "scsi0"), ("size", "20G"), ("digest", &digest)],
        )
        .await;
    assert_eq!(exit, "checksum mismatch (file change by other user?)");
}

#[tokio::test]
async fn what_cannot_be_deleted_or_set_is_refused() {
    let lab = Lab::start().await;
    assert_eq!(lab.post(CONFIG, &[]).await.message(), "no options specified\n");
    assert_eq!(lab.post(CONFIG, &[("delete", "bogus")]).await.error("delete"), "unknown option 'bogus'");
    let said = lab.post(CONFIG, &[("delete", "cores"), ("cores", "2")]).await;
    assert_eq!(said.error("delete"), "you can't use '-cores' and -delete cores' at the same time");
    assert_eq!(lab.configure(100, &[("delete", "vga")]).await, "OK", "deleting what is not set only warns");
    let said = lab.post(CONFIG, &[("args", "-S")]).await;
    assert_eq!((said.status, said.message()), (500, "only root can set 'args' config\n"));
    assert_eq!(
        lab.post(CONFIG, &[("cores", "2"), ("skiplock", "1")]).await.error("skiplock"),
        "Only root may use this option."
    );
    let said = lab.post(CONFIG, &[("memory", "512"), ("balloon", "1024")]).await;
    assert_eq!(said.message(), "balloon value too large (must be smaller than assigned memory)\n");
    assert_eq!(
        lab.configure(100, &[("boot", "order=scsi7")]).await,
        "invalid bootorder: device 'scsi7' does not exist'"
    );
}

#[tokio::test]
async fn one_key_may_fail_while_the_others_are_in_force() {
    let lab = Lab::start().await;
    lab.pve.power_on(100).expect("it starts");
    lab.pve.break_key(100, "net0", Some("netdev 'net0' in use"));
    let exit = lab.configure(100, &[("net0", "virtio,bridge=vmbr1"), ("name", "new")]).await;
    assert_eq!(exit, "400 Parameter verification failed. net0: hotplug problem - netdev 'net0' in use");
    assert_eq!(lab.pending(100).await.keys().collect::<Vec<_>>(), ["net0"]);
    assert_eq!(lab.config(100).await["name"], "new");
    let said = lab.send("PUT", CONFIG, &[("net0", "virtio,bridge=vmbr2")]).await;
    assert_eq!((said.status, said.error("net0")), (400, "hotplug problem - netdev 'net0' in use\n"));
    let exit = lab.post(CONFIG, &[("net0", "virtio,bridge=vmbr3"), ("background_delay", "5")]).await;
    assert_eq!(exit.status, 500);
    assert!(exit.message().starts_with("failed to update VM 100: 400 Parameter"), "{exit:?}");
}

#[tokio::test]
async fn background_delay_answers_null_when_it_is_done_in_time() {
    let lab = Lab::start().await;
    assert_eq!(lab.post(CONFIG, &[("cores", "2"), ("background_delay", "5")]).await.data(), json!(null));
    assert_eq!(lab.config(100).await["cores"], 2);
}

#[tokio::test]
async fn a_size_on_an_occupied_slot_makes_a_second_disk() {
    let lab = Lab::start().await;
    assert_eq!(lab.configure(100, &[("scsi0", "local-lvm:32,discard=on")]).await, "OK");
    let guest = lab.pve.guest(100).expect("it is there");
    assert_eq!(guest.config["scsi0"], "local-lvm:vm-100-disk-1,discard=on,size=32G");
    assert_eq!(guest.config["unused0"], "local-lvm:vm-100-disk-0");
    assert_eq!(lab.configure(100, &[("delete", "unused0")]).await, "OK");
    assert!(!lab.pve.world().volumes.contains_key("local-lvm:vm-100-disk-0"));
}

#[tokio::test]
async fn a_deleted_drive_is_detached_and_leaves_the_boot_order() {
    let lab = Lab::start().await;
    lab.pve.set_config(100, "protection", "1");
    assert_eq!(
        lab.configure(100, &[("delete", "scsi0")]).await,
        "can't remove drive 'scsi0' - protection mode enabled"
    );
    lab.pve.set_config(100, "protection", "0");
    assert_eq!(lab.configure(100, &[("delete", "scsi0")]).await, "OK");
    let config = lab.config(100).await;
    assert_eq!((&config["unused0"], &config["boot"]), (&json!("local-lvm:vm-100-disk-0"), &json!("order=")));
    assert_eq!(
        lab.configure(100, &[("scsi0", "local-lvm:vm-100-disk-9")]).await,
        "volume 'local-lvm:vm-100-disk-9' does not exist"
    );
}

#[tokio::test]
async fn disks_are_plugged_live_and_their_options_wait() {
    let lab = Lab::start().await;
    lab.pve.power_on(100).expect("it starts");
    assert_eq!(lab.configure(100, &[("scsi1", "local-lvm:4")]).await, "OK");
    assert!(lab.pending(100).await.is_empty());
    assert_eq!(lab.configure(100, &[("scsi1", "local-lvm:vm-100-disk-1,ssd=1")]).await, "OK");
    assert_eq!(lab.configure(100, &[("sata0", "local-lvm:4")]).await, "OK");
    assert_eq!(lab.pending(100).await.keys().collect::<Vec<_>>(), ["sata0", "scsi1"]);
    assert_eq!(
        lab.configure(100, &[("scsi2", "local-lvm:cloudinit")]).await,
        "scsi2 - cloud-init drive is already attached at 'ide2'"
    );
    assert_eq!(
        lab.post(CONFIG, &[("ide3", "local:iso/debian.iso")]).await.error("ide3"),
        "explicit 'media=cdrom' is required for iso images"
    );
}

#[tokio::test]
async fn disks_grow_by_absolute_and_relative_sizes_and_never_shrink() {
    let lab = Lab::start().await;
    let resize = |disk, size| {
        lab.task(
            "PUT",
            "/nodes/pve1/qemu/100/resize",
            if disk == 0 { size } else { &[("disk", "scsi3"), ("size", "1G")] },
        )
    };
    assert_eq!(resize(0, &[("disk", "scsi0"), ("size", "16G")]).await, "OK");
    assert_eq!(resize(0, &[("disk", "scsi0"), ("size", "+4G")]).await, "OK");
    assert_eq!(lab.config(100).await["scsi0"], "local-lvm:vm-100-disk-0,size=20G");
    assert_eq!(resize(0, &[("disk", "scsi0"), ("size", "20G")]).await, "OK");
    assert_eq!(resize(0, &[("disk", "scsi0"), ("size", "8G")]).await, "shrinking disks is not supported");
    assert_eq!(resize(0, &[("disk", "ide2"), ("size", "8G")]).await, "you can't resize a cdrom");
    assert_eq!(resize(1, &[]).await, "disk 'scsi3' does not exist");
    lab.pve.set_storage_free("local-lvm", 1 << 30);
    let exit = resize(0, &[("disk", "scsi0"), ("size", "40G")]).await;
    assert!(exit.contains("insufficient free space (256 extents): 5120 required."), "{exit}");
    let said = lab.send("PUT", "/nodes/pve1/qemu/100/resize", &[("disk", "floppy0"), ("size", "x")]).await;
    assert_eq!(said.body["errors"].as_object().map(serde_json::Map::len), Some(2));
}

#[tokio::test]
async fn tags_and_descriptions_are_rewritten() {
    let lab = Lab::start().await;
    assert_eq!(
        lab.configure(100, &[("tags", "Zoo, b;a b"), ("description", "ü: 100%\nmore \n")]).await,
        "OK"
    );
    let config = lab.config(100).await;
    assert_eq!((&config["tags"], &config["description"]), (&json!("a;b;zoo"), &json!("ü: 100%\nmore")));
    lab.pve.set_tag_style(true, "config");
    assert_eq!(lab.get("/cluster/options").await.data()["tag-style"]["case-sensitive"], 1);
    assert_eq!(lab.configure(100, &[("tags", "Zoo,b")]).await, "OK");
    assert_eq!(lab.config(100).await["tags"], "Zoo;b");
    assert_eq!(lab.configure(100, &[("delete", "tags")]).await, "OK");
    assert_eq!(lab.config(100).await.get("tags"), None);
}

#[tokio::test]
async fn a_lock_that_times_out_says_so_once() {
    let lab = Lab::start().await;
    lab.pve.time_out_flock(100, 1);
    let said = lab.send("PUT", CONFIG, &[("cores", "2")]).await;
    assert_eq!(said.message(), "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout\n");
    assert_eq!(lab.send("PUT", CONFIG, &[("cores", "2")]).await.status, 200);
    lab.pve.lock(100, "backup");
    assert_eq!(lab.post(CONFIG, &[("cores", "2")]).await.message(), "VM is locked (backup)\n");
    lab.pve.unlock(100);
    assert_eq!(lab.configure(100, &[("cores", "3")]).await, "OK");
}

#[tokio::test]
async fn cloud_init_values_change_at_once_and_reach_the_image_later() {
    let lab = Lab::start().await;
    lab.pve.power_on(100).expect("it starts");
    let keys = "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIGxhYg%20me%40laptop%0A";
    let form = [
        ("ciuser", "ops"),
        ("sshkeys", keys),
        ("cipassword", "geheim"),
        ("ipconfig0", "ip=10.78.0.10/24,gw=10.78.0.1"),
    ];
    assert_eq!(lab.configure(100, &form).await, "OK");
    assert!(lab.pending(100).await.is_empty());
    let config = lab.config(100).await;
    assert_eq!((&config["sshkeys"], &config["cipassword"]), (&json!(keys), &json!("**********")));
    assert!(lab.pve.guest(100).expect("it is there").config["cipassword"].starts_with("$5$"));
    let rows = lab.get("/nodes/pve1/qemu/100/cloudinit").await.data();
    let row = |key: &str| rows.as_array().expect("a list").iter().find(|row| row["key"] == key).cloned();
    assert_eq!(row("ciuser"), Some(json!({ "key": "ciuser", "pending": "ops" })));
    let moved = json!({ "key": "ipconfig0", "value": "ip=10.78.0.9/24,gw=10.78.0.1", "pending": "ip=10.78.0.10/24,gw=10.78.0.1" });
    assert_eq!(row("ipconfig0"), Some(moved));
    let before = lab.pve.guest(100).and_then(|guest| guest.seed).expect("it was written at the start");
    assert_eq!(lab.send("PUT", "/nodes/pve1/qemu/100/cloudinit", &[]).await.status, 200);
    let rows = lab.get("/nodes/pve1/qemu/100/cloudinit").await.data();
    assert!(rows.as_array().expect("a list").iter().all(|row| row.get("pending").is_none()), "{rows}");
    let after = lab.pve.guest(100).and_then(|guest| guest.seed).expect("it was written");
    assert!(
        after.user_data.contains("user: ops\n") && after.user_data.contains("  - ssh-ed25519 AAAAC3"),
        "{after:?}"
    );
    assert_ne!(before.meta_data, after.meta_data, "another instance id");
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let lab = Lab::start().await;
    let said = lab.post(CONFIG, &[("sshkeys", "not%20a%20key")]).await;
    assert_eq!((said.status, said.message()), (500, "SSH public key validation error\n"));
}
