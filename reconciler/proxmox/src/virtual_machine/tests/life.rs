//! How a guest comes up, changes and goes, step by step over real HTTP.

use std::collections::BTreeMap;

use holdfast_core::kind::{Kind as _, Next, NoFence, Scope, Seen, StepResult};
use holdfast_core::secret::{SecretRef, Secrets};
use secrecy::SecretString;
use serde_json::json;

use super::super::{Spec, State, Step, VirtualMachine};
use super::cluster::{converged, name, serve, spec, world};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEp1c3RBbkV4YW1wbGVLZXlOb3RBUmVhbE9uZUF0QWxs";

async fn seen(kind: &VirtualMachine, spec: &Spec) -> Option<State> {
    let look = kind.observe(Scope::Only, &BTreeMap::from([(name("a"), spec.clone())])).await;
    match look.seen.into_values().next() {
        Some(Seen::Present { state, .. }) => Some(state),
        Some(Seen::Absent) => None,
        other => panic!("unknown: {other:?}"),
    }
}

/// Looks, plans and applies until there is nothing to do; gives what was done, and how it ended.
async fn converge(kind: &VirtualMachine, spec: &Spec, secrets: &Secrets) -> (Vec<String>, Next<Step>) {
    let mut done = Vec::new();
    for _ in 0..10 {
        let next = VirtualMachine::plan(&name("a"), Some(spec), seen(kind, spec).await.as_ref());
        let Next::Do(steps) = next else { return (done, next) };
        for (step, result) in steps.iter().zip(kind.apply(&name("a"), &steps, secrets, &NoFence).await) {
            assert!(matches!(result, StepResult::Done { .. }), "{step}: {result:?}");
            done.push(step.to_string());
        }
    }
    panic!("it never settles: {done:#?}");
}

fn whole() -> Spec {
    spec(
        101,
        &json!({
            "disk": { "slot": "scsi0", "size": "32GiB", "storage": "local-lvm" },
            "network": { "bridge": "vmbr1", "vlan": 20 },
            "cloudInit": {
                "user": "ops", "sshKeys": ["ssh-ed25519 AAAAC3Nz+a me@laptop"], "address": "10.78.0.11/24",
                "gateway": "10.78.0.1", "nameservers": ["10.78.0.1", "10.78.0.2"], "searchDomain": "lab",
                "password": { "vault": "kv/guests", "key": "console", "stamp": { "version": 1, "digest": "00ff" } },
            },
            "agent": true, "onBoot": true, "tags": ["k3s"], "description": "first: 100 %\nk3s; server",
        }),
    )
}

fn secrets() -> Secrets {
    let mut secrets = Secrets::default();
    let reference = SecretRef { vault: "kv/guests".to_owned(), key: "console".to_owned(), stamp: None };
    secrets.insert(&reference, SecretString::from("hunter2&x"));
    secrets
}

#[tokio::test]
async fn a_guest_comes_up_step_by_step_and_the_second_run_writes_nothing() {
    let world = world();
    let (fake, kind) = serve(&world).await;
    let spec = whole();
    let (done, next) = converge(&kind, &spec, &secrets()).await;
    assert_eq!(
        done,
        [
            "clone template 9000 to vm 101 on pve1, storage local-lvm",
            "set cores, memory, network, agent, onBoot, user, sshKeys, address, nameservers, searchDomain, password and tags of vm 101",
            "grow scsi0 of vm 101 to 32 GiB",
            "start vm 101",
        ]
    );
    let Next::Wait(what) = next else { panic!("{next:?}") };
    assert!(what.contains("QEMU guest agent is not running"), "{what}");
    world.lock().unwrap().guests.get_mut(&101).unwrap().host_key = Some(KEY);
    let (done, next) = converge(&kind, &spec, &secrets()).await;
    assert_eq!(done, ["pin the SSH host key of vm 101 as the guest agent reads it"]);
    assert_eq!(next, Next::Settled);
    let config = world.lock().unwrap().guests[&101].config.clone();
    assert_eq!(
        config["description"],
        format!(
            "first: 100 %\nk3s; server\n\nholdfast: home/core/VirtualMachine/a@101/u101\nholdfast-host-key: {KEY}\nholdfast-password: 00ff\nholdfast-tags: k3s"
        )
    );
    assert_eq!(config["net0"], "virtio=BC:24:11:00:00:00,bridge=vmbr1,tag=20,firewall=1", "the MAC stays");
    assert_eq!(config["tags"], "holdfast;k3s", "the template's tags do not come along");
    assert_eq!(config["cipassword"], "hunter2&x");
    assert_eq!(
        config["sshkeys"], "ssh-ed25519%20AAAAC3Nz%2Ba%20me%40laptop",
        "decoded once, it is still encoded"
    );
    assert_eq!(config["scsi0"], "local-lvm:base-9000-disk-0,size=32768M");
    fake.take_lines();
    assert_eq!(converge(&kind, &spec, &secrets()).await, (Vec::new(), Next::Settled));
    assert!(fake.take_lines().iter().all(|line| line.starts_with("GET ")));
    let state = seen(&kind, &spec).await.unwrap();
    let outputs = VirtualMachine::outputs(&state);
    assert_eq!(outputs["address"], "10.78.0.11");
    assert_eq!(outputs["hostKey"], KEY);
    assert_eq!((outputs["vmid"].as_str(), outputs["node"].as_str()), ("101", "pve1"));
}

#[tokio::test]
async fn the_clone_carries_a_mark_of_its_own_and_not_the_templates() {
    let (fake, kind) = serve(&world()).await;
    let spec = spec(101, &json!({ "description": "first" }));
    let Next::Do(steps) = VirtualMachine::plan(&name("a"), Some(&spec), None) else { panic!("a clone") };
    assert_eq!(kind.apply(&name("a"), &steps, &Secrets::default(), &NoFence).await, [StepResult::DONE]);
    let requests = fake.requests();
    let clone = requests.iter().find(|request| request.method == "POST").unwrap();
    assert_eq!(clone.line(), "POST /nodes/pve1/qemu/9000/clone");
    let fields = ["newid", "name", "full", "storage", "target"].map(|field| clone.field(field));
    assert_eq!(fields, [Some("101".to_owned()), Some("a".to_owned()), Some("1".to_owned()), None, None]);
    let description = clone.field("description").unwrap();
    assert_eq!(description, "first\n\nholdfast: home/core/VirtualMachine/a@101/new");
    assert!(!format!("{requests:?}").contains("packer"));
}

#[tokio::test]
async fn a_guest_of_another_node_is_cloned_to_it() {
    let (fake, kind) = serve(&world()).await;
    let spec = spec(101, &json!({ "node": "pve2" }));
    let Next::Do(steps) = VirtualMachine::plan(&name("a"), Some(&spec), None) else { panic!("a clone") };
    kind.apply(&name("a"), &steps, &Secrets::default(), &NoFence).await;
    let requests = fake.requests();
    let clone = requests.iter().find(|request| request.method == "POST").unwrap();
    assert_eq!(clone.line(), "POST /nodes/pve1/qemu/9000/clone", "asked where the template is");
    assert_eq!(clone.field("target"), Some("pve2".to_owned()));
}

#[tokio::test]
async fn what_runs_already_is_started() {
    let world = world();
    let mut there = converged(101, "a");
    there.running = false;
    world.lock().unwrap().guests.insert(101, there);
    world.lock().unwrap().ends.push("VM 101 already running");
    let (_fake, kind) = serve(&world).await;
    let (done, next) = converge(&kind, &spec(101, &json!({})), &Secrets::default()).await;
    assert_eq!((done, next), (vec!["start vm 101".to_owned()], Next::Settled));
}

#[tokio::test]
async fn a_failed_step_keeps_those_after_it_from_running_and_tells_no_secret() {
    let world = world();
    world.lock().unwrap().guests.insert(101, converged(101, "a"));
    world
        .lock()
        .unwrap()
        .guests
        .get_mut(&101)
        .unwrap()
        .config
        .insert("ide2".to_owned(), "x:vm-101-cloudinit".to_owned());
    let (fake, kind) = serve(&world).await;
    let stamp = json!({ "version": 2, "digest": "11aa" });
    let spec = spec(
        101,
        &json!({ "cloudInit": { "password": { "vault": "kv/guests", "key": "console", "stamp": stamp } } }),
    );
    let state = seen(&kind, &spec).await;
    let Next::Do(steps) = VirtualMachine::plan(&name("a"), Some(&spec), state.as_ref()) else {
        panic!("steps")
    };
    assert_eq!(steps.len(), 3, "the password, the drive's image, and that it was made");
    assert!(!serde_json::to_string(&steps).unwrap().contains("hunter2"));
    world.lock().unwrap().ends.push("checksum mismatch (file change by other user?)");
    let results = kind.apply(&name("a"), &steps, &secrets(), &NoFence).await;
    let [StepResult::Failed(error), StepResult::NotRun, StepResult::NotRun] = results.as_slice() else {
        panic!("{results:?}")
    };
    assert!(error.is_unavailable(), "somebody was faster: look again");
    assert!(!error.to_string().contains("hunter2"));
    let write = fake.requests().into_iter().find(|request| request.method == "POST").unwrap();
    assert_eq!(write.field("digest"), Some("d1".to_owned()));
    assert_eq!(write.field("cipassword"), Some("hunter2&x".to_owned()));
    assert!(!write.target.contains("hunter2"));
}

#[tokio::test]
async fn a_step_whose_secret_was_not_resolved_writes_nothing() {
    let world = world();
    world.lock().unwrap().guests.insert(101, super::cluster::Guest { running: false, ..converged(101, "a") });
    let (fake, kind) = serve(&world).await;
    let spec = whole();
    let mut state = seen(&kind, &spec).await.unwrap();
    state.disks.insert(
        "scsi0".to_owned(),
        super::super::state::Disk { volume: "x:y".to_owned(), size: Some(crate::Bytes(1 << 30)) },
    );
    fake.take_lines();
    let Next::Do(steps) = VirtualMachine::plan(&name("a"), Some(&spec), Some(&state)) else {
        panic!("steps")
    };
    let results = kind.apply(&name("a"), &steps, &Secrets::default(), &NoFence).await;
    assert!(
        matches!(&results[0], StepResult::Failed(error) if error.to_string().contains("kv/guests#console"))
    );
    assert_eq!(fake.take_lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_guest_that_goes_is_stopped_and_destroyed_with_what_refers_to_it() {
    let world = world();
    world.lock().unwrap().guests.insert(101, converged(101, "a"));
    let (fake, kind) = serve(&world).await;
    let state = seen(&kind, &spec(101, &json!({}))).await;
    let Next::Do(steps) = VirtualMachine::plan(&name("a"), None, state.as_ref()) else { panic!("steps") };
    fake.take_lines();
    let results = kind.apply(&name("a"), &steps, &Secrets::default(), &NoFence).await;
    assert_eq!(results, [StepResult::DONE, StepResult::DONE]);
    let writes: Vec<String> =
        fake.take_lines().into_iter().filter(|line| !line.starts_with("GET ")).collect();
    assert_eq!(
        writes,
        [
            "POST /nodes/pve1/qemu/101/status/shutdown",
            "DELETE /nodes/pve1/qemu/101?purge=1&destroy-unreferenced-disks=0"
        ]
    );
    assert!(!world.lock().unwrap().guests.contains_key(&101));
}
