//! The model driven by the shipped plan: from nothing to settled, through crashes, and what it refuses.

use std::collections::BTreeMap;

use holdfast_core::ident::{EnvironmentName, Name, SiteName};
use holdfast_core::kind::{Health, Kind as _, Next, Owner, Seen};
use holdfast_proxmox::Bytes;
use rand::SeedableRng as _;
use secrecy::SecretString;
use serde_json::json;

use super::*;

mod care;

fn realm() -> Realm {
    Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new("core").unwrap() }
}

fn name() -> Name {
    Name::new("web").unwrap()
}

fn spec(more: &serde_json::Value) -> Spec {
    let mut spec = json!({
        "vmid": 101, "node": "pve1", "template": 9000, "cores": 2, "memory": "2GiB", "agent": true,
        "disk": { "slot": "scsi0", "size": "16GiB", "storage": "fast" },
        "network": { "bridge": "vmbr0", "vlan": 20 }, "tags": ["k3s"], "restart": "allowed",
        "cloudInit": {
            "user": "ops", "address": "10.0.0.11/24", "gateway": "10.0.0.1",
            "sshKeys": ["ssh-ed25519 AAAAC3Nz me@laptop"],
            "password": { "vault": "kv/guests", "key": "console", "stamp": { "version": 1, "digest": "aa" } },
        },
        "description": "first\nof all",
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn cluster() -> Proxmox {
    let mut world = Proxmox::new(["pve1", "pve2"]);
    world.add_template(9000, "pve1", "scsi0", 2048);
    world
}

/// One client that converges one guest, as the engine would, and may die after any step.
struct Client {
    world: Proxmox,
    now: Duration,
    writes: usize,
    /// It dies after so many writes, once; a task that it started goes on.
    dies_after: Option<usize>,
    log: Vec<String>,
}

impl Client {
    fn new(world: Proxmox) -> Self {
        Self { now: world.now, world, writes: 0, dies_after: None, log: Vec::new() }
    }

    fn sleep(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.world.advance(self.now);
    }

    fn seen(&self, scope: Scope, want: Option<&Spec>) -> Seen<State> {
        let wanted: BTreeMap<Name, Spec> = want.map(|spec| (name(), spec.clone())).into_iter().collect();
        let mut look = self.world.look(&realm(), scope, &wanted);
        look.seen.remove(&name()).unwrap_or(Seen::Absent)
    }

    fn state(&self, want: &Spec) -> State {
        match self.seen(Scope::Only, Some(want)) {
            Seen::Present { state, .. } => state,
            other => panic!("{other:?}"),
        }
    }

    fn next(&self, want: Option<&Spec>) -> Next<Step> {
        let scope = if want.is_some() { Scope::Only } else { Scope::All };
        match self.seen(scope, want) {
            Seen::Present { state, .. } => VirtualMachine::plan(&name(), want, Some(&state)),
            Seen::Absent => VirtualMachine::plan(&name(), want, None),
            Seen::Unknown(error) => panic!("{error}"),
        }
    }

    /// Until nothing is left to do, or nothing goes on.
    fn converge(&mut self, want: Option<&Spec>) -> Next<Step> {
        let mut secrets = Secrets::default();
        for reference in want.iter().flat_map(|spec| spec.cloud_init.iter().flat_map(|ci| ci.password.iter()))
        {
            secrets.insert(reference, SecretString::from("hunter2-hunter2"));
        }
        for _ in 0..200 {
            let steps = match self.next(want) {
                Next::Do(steps) => steps,
                Next::Wait(_) => {
                    self.sleep(5);
                    continue;
                }
                end => return end,
            };
            for step in &steps {
                self.log.push(step.to_string());
                let done = self.world.perform(&realm(), &name(), step, &secrets);
                self.writes += 1;
                if self.dies_after.take_if(|at| *at == self.writes).is_some() {
                    break;
                }
                if done.is_err() || !self.follow(step) {
                    self.sleep(5);
                    break;
                }
            }
        }
        panic!("it never settles: {:?}", self.log)
    }

    fn follow(&mut self, step: &Step) -> bool {
        for _ in 0..600 {
            if let Some(end) = self.world.followed(&name(), step) {
                return end.is_ok();
            }
            self.sleep(1);
        }
        false
    }
}

#[test]
fn a_guest_comes_up_changes_and_goes() {
    let mut client = Client::new(cluster());
    let want = spec(&json!({}));
    assert_eq!(client.converge(Some(&want)), Next::Settled);
    let state = client.state(&want);
    assert_eq!((state.cores, state.disks["scsi0"].volume.as_str()), (2, "fast:vm-101-disk-1"));
    assert!(state.notes.host_key.is_some() && state.pending.is_empty());
    assert_eq!(VirtualMachine::outputs(&state)["address"], "10.0.0.11");
    assert_eq!(VirtualMachine::health(&state), Health::Healthy);
    let object = client.world.objects()["101"].clone();
    assert_eq!(object.mark.unwrap(), format!("home/core/VirtualMachine/web@{}", object.identity));
    assert!(object.healthy && object.protected && object.secrets.contains("hunter2-hunter2"));
    assert!(object.content.contains("seed: as configured"), "{}", object.content);
    let before = client.writes;
    assert_eq!(client.converge(Some(&want)), Next::Settled);
    assert_eq!(client.writes, before, "the second run writes nothing");

    let bigger = spec(&json!({ "cores": 4, "disk": { "slot": "scsi0", "size": "32GiB" }, "tags": [] }));
    assert_eq!(client.converge(Some(&bigger)), Next::Settled);
    let state = client.state(&bigger);
    assert_eq!((state.cores, state.disks["scsi0"].size), (4, Some(Bytes(32 << 30))));
    assert!(state.pending.is_empty() && !state.tags.contains("k3s"));
    let born = client.world.objects()["101"].data.clone();
    assert_eq!(born, object.data, "the disk is the same");

    assert_eq!(client.converge(None), Next::Settled);
    assert!(client.world.guest(101).is_none());
}

#[test]
fn a_crash_after_any_write_just_continues() {
    let want = spec(&json!({}));
    let changed = spec(&json!({ "cores": 3, "description": "another" }));
    let whole = |dies_after| {
        let mut client = Client { dies_after, ..Client::new(cluster()) };
        assert_eq!(client.converge(Some(&want)), Next::Settled);
        assert_eq!(client.converge(Some(&changed)), Next::Settled);
        let state = client.state(&changed);
        assert_eq!((state.cores, state.notes.text.as_str()), (3, "another"));
        assert_eq!(client.converge(None), Next::Settled);
        assert!(client.world.guest(101).is_none());
        client.writes
    };
    let writes = whole(None);
    assert!(writes >= 7, "{writes} writes");
    for dies_after in 1..=writes {
        whole(Some(dies_after));
    }
}

#[test]
fn a_clone_is_locked_and_nobodys_until_its_task_ends() {
    let mut client = Client::new(cluster());
    let want = spec(&json!({}));
    let Next::Do(steps) = client.next(Some(&want)) else { panic!() };
    let secrets = Secrets::default();
    client.world.perform(&realm(), &name(), &steps[0], &secrets).unwrap();
    let again = client.world.perform(&realm(), &name(), &steps[0], &secrets).unwrap_err();
    assert!(again.is_unavailable(), "{again}");
    let Seen::Present { state, owner } = client.seen(Scope::Only, Some(&want)) else { panic!() };
    assert_eq!(
        (owner, state.lock.as_deref(), state.task.as_deref()),
        (Owner::Nobody, Some("clone"), Some("qmclone"))
    );
    assert!(matches!(client.next(Some(&want)), Next::Wait(_)));
    client.sleep(30);
    let Seen::Present { state, owner } = client.seen(Scope::Only, Some(&want)) else { panic!() };
    assert!(matches!(owner, Owner::Ours(_)) && state.mark.is_some_and(|mark| mark.half_made));
    let object = client.world.objects()["101"].clone();
    assert_eq!((object.identity.as_str(), object.healthy), ("101/new", false));
}

#[test]
fn a_task_that_fails_leaves_nothing_changed_and_is_told() {
    let mut client = Client::new(cluster());
    let want = spec(&json!({}));
    client.world.fail_next_task();
    let Next::Do(steps) = client.next(Some(&want)) else { panic!() };
    client.world.perform(&realm(), &name(), &steps[0], &Secrets::default()).unwrap();
    assert!(!client.follow(&steps[0]));
    assert!(client.world.guest(101).is_none());
    for round in 0..8 {
        client.world.fail_next_task();
        client.sleep(round);
        if client.converge(Some(&want)) == Next::Settled {
            break;
        }
    }
    assert_eq!(client.converge(Some(&want)), Next::Settled);
}

#[test]
fn what_the_real_one_refuses_is_refused() {
    let mut client = Client::new(cluster());
    let want = spec(&json!({}));
    client.converge(Some(&want));
    let secrets = Secrets::default();
    let mut act =
        |step: &Step| client.world.perform(&realm(), &name(), step, &secrets).unwrap_err().to_string();
    let step = |value| serde_json::from_value::<Step>(value).unwrap();
    let at = json!({ "node": "pve1", "vmid": 101 });
    assert!(act(&step(json!({ "do": "destroy", "at": at }))).contains("is running - destroy failed"));
    let resize =
        json!({ "do": "resize", "at": at, "slot": "scsi0", "from": "2GiB", "size": "1GiB", "digest": "" });
    assert!(act(&step(resize)).contains("shrinking disks"));
    let old =
        json!({ "do": "resize", "at": at, "slot": "scsi0", "from": "2GiB", "size": "64GiB", "digest": "0" });
    assert!(act(&step(old)).contains("checksum mismatch"));
    let elsewhere = json!({ "do": "start", "at": { "node": "pve2", "vmid": 101 } });
    assert!(act(&step(elsewhere)).contains("does not exist"));
    client.world.lock(101, Some("backup"));
    let error = client.world.perform(
        &realm(),
        &name(),
        &step(json!({ "do": "shutdown", "at": at, "force": true })),
        &secrets,
    );
    assert!(error.unwrap_err().to_string().contains("locked (backup)"));
    client.world.lock(101, None);
    client.world.set(101, "protection", "1");
    let error = client.world.perform(
        &realm(),
        &name(),
        &step(json!({ "do": "shutdown", "at": at, "force": true })),
        &secrets,
    );
    assert!(error.unwrap_err().to_string().contains("protected"));
}

#[test]
fn a_copied_mark_is_told_and_marks_nothing() {
    let mut client = Client::new(cluster());
    let want = spec(&json!({}));
    client.converge(Some(&want));
    let guest = client.world.guest(101).unwrap().clone();
    let copy = client.world.copy(&guest, "pve1", 102, None);
    client.world.guests.insert(102, copy);
    client.world.note(102);
    let look = client.world.look(&realm(), Scope::All, &BTreeMap::new());
    assert_eq!(look.seen.len(), 1);
    assert!(look.notices[0].contains("vm 102 carries a mark that was copied"), "{:?}", look.notices);
    let other = spec(&json!({ "vmid": 102 }));
    let second = Name::new("db").unwrap();
    let look = client.world.look(&realm(), Scope::Only, &BTreeMap::from([(second.clone(), other)]));
    assert!(matches!(&look.seen[&second], Seen::Present { owner: Owner::Copied, .. }));
    let machines = client.world.machines();
    assert!(
        machines["10.0.0.11"].up.is_some() && machines["10.0.0.11"].what == "vm 101",
        "the one that is up"
    );
}

#[test]
fn the_ha_manager_takes_its_time() {
    let mut client = Client::new(cluster());
    let want = spec(&json!({}));
    client.converge(Some(&want));
    client.world.put_under_ha(101);
    let off = spec(&json!({ "running": false }));
    assert_eq!(client.converge(Some(&off)), Next::Settled);
    assert_eq!(client.state(&off).ha.as_deref(), Some("stopped"));
    assert_eq!(client.converge(Some(&want)), Next::Settled);
    assert_eq!(client.converge(None), Next::Settled);
    assert!(client.world.guest(101).is_none());
}

#[test]
fn one_leap_is_as_good_as_many() {
    let mut one = Client::new(cluster());
    let want = spec(&json!({}));
    one.converge(Some(&want));
    let at = json!({ "node": "pve1", "vmid": 101 });
    let reboot: Step = serde_json::from_value(json!({ "do": "reboot", "at": at, "pending": [] })).unwrap();
    one.world.perform(&realm(), &name(), &reboot, &Secrets::default()).unwrap();
    let mut many = one.world.clone();
    let (from, to) = (one.now, one.now + Duration::from_secs(90));
    for second in 1..=90 {
        many.advance(from + Duration::from_secs(second));
    }
    one.world.advance(to);
    assert_eq!(one.world.guests, many.guests);
    assert_eq!(one.world.objects(), many.objects());
    assert_eq!(one.world.machines()["10.0.0.11"].up, Some(from + Duration::from_secs(6 + 25)));
}

#[test]
fn a_backup_brings_back_what_was_and_no_birth_twice() {
    let mut client = Client::new(cluster());
    let backup = client.world.clone();
    let want = spec(&json!({}));
    client.converge(Some(&want));
    let births = client.world.objects()["101"].clone();
    client.world.restore(&backup);
    assert_eq!(client.seen(Scope::Only, Some(&want)), Seen::Absent);
    client.converge(Some(&want));
    let again = client.world.objects()["101"].clone();
    assert!(again.birth != births.birth && again.data != births.data && again.identity != births.identity);
}

#[test]
fn meddling_is_put_right_unless_it_needs_a_person() {
    let want = spec(&json!({}));
    for seed in 0..300 {
        let mut client = Client::new(cluster());
        client.converge(Some(&want));
        let mut chance = SmallRng::seed_from_u64(seed);
        let before = client.world.objects();
        let Some(meddling) = client.world.meddle(&mut chance) else { continue };
        let after = client.world.objects();
        assert!(before.get(&meddling.key) != after.get(&meddling.key), "{} did nothing", meddling.what);
        if !meddling.needs_a_person {
            assert_eq!(client.converge(Some(&want)), Next::Settled, "after {}", meddling.what);
            let there = client.world.objects()["101"].clone();
            assert_eq!(there.content, before["101"].content, "after {}", meddling.what);
        }
    }
}
