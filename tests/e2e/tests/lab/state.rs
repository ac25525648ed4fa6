//! The service's own folder: one service at a time works in it, and what is in it may break or be lost.

use std::time::Duration;

use holdfast_lab::home::{Home, Options};
use holdfast_lab::service::command;

use super::small;
use super::support::{Life, PATIENCE, binary, guests, one_final_status};

fn working(home: &Home) -> bool {
    home.proxmox.world().tasks.iter().any(|task| task.exit.is_none())
}

fn remove_journal(home: &Home) {
    for name in ["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"] {
        std::fs::remove_file(home.state().join(name)).expect("the journal is removed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_journal_lost_nothing_stays_pending() {
    let options = Options { task_time: Duration::from_secs(2), ..Options::default() };
    let (mut life, first) = Life::begin(&options, small::write).await;
    let posted = |home: &Home| home.status(&first, "core").is_some_and(|post| post.state == "pending");
    life.until("the first commit is pending on the forge", |home| posted(home) && working(home)).await;
    life.kill().await;
    remove_journal(&life.home);
    life.edit(small::CORE, "cores: 2", "cores: 3");
    let second = life.push("more cores");
    life.start();
    life.all_green(&second, &small::ENVIRONMENTS).await;
    let post = life.final_status(&first, "core").await;
    assert_eq!(post.description, format!("superseded by {}", &second[..7]));
    one_final_status(&life.home, &second);
    assert_eq!(guests(&life.home), small::GUESTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_journal_is_put_aside_and_everything_goes_on() {
    let (mut life, commit) = Life::begin(&Options::default(), small::write).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    life.kill().await;
    life.home.reset();
    // All of it: what lies beside the file would mend it.
    remove_journal(&life.home);
    std::fs::write(life.home.state().join("journal.sqlite"), "no database".repeat(1_000))
        .expect("the journal is broken");
    life.start();
    life.logged(&["the journal is broken; it was put aside, and a new one is begun"]).await;
    life.until_ended("core", 1).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert!(life.home.state().join("journal.sqlite.broken").is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_service_in_the_same_folder_is_refused() {
    let (mut life, commit) = Life::begin(&Options::default(), small::write).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    let second = async || {
        let mut command = command(binary(), &life.home.config(), &life.home.credentials());
        let running = command.arg("run").kill_on_drop(true).output();
        tokio::time::timeout(PATIENCE, running).await.expect("it ends at once").expect("it runs")
    };
    let output = second().await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: another `holdfast run` works in "), "{said}");
    let mut status = command(binary(), &life.home.config(), &life.home.folder().join("no-credentials"));
    let output = status.arg("status").output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("converged: "), "beside the service, and without credentials: {said}");
    assert!(life.service().is_running());
}
