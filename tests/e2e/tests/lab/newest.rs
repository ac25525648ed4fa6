//! The newest commit wins, and the end of the service loses nothing.

use std::time::{Duration, Instant};

use holdfast_lab::home::{Home, Options};

use super::small;
use super::support::{Life, guests, one_final_status};

fn working(home: &Home) -> bool {
    home.proxmox.world().tasks.iter().any(|task| task.exit.is_none())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_commit_supersedes_one_that_converges() {
    let options = Options { task_time: Duration::from_secs(2), ..Options::default() };
    let (mut life, first) = Life::begin(&options, small::write).await;
    life.until("a task of the first commit runs", working).await;
    life.edit(small::CORE, "cores: 2", "cores: 3");
    let second = life.push("more cores");
    life.all_green(&second, &small::ENVIRONMENTS).await;
    for context in small::ENVIRONMENTS {
        let post = life.final_status(&first, context).await;
        let said = (post.state.as_str(), post.description.clone());
        assert_eq!(said, ("error", format!("superseded by {}", &second[..7])), "{context}");
    }
    life.green(&first, "validate").await;
    assert_eq!(guests(&life.home), small::GUESTS);
    assert_eq!(life.home.proxmox.guest(111).expect("it is there").config["cores"], "3");
    for commit in [&first, &second] {
        one_final_status(&life.home, commit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_end_in_the_middle_of_a_run_finishes_what_was_begun() {
    let options = Options { task_time: Duration::from_millis(800), ..Options::default() };
    let (mut life, commit) = Life::begin(&options, small::write).await;
    life.until("a task runs", working).await;
    let told = Instant::now();
    life.terminate().await;
    assert!(told.elapsed() < Duration::from_secs(15), "it took {:?} to end", told.elapsed());
    let world = life.home.proxmox.world();
    assert!(!working(&life.home), "{:?}", world.tasks);
    assert!(world.tasks.iter().all(|task| task.exit.as_deref() == Some("OK")), "{:?}", world.tasks);
    assert!(world.guests.values().all(|guest| guest.lock.is_none()));
    let pending = life.home.status(&commit, "core");
    assert!(pending.is_none_or(|post| post.state == "pending"), "the run did not end");
    life.start();
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    assert_eq!(guests(&life.home), small::GUESTS);
    one_final_status(&life.home, &commit);
}
