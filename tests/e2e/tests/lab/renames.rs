//! What a commit says of a resource's name: renamed, protected, retired; and of history: taken back.

use holdfast_lab::home::{Home, Options};
use holdfast_lab::proxmox::GuestView;

use super::small;
use super::support::{Life, guests};

fn guest_alone(home: &Home) {
    small::site(home, &["core"]);
    home.repository.write(small::CORE, small::guest("proxy", 111, 11)).expect("a file is written");
}

fn policies(home: &Home, names: &[&str]) {
    small::site(home, &["core"]);
    let texts: Vec<String> = names.iter().map(|name| small::policy(name, "kv/data/x/*")).collect();
    home.repository.write(small::POLICY, texts.join("---\n")).expect("a file is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_guest_is_held_until_the_commit_says_so_and_then_stays_as_it_is() {
    let (mut life, commit) = Life::begin(&Options::default(), guest_alone).await;
    life.green(&commit, "core").await;
    let before = life.home.proxmox.world().guests[&111].clone();
    life.home.reset();
    life.edit(small::CORE, "metadata: { name: proxy }", "metadata: { name: edge }");
    let renamed = life.push("another name");
    let held = "held: VirtualMachine/edge: it is managed as `VirtualMachine/proxy`";
    life.red(&renamed, "core", &[held]).await;
    let entry = "to rename it, write `moved: [{ from: VirtualMachine/proxy, to: VirtualMachine/edge }]` in environment.yaml";
    life.logged(&["a resource did not converge", held, entry]).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());

    small::core_saying(&life.home, "moved: [{ from: VirtualMachine/proxy, to: VirtualMachine/edge }]");
    let commit = life.push("as it was told");
    life.green(&commit, "core").await;
    let world = life.home.proxmox.world();
    let now = &world.guests[&111];
    assert_eq!((now.boots, &now.disks), (before.boots, &before.disks), "untouched but for its mark");
    assert_eq!(guests(&life.home), [111], "and no other");
    // The mark goes by the new name, and that is all that is written.
    let (old, new) = (&before.config["description"], &now.config["description"]);
    assert_eq!(&old.replace("/VirtualMachine/proxy@111/", "/VirtualMachine/edge@111/"), new);
    let besides = |guest: &GuestView| {
        let mut config = guest.config.clone();
        config.remove("description");
        config
    };
    assert_eq!(besides(&before), besides(now));
    assert_eq!(life.home.writes(), ["proxmox: POST /api2/json/nodes/pve1/qemu/111/config"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_its_name_so_that_a_rename_of_it_is_refused() {
    let (mut life, commit) = Life::begin(&Options::default(), |home| policies(home, &["backup"])).await;
    life.green(&commit, "core").await;
    life.home.reset();
    policies(&life.home, &["archive"]);
    small::core_saying(&life.home, "moved: [{ from: VaultPolicy/backup, to: VaultPolicy/archive }]");
    let commit = life.push("another name for a policy");
    let why =
        "held: VaultPolicy/archive: `moved:` says that it is `VaultPolicy/backup`, which is another object";
    life.red(&commit, "core", &[why]).await;
    let help = "or take the entry off `moved:`: it is made then, and `VaultPolicy/backup` goes as what left the repository";
    life.logged(&["a resource did not converge", why, help]).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert!(life.home.vault.policy("backup").is_some() && life.home.vault.policy("archive").is_none());
    // The way out.
    small::core_saying(&life.home, "{}");
    let commit = life.push("without the entry");
    life.green(&commit, "core").await;
    assert!(life.home.vault.policy("backup").is_none() && life.home.vault.policy("archive").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_protected_stays_until_it_is_retired() {
    let (mut life, commit) = Life::begin(&Options::default(), |home| {
        policies(home, &["backup", "operators"]);
        small::core_saying(home, "protect: [VaultPolicy/operators]");
    })
    .await;
    life.green(&commit, "core").await;
    policies(&life.home, &["backup"]);
    let commit = life.push("without the operators");
    let held = "held: VaultPolicy/operators: it left the repository, and `protect:` keeps it";
    life.red(&commit, "core", &[held, "list it under `retire:`"]).await;
    assert!(life.home.vault.policy("operators").is_some());

    small::core_saying(&life.home, "retire: [VaultPolicy/operators]");
    let commit = life.push("the operators may go");
    let post = life.green(&commit, "core").await;
    assert_eq!(post.description, "converged: 1 resource, 1 removed");
    assert_eq!(life.home.vault.policy("operators"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_goes_back_where_the_commit_names_what_it_leaves() {
    let mut life = Life::furnish(&Options::default()).await;
    policies(&life.home, &["backup"]);
    let first = life.push("one policy");
    life.start();
    life.green(&first, "core").await;
    policies(&life.home, &["backup", "more"]);
    let second = life.push("another policy");
    life.green(&second, "core").await;

    life.home.repository.force_push(&first).expect("git pushes");
    life.logged(&["the history was rewritten or goes backwards", &first[..7], &second[..7]]).await;
    // It names the commit that it stands on, and not the one that it leaves.
    small::site_saying(&life.home, &["core"], &format!("rewind: [\"{first}\"]"));
    let wrong = life.push("names another commit");
    let held = format!(
        "held: it does not descend from {}, the last one converged; push one that does, or list that one under `rewind:`",
        &second[..7]
    );
    life.red(&wrong, "core", &[&held]).await;
    assert!(life.home.vault.policy("more").is_some(), "nothing is deleted");

    small::site_saying(&life.home, &["core"], &format!("rewind: [\"{second}\"]"));
    let commit = life.push("names the commit that it leaves");
    let post = life.green(&commit, "core").await;
    assert_eq!(post.description, "converged: 1 resource, 1 removed");
    assert_eq!(life.home.vault.policy("more"), None);
    let post = life.final_status(&wrong, "core").await;
    assert_eq!(post.description, held, "it was not taken, and says so for good");
}
