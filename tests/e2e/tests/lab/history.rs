//! Histories that are no straight line: an empty repository, and one that was rewritten.

use holdfast_lab::home::Options;
use holdfast_lab::proxmox::Event;

use super::small;
use super::support::{Life, guests, statuses};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_repository_is_waited_for() {
    let mut life = Life::furnish(&Options::default()).await;
    life.start();
    life.logged(&["the repository has no such branch yet; push it, or correct `branch`"]).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    small::write(&life.home);
    let commit = life.push("the first commit");
    life.all_green(&commit, &small::ENVIRONMENTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_force_push_backwards_is_held_and_deletes_nothing() {
    let mut life = Life::furnish(&Options::default()).await;
    small::site(&life.home, &["core"]);
    life.write(small::POLICY, &small::policy("backup", "kv/data/backup/*"));
    let first = life.push("one policy");
    life.start();
    life.all_green(&first, &["core"]).await;
    life.write("environments/core/more.yaml", &small::policy("more", "kv/data/more/*"));
    let second = life.push("another policy");
    life.all_green(&second, &["core"]).await;
    let told = life.home.forge.posts();

    // Back to the first commit, which is green and stays so.
    life.home.repository.force_push(&first).expect("git pushes");
    life.logged(&["the history was rewritten or goes backwards", &first[..7], &second[..7]]).await;
    // And a commit of another history.
    life.edit(small::POLICY, "kv/data/backup/*", "kv/data/backups/*");
    let rewritten = life.push("the policy, differently");
    let descends = format!(
        "held: it does not descend from {}, the last one converged; push one that does, or list that one under `rewind:`",
        &second[..7]
    );
    life.red(&rewritten, "core", &[&descends]).await;
    life.green(&rewritten, "validate").await;
    assert!(life.home.vault.policy("more").is_some(), "nothing is deleted");
    assert!(life.home.vault.policy("backup").expect("it is there").contains("kv/data/backup/*"));
    assert_eq!(life.home.forge.posts()[..told.len()], told, "what was told stands");
    assert!(life.home.forge.posts()[told.len()..].iter().all(|post| post.commit == rewritten));

    // A commit that descends goes on.
    life.home.repository.force_push(&second).expect("git pushes");
    life.edit(small::POLICY, "kv/data/backup/*", "kv/data/backups/*");
    let good = life.push("on top of what was converged");
    life.all_green(&good, &["core"]).await;
    assert!(life.home.vault.policy("backup").expect("it is there").contains("kv/data/backups/*"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_declares_nothing_any_more_deletes_nothing() {
    let (mut life, commit) = Life::begin(&Options::default(), small::write).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    life.home.reset();
    for path in [small::CORE, small::HOSTS, small::POLICY] {
        life.home.repository.remove(path).expect("it is removed");
    }
    life.write(
        "environments/core/environment.yaml",
        "apiVersion: holdfast/v1\nkind: Environment\nmetadata: { name: core }\nspec: {}\n",
    );
    life.edit(small::APPLICATION, "\n  annotations: { holdfast/depends-on: core/Host/proxy }", "");
    let empty = life.push("nothing at all");
    life.red(
        &empty,
        "core",
        &["held: VaultPolicy/backup: the environment declares nothing at all any more", "(+2)"],
    )
    .await;
    life.runs("core", 1).await;
    assert_eq!(guests(&life.home), small::GUESTS);
    assert!(life.home.vault.policy("backup").is_some());
    let deleted = life.home.writes().into_iter().filter(|write| write.contains("DELETE"));
    assert_eq!(deleted.collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_state_folder_loses_nothing_but_history() {
    let (mut life, commit) = Life::begin(&Options::default(), small::write).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    let (before, posts) = (life.home.proxmox.world(), life.home.forge.posts().len());
    life.kill().await;
    std::fs::remove_dir_all(life.home.state()).expect("the state can be lost");
    life.home.reset();
    life.start();
    life.until_run_ends("core", "success").await;
    life.until_run_ends("kubernetes", "success").await;
    // Secrets are stamped with a key that was lost, so that they are set once more, to what they are; nothing else is.
    let only_secrets = |event: &Event| match event {
        Event::Configured { keys, .. } => keys.iter().all(|key| key == "cipassword" || key == "description"),
        _ => false,
    };
    let world = life.home.proxmox.world();
    let since = &world.history[before.history.len()..];
    assert!(since.iter().all(only_secrets), "{since:?}");
    assert_eq!(world.guests.keys().collect::<Vec<_>>(), before.guests.keys().collect::<Vec<_>>());
    // What stands on the commit stays, though nobody here remembers it.
    life.logged(&["what was told already stands"]).await;
    for context in ["validate", "core", "kubernetes"] {
        life.green(&commit, context).await;
    }
    let all = statuses(&life.home, &commit);
    assert_eq!(life.home.forge.posts().len(), posts, "{all:?}");
}
