//! Forges that are away, refuse, or are of another kind: convergence goes on, and every status arrives once.

use std::time::Duration;

use holdfast_lab::forge::{Flavour, Right};
use holdfast_lab::home::{Home, Options, REPOSITORY};
use holdfast_lab::http::Fault;

use super::small;
use super::support::{Life, one_final_status, statuses};

/// One policy, in an environment of its own.
fn policy_alone(home: &Home) {
    small::site(home, &["core"]);
    home.repository
        .write(small::POLICY, small::policy("backup", "kv/data/backup/*"))
        .expect("a file is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_forge_is_down_everything_goes_on_and_later_it_is_told_once() {
    let mut life = Life::furnish(&Options::default()).await;
    policy_alone(&life.home);
    let commit = life.push("a policy");
    let url = life.home.forge.url();
    let closed = life.home.guests.reserve(999).expect("a port is reserved");
    life.configure(&url, &format!("http://{closed}"));
    life.start();
    life.until("the policy", |home| home.vault.policy("backup").is_some()).await;
    life.logged(&["a status could not be posted"]).await;
    life.until_ended("core", 1).await;
    assert_eq!(life.home.forge.posts(), []);
    life.terminate().await;
    life.configure(&format!("http://{closed}"), &url);
    life.start();
    life.all_green(&commit, &["core"]).await;
    one_final_status(&life.home, &commit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_or_broken_is_asked_for_again() {
    let mut life = Life::furnish(&Options::default()).await;
    policy_alone(&life.home);
    let commit = life.push("a policy");
    for fault in [Fault::CutBefore, Fault::Status(503)] {
        life.home.forge.wire.fail_next(|seen| seen.method == "POST", fault);
    }
    life.start();
    life.all_green(&commit, &["core"]).await;
    one_final_status(&life.home, &commit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_the_forge_refuses_is_told_in_the_log_and_stops_nothing() {
    let mut life = Life::furnish(&Options::default()).await;
    policy_alone(&life.home);
    let commit = life.push("a policy");
    life.home.forge.revoke("lab-forge-token");
    life.start();
    life.until("the policy", |home| home.vault.policy("backup").is_some()).await;
    life.logged(&["a status could not be posted", "the forge refuses"]).await;
    life.until_ended("core", 1).await;
    assert_eq!(life.home.forge.posts(), []);
    // Somebody gives it a token that may, and starts the service with it.
    life.terminate().await;
    std::fs::write(life.home.credentials().join("forge-token"), "another-token").expect("it is written");
    life.home.forge.allow("another-token", REPOSITORY, Right::Write);
    life.start();
    life.all_green(&commit, &["core"]).await;
    one_final_status(&life.home, &commit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_obeyed() {
    let mut life = Life::furnish(&Options::default()).await;
    policy_alone(&life.home);
    let commit = life.push("a policy");
    life.home.forge.limit(Some(3));
    life.start();
    life.logged(&["a status could not be posted", "asked for a pause"]).await;
    life.home.forge.limit(None);
    life.all_green(&commit, &["core"]).await;
    one_final_status(&life.home, &commit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_github_the_same_is_told_in_at_most_140_characters() {
    let options =
        Options { forge: Flavour::GitHub, task_time: Duration::from_millis(500), ..Options::default() };
    let (mut life, commit) = Life::begin(&options, small::write).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    one_final_status(&life.home, &commit);
    let all = statuses(&life.home, &commit);
    assert_eq!(all["core"].first().map(|(state, _)| state.as_str()), Some("pending"), "{all:?}");
    life.write("environments/core/more.yaml", &small::guest("more", 113, 13).replace("9000", "8000"));
    let bad = life.push("a guest of a template that is not there");
    let post = life.red(&bad, "core", &["failed: VirtualMachine/more: ", "there is no template 8000"]).await;
    assert_eq!(post.description.chars().count(), 140, "{}", post.description);
    assert!(post.description.ends_with('…'), "{}", post.description);
}
