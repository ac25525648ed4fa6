//! What somebody changes by hand is changed back at the next look, and is no news for the commit.

use holdfast_lab::home::Options;

use super::hosts::{file, write};
use super::small;
use super::support::Life;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_corrected_and_the_commit_says_what_it_said() {
    let options = Options { resync: "1s".to_owned(), ..Options::default() };
    let (mut life, commit) = Life::begin(&options, small::write).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    let told = life.home.forge.posts();
    let policy = life.home.vault.policy("backup").expect("it is there");

    write(&life.home, 111, "/etc/motd", "mine now\n");
    let tags = life.home.proxmox.guest(111).expect("it is there").config["tags"].clone();
    let without: Vec<&str> = tags.split(';').filter(|tag| *tag != "core").collect();
    life.home.proxmox.set_config(111, "tags", &without.join(";"));
    life.home.proxmox.set_config(112, "onboot", "0");
    life.home.vault.put_policy("backup", &policy.replace("read", "sudo")).expect("somebody may");
    let edited = life.home.kubernetes.edit("kubectl", "applications", "argocd", "media", |object| {
        drop(object["spec"]["syncPolicy"]["automated"].as_object_mut().and_then(|it| it.remove("prune")));
    });
    edited.expect("somebody may");

    life.until("everything is as declared", |home| {
        let application = home.kubernetes.object("applications", "argocd", "media");
        file(home, 111, "/etc/motd").as_deref() == Some("hello\n")
            && home.proxmox.guest(111).is_some_and(|guest| guest.config["tags"].contains("core"))
            && home.proxmox.guest(112).is_some_and(|guest| guest.config["onboot"] == "1")
            && home.vault.policy("backup").as_ref() == Some(&policy)
            && application.is_some_and(|it| it["spec"]["syncPolicy"]["automated"]["prune"] == true)
    })
    .await;
    life.runs("core", 1).await;
    life.home.reset();
    life.runs("core", 2).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    life.terminate().await;
    assert_eq!(life.home.forge.posts(), told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_somebody_else_took_over_is_told_and_not_fought_for() {
    let options = Options { resync: "1s".to_owned(), ..Options::default() };
    let (mut life, commit) = Life::begin(&options, |home| {
        small::site(home, &["kubernetes"]);
        home.repository
            .write(small::APPLICATION, small::application("media", ""))
            .expect("a file is written");
    })
    .await;
    life.all_green(&commit, &["kubernetes"]).await;
    let told = life.home.forge.posts();
    let set = |life: &Life, path: &str| {
        let edited = life.home.kubernetes.edit("kubectl", "applications", "argocd", "media", |object| {
            object["spec"]["source"]["path"] = path.into();
        });
        edited.expect("somebody may");
    };
    set(&life, "theirs");
    let why = "failed: Application/media: applying application media: `kubectl` manages .spec.source.path";
    life.logged(&["a resource did not converge", why, "take the field out of the manifest"]).await;
    life.until_run_ends("kubernetes", "failure").await;
    let path = |life: &Life| {
        life.home.kubernetes.object("applications", "argocd", "media").expect("it is there")["spec"]["source"]
            ["path"]
            .clone()
    };
    assert_eq!(path(&life), "theirs");
    set(&life, "media");
    life.until_run_ends("kubernetes", "success").await;
    life.terminate().await;
    assert_eq!(life.home.forge.posts(), told, "a success is never taken back");
}
