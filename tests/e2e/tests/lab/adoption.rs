//! What is there already: adopted where it is as wanted, refused where somebody else's mark is on it.

use holdfast_lab::home::{Home, Options};
use holdfast_lab::proxmox::MachineSeed;

use super::small;
use super::support::Life;

/// A guest that no host stands behind, and that wants nothing but what it says.
const GUEST: &str = "apiVersion: holdfast/v1
kind: VirtualMachine
metadata: { name: old }
spec:
  vmid: 150
  node: pve1
  cores: 2
  memory: 1GiB
  disk: { slot: scsi0, size: 8GiB }
  running: false
";

fn seed() -> MachineSeed {
    MachineSeed::new(150, "old", "pve1", 8).set("cores", "2").set("memory", "1024")
}

/// The home before Holdfast comes: a policy and an application as the repository has them.
fn lived_in(home: &Home) {
    small::site(home, &small::ENVIRONMENTS);
    for (path, text) in [
        (small::CORE, GUEST.to_owned()),
        (small::POLICY, "apiVersion: holdfast/v1\nkind: VaultPolicy\nmetadata: { name: old }\nspec:\n  text: |\n    path \"x\" { capabilities = [\"read\"] }\n".to_owned()),
        (small::APPLICATION, small::application("media", "")),
    ] {
        home.repository.write(path, text).expect("a file is written");
    }
    home.vault.put_policy("old", "path \"x\" { capabilities = [\"read\"] }\n").expect("a policy is written");
    let edited = home.kubernetes.edit("kubectl", "applications", "argocd", "media", |object| {
        object["spec"] = serde_json::json!({
            "project": "default",
            "source": { "repoURL": "https://git.lan/me/apps.git", "path": "media", "targetRevision": "main" },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "media" },
            "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
        });
    });
    edited.expect("an application is made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_as_wanted_is_adopted_by_its_mark_alone() {
    let mut life = Life::furnish(&Options { machines: false, ..Options::default() }).await;
    lived_in(&life.home);
    life.home.proxmox.add(seed());
    let commit = life.push("what is there already");
    life.start();
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    let writes = life.home.writes();
    let of = |target: &str| writes.iter().filter(|write| write.starts_with(target)).count();
    assert_eq!(
        (of("proxmox: "), of("vault: "), of("kubernetes: "), writes.len()),
        (1, 1, 1, 3),
        "the mark of each: {writes:#?}"
    );
    let config = life.home.proxmox.guest(150).expect("it is there").config;
    assert!(config["description"].contains("holdfast: home/core/VirtualMachine/old@150/"), "{config:?}");
    assert_eq!(config["cores"], "2");
    life.edit(small::CORE, "cores: 2", "cores: 4");
    let commit = life.push("more cores");
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    let config = life.home.proxmox.guest(150).expect("it is there").config;
    assert_eq!(config["cores"], "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_manages_is_refused() {
    let mut life = Life::furnish(&Options { machines: false, ..Options::default() }).await;
    lived_in(&life.home);
    let uuid = "11111111-2222-4333-8444-555555555555";
    let mark = format!("holdfast: office/core/VirtualMachine/desk@150/{uuid}");
    life.home.proxmox.add(
        seed()
            .set("cores", "1")
            .set("tags", "holdfast")
            .set("smbios1", &format!("uuid={uuid}"))
            .set("description", &mark),
    );
    life.home.vault.remove_policy("old");
    life.home
        .vault
        .put_policy(
            "old",
            "# holdfast: office/core/VaultPolicy/old@old\npath \"y\" { capabilities = [\"read\"] }\n",
        )
        .expect("a policy is written");
    let edited = life.home.kubernetes.edit("kubectl", "applications", "argocd", "media", |object| {
        object["metadata"]["annotations"] =
            serde_json::json!({ "holdfast/mark": "office/kubernetes/Application/media@argocd/media" });
        object["spec"]["source"]["path"] = "theirs".into();
    });
    edited.expect("an application is edited");
    let commit = life.push("what is somebody else's");
    life.start();
    let post = life.red(&commit, "core", &["held: ", "it is managed by `office/core/"]).await;
    assert_eq!(post.state, "failure");
    assert!(post.description.contains("(+1)"), "both are told: {}", post.description);
    life.red(
        &commit,
        "kubernetes",
        &["held: Application/media: it is managed by `office/kubernetes/Application/media`"],
    )
    .await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    // The other site lets go of it.
    life.home.proxmox.unset_config(150, "description");
    life.home.proxmox.unset_config(150, "tags");
    life.home.vault.remove_policy("old");
    life.until_green(&commit, "core").await;
}
