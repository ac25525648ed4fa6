//! Who lost its lease writes nothing more, and goes on once it is free again.

use holdfast_lab::home::{Home, Options};

use super::journal;
use super::small;
use super::support::{Life, guests};

/// Another process takes both environments over while a guest is being cloned, and dies a while later.
async fn loses_its_lease(fill: fn(&Home), wanted: &[u32]) {
    let mut life = Life::furnish(&Options::default()).await;
    fill(&life.home);
    life.home.proxmox.hold_tasks();
    let commit = life.push("the whole home");
    life.start();
    life.until("a clone runs, and all else that can be done is", |home| {
        let cloning = home.proxmox.world().tasks.iter().any(|task| task.exit.is_none());
        let application = home.kubernetes.object("applications", "argocd", "media");
        cloning && home.vault.policy("backup").is_some() && application.is_some()
    })
    .await;
    life.green(&commit, "kubernetes").await;
    // As it may once our leases have run out.
    let taken = journal::write(
        &life.home,
        "UPDATE environments SET holder = 'another', epoch = epoch + 1, expires_at = unixepoch() + 45",
    )
    .await;
    assert_eq!(taken, 2);
    life.home.reset();
    let begun = guests(&life.home);
    life.home.proxmox.release_tasks();
    life.logged(&["changing anything: another process took this environment over"]).await;
    life.logged(&["another process took the environment over", "core"]).await;
    life.logged(&["another process looks after the environment", "core"]).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert_eq!(guests(&life.home), begun);
    let post = life.home.status(&commit, "core").expect("it was told");
    assert_eq!(post.state, "pending", "{}", post.description);

    assert_eq!(journal::write(&life.home, "UPDATE environments SET expires_at = 0").await, 2);
    life.until_all_green(&commit, &small::ENVIRONMENTS).await;
    assert_eq!(guests(&life.home), wanted);
}

fn application_apart(home: &Home) {
    small::write(home);
    home.repository.write(small::APPLICATION, small::application("media", "")).expect("a file is written");
}

fn one_guest(home: &Home) {
    application_apart(home);
    home.repository.write(small::CORE, small::guest("proxy", 111, 11)).expect("a file is written");
    home.repository.remove(small::HOSTS).expect("it is removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_its_lease_in_the_middle_of_a_run_writes_nothing_more() {
    loses_its_lease(one_guest, &[111]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_its_lease_while_a_clone_waited_for_another_writes_nothing_more() {
    loses_its_lease(application_apart, &small::GUESTS).await;
}
