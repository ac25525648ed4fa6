//! The service is killed at every write of a first convergence, and started again: it always ends converged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_lab::demo::example;
use holdfast_lab::home::{Home, Options};
use holdfast_lab::proxmox::Event;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::hosts::{file, maybe_there};
use super::support::{Life, statuses};
use super::trap::{Trap, When, Write};

/// Rounds at once: a round waits for more than it works.
const AT_ONCE: usize = 4;
const ENVIRONMENTS: [&str; 2] = ["core", "kubernetes"];

/// What the homes of a test hold.
#[derive(Clone, Copy)]
struct World {
    fill: fn(&Home),
    guests: &'static [u32],
    /// Of each host: a file, and text in it.
    files: &'static [(u32, &'static str, &'static str)],
    policies: &'static [&'static str],
    applications: &'static [&'static str],
}

const EXAMPLE: World = World {
    fill: |home| home.repository.copy_from(&example()).expect("the example can be copied"),
    guests: &[111, 112, 121, 122, 123],
    files: &[
        (111, "/etc/haproxy/haproxy.cfg", "stats auth admin:tr0ub4dor-and-3"),
        (112, "/etc/backup/passphrase", "a long walk on the beach"),
        (121, "/etc/rancher/k3s/config.yaml", "cluster-init: true"),
        (122, "/etc/rancher/k3s/config.yaml", "server: https://10.78.0.21:6443"),
        (123, "/etc/motd", "Holdfast"),
    ],
    policies: &["backup", "operators"],
    applications: &["media", "monitoring"],
};

fn fast() -> Options {
    Options { task_time: Duration::from_millis(2), sync_time: Duration::from_millis(5), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_write_of_the_example_it_ends_converged() {
    let began = Instant::now();
    let writes = writes_of(EXAMPLE).await;
    let mut rounds = Vec::new();
    for write in &writes {
        rounds.extend([(write.clone(), When::Before), (write.clone(), When::After)]);
        if write.0.starts_with("host ") {
            rounds.push((write.clone(), When::Meanwhile));
        }
    }
    let count = rounds.len();
    let missed = run_all(EXAMPLE, rounds).await;
    println!(
        "{} writes, {count} crashes, {} that did not come to be, {:?}",
        writes.len(),
        missed.len(),
        began.elapsed()
    );
    // Whether progress is told once more depends on the clock; everything else is written every time.
    assert!(missed.iter().all(|((what, _), _)| what.starts_with("forge ")), "never came: {missed:?}");
}

/// The writes of an undisturbed first convergence.
async fn writes_of(world: World) -> Vec<Write> {
    let trap = Trap::counting();
    let (mut life, commit) = begin(world, &trap).await;
    life.all_green(&commit, &ENVIRONMENTS).await;
    is_converged(world, &life, &commit, "undisturbed");
    let writes = trap.writes();
    for target in ["proxmox", "vault", "kubernetes", "forge", "host"] {
        assert!(writes.iter().any(|(what, _)| what.starts_with(target)), "no write of {target}: {writes:?}");
    }
    writes
}

/// Runs the rounds, some at once. Gives those whose write never came.
async fn run_all(world: World, rounds: Vec<(Write, When)>) -> Vec<(Write, When)> {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (write, when) in rounds {
        let permits = Arc::clone(&permits);
        running.spawn(async move {
            let _permit = permits.acquire().await.expect("never closed");
            let came = round(world, write.clone(), when).await;
            (!came).then_some((write, when))
        });
    }
    let mut missed = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(one) => missed.extend(one),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    missed
}

async fn begin(world: World, trap: &Trap) -> (Life, String) {
    let mut life = Life::furnish(&fast()).await;
    (world.fill)(&life.home);
    let commit = life.push("the whole home");
    trap.lay(&life.home);
    trap.start(|| life.start().killer());
    (life, commit)
}

/// One life that ends at a write, and the next one. Whether the write came to be.
async fn round(world: World, write: Write, when: When) -> bool {
    let name = format!("{} #{} {when:?}", write.0, write.1);
    let trap = Trap::at(write, when);
    let (mut life, commit) = begin(world, &trap).await;
    life.until(&format!("the crash: {name}"), |home| trap.is_sprung() || is_green(home, &commit)).await;
    if trap.is_sprung() {
        life.restart().await;
    }
    for context in ["validate"].iter().chain(&ENVIRONMENTS) {
        let post = life.final_status(&commit, context).await;
        let (state, text, told) = (post.state, post.description, life.told());
        assert_eq!(state, "success", "{name}: {context}: {text}\n{told}");
    }
    is_converged(world, &life, &commit, &name);
    trap.is_sprung()
}

fn is_green(home: &Home, commit: &str) -> bool {
    let green = |context: &&str| home.status(commit, context).is_some_and(|post| post.state == "success");
    ["validate"].iter().chain(&ENVIRONMENTS).all(green)
}

fn is_converged(world: World, life: &Life, commit: &str, name: &str) {
    let home = &life.home;
    guests_are_whole(world, home, name);
    for (vmid, path, text) in world.files {
        let there = file(home, *vmid, path).unwrap_or_default();
        assert!(there.contains(text), "{name}: {path} of vm {vmid} is {there}");
    }
    assert_eq!(maybe_there(home), Vec::<String>::new(), "{name}");
    for policy in world.policies {
        assert!(home.vault.policy(policy).is_some(), "{name}: no policy {policy}");
    }
    let applications = home.kubernetes.objects("applications");
    let named: Vec<&str> =
        applications.iter().map(|it| it["metadata"]["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(named, world.applications, "{name}");
    for (context, posts) in statuses(home, commit) {
        let finals: Vec<_> = posts.iter().filter(|(state, _)| state != "pending").collect();
        let distinct: BTreeSet<_> = finals.iter().map(|(state, _)| state).collect();
        assert_eq!(distinct.len(), 1, "{name}: {context}: {posts:?}\n{}", life.told());
        // Where the answer to the first was lost, it is posted once more; an equal status is no news.
        assert!(finals.len() <= 2, "{name}: {context}: {posts:?}");
        assert_ne!(posts.last().expect("not empty").0, "pending", "{name}: {context}");
    }
    let left = below(&home.state());
    let bad =
        |path: &&String| path.rsplit('.').next().is_some_and(|end| ["lock", "new", "tmp"].contains(&end));
    assert_eq!(left.iter().find(bad), None, "{name}");
}

fn guests_are_whole(world: World, home: &Home, name: &str) {
    let view = home.proxmox.world();
    let there: Vec<u32> =
        view.guests.values().filter(|guest| !guest.template).map(|guest| guest.vmid).collect();
    assert_eq!(there, world.guests, "{name}");
    let mut volumes = BTreeSet::new();
    for guest in view.guests.values() {
        assert_eq!((&guest.lock, guest.pending.len()), (&None, 0), "{name}: vm {}", guest.vmid);
        assert!(guest.running || guest.template, "{name}: vm {} does not run", guest.vmid);
        volumes.extend(guest.disks.values().map(|disk| disk.volume.clone()));
    }
    let all: BTreeSet<String> = view.volumes.keys().cloned().collect();
    assert_eq!(all, volumes, "{name}: a volume that no guest has");
    for vmid in world.guests {
        let clones =
            view.history.iter().filter(|event| matches!(event, Event::Cloned { vmid: it, .. } if it == vmid));
        assert_eq!(clones.count(), 1, "{name}: vm {vmid} was cloned once");
    }
    let is_lost = |event: &&Event| matches!(event, Event::Destroyed { .. } | Event::DiskDestroyed { .. });
    assert_eq!(view.history.iter().find(is_lost), None, "{name}");
}

fn below(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the state folder can be read").flatten() {
        found.push(entry.path().display().to_string().replace(&folder.display().to_string(), ""));
        if entry.path().is_dir() {
            found.extend(below(&entry.path()));
        }
    }
    found
}
