//! What leaves the repository: what holds data is held, all else goes as gently as it can.

use holdfast_lab::home::Options;

use super::hosts::file;
use super::small;
use super::support::{Life, guests};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_held_until_it_is_retired() {
    let (mut life, commit) = Life::begin(&Options::default(), small::write).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    let guests_text = small::guest("proxy", 111, 11);
    life.write(small::CORE, &guests_text);
    let hosts = std::fs::read_to_string(life.home.repository.work().join(small::HOSTS)).expect("it is there");
    let proxy = hosts.split("---\n").next().expect("two documents").to_owned();
    life.write(small::HOSTS, &proxy);
    let commit = life.push("without the backup machine");
    life.red(
        &commit,
        "core",
        &[
            "held: VirtualMachine/backup: it left the repository, and may hold data",
            "list it under `retire:` in environment.yaml to let it go",
        ],
    )
    .await;
    assert_eq!(guests(&life.home), small::GUESTS);
    life.green(&commit, "kubernetes").await;
    life.write(
        "environments/core/environment.yaml",
        "apiVersion: holdfast/v1\nkind: Environment\nmetadata: { name: core }\nspec:\n  retire: [VirtualMachine/backup]\n",
    );
    let commit = life.push("the backup machine may go");
    life.green(&commit, "core").await;
    assert_eq!(guests(&life.home), [111]);
    let volumes = life.home.proxmox.world().volumes;
    assert!(volumes.keys().all(|volume| !volume.contains("112")), "{volumes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_and_an_application_go_and_what_runs_stays() {
    let (mut life, commit) = Life::begin(&Options::default(), |home| {
        small::site(home, &small::ENVIRONMENTS);
        for name in ["backup", "more"] {
            let path = format!("environments/core/{name}.yaml");
            home.repository.write(&path, small::policy(name, "kv/data/x/*")).expect("a file is written");
        }
        for name in ["media", "photos"] {
            let path = format!("environments/kubernetes/{name}.yaml");
            let text = small::application(name, "").replace(
                "namespace: argocd",
                "namespace: argocd\n  finalizers: [resources-finalizer.argocd.argoproj.io]",
            );
            home.repository.write(&path, text).expect("a file is written");
        }
        home.vault.put_policy("theirs", "path \"x\" { capabilities = [\"read\"] }").expect("a policy");
    })
    .await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    life.home.repository.remove("environments/core/more.yaml").expect("it is removed");
    life.home.repository.remove("environments/kubernetes/photos.yaml").expect("it is removed");
    let commit = life.push("fewer");
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    assert_eq!(life.home.vault.policy("more"), None);
    assert!(life.home.vault.policy("backup").is_some() && life.home.vault.policy("theirs").is_some());
    assert_eq!(life.home.kubernetes.object("applications", "argocd", "photos"), None);
    assert!(life.home.kubernetes.object("applications", "argocd", "media").is_some());
    assert_eq!(life.home.kubernetes.cascaded(), Vec::<String>::new(), "what photos deployed stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_ours_goes_and_one_that_somebody_changed_is_a_conflict() {
    let (mut life, commit) = Life::begin(&Options::default(), small::write).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    let there = |life: &Life, path: &str| file(&life.home, 111, path);
    super::hosts::write(&life.home, 111, "/etc/motd", "mine now\n");
    life.edit(
        small::HOSTS,
        "  files:
    - path: /etc/motd
      content: |
        hello
    - path: /etc/proxy/secret
      mode: \"0600\"
      content: { vault: kv/proxy, key: stats }
",
        "",
    );
    life.edit(small::HOSTS, "  directories:\n    - { path: /etc/proxy, mode: \"0755\" }\n", "");
    let commit = life.push("less on the proxy");
    life.red(&commit, "core", &["held: Host/proxy: `/etc/motd` left the manifest, but somebody changed it"])
        .await;
    assert_eq!(there(&life, "/etc/motd").as_deref(), Some("mine now\n"));
    assert_eq!(there(&life, "/etc/proxy/secret"), None);
    assert!(!super::hosts::host(&life.home, 111).root().join("etc/proxy").exists());
    // Somebody settles it: the file goes by hand.
    super::hosts::remove(&life.home, 111, "/etc/motd");
    life.until_green(&commit, "core").await;
    assert_eq!(there(&life, "/etc/motd"), None);
}
