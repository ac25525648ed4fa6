//! A change that rolls over a group of hosts: never two restarts at once, and no further one after a failure.

use holdfast_lab::home::{Home, Options};

use super::hosts::file;
use super::small;
use super::support::Life;

const HOSTS: [(&str, u32, u32); 3] = [("alpha", 111, 11), ("beta", 112, 12), ("gamma", 121, 21)];
/// Where each host notes when its service began to start, and when it had.
const NOTES: &str = "/var/log/starts";

/// A service that takes a while to start, and does not start with a config that is bad.
fn host(name: &str) -> String {
    format!(
        "apiVersion: holdfast/v1
kind: Host
metadata: {{ name: {name} }}
spec:
  connection:
    address: {{ ref: VirtualMachine/{name}, output: address }}
    hostKey: {{ ref: VirtualMachine/{name}, output: hostKey }}
    user: ops
  files:
    - path: /etc/app.conf
      content: |
        good 1
    - path: /usr/local/bin/prepare
      mode: \"0755\"
      content: |
        #!/bin/sh
        echo begin $(date +%s%N) >> {NOTES}
        sleep 1
        echo end $(date +%s%N) >> {NOTES}
        grep -q good /etc/app.conf
    - path: /etc/systemd/system/app.service
      content: |
        [Service]
        ExecStartPre=/usr/local/bin/prepare
        ExecStart=/bin/sleep infinity

        [Install]
        WantedBy=multi-user.target
  services:
    - name: app.service
      restartOn: [/etc/app.conf]
"
    )
}

fn fill(home: &Home) {
    small::site(home, &["core"]);
    small::core_saying(
        home,
        "groups: [{ name: app, members: [Host/alpha, Host/beta, Host/gamma], maxUnavailable: 1, maxFailures: 1 }]",
    );
    let guests = HOSTS.map(|(name, vmid, last)| small::guest(name, vmid, last)).join("---\n");
    home.repository.write(small::CORE, guests).expect("a file is written");
    config(home, "good 1");
}

/// Writes the hosts, all with this config.
fn config(home: &Home, config: &str) {
    let hosts = HOSTS.map(|(name, ..)| host(name)).join("---\n").replace("good 1", config);
    home.repository.write(small::HOSTS, hosts).expect("a file is written");
}

/// The starts of the service on all hosts, in order: host, begin and end (if it came) in nanoseconds.
fn starts(home: &Home) -> Vec<(&'static str, u64, Option<u64>)> {
    let mut starts = Vec::new();
    for (name, vmid, _) in HOSTS {
        let notes = file(home, vmid, NOTES).unwrap_or_default();
        for line in notes.lines() {
            let (what, at) = line.split_once(' ').expect("two words");
            let at: u64 = at.parse().expect("a time");
            if what == "begin" {
                starts.push((name, at, None));
            } else {
                starts.last_mut().expect("it began").2 = Some(at);
            }
        }
    }
    starts.sort_by_key(|(_, begin, _)| *begin);
    starts
}

fn one_at_a_time(starts: &[(&'static str, u64, Option<u64>)]) {
    for pair in starts.windows(2) {
        assert!(pair[0].2.is_some_and(|end| end <= pair[1].1), "two at once: {starts:?}");
    }
}

/// Forgets the first starts, which nobody was served by yet.
fn forget(home: &Home) {
    for (_, vmid, _) in HOSTS {
        super::hosts::remove(home, vmid, NOTES);
    }
}

fn has(home: &Home, config: &str) -> Vec<&'static str> {
    let with = |vmid: u32| file(home, vmid, "/etc/app.conf").is_some_and(|text| text.trim() == config);
    HOSTS.into_iter().filter(|(_, vmid, _)| with(*vmid)).map(|(name, ..)| name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_restarts_one_at_a_time() {
    let (mut life, commit) = Life::begin(&Options::default(), fill).await;
    life.green(&commit, "core").await;
    forget(&life.home);
    config(&life.home, "good 2");
    let commit = life.push("another config");
    life.green(&commit, "core").await;
    let starts = starts(&life.home);
    one_at_a_time(&starts);
    assert_eq!(starts.len(), 3, "{starts:?}");
    assert_eq!(has(&life.home, "good 2").len(), 3);
    life.logged(&["waiting", "its turn in group `app`: 1 of 3 may be away, and Host/"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_restarts_one_at_a_time_although_the_service_is_killed_in_each_restart() {
    // Little time to settle, and soon another look: what cannot be seen for a while is not waited for in vain.
    let options = Options { settle: "10s".to_owned(), resync: "2s".to_owned(), ..Options::default() };
    let (mut life, commit) = Life::begin(&options, fill).await;
    life.until_green(&commit, "core").await;
    forget(&life.home);
    config(&life.home, "good 2");
    let commit = life.push("another config");
    for killed in 1..=2 {
        life.until("a restart is under way", |home| {
            let starts = starts(home);
            starts.len() >= killed && starts.last().is_some_and(|(.., end)| end.is_none())
        })
        .await;
        life.restart().await;
    }
    life.until_green(&commit, "core").await;
    let starts = starts(&life.home);
    one_at_a_time(&starts);
    assert_eq!(has(&life.home, "good 2").len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_come_up_stops_the_others_and_a_revert_recovers() {
    let (mut life, commit) =
        Life::begin(&Options { settle: "5s".to_owned(), ..Options::default() }, fill).await;
    life.until_green(&commit, "core").await;
    forget(&life.home);
    config(&life.home, "bad");
    let bad = life.push("a config that nothing starts with");
    life.red(&bad, "core", &["failed: Host/"]).await;
    life.logged(&["a resource did not converge", "group `app` is left as it is: Host/", " failed"]).await;
    life.until_status(&["held: Host/", "group `app` is left as it is: Host/"]).await;
    life.runs("core", 2).await;
    let broken = has(&life.home, "bad");
    assert_eq!(broken.len(), 1, "the others serve on: {broken:?}");
    assert_eq!(has(&life.home, "good 1").len(), 2);

    config(&life.home, "good 1");
    let commit = life.push("back to what was good");
    life.until_green(&commit, "core").await;
    assert_eq!(has(&life.home, "good 1").len(), 3);
    let starts = starts(&life.home);
    one_at_a_time(&starts);
    assert!(
        starts.iter().all(|(name, ..)| *name == broken[0]),
        "only the broken one was restarted: {starts:?}"
    );
}
