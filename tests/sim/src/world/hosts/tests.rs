//! The model driven by the shipped plan: from nothing to settled, through deaths of the script, and what it refuses.

use holdfast_core::ident::{EnvironmentName, SiteName};
use holdfast_core::kind::{Health, Kind as _, Next, Owner, Refusal, Seen};
use holdfast_host::ledger::{Origin, Part};
use rand::SeedableRng as _;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::super::machine::Machine;
use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA000000000000000000000000000000000000000001";
const HERE: &str = "10.0.0.5";
const UNIT: &str = "[Service]\nEnvironmentFile=/etc/app/app.conf\nExecStart=/usr/bin/app\n[Install]\nWantedBy=multi-user.target\n";

fn realm() -> Realm {
    Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new("core").unwrap() }
}

fn name() -> Name {
    Name::new("nas").unwrap()
}

fn spec(more: &Value) -> HostSpec {
    let mut spec = json!({
        "connection": { "address": HERE, "hostKey": KEY },
        "directories": [{ "path": "/etc/app" }, { "path": "/srv/app", "owner": "app" }],
        "files": [
            { "path": "/etc/app/app.conf", "content": "mode = 1\n" },
            { "path": "/etc/app/token", "mode": "0600", "content":
                { "vault": "kv/app", "key": "token", "stamp": { "version": 1, "digest": "aa" } } },
            { "path": "/etc/systemd/system/app.service", "content": UNIT },
            { "path": "/etc/motd", "content": "ours\n" },
        ],
        "packages": ["jq", "nginx"],
        "services": [
            { "name": "app.service", "restartOn": ["/etc/app/app.conf"] }, { "name": "nginx.service" },
        ],
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn world() -> Hosts {
    let mut world = Hosts::new();
    world.add_machine(HERE, KEY);
    world.advance(Duration::from_mins(1));
    world
}

fn secrets() -> Secrets {
    let mut secrets = Secrets::default();
    let reference =
        holdfast_core::secret::SecretRef { vault: "kv/app".into(), key: "token".into(), stamp: None };
    secrets.insert(&reference, SecretString::from("hunter2-hunter2"));
    secrets
}

struct Client {
    world: Hosts,
    now: Time,
    scripts: usize,
    /// The script of this number dies before its step of that number.
    dies: Option<(usize, usize)>,
}

impl Client {
    fn new(world: Hosts) -> Self {
        Self { now: world.now, world, scripts: 0, dies: None }
    }

    fn sleep(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.world.advance(self.now);
    }

    fn seen(&self, want: &HostSpec) -> Seen<HostState> {
        let wanted = BTreeMap::from([(name(), want.clone())]);
        self.world.look(&realm(), Scope::Only, &wanted).seen.remove(&name()).unwrap()
    }

    fn state(&self, want: &HostSpec) -> HostState {
        match self.seen(want) {
            Seen::Present { state, .. } => state,
            other => panic!("{other:?}"),
        }
    }

    fn next(&self, want: &HostSpec) -> Next<HostStep> {
        Host::plan(&name(), Some(want), Some(&self.state(want)))
    }

    fn steps(&self, want: &HostSpec) -> Vec<HostStep> {
        match self.next(want) {
            Next::Do(steps) => steps,
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, steps: &[HostStep], cut: Option<usize>) -> Vec<StepResult> {
        self.world.perform_all(&realm(), &name(), steps, &secrets(), cut)
    }

    fn converge(&mut self, want: &HostSpec) -> Next<HostStep> {
        for _ in 0..50 {
            match self.next(want) {
                Next::Do(steps) => {
                    self.scripts += 1;
                    let cut = self.dies.take_if(|(script, _)| *script == self.scripts).map(|(_, step)| step);
                    drop(self.run(&steps, cut));
                }
                Next::Wait(_) => {}
                end => return end,
            }
            self.sleep(7);
        }
        panic!("it never settles: {:?}", self.next(want))
    }

    fn content(&self) -> String {
        self.world.objects()[HERE].content.clone()
    }
}

#[test]
fn a_host_comes_up_changes_and_is_let_go() {
    let mut client = Client::new(world());
    let want = spec(&json!({}));
    assert_eq!(client.converge(&want), Next::Settled);
    assert_eq!(client.scripts, 1, "one script");
    let object = client.world.objects()[HERE].clone();
    assert_eq!(object.mark.unwrap(), format!("home/core/Host/nas@{}", object.identity));
    assert!(object.healthy && object.secrets.contains("hunter2-hunter2"));
    assert!(object.content.contains("unit app.service: up, enabled"), "{}", object.content);
    assert_eq!(object.data.len(), 1, "the message of the day was there before: {:?}", object.data);

    let changed = spec(&json!({ "files": [
        { "path": "/etc/app/app.conf", "content": "mode = 2\n" },
        { "path": "/etc/systemd/system/app.service", "content": UNIT },
    ]}));
    let steps: Vec<String> = client.steps(&changed).iter().map(ToString::to_string).collect();
    assert!(steps.iter().any(|step| step.starts_with("restart app.service")), "{steps:?}");
    assert_eq!(client.converge(&changed), Next::Settled);
    let content = client.content();
    assert!(!content.contains("/etc/app/token") && content.contains("/etc/motd"), "{content}");

    let none = spec(&json!({ "directories": [], "files": [], "packages": [], "services": [] }));
    assert_eq!(client.converge(&none), Next::Settled);
    let content = client.content();
    assert!(!content.contains("/etc/app") && !content.contains("app.service"), "{content}");
    assert!(content.contains("package jq: ii") && content.contains("/etc/motd"), "{content}");
    assert_eq!(client.world.objects()[HERE].data, object.data);
    assert!(client.state(&none).ledger.is_empty());
}

#[test]
fn a_script_that_dies_anywhere_is_continued() {
    let want = spec(&json!({}));
    let changed = spec(&json!({ "files": [
        { "path": "/etc/app/app.conf", "content": "mode = 2\n" },
        { "path": "/etc/systemd/system/app.service", "content": UNIT },
    ]}));
    let none = spec(&json!({ "directories": [], "files": [], "packages": [], "services": [] }));
    let whole = |dies: Option<(usize, usize)>| {
        let mut client = Client { dies, ..Client::new(world()) };
        let ends = [&want, &changed, &none].map(|want| {
            assert_eq!(client.converge(want), Next::Settled, "{dies:?}");
            client.content()
        });
        (ends, client.scripts, client.dies)
    };
    let (ends, scripts, _) = whole(None);
    assert_eq!(scripts, 3);
    let mut deaths = 0;
    for script in 1..=3 {
        for step in 0..12 {
            let (others, _, left) = whole(Some((script, step)));
            deaths += usize::from(left.is_none());
            for (end, other) in ends.iter().zip(&others) {
                assert_eq!(end, other, "died before step {step} of script {script}");
            }
        }
    }
    assert!(deaths > 20, "{deaths} deaths");
}

#[test]
fn a_script_begins_only_where_and_as_it_was_seen() {
    let mut client = Client::new(world());
    let want = spec(&json!({}));
    let steps = client.steps(&want);
    client.run(&steps[..1], None);
    let again = client.run(&steps, None);
    assert!(matches!(&again[0], StepResult::Failed(error) if error.to_string().contains("ledger changed")));
    let mut elsewhere = client.steps(&want);
    for step in &mut elsewhere {
        step.at.machine_id = "1".repeat(32);
    }
    let before = client.content();
    let refused = client.run(&elsewhere, None);
    assert!(
        matches!(&refused[0], StepResult::Failed(error) if error.to_string().contains("another machine"))
    );
    assert_eq!(client.content(), before, "nothing was done");
    client.world.switch(HERE, false);
    assert!(matches!(client.seen(&want), Seen::Unknown(error) if error.is_unavailable()));
    client.world.switch(HERE, true);
    client.world.alone.get_mut(HERE).unwrap().host_key = KEY.replace('1', "2");
    assert!(matches!(client.seen(&want), Seen::Unknown(error) if !error.is_unavailable()));
}

#[test]
fn what_changed_since_it_was_seen_is_left() {
    let mut client = Client::new(world());
    let want = spec(&json!({ "packages": [], "services": [] }));
    let steps = client.steps(&want);
    let now = client.now;
    client.world.change(HERE, |computer| computer.put_foreign("/etc/app/app.conf", "theirs\n", 1, now));
    let results = client.run(&steps, None);
    let failed: Vec<String> = results
        .iter()
        .filter_map(|result| match result {
            StepResult::Failed(error) => Some(error.to_string()),
            _ => None,
        })
        .collect();
    assert!(failed.len() == 1 && failed[0].contains("not what it was"), "{failed:?}");
    assert_eq!(client.world.computer(HERE).unwrap().text("/etc/app/app.conf"), Some("theirs\n"));
    assert_eq!(client.converge(&want), Next::Settled);
    let none = spec(&json!({ "directories": [], "files": [], "packages": [], "services": [] }));
    assert_eq!(client.converge(&none), Next::Settled);
    assert!(client.content().contains("/etc/app/app.conf"), "what was theirs stays: {}", client.content());
}

#[test]
fn packages_may_be_missing_locked_or_half_configured() {
    let mut client = Client::new(world());
    let want = spec(&json!({}));
    client.world.lock_apt(true);
    let steps = client.steps(&want);
    let results = client.run(&steps, None);
    assert!(matches!(&results[0], StepResult::Failed(error) if error.is_unavailable()), "{results:?}");
    assert_eq!(results[1], StepResult::NotRun);
    client.world.lock_apt(false);
    let steps = client.steps(&want);
    client.run(&steps, Some(0));
    assert_eq!(client.world.computer(HERE).unwrap().packages["jq"], "iF");
    assert_eq!(client.converge(&want), Next::Settled);
    let odd = spec(&json!({ "packages": ["jq", "nginx", "odd"] }));
    client.world.hide_package("odd");
    let results = client.run(&client.steps(&odd), None);
    assert!(matches!(&results[0], StepResult::Failed(error) if !error.is_unavailable()), "{results:?}");
}

#[test]
fn a_unit_fails_with_a_bad_file_and_comes_up_with_a_good_one() {
    let mut client = Client::new(world());
    let with = |text: &str, unit: &str| {
        spec(&json!({ "files": [
            { "path": "/etc/app/app.conf", "content": text },
            { "path": "/etc/systemd/system/app.service", "content": unit },
        ]}))
    };
    let bad = with("broken\n", UNIT);
    let steps = client.steps(&bad);
    let results = client.run(&steps, None);
    assert!(results.iter().any(|result| matches!(result, StepResult::Failed(_))), "{results:?}");
    assert!(matches!(Host::health(&client.state(&bad)), Health::Unhealthy(_)));
    assert_eq!(client.converge(&with("fine\n", UNIT)), Next::Settled);
    let slow = format!("{UNIT}Type=notify\n");
    assert!(!client.world.objects()[HERE].content.contains("outdated"));
    let slow = with("fine\n", &slow);
    client.run(&client.steps(&slow), None);
    assert!(matches!(client.next(&slow), Next::Wait(_)));
    client.sleep(60);
    assert_eq!(client.next(&slow), Next::Settled);
    let dying = with("broken\n", &format!("{UNIT}Restart=always\n"));
    client.run(&client.steps(&dying), None);
    client.sleep(60);
    assert!(matches!(client.next(&dying), Next::Wait(_)), "{:?}", client.next(&dying));
}

#[test]
fn a_ledger_of_another_machine_marks_nothing() {
    let mut client = Client::new(world());
    client.world.add_machine("10.0.0.6", KEY);
    let want = spec(&json!({}));
    client.converge(&want);
    client.world.copy_ledger(HERE, "10.0.0.6");
    let other = spec(&json!({ "connection": { "address": "10.0.0.6", "hostKey": KEY } }));
    let wanted = BTreeMap::from([(name(), other.clone())]);
    let look = client.world.look(&realm(), Scope::All, &wanted);
    assert!(
        matches!(&look.seen[&name()], Seen::Present { owner: Owner::Copied, state } if state.ledger.is_empty())
    );
    assert_eq!(look.notices.len(), 1);
}

#[test]
fn a_guest_is_another_machine_on_another_disk_and_starts_what_is_enabled() {
    let up = |disk, copy_of, up: u64| {
        let up = (up > 0).then(|| Duration::from_secs(up));
        let machine = Machine { what: "vm 101".into(), disk, copy_of, up, host_key: KEY.into() };
        Machines::from([(HERE.to_owned(), machine)])
    };
    let mut client = Client::new(Hosts::new());
    client.sleep(100);
    let want = spec(&json!({}));
    client.world.set_machines(up(7, None, 0));
    assert!(matches!(client.seen(&want), Seen::Unknown(_)) && client.world.objects().is_empty());
    client.world.set_machines(up(7, None, 90));
    assert_eq!(client.converge(&want), Next::Settled);
    let before = client.content();
    client.world.set_machines(up(7, None, 0));
    assert!(!client.world.objects()[HERE].healthy);
    client.sleep(30);
    client.world.set_machines(up(7, None, 130));
    assert_eq!(client.converge(&want), Next::Settled);
    assert_eq!(client.content(), before, "all of it comes up again by itself");
    let id = client.state(&want).machine_id;
    client.world.set_machines(up(8, None, 200));
    let state = client.state(&want);
    assert!(state.machine_id != id && state.ledger_sha256.is_none());
    client.world.set_machines(up(9, Some(7), 300));
    let state = client.state(&want);
    assert!(
        state.machine_id == id && state.ledger_sha256.is_some(),
        "the copy of a disk is the same machine"
    );
}

#[test]
fn one_leap_is_as_good_as_many() {
    let slow = format!("{UNIT}Type=notify\n");
    let want = spec(&json!({ "files": [
        { "path": "/etc/app/app.conf", "content": "x" },
        { "path": "/etc/systemd/system/app.service", "content": slow },
    ]}));
    let mut one = Client::new(world());
    one.run(&one.steps(&want), None);
    let mut many = one.world.clone();
    for second in 1..=60 {
        many.advance(one.now + Duration::from_secs(second));
    }
    one.sleep(60);
    assert_eq!(one.world.computer(HERE), many.computer(HERE));
    assert_eq!(one.next(&want), Next::Settled);
}

#[test]
fn meddling_is_put_right_unless_it_needs_a_person() {
    let want = spec(&json!({}));
    let mut kinds = BTreeSet::new();
    for seed in 0..300 {
        let mut client = Client::new(world());
        client.world.add_machine("10.0.0.6", KEY);
        client.converge(&want);
        let mut chance = SmallRng::seed_from_u64(seed);
        let before = client.world.objects();
        let Some(meddling) = client.world.meddle(&mut chance) else { continue };
        let after = client.world.objects();
        let same = before.get(&meddling.key) == after.get(&meddling.key);
        assert!(!same, "{} did nothing", meddling.what);
        kinds.insert(meddling.what.split_whitespace().nth(1).unwrap().to_owned());
        if meddling.key == HERE && !meddling.needs_a_person {
            assert_eq!(client.converge(&want), Next::Settled, "after {}", meddling.what);
            assert_eq!(client.world.objects()[HERE].mark, before[HERE].mark, "after {}", meddling.what);
            // What came from where, a ledger that is begun anew cannot know.
            let is_lost = meddling.what.contains("deletes the ledger");
            let counts =
                |line: &&str| !(line.contains("/srv/by-hand") || is_lost && line.starts_with("ledger "));
            let now = client.content();
            let now: Vec<&str> = now.lines().filter(counts).collect();
            let was: Vec<&str> = before[HERE].content.lines().filter(counts).collect();
            assert_eq!(now, was, "after {}", meddling.what);
        }
    }
    assert!(kinds.len() >= 5, "{kinds:?}");
}

#[test]
fn a_file_that_somebody_edited_is_a_conflict_when_it_leaves() {
    let mut client = Client::new(world());
    let want = spec(&json!({}));
    client.converge(&want);
    client.sleep(5);
    let now = client.now;
    client.world.change(HERE, |computer| computer.put_foreign("/etc/app/app.conf", "theirs\n", 0, now));
    let entry = |client: &Client| client.state(&want).ledger[&path("/etc/app/app.conf")].origin;
    assert_eq!(entry(&client), Origin::Created);
    let none = spec(&json!({ "directories": [], "files": [], "packages": [], "services": [] }));
    assert!(
        matches!(client.converge(&none), Next::Refuse(Refusal { why, .. }) if why.contains("somebody changed it"))
    );
}

fn path(path: &str) -> Part {
    Part::try_from(format!("file {path}")).unwrap()
}
