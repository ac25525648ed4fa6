//! Power, the agent, creating and destroying.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_lab::proxmox::{Boot, GuestHost, Interface, NoHost, Ran, Running};
use serde_json::json;

use super::{Lab, PATIENCE, furnished};

const GUEST: &str = "/nodes/pve1/qemu/100";

#[tokio::test]
async fn starting_twice_is_a_task_error_and_stopping_twice_is_none() {
    let lab = Lab::start().await;
    let power = |what: &str| format!("{GUEST}/status/{what}");
    let not_running = (500, "VM 100 not running\n".to_owned());
    for what in ["reboot", "reset"] {
        let said = lab.post(&power(what), &[]).await;
        assert_eq!((said.status, said.message().to_owned()), not_running);
    }
    assert_eq!(lab.task("POST", &power("start"), &[]).await, "OK");
    assert_eq!(lab.task("POST", &power("start"), &[]).await, "VM 100 already running");
    assert_eq!(lab.get(&power("current")).await.data()["status"], "running");
    assert_eq!(lab.task("POST", &power("reset"), &[]).await, "OK");
    assert_eq!(lab.task("POST", &power("shutdown"), &[]).await, "OK");
    assert_eq!(lab.task("POST", &power("stop"), &[]).await, "OK");
    let current = lab.get(&power("current")).await.data();
    assert_eq!(
        (&current["qmpstatus"], &current["agent"], &current["ha"]),
        (&json!("stopped"), &json!(1), &json!({ "managed": 0 }))
    );
    assert_eq!(
        lab.task("POST", "/nodes/pve1/qemu/9000/status/start", &[]).await,
        "you can't start a vm if it's a template"
    );
}

#[tokio::test]
async fn a_deaf_guest_times_out_unless_it_is_forced_or_overruled() {
    let lab = Lab::start().await;
    lab.pve.power_on(100).expect("it starts");
    lab.pve.ignore_shutdown(100, Duration::from_millis(30));
    let path = format!("{GUEST}/status/shutdown");
    assert_eq!(lab.task("POST", &path, &[]).await, "VM quit/powerdown failed - got timeout");
    assert_eq!(lab.task("POST", &path, &[("forceStop", "1")]).await, "OK");
    lab.pve.power_on(100).expect("it starts");
    lab.pve.ignore_shutdown(100, Duration::from_mins(1));
    let shutdown = lab.post(&path, &[]).await.text();
    let stop = format!("{GUEST}/status/stop");
    assert!(lab.task("POST", &stop, &[]).await.contains("got timeout"), "the shutdown holds the lock");
    assert_eq!(lab.task("POST", &stop, &[("overrule-shutdown", "1")]).await, "OK");
    assert_eq!(lab.exit(&shutdown).await, "interrupted by signal");
    assert!(lab.pve.guest(100).is_some_and(|guest| !guest.running));
}

#[tokio::test]
async fn for_ha_guests_power_only_files_a_request() {
    let lab = Lab::start().await;
    lab.pve.set_ha(100, true);
    let upid = lab.post(&format!("{GUEST}/status/start"), &[]).await.text();
    assert!(upid.contains(":hastart:100:"), "{upid}");
    assert_eq!(lab.exit(&upid).await, "OK");
    assert!(lab.pve.guest(100).is_some_and(|guest| !guest.running));
    let said = lab.delete(GUEST).await;
    assert_eq!(
        said.message(),
        "unable to remove VM 100 - used in HA resources and purge parameter not set.\n"
    );
}

#[tokio::test]
async fn running_protected_and_locked_guests_are_not_destroyed() {
    let lab = Lab::start().await;
    lab.pve.power_on(100).expect("it starts");
    assert_eq!(lab.delete(GUEST).await.message(), "VM 100 is running - destroy failed\n");
    lab.pve.set_config(100, "protection", "1");
    assert_eq!(lab.delete(GUEST).await.message(), "can't remove VM 100 - protection mode enabled\n");
    lab.pve.set_config(100, "protection", "0");
    lab.pve.power_off(100).expect("it ends");
    lab.pve.lock(100, "backup");
    assert_eq!(lab.task("DELETE", GUEST, &[]).await, "VM is locked (backup)");
    lab.pve.unlock(100);
    assert_eq!(lab.task("DELETE", &format!("{GUEST}?purge=1&destroy-unreferenced-disks=0"), &[]).await, "OK");
    let said = lab.get(&format!("{GUEST}/config")).await;
    assert_eq!(
        (said.status, said.message()),
        (500, "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist\n")
    );
}

#[tokio::test]
async fn the_agent_answers_once_the_guest_is_up() {
    let ping = format!("{GUEST}/agent/ping");
    let start = format!("{GUEST}/status/start");
    let slow = Lab::with(furnished().host(Arc::new(NoHost::new(Duration::from_hours(1))))).await;
    assert_eq!(slow.post(&ping, &[]).await.message(), "VM 100 is not running\n");
    assert_eq!(slow.task("POST", &start, &[]).await, "OK");
    let said = slow.post(&ping, &[]).await;
    assert_eq!((said.status, said.message()), (500, "QEMU guest agent is not running\n"));
    let lab = Lab::with(furnished().host(Arc::new(NoHost::new(Duration::ZERO)))).await;
    assert_eq!(lab.task("POST", &start, &[]).await, "OK");
    assert_eq!(lab.post(&ping, &[]).await.data(), json!({ "result": {} }));
    let all = lab.get(&format!("{GUEST}/agent/network-get-interfaces")).await.data();
    let address = &all["result"][1]["ip-addresses"][0];
    assert_eq!(address, &json!({ "ip-address": "10.78.0.9", "ip-address-type": "ipv4", "prefix": 24 }));
    let path = format!("{GUEST}/agent/file-read?file=%2Fetc%2Fssh%2Fssh_host_ed25519_key.pub");
    let key = lab.get(&path).await.data()["content"].as_str().expect("it is text").to_owned();
    assert!(
        key.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI") && key.ends_with(" root@old\n"),
        "{key}"
    );
    let said = lab.get(&format!("{GUEST}/agent/file-read?file=%2Fnone")).await;
    assert_eq!(said.message(), "Agent error: failed to open file '/none': No such file or directory\n");
    lab.pve.unset_config(100, "agent");
    assert_eq!(lab.post(&ping, &[]).await.message(), "No QEMU guest agent configured\n");
}

#[tokio::test]
async fn programs_run_in_the_guest_and_are_read_once() {
    let builder = furnished().host(Arc::new(NoHost::new(Duration::ZERO)));
    let lab = Lab::with(builder.grant("/", super::TOKEN, &["VM.GuestAgent.Unrestricted"], true)).await;
    lab.pve.power_on(100).expect("it starts");
    let run = format!("{GUEST}/agent/exec");
    assert_eq!(lab.post(&run, &[("command", "true")]).await.status, 403, "the user has no such right");
    lab.pve.grant("/", "holdfast@pve", &["Administrator"], true);
    lab.pve.grant("/", super::TOKEN, &["Administrator"], true);
    let pid = lab.post(&run, &[("command", "/bin/true"), ("command", "-x")]).await.data()["pid"].clone();
    let path = format!("{GUEST}/agent/exec-status?pid={pid}");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let ended = loop {
        let state = lab.get(&path).await.data();
        if state["exited"] == 1 {
            break state;
        }
        assert!(tokio::time::Instant::now() < deadline);
    };
    assert_eq!(ended["exitcode"], 0);
    assert_eq!(lab.get(&path).await.status, 500);
}

/// Remembers what it is told.
#[derive(Default)]
struct Told(Mutex<(Vec<Boot>, Vec<String>)>);

impl GuestHost for Told {
    fn start(&self, boot: &Boot) {
        self.0.lock().expect("no test panics in it").0.push(boot.clone());
    }
    fn stop(&self, vmid: u32) {
        self.0.lock().expect("no test panics in it").1.push(format!("stop {vmid}"));
    }
    fn destroy(&self, vmid: u32) {
        self.0.lock().expect("no test panics in it").1.push(format!("destroy {vmid}"));
    }
    fn interfaces(&self, _vmid: u32) -> Option<Vec<Interface>> {
        None
    }
    fn read(&self, _vmid: u32, _path: &str) -> Option<Vec<u8>> {
        None
    }
    fn run(&self, _vmid: u32, _command: Vec<String>, _input: Vec<u8>) -> Running {
        Box::pin(std::future::ready(Ran::default()))
    }
}

#[tokio::test]
async fn the_machine_behind_a_guest_is_told_what_its_drive_holds() {
    let told = Arc::new(Told::default());
    let lab = Lab::with(furnished().host(told.clone())).await;
    assert_eq!(lab.clone_to("101").await, "OK");
    let form = [
        ("ciuser", "ops"),
        ("ipconfig0", "ip=10.78.0.11/24,gw=10.78.0.1"),
        ("nameserver", "10.78.0.1"),
        ("searchdomain", "lab"),
    ];
    assert_eq!(lab.configure(101, &form).await, "OK");
    assert_eq!(lab.task("POST", "/nodes/pve1/qemu/101/status/start", &[]).await, "OK");
    assert_eq!(lab.task("POST", "/nodes/pve1/qemu/101/status/stop", &[]).await, "OK");
    assert_eq!(lab.task("DELETE", "/nodes/pve1/qemu/101", &[]).await, "OK");
    let (boots, ends) = told.0.lock().expect("no test panics in it").clone();
    assert_eq!(ends, ["stop 101", "destroy 101"]);
    let [boot] = boots.as_slice() else { panic!("one start: {boots:?}") };
    let seed = boot.seed.as_ref().expect("it has a cloud-init drive");
    let mac = boot.mac.as_ref().expect("it has a network device").to_ascii_lowercase();
    assert!(seed.user_data.starts_with(
        "#cloud-config\nhostname: kube01\nmanage_etc_hosts: true\nfqdn: kube01.lab\nuser: ops\n"
    ));
    assert!(seed.network_config.contains(&format!("mac_address: '{mac}'\n")), "{seed:?}");
    assert_eq!((boot.vmid, boot.name.as_str(), boot.disk.is_some()), (101, "kube01", true));
}

#[tokio::test]
async fn a_guest_is_created_with_what_the_server_adds() {
    let lab = Lab::start().await;
    let form = [
        ("vmid", "105"),
        ("name", "fresh"),
        ("scsi0", "local-lvm:4,ssd=1"),
        ("ide2", "local-lvm:cloudinit"),
        ("net0", "virtio,bridge=vmbr0"),
        ("memory", "2048"),
        ("start", "1"),
    ];
    assert_eq!(lab.task("POST", "/nodes/pve1/qemu", &form).await, "OK");
    let guest = lab.pve.guest(105).expect("it was made");
    assert!(guest.running);
    let config: BTreeMap<_, _> =
        guest.config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(
        (config["scsi0"], config["ide2"]),
        ("local-lvm:vm-105-disk-0,size=4G,ssd=1", "local-lvm:vm-105-cloudinit,media=cdrom")
    );
    assert_eq!(config["boot"], "order=scsi0;net0");
    for key in ["smbios1", "vmgenid", "meta"] {
        assert!(config.contains_key(key), "{key}");
    }
    lab.pve.set_storage_free("local-lvm", 1 << 30);
    let exit = lab.task("POST", "/nodes/pve1/qemu", &[("vmid", "106"), ("scsi0", "local-lvm:4")]).await;
    assert!(exit.starts_with("unable to create VM 106 - lvcreate"), "{exit}");
    assert_eq!(lab.pve.guest(106), None);
}

#[tokio::test]
async fn a_guest_becomes_a_template_for_good() {
    let lab = Lab::start().await;
    lab.pve.power_on(100).expect("it starts");
    let path = format!("{GUEST}/template");
    assert_eq!(lab.post(&path, &[]).await.message(), "you can't convert a VM to template if VM is running\n");
    lab.pve.power_off(100).expect("it ends");
    assert_eq!(lab.task("POST", &path, &[]).await, "OK");
    assert_eq!(lab.post(&path, &[]).await.message(), "you can't convert a template to a template\n");
    assert_eq!(lab.config(100).await["scsi0"], "local-lvm:base-100-disk-0,size=10G");
}

#[tokio::test]
async fn a_reboot_ends_with_the_guest_off_and_the_node_starts_it_a_moment_later() {
    let lab = Lab::start().await;
    lab.pve.power_on(100).expect("it starts");
    lab.pve.set_task_time(Duration::from_millis(50));
    assert_eq!(lab.task("POST", &format!("{GUEST}/status/reboot"), &[]).await, "OK");
    assert!(lab.pve.guest(100).is_some_and(|guest| !guest.running));
    lab.runs(100).await;
    let last =
        lab.pve.world().tasks.into_iter().map(|task| task.upid).find(|upid| upid.contains(":qmstart:"));
    assert!(
        last.is_some_and(|upid| upid.contains(":100:root@pam:")),
        "by the node itself, in a task of its own"
    );
    assert_eq!(lab.pve.guest(100).map(|guest| guest.boots), Some(2));
}
