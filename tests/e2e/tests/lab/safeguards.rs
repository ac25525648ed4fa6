//! What may be done and not now: pauses, drift that is only told, and maintenance windows.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_lab::home::{Home, Options};

use super::hosts::{file, prints, write};
use super::small;
use super::support::{Life, guests};

fn often() -> Options {
    Options { resync: "1s".to_owned(), ..Options::default() }
}

/// Two environments of which neither needs the other.
fn apart(home: &Home) {
    small::write(home);
    home.repository.write(small::APPLICATION, small::application("media", "")).expect("a file is written");
}

/// A change of every target.
fn change_everything(life: &Life) {
    life.edit(small::CORE, "the guest proxy", "the first guest");
    life.edit(small::HOSTS, "hello", "hello again");
    life.edit(small::POLICY, "[read]", "[list]");
    life.edit(small::APPLICATION, "path: media", "path: more-media");
}

fn is_changed(home: &Home) -> bool {
    let application = home.kubernetes.object("applications", "argocd", "media");
    home.proxmox.guest(111).is_some_and(|guest| guest.config["description"].starts_with("the first guest"))
        && file(home, 111, "/etc/motd").as_deref() == Some("hello again\n")
        && home.vault.policy("backup").is_some_and(|text| text.contains("list"))
        && application.is_some_and(|it| it["spec"]["source"]["path"] == "more-media")
}

/// The file in the state folder that pauses the service.
fn pause_file(life: &Life) -> PathBuf {
    life.home.state().join("pause")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_in_the_repository_changes_nothing_and_tells_what_would_be_done() {
    let (mut life, commit) = Life::begin(&often(), apart).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    change_everything(&life);
    small::site_saying(&life.home, &small::ENVIRONMENTS, "pause: we are moving house");
    life.home.reset();
    let before = prints(&life.home);
    let paused = life.push("changes, and a pause");
    life.green(&paused, "validate").await;
    life.red(&paused, "core", &["held: Host/proxy: the site is paused: we are moving house; would "]).await;
    life.red(
        &paused,
        "kubernetes",
        &["held: Application/media: the site is paused: we are moving house; would apply application media"],
    )
    .await;
    life.until_status(&[
        "held: VirtualMachine/proxy: the site is paused: we are moving house; would set description of vm 111",
        "held: VaultPolicy/backup: the site is paused: we are moving house; would write policy backup",
    ])
    .await;
    life.runs("core", 2).await;
    life.runs("kubernetes", 1).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert_eq!(prints(&life.home), before, "no host was touched");

    small::site(&life.home, &small::ENVIRONMENTS);
    let commit = life.push("we live there now");
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    assert!(is_changed(&life.home));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_on_the_machine_changes_nothing_until_it_is_taken_away() {
    let (mut life, commit) = Life::begin(&often(), apart).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    std::fs::write(pause_file(&life), "somebody works on the rack\n").expect("the pause is written");
    change_everything(&life);
    // What began before the pause ends.
    life.runs("core", 1).await;
    life.runs("kubernetes", 1).await;
    life.home.reset();
    let before = prints(&life.home);
    let paused = life.push("changes during a pause");
    let text = "paused on the service's machine: somebody works on the rack; would ";
    life.red(&paused, "core", &["held: Host/proxy: ", text]).await;
    life.red(&paused, "kubernetes", &["held: Application/media: ", text]).await;
    life.runs("core", 2).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert_eq!(prints(&life.home), before, "no host was touched");

    std::fs::remove_file(pause_file(&life)).expect("the pause is taken away");
    life.until_all_green(&paused, &small::ENVIRONMENTS).await;
    assert!(is_changed(&life.home));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_in_the_middle_of_a_run_begins_nothing_more() {
    let mut life = Life::furnish(&often()).await;
    small::write(&life.home);
    life.home.proxmox.hold_tasks();
    let commit = life.push("the whole home");
    life.start();
    life.until("a clone runs, and the policy is there", |home| {
        home.proxmox.world().tasks.iter().any(|task| task.exit.is_none())
            && home.vault.policy("backup").is_some()
    })
    .await;
    std::fs::write(pause_file(&life), "").expect("the pause is written");
    // What had passed the fence by then is not broken off.
    life.home.proxmox.release_tasks();
    let words = ["paused on the service's machine: ", "the file `pause` is in its state folder"];
    life.red(&commit, "core", &words).await;
    let begun = guests(&life.home);
    life.home.reset();
    life.runs("core", 2).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert_eq!(guests(&life.home), begun);
    let world = life.home.proxmox.world();
    let runs = |vmid: &u32| world.guests[vmid].running;
    assert!(!begun.is_empty() && !begun.iter().any(runs), "the clone ended, and nothing more was begun");

    std::fs::remove_file(pause_file(&life)).expect("the pause is taken away");
    life.until_all_green(&commit, &small::ENVIRONMENTS).await;
}

/// A policy that somebody changed by hand.
fn meddle(life: &Life) -> String {
    let text = life.home.vault.policy("backup").expect("it is there");
    let theirs = text.replace("kv/data/backup/*", "kv/data/theirs");
    life.home.vault.put_policy("backup", &theirs).expect("somebody may");
    theirs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_that_is_only_reported_is_told_and_left() {
    let (mut life, commit) = Life::begin(&often(), |home| {
        small::write(home);
        small::core_saying(home, "drift: { mode: report }");
    })
    .await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    life.runs("core", 1).await;
    life.home.reset();
    write(&life.home, 111, "/etc/motd", "mine now\n");
    let before = prints(&life.home);
    let theirs = meddle(&life);
    let words = [
        "held: Host/proxy: drift is only reported here; would replace /etc/motd (0644 root:root)",
        "held: VaultPolicy/backup: drift is only reported here; would write policy backup",
    ];
    life.logged(&["a resource did not converge", words[0]]).await;
    life.logged(&["a resource did not converge", words[1]]).await;
    life.until_status(&["since then:", words[0], words[1]]).await;
    assert!(!life.status().await.1, "`holdfast status` ends with 1");
    life.runs("core", 2).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert_eq!(life.home.vault.policy("backup").as_ref(), Some(&theirs));
    assert_eq!(prints(&life.home), before);
    life.green(&commit, "core").await;

    let next = life.push("the next commit is converged to");
    life.all_green(&next, &small::ENVIRONMENTS).await;
    assert_ne!(life.home.vault.policy("backup").as_ref(), Some(&theirs));
    assert_eq!(file(&life.home, 111, "/etc/motd").as_deref(), Some("hello\n"));
}

/// A home whose drift is only reported, and a policy of it that somebody changed.
async fn reported(options: &Options) -> (Life, String, String) {
    let (mut life, commit) = Life::begin(options, |home| {
        small::write(home);
        small::core_saying(home, "drift: { mode: report }");
    })
    .await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    let theirs = meddle(&life);
    life.logged(&["drift is only reported here; would write policy backup"]).await;
    (life, commit, theirs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_that_is_only_reported_is_left_while_something_is_out_of_reach() {
    let (mut life, _, theirs) = reported(&Options { settle: "2s".to_owned(), ..often() }).await;
    let proxy = super::hosts::host(&life.home, 111);
    proxy.refuse();
    life.logged(&["out of reach: Host/proxy"]).await;
    life.runs("core", 3).await;
    proxy.answer().await.expect("it answers again");
    life.runs("core", 3).await;
    assert_eq!(life.home.vault.policy("backup"), Some(theirs), "{}", life.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_that_is_only_reported_is_left_by_a_restart() {
    let (mut life, _, theirs) = reported(&often()).await;
    life.terminate().await;
    life.start();
    life.until_ended("core", 2).await;
    assert_eq!(life.home.vault.policy("backup"), Some(theirs), "{}", life.told());
}

fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A window that is half a year away.
fn shut() -> &'static str {
    let day = (since_1970() / 86_400) % 365;
    if (91..273).contains(&day) { "0 3 1 1 *" } else { "0 3 1 7 *" }
}

/// A window that opened within the last hour and stays open for an hour at least.
fn open() -> String {
    format!("maintenance: {{ opens: 0 {} * * *, lasts: 2h }}", since_1970() / 3600 % 24)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_disrupts_waits_for_the_maintenance_window_and_the_rest_does_not() {
    let (mut life, commit) = Life::begin(&often(), |home| {
        small::write(home);
        // A service that is restarted when its file changes.
        home.repository
            .edit(small::HOSTS, "ExecStart=/bin/sleep infinity", "ExecStart=/bin/sleep 1000000")
            .expect("it is edited");
    })
    .await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    let boots = |life: &Life| life.home.proxmox.guest(112).expect("it is there").boots;
    let booted = boots(&life);

    small::core_saying(&life.home, &format!("maintenance: {{ opens: {}, lasts: 1h }}", shut()));
    // Quiet: a greeting. Disruptive: a card that is plugged into another network, and a service that restarts.
    life.edit(small::HOSTS, "hello", "hello again");
    life.edit(small::HOSTS, "sleep 1000000", "sleep 2000000");
    life.edit(small::CORE, "vlan: 20", "vlan: 30");
    let commit = life.push("some of it disrupts");
    let window = format!("it waits for the maintenance window ({}); would ", shut());
    life.red(&commit, "core", &["held: ", &window]).await;
    life.until_status(&[
        &format!("held: VirtualMachine/proxy: {window}"),
        &format!("held: Host/backup: {window}"),
    ])
    .await;
    life.green(&commit, "kubernetes").await;
    life.runs("core", 2).await;
    let net = |life: &Life| life.home.proxmox.guest(111).expect("it is there").config["net0"].clone();
    assert!(net(&life).contains("tag=20"), "{}", net(&life));
    let unit = "/etc/systemd/system/backup.service";
    assert!(file(&life.home, 112, unit).expect("it is there").contains("sleep 1000000"));

    small::core_saying(&life.home, &open());
    let commit = life.push("now is the time");
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    assert!(net(&life).contains("tag=30"), "{}", net(&life));
    assert!(file(&life.home, 112, unit).expect("it is there").contains("sleep 2000000"));
    assert_eq!(boots(&life), booted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_quiet_goes_through_beside_what_waits_for_the_window() {
    let (mut life, commit) = Life::begin(&often(), |home| {
        small::write(home);
        small::core_saying(home, &format!("maintenance: {{ opens: {}, lasts: 1h }}", shut()));
    })
    .await;
    // What is new disrupts nobody.
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    life.edit(small::HOSTS, "hello", "hello again");
    life.edit(small::POLICY, "[read]", "[list]");
    life.edit(small::CORE, "the guest proxy", "the guest that is proxy");
    life.edit(small::HOSTS, "sleep infinity", "sleep 3000000");
    let commit = life.push("mostly quiet");
    let window = format!("it waits for the maintenance window ({}); would ", shut());
    life.red(&commit, "core", &["held: Host/backup: ", &window]).await;
    assert_eq!(file(&life.home, 111, "/etc/motd").as_deref(), Some("hello again\n"));
    assert!(life.home.vault.policy("backup").expect("it is there").contains("list"));
    let notes = life.home.proxmox.guest(111).expect("it is there").config["description"].clone();
    assert!(notes.contains("the guest that is proxy"), "{notes}");
    // The window is taken back: the same change goes through with the next commit.
    small::core_saying(&life.home, "{}");
    let next = life.push("at any time");
    life.all_green(&next, &small::ENVIRONMENTS).await;
    let unit = file(&life.home, 112, "/etc/systemd/system/backup.service").expect("it is there");
    assert!(unit.contains("sleep 3000000"), "{unit}");
}
