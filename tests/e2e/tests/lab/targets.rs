//! Targets that are away, refuse, or lack what is asked for: told on the commit, and made good once they are well.

use std::time::Duration;

use holdfast_lab::home::{Home, Options};
use holdfast_lab::kubernetes::{ADMIN_TOKEN, Behaviour, Rule};

use super::hosts::{file, host};
use super::small;
use super::support::{Life, guests};

/// A resource that cannot settle is told soon.
fn hasty() -> Options {
    Options { settle: "2s".to_owned(), ..Options::default() }
}

/// One policy, in an environment of its own.
fn policy_alone(home: &Home) {
    small::site(home, &["core"]);
    home.repository
        .write(small::POLICY, small::policy("backup", "kv/data/backup/*"))
        .expect("a file is written");
}

/// One guest without a host, in an environment of its own.
fn guest_alone(home: &Home) {
    small::site(home, &["core"]);
    home.repository.write(small::CORE, small::guest("proxy", 111, 11)).expect("a file is written");
}

fn application_alone(home: &Home) {
    small::site(home, &["kubernetes"]);
    home.repository.write(small::APPLICATION, small::application("media", "")).expect("a file is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_secret_is_named_with_its_path_and_key() {
    let (mut life, commit) = Life::begin(&hasty(), |home| {
        guest_alone(home);
        home.repository.edit(small::CORE, "key: console", "key: consul").expect("it is edited");
    })
    .await;
    life.red(
        &commit,
        "core",
        &["VirtualMachine/proxy", "kv/guests#consul: there is no such key; write it to vault"],
    )
    .await;
    life.edit(small::CORE, "kv/guests, key: consul", "kv/gusts, key: console");
    let commit = life.push("another mistake");
    life.red(&commit, "core", &["VirtualMachine/proxy", "kv/gusts"]).await;
    assert_eq!(guests(&life.home), Vec::<u32>::new(), "nothing was begun");
    life.edit(small::CORE, "kv/gusts", "kv/guests");
    let commit = life.push("mended");
    life.until_all_green(&commit, &["core"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_cluster_is_an_error_and_later_a_success() {
    let mut life = Life::furnish(&hasty()).await;
    small::write(&life.home);
    let commit = life.push("the whole home");
    let (hidden, url) = hide(&life, &life.home.proxmox.url());
    life.start();
    let post = life.red(&commit, "core", &["out of reach", "VirtualMachine/", "onnection refused"]).await;
    assert_eq!(post.state, "error", "it is not the commit's fault");
    assert_eq!(guests(&life.home), Vec::<u32>::new());
    assert!(life.home.vault.policy("backup").is_some(), "what does not need the cluster is converged");
    life.terminate().await;
    life.configure(&hidden, &url);
    life.start();
    life.until_green(&commit, "core").await;
    life.until_green(&commit, "kubernetes").await;
}

/// Points the service to a port where nobody listens, and gives what takes it back.
fn hide(life: &Life, url: &str) -> (String, String) {
    let closed = life.home.guests.reserve(999).expect("a port is reserved");
    let hidden = format!("http://{closed}");
    life.configure(url, &hidden);
    (hidden, url.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_vault_is_an_error_and_later_a_success() {
    let mut life = Life::furnish(&hasty()).await;
    policy_alone(&life.home);
    let (hidden, url) = hide(&life, &life.home.vault.url());
    let commit = life.push("a policy");
    life.start();
    let post = life.red(&commit, "core", &["out of reach: VaultPolicy/backup", "onnection refused"]).await;
    assert_eq!(post.state, "error");
    life.terminate().await;
    life.configure(&hidden, &url);
    life.start();
    life.until_green(&commit, "core").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_kubernetes_is_an_error_and_later_a_success() {
    let mut life = Life::furnish(&hasty()).await;
    application_alone(&life.home);
    let (hidden, url) = hide(&life, &life.home.kubernetes.url());
    let commit = life.push("an application");
    life.start();
    let post =
        life.red(&commit, "kubernetes", &["out of reach: Application/media", "onnection refused"]).await;
    assert_eq!(post.state, "error");
    life.terminate().await;
    life.configure(&hidden, &url);
    life.start();
    life.until_green(&commit, "kubernetes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_refuses_connections_is_waited_for() {
    let (mut life, commit) = Life::begin(&hasty(), small::write).await;
    life.until_all_green(&commit, &small::ENVIRONMENTS).await;
    let proxy = host(&life.home, 111);
    proxy.refuse();
    life.edit(small::HOSTS, "hello", "hello again");
    let commit = life.push("another greeting");
    let post = life.red(&commit, "core", &["out of reach: Host/proxy", "onnection refused"]).await;
    assert_eq!(post.state, "error");
    proxy.answer().await.expect("it answers again");
    life.until_green(&commit, "core").await;
    assert_eq!(file(&life.home, 111, "/etc/motd").as_deref(), Some("hello again\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_refused_is_told_and_nothing_is_tried() {
    let mut life = Life::furnish(&hasty()).await;
    guest_alone(&life.home);
    life.home.proxmox.set_secret("holdfast@pve!main", "00000000-0000-4000-8000-000000000000");
    let commit = life.push("a guest");
    life.start();
    let post = life.red(&commit, "core", &["VirtualMachine/proxy", "the token was not accepted"]).await;
    assert_eq!(post.state, "failure", "somebody must act");
    assert_eq!(life.home.writes(), Vec::<String>::new());
    life.home.proxmox.set_secret("holdfast@pve!main", "5f1c0a4e-0000-4000-8000-00000000cafe");
    life.until_green(&commit, "core").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_privilege_is_named_with_its_path() {
    let mut life = Life::furnish(&hasty()).await;
    guest_alone(&life.home);
    for who in ["holdfast@pve", "holdfast@pve!main"] {
        life.home.proxmox.revoke("/", who);
        life.home.proxmox.grant("/", who, &["VM.Audit", "Sys.Audit", "Datastore.Audit"], true);
    }
    let commit = life.push("a guest");
    life.start();
    life.red(&commit, "core", &["VirtualMachine/proxy", "the token lacks `VM."]).await;
    assert_eq!(guests(&life.home), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubernetes_token_that_is_refused_is_told() {
    let mut life = Life::furnish(&hasty()).await;
    application_alone(&life.home);
    life.home.kubernetes.revoke(ADMIN_TOKEN);
    let commit = life.push("an application");
    life.start();
    life.red(&commit, "kubernetes", &["Application/media", "401"]).await;
    life.home.kubernetes.allow(ADMIN_TOKEN, "kubernetes-admin", &[Rule::everywhere(&["*"], &["*"])]);
    life.until_green(&commit, "kubernetes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_vault_does_not_know_is_told() {
    let mut life = Life::furnish(&hasty()).await;
    policy_alone(&life.home);
    life.home.vault.put_approle(
        "holdfast",
        "another-secret-id",
        &["holdfast-service"],
        Duration::from_mins(20),
    );
    let commit = life.push("a policy");
    life.start();
    life.red(&commit, "core", &["VaultPolicy/backup", "invalid role or secret ID: check `role_id`"]).await;
    assert_eq!(life.home.vault.policy("backup"), None);
    life.home.vault.put_approle("holdfast", "lab-secret-id", &["holdfast-service"], Duration::from_mins(20));
    life.until_green(&commit, "core").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_vault_is_waited_for() {
    let mut life = Life::furnish(&hasty()).await;
    small::write(&life.home);
    life.home.vault.set_sealed(true);
    let commit = life.push("the whole home");
    life.start();
    let post = life.red(&commit, "core", &["vault is sealed"]).await;
    assert_eq!(post.state, "error");
    assert_eq!(guests(&life.home), Vec::<u32>::new(), "a guest whose password is unknown is not made");
    life.home.vault.set_sealed(false);
    life.until_green(&commit, "core").await;
    life.until_green(&commit, "kubernetes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_cannot_be_made_is_told_before_anything_is_made() {
    let (mut life, commit) = Life::begin(&hasty(), |home| {
        guest_alone(home);
        home.repository.edit(small::CORE, "node: pve1", "node: pve9").expect("it is edited");
    })
    .await;

    life.red(&commit, "core", &["there is no node `pve9`: declare one of `pve1`, `pve2`, `pve3`"]).await;
    life.edit(small::CORE, "node: pve9", "node: pve1");
    life.edit(small::CORE, "template: 9000", "template: 8000");
    let commit = life.push("the node is right");
    life.red(&commit, "core", &["there is no template 8000"]).await;
    life.home.proxmox.set_storage_free("local-lvm", 1 << 30);
    life.edit(small::CORE, "template: 8000", "template: 9000");
    let commit = life.push("the template is right");
    life.red(
        &commit,
        "core",
        &["storage `local-lvm` of node `pve1` has 1 GiB left, and the clone takes 8 GiB"],
    )
    .await;
    let world = life.home.proxmox.world();
    assert_eq!(world.history, [], "nothing was made");
    assert_eq!(life.home.writes(), Vec::<String>::new());
    // Room is made: the same commit turns green by itself.
    life.home.proxmox.set_storage_free("local-lvm", 1 << 40);
    life.until_green(&commit, "core").await;
    assert_eq!(guests(&life.home), [111]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_key_that_changed_is_refused_until_somebody_unpins_it() {
    let (mut life, commit) = Life::begin(&hasty(), small::write).await;
    life.until_all_green(&commit, &small::ENVIRONMENTS).await;
    let proxy = host(&life.home, 111);
    let old = proxy.host_key();
    let new = proxy.change_host_key().expect("it gets another key");
    proxy.wire().cut_all();
    proxy.wire().reset();
    life.edit(small::HOSTS, "hello", "hello again");
    let commit = life.push("another greeting");
    let post = life.red(&commit, "core", &["Host/proxy", "the host key of 10.78.0.11 changed"]).await;
    assert_eq!(post.state, "failure");
    assert_eq!(proxy.wire().execs(), [], "nothing is sent to who knows whom");
    assert_eq!(file(&life.home, 111, "/etc/motd").as_deref(), Some("hello\n"));
    assert_eq!(file(&life.home, 112, "/etc/motd").as_deref(), Some("hello\n"), "only the first was edited");
    // The way out: somebody takes the pinned key out of the guest's notes.
    let notes = life.home.proxmox.guest(111).expect("it is there").config["description"].clone();
    let kept: Vec<&str> = notes.lines().filter(|line| !line.contains(&old)).collect();
    assert_eq!(kept.len() + 1, notes.lines().count(), "the key was pinned: {notes}");
    life.home.proxmox.set_config(111, "description", &kept.join("\n"));
    life.until_green(&commit, "core").await;
    assert!(life.home.proxmox.guest(111).expect("it is there").config["description"].contains(&new));
    assert_eq!(file(&life.home, 111, "/etc/motd").as_deref(), Some("hello again\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_stays_degraded_is_told_with_argos_words() {
    let mut life = Life::furnish(&hasty()).await;
    application_alone(&life.home);
    life.home.kubernetes.behave("media", Behaviour::Degraded("the pod is in a crash loop".to_owned()));
    let commit = life.push("an application");
    life.start();
    let post = life
        .red(&commit, "kubernetes", &["Application/media", "Degraded", "the pod is in a crash loop"])
        .await;
    assert_eq!(post.state, "failure");
    life.home.kubernetes.behave("media", Behaviour::Usual);
    life.until_green(&commit, "kubernetes").await;
}
