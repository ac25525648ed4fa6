//! Answers that are hard to believe, and commits that are hard to read.

use holdfast_lab::home::{Home, Options};
use holdfast_lab::http::Fault;

use super::journal;
use super::small;
use super::support::{Life, guests};

const GUESTS: [(&str, u32, u32); 3] = [("alpha", 111, 11), ("beta", 112, 12), ("gamma", 121, 21)];
const NONE_LEFT: &str = "none of the 3 that were here is there any more; if they are really gone, push a commit \
                         (git commit --allow-empty) to have them made anew";

/// Guests that are nothing but agents that answer.
fn without_hosts() -> Options {
    Options { resync: "1s".to_owned(), machines: false, ..Options::default() }
}

fn three_guests(home: &Home) {
    small::site(home, &["core"]);
    let guests = GUESTS.map(|(name, vmid, last)| small::guest(name, vmid, last)).join("---\n");
    home.repository.write(small::CORE, guests).expect("a file is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_that_are_all_gone_are_made_anew_only_after_another_commit() {
    let (mut life, commit) = Life::begin(&without_hosts(), three_guests).await;
    life.green(&commit, "core").await;
    for (_, vmid, _) in GUESTS {
        life.home.proxmox.power_off(vmid).expect("it is stopped");
        life.home.proxmox.remove(vmid).expect("it is removed");
    }
    life.home.reset();
    life.logged(&["a resource did not converge", "looking at every VirtualMachine", NONE_LEFT]).await;
    let held = format!("held: VirtualMachine/alpha: looking at every VirtualMachine: {NONE_LEFT}");
    life.until_status(&["since then:", &held]).await;
    life.runs("core", 2).await;
    // A restart knows it still.
    life.restart().await;
    life.until_ended("core", 2).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert_eq!(guests(&life.home), Vec::<u32>::new());
    life.green(&commit, "core").await;

    let next = life.push("they are really gone");
    let post = life.green(&next, "core").await;
    assert_eq!(post.description, "converged: 3 resources, 3 changed");
    assert_eq!(guests(&life.home), [111, 112, 121]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_came_back_empty_makes_no_guest_a_second_time() {
    let (mut life, commit) = Life::begin(&without_hosts(), three_guests).await;
    life.green(&commit, "core").await;
    let empty = Fault::Reply {
        status: 200,
        headers: &[("content-type", "application/json")],
        body: "{\"data\":[{\"type\":\"node\",\"id\":\"node/pve1\",\"node\":\"pve1\",\"status\":\"online\"}]}",
    };
    life.home.proxmox_wire.fail_all(|seen| seen.uri.starts_with("/api2/json/cluster/resources"), empty);
    life.home.reset();
    life.until_run_ends("core", "error").await;
    life.until_status(&["since then:", "VirtualMachine/alpha"]).await;
    let next = life.push("an empty commit does not change that they are there");
    life.red(&next, "core", &["the number is taken, by a guest that was not listed"]).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    life.home.proxmox_wire.clear_faults();
    life.until_green(&next, "core").await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
}

/// So many policies that a commit of them is not read at once.
fn many_policies(home: &Home) {
    let all: Vec<String> =
        (0..1_500).map(|n| small::policy(&format!("p{n}"), &format!("kv/data/p{n}/*"))).collect();
    for (n, some) in all.chunks(100).enumerate() {
        let path = format!("environments/core/many{n}.yaml");
        home.repository.write(&path, some.join("---\n")).expect("a file is written");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_ends_the_service_twice_is_read_no_more() {
    let (mut life, commit) =
        Life::begin(&Options { resync: "1s".to_owned(), ..Options::default() }, |home| {
            small::site(home, &["core"]);
            home.repository
                .write(small::POLICY, small::policy("backup", "kv/data/x/*"))
                .expect("a file is written");
        })
        .await;
    life.green(&commit, "core").await;
    many_policies(&life.home);
    let deadly = life.push("a commit that the service does not survive");
    for deaths in 1..=2 {
        let attempts = format!("SELECT count FROM attempts WHERE commit_id = '{deadly}'");
        journal::until(&life.home, &attempts, deaths).await;
        life.restart().await;
    }
    let text = "the service ended 2 times while it read this commit, and reads it no more; push another one";
    let post = life.red(&deadly, "validate", &[text]).await;
    assert_eq!(post.description, text);
    // The home is not left alone: drift of the last good commit is corrected.
    life.home.vault.remove_policy("backup");
    life.until("the policy is back", |home| home.vault.policy("backup").is_some()).await;

    for n in 0..15 {
        life.home.repository.remove(&format!("environments/core/many{n}.yaml")).expect("it is removed");
    }
    let good = life.push("a small commit");
    life.all_green(&good, &["core"]).await;
}
