//! The fleet, for real: it boots, configures itself, installs, serves, and goes without a trace.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::{Fleet, FleetGuests, GuestSeed, RunningGuest, cache};
use crate::hosts::{Output, skipped};
use crate::proxmox::{self, Boot, GuestHost as _};

pub(in crate::hosts) const BOOT: Duration = Duration::from_secs(90);

/// A fleet, or why this test cannot run here.
pub(in crate::hosts) async fn fleet() -> Option<Fleet> {
    if let Err(why) = Fleet::available().await {
        skipped(&why);
        return None;
    }
    Some(Fleet::new(&cache(), &["10.78.0.1/24"]).await.unwrap())
}

/// What Proxmox 9 writes on a `NoCloud` drive.
pub(in crate::hosts) fn seed(name: &str, last: u8, key: &str) -> GuestSeed {
    let mac = format!("bc:24:11:00:00:{last:02x}");
    let user_data = format!(
        "#cloud-config\nhostname: {name}\nmanage_etc_hosts: true\nfqdn: {name}.lab\nuser: ops\n\
         ssh_authorized_keys:\n  - {key}\nchpasswd:\n  expire: False\nusers:\n  - default\npackage_upgrade: false\n"
    );
    let network_config = format!(
        "version: 1\nconfig:\n    - type: physical\n      name: eth0\n      mac_address: '{mac}'\n      subnets:\n      \
         - type: static\n        address: '10.78.0.{last}'\n        netmask: '255.255.255.0'\n        gateway: '10.78.0.1'\n    \
         - type: nameserver\n      address:\n      - '10.78.0.1'\n      search:\n      - 'lab'\n"
    );
    let meta_data = format!("instance-id: {name}-1\n");
    GuestSeed { name: name.into(), mac, uuid: None, user_data, network_config, meta_data }
}

/// A key pair in a folder; the public half.
async fn key(folder: &Path) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"])
        .arg(folder.join("id"))
        .status()
        .await
        .unwrap();
    assert!(made.success());
    std::fs::read_to_string(folder.join("id.pub")).unwrap().trim().to_owned()
}

async fn ssh(folder: &Path, address: SocketAddr, pin: &str, user: &str, script: &str) -> Output {
    let known = folder.join("known");
    std::fs::write(&known, format!("[127.0.0.1]:{} {pin}\n", address.port())).unwrap();
    let output = Command::new("ssh")
        .args([
            "-F",
            "none",
            "-T",
            "-n",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "LogLevel=ERROR",
        ])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known.display()))
        .arg("-i")
        .arg(folder.join("id"))
        .args(["-p", &address.port().to_string(), &format!("{user}@127.0.0.1"), script])
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(Duration::from_mins(2), output).await.unwrap().unwrap().into()
}

async fn run(guest: &RunningGuest, words: &[&str]) -> Output {
    let command: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    guest.run(&command, b"").await.unwrap()
}

#[tokio::test]
async fn a_guest_configures_itself_and_runs_real_apt_and_systemd() {
    let Some(fleet) = fleet().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let guest = fleet.start(seed("kube01", 11, &key(folder.path()).await)).await.unwrap();
    let forward = fleet.forward("10.78.0.11:22".parse().unwrap()).await.unwrap();
    guest.ready(BOOT).await.unwrap();
    let pin = guest.host_key().unwrap();
    let ask = "sudo -n cloud-init status --wait >/dev/null; hostname -f; id -un; ip -br -4 address show eth0 | tr -s ' '";
    let out = ssh(folder.path(), forward.address(), &pin, "ops", ask).await;
    assert_eq!(
        (out.status, out.stdout.trim_end()),
        (0, "kube01.lab\nops\neth0@if3 UP 10.78.0.11/24"),
        "{}",
        out.stderr
    );

    let install = "set -e; exec 2>&1; sudo -n apt-get -qq update; \
        sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=60 install holdfast-hello jq >/dev/null; \
        systemctl is-active holdfast-hello; systemctl is-enabled holdfast-hello; \
        dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\\n' holdfast-hello; echo '{\"a\":1}' | jq .a";
    let out = ssh(folder.path(), forward.address(), &pin, "ops", install).await;
    assert!(out.stdout.ends_with("active\nenabled\nholdfast-hello ii  1.1\n1\n"), "{out:?}");

    let refused =
        ssh(folder.path(), forward.address(), &pin, "ops", "sudo -n apt-get -y install nosuch").await;
    assert_eq!((refused.status, refused.stderr.as_str()), (100, "E: Unable to locate package nosuch\n"));
    fleet.close().await.unwrap();
}

#[tokio::test]
async fn power_cable_and_agent() {
    let Some(fleet) = fleet().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = seed("a", 12, &key(folder.path()).await);
    wanted.uuid = Some("6f1c0c1e-7f5a-4f0e-9f53-0123456789ab".into());
    let guest = fleet.start(wanted.clone()).await.unwrap();
    assert_eq!(guest.address(), Some("10.78.0.12".parse().unwrap()));
    guest.ready(BOOT).await.unwrap();
    assert_eq!(guest.read("/etc/machine-id").unwrap(), b"6f1c0c1e7f5a4f0e9f530123456789ab\n");
    assert!(fleet.start(wanted).await.is_err(), "one name, one guest");
    let boot_id = run(&guest, &["cat", "/proc/sys/kernel/random/boot_id"]).await;
    let written = guest.run(&["sh".into(), "-c".into(), "cat >/etc/kept".into()], b"kept").await.unwrap();
    assert_eq!(written.status, 0, "{written:?}");
    guest.cut().await.unwrap();
    let address = "10.78.0.12:22".parse().unwrap();
    assert!(fleet.connect(address).await.is_err());
    guest.join().await.unwrap();
    guest.ready(BOOT).await.unwrap();
    let key = guest.host_key().unwrap();
    guest.stop().await.unwrap();
    assert!(guest.run(&["true".into()], b"").await.is_err());
    guest.start().await.unwrap();
    guest.ready(BOOT).await.unwrap();
    assert_eq!(guest.read("/etc/kept").unwrap(), b"kept");
    assert_eq!(guest.host_key().unwrap(), key, "a restart is no new machine");
    assert_ne!(run(&guest, &["cat", "/proc/sys/kernel/random/boot_id"]).await, boot_id);
    guest.destroy().await.unwrap();
    fleet.close().await.unwrap();
}

#[tokio::test]
async fn a_simulated_guest_is_a_real_one() {
    let Some(fleet) = fleet().await else { return };
    let guests = FleetGuests::new(fleet.clone());
    let folder = tempfile::tempdir().unwrap();
    let GuestSeed { mac, user_data, network_config, meta_data, .. } =
        seed("db", 21, &key(folder.path()).await);
    let boot = Boot {
        vmid: 121,
        node: "pve1".into(),
        name: "db".into(),
        uuid: "6f1c0c1e-7f5a-4f0e-9f53-000000000121".into(),
        mac: Some(mac.to_ascii_uppercase()),
        address: Some("ip=10.78.0.21/24,gw=10.78.0.1".into()),
        disk: Some(1),
        seed: Some(proxmox::Seed { user_data, network_config, meta_data }),
    };
    assert_eq!(guests.interfaces(121), None);
    guests.start(&boot);
    let interfaces = until(|| guests.interfaces(121)).await;
    assert_eq!((interfaces[1].name.as_str(), interfaces[1].mac.as_str()), ("eth0", mac.as_str()));
    assert_eq!(interfaces[1].addresses[0], "10.78.0.21/24");
    let key = guests.read(121, "/etc/ssh/ssh_host_ed25519_key.pub").unwrap();
    let ran = guests.run(121, vec!["cat".into()], b"input".to_vec()).await;
    assert_eq!(ran, proxmox::Ran { code: 0, out: "input".into(), err: String::new() });

    guests.stop(121);
    assert_eq!((guests.interfaces(121), guests.read(121, "/etc/hostname")), (None, None));
    guests.start(&boot);
    until(|| guests.interfaces(121)).await;
    assert_eq!(guests.read(121, "/etc/ssh/ssh_host_ed25519_key.pub").unwrap(), key);

    guests.stop(121);
    guests.destroy(121);
    guests.start(&Boot { disk: Some(2), ..boot });
    until(|| guests.interfaces(121)).await;
    assert_ne!(
        guests.read(121, "/etc/ssh/ssh_host_ed25519_key.pub").unwrap(),
        key,
        "a new disk is a new machine"
    );
    fleet.close().await.unwrap();
}

async fn until<T>(seen: impl Fn() -> Option<T>) -> T {
    let bounded = tokio::time::timeout(BOOT, async {
        loop {
            if let Some(seen) = seen() {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    bounded.await.expect("it comes up in time")
}

#[tokio::test]
async fn fleets_do_not_meet_and_leave_nothing() {
    let Some(one) = fleet().await else { return };
    let two = fleet().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path()).await;
    let (a, b) =
        (one.start(seed("a", 13, &key)).await.unwrap(), two.start(seed("a", 13, &key)).await.unwrap());
    let (first, second) = tokio::join!(a.ready(BOOT), b.ready(BOOT));
    first.unwrap();
    second.unwrap();
    assert_ne!(a.host_key(), b.host_key());
    let traces = |fleet: &Fleet| (fleet.inner.folder().to_owned(), fleet.netns());
    let (kept, dropped) = (traces(&one), traces(&two));
    assert!(kept.0.exists() && dropped.1.exists());
    let seen = |folder: &Path| mentions(&folder.display().to_string());
    assert!(seen(&kept.0) > 0, "the search would find its processes");
    one.close().await.unwrap();
    assert!(!kept.0.exists() && !kept.1.exists());
    assert_eq!(seen(&kept.0), 0);
    assert!(dropped.1.exists(), "the other fleet runs on");
    drop((a, b));
    drop(two);
    let gone = async {
        while dropped.0.exists() || dropped.1.exists() || seen(&dropped.0) > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), gone).await.expect("a dropped fleet ends by itself");
    for id in [&kept.0, &dropped.0] {
        let id = id.file_name().unwrap().to_str().unwrap();
        assert_eq!(groups(Path::new("/sys/fs/cgroup"), &format!("holdfast-{id}"), 2), 0);
    }
}

/// How often a text stands in the machine's mounts and in the command lines of its processes.
fn mentions(text: &str) -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mut count = mounts.lines().filter(|line| line.contains(text)).count();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        count += usize::from(String::from_utf8_lossy(&line).contains(text));
    }
    count
}

/// How many control groups have this name, down to a depth.
fn groups(folder: &Path, name: &str, depth: usize) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders
        .map(|entry| {
            let deeper = if depth > 1 { groups(&entry.path(), name, depth - 1) } else { 0 };
            usize::from(entry.file_name() == name) + deeper
        })
        .sum()
}
