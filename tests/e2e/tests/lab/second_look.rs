//! A converged world is looked at cheaply, and nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_lab::demo::example;
use holdfast_lab::home::Options;

use super::hosts::prints;
use super::small;
use super::support::{Life, guests};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_looks_once_at_everything_and_writes_nothing() {
    let (mut life, commit) = Life::begin(&Options::default(), |home| {
        home.repository.copy_from(&example()).expect("the example can be copied");
    })
    .await;
    life.all_green(&commit, &["core", "kubernetes"]).await;
    let (before, world, posts) = (prints(&life.home), life.home.proxmox.world(), life.home.forge.posts());
    life.home.reset();
    life.restart().await;
    // The lanes of a fresh service have run once each when both have ended.
    life.until_ended("core", 1).await;
    life.until_ended("kubernetes", 1).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert_eq!(prints(&life.home), before, "something was written on a host");
    assert_eq!(life.home.proxmox.world().history, world.history);
    let execs: BTreeMap<u32, usize> =
        life.home.guests.hosts().iter().map(|(vmid, host)| (*vmid, host.wire().execs().len())).collect();
    // The proxy is looked at by its own environment, and by the one whose application needs it.
    assert_eq!(execs, BTreeMap::from([(111, 2), (112, 1), (121, 1), (122, 1), (123, 1)]));
    let connections: usize = life.home.guests.hosts().iter().map(|(_, host)| host.wire().connections()).sum();
    assert_eq!(connections, 5, "one connection a host");
    life.terminate().await;
    assert_eq!(life.home.forge.posts(), posts, "a converged commit is told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resync_writes_nothing() {
    let options = Options { resync: "1s".to_owned(), ..Options::default() };
    let (mut life, commit) = Life::begin(&options, small::write).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    let (before, world, posts) = (prints(&life.home), life.home.proxmox.world(), life.home.forge.posts());
    life.home.reset();
    life.runs("core", 3).await;
    life.runs("kubernetes", 1).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert_eq!(prints(&life.home), before, "something was written on a host");
    assert_eq!(life.home.proxmox.world().history, world.history);
    life.terminate().await;
    assert_eq!(life.home.forge.posts(), posts, "drift and resyncs are no news for a commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_forty_guests_costs_at_most_forty_three_requests() {
    const COUNT: u32 = 40;
    let options = Options { machines: false, guests: Vec::new(), ..Options::default() };
    let (mut life, commit) = Life::begin(&options, |home| {
        small::site(home, &["core"]);
        let all = (0..COUNT).map(|n| small::guest(&format!("guest{n}"), 200 + n, 50 + n));
        let text = all.collect::<Vec<_>>().join("---\n");
        home.repository.write(small::CORE, text).expect("a file is written");
    })
    .await;
    life.all_green(&commit, &["core"]).await;
    assert_eq!(guests(&life.home).len(), COUNT as usize);
    // For minutes after a start a guest's agent is asked whether it has booted.
    life.home.proxmox.pass_time(Duration::from_hours(1));
    life.home.reset();
    life.restart().await;
    life.until_ended("core", 1).await;
    let requests = life.home.proxmox_wire.requests();
    assert!(requests.len() <= COUNT as usize + 3, "{} requests: {requests:#?}", requests.len());
    assert_eq!(life.home.writes(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_repository_costs_one_call_of_git_and_nothing_else() {
    let options = Options { poll: "1s".to_owned(), ..Options::default() };
    let mut life = Life::furnish(&options).await;
    small::site(&life.home, &["core"]);
    life.write(small::POLICY, &small::policy("backup", "kv/data/backup/*"));
    let commit = life.push("a policy alone");
    let calls = life.start_with_counted_git();
    life.all_green(&commit, &["core"]).await;
    life.home.reset();
    let count = || std::fs::read_to_string(&calls).unwrap_or_default().lines().count();
    let begun = count();
    let since = std::time::Instant::now();
    life.until("four polls", |_| count() >= begun + 4).await;
    assert!(
        since.elapsed() >= Duration::from_secs(2),
        "a poll is one call, a second apart: {:?}",
        since.elapsed()
    );
    let requests: usize = life.home.wires().iter().map(|(_, wire)| wire.requests().len()).sum();
    assert_eq!(requests, 0, "an unchanged repository is no reason to look at the targets");
}
