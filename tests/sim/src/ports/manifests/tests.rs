//! Reading a commit of each sort, and a site that goes through real files and comes back.

use std::fs;
use std::path::Path;
use std::time::Duration;

use holdfast_core::desired::{Desired, Drift, DriftMode, Group, Place};
use holdfast_core::ident::{CommitId, EnvironmentName, Name, ResourceId};
use holdfast_core::schedule::{Schedule, Window};

use super::*;

fn checker() -> Checker {
    Checker::new(SiteName::new("home").unwrap())
}

fn manifests(checker: Option<Checker>) -> (SimManifests, Arc<Mutex<bool>>) {
    let killed = Arc::new(Mutex::new(false));
    let kill = {
        let killed = killed.clone();
        Arc::new(move || *killed.lock().unwrap() = true)
    };
    (SimManifests { catalogue: Catalogue::default(), checker: checker.map(Arc::new), kill }, killed)
}

async fn read(manifests: &SimManifests, payload: Payload) -> Result<Site, Refused> {
    let number = manifests.catalogue.add(payload);
    manifests.read(manifests.catalogue.tree(number).unwrap()).await
}

/// The example of the project, as its files.
fn example() -> Tree {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../example-repo");
    let mut tree = Tree::default();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                tree.files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    tree
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_each_sort_is_read_as_such() {
    let (manifests, killed) = manifests(None);
    let mut site = Site::default();
    site.environments.push((EnvironmentName::new("core").unwrap(), Desired::default()));
    assert_eq!(read(&manifests, Payload::Site(Arc::new(site))).await.unwrap().environments.len(), 1);
    let refused = Refused::once("`cores` is a string");
    assert_eq!(read(&manifests, Payload::Refused(refused.clone())).await.unwrap_err(), refused);
    let limit = Duration::from_mins(1);
    let hanging = tokio::time::timeout(limit, read(&manifests, Payload::Hangs));
    assert!(hanging.await.is_err());
    let poison = manifests.clone();
    let panicked = tokio::spawn(async move { read(&poison, Payload::Poison).await }).await;
    assert!(panicked.unwrap_err().is_panic());
    assert!(!*killed.lock().unwrap());
    assert!(tokio::time::timeout(limit, read(&manifests, Payload::Kills)).await.is_err());
    assert!(*killed.lock().unwrap());
    let number = manifests.catalogue.add(Payload::Unreadable("it is too large".to_owned()));
    assert_eq!(manifests.catalogue.tree(number).unwrap_err(), "it is too large");
    assert!(read(&manifests, Payload::Files(Arc::default())).await.is_err(), "nothing reads files here");
}

/// The example, with something of everything that an environment's file may say.
fn everything(checker: &Checker) -> Site {
    let mut site = checker.read(&example()).unwrap();
    let zone = "Europe/Berlin";
    site.rewind.insert(CommitId::new("4".repeat(40)).unwrap());
    for (environment, desired) in &mut site.environments {
        let id = |text: &str| ResourceId::parse_in(environment, text).unwrap();
        desired.pause = Some("the rack is being moved".to_owned());
        desired.retire.insert(id("Host/gone"));
        desired.protect.insert(id("VaultPolicy/away"));
        let declared = desired.resources.values().filter(|resource| !resource.borrowed);
        let hosts = declared.filter(|resource| resource.id.kind.as_str() == "Host");
        let hosts: Vec<ResourceId> = hosts.map(|host| host.id.clone()).collect();
        desired.moved.insert(id("Host/before"), hosts[0].clone());
        desired.drift = Drift { schedule: Schedule::new("*/10 * * * *", zone).ok(), mode: DriftMode::Report };
        let opens = Schedule::new("0 3 * * SUN", zone).unwrap();
        desired.maintenance = Some(Window { opens, lasts: Duration::from_mins(90) });
        if hosts.len() > 1 {
            let (name, members) = (Name::new("all-hosts").unwrap(), hosts.into_iter().collect());
            desired.groups.push(Group { name, members, max_unavailable: 1, max_failures: 2 });
        }
    }
    assert!(site.environments.iter().any(|(_, desired)| !desired.groups.is_empty()));
    site
}

#[tokio::test]
async fn a_site_goes_through_real_files_and_comes_back() {
    let checker = checker();
    let site = everything(&checker);
    let files = render(&checker.site, &site, &checker.kinds).unwrap();
    assert!(files.files.keys().any(|path| path.starts_with("files/")), "the example has a text of pieces");
    let (manifests, _) = manifests(Some(checker));
    let again = read(&manifests, Payload::Files(Arc::new(files))).await;
    let again = again.unwrap_or_else(|refused| panic!("{}", refused.whole));
    assert_eq!(site.rewind, again.rewind);
    assert_eq!(site.environments.len(), again.environments.len());
    for ((name, desired), (name_again, desired_again)) in site.environments.iter().zip(&again.environments) {
        assert_eq!(name, name_again);
        assert!(!desired.resources.is_empty());
        assert_eq!(without_places(desired), without_places(desired_again));
    }
}

/// All of it, but where a file declares it.
fn without_places(desired: &Desired) -> String {
    let mut desired = desired.clone();
    for resource in desired.resources.values_mut() {
        resource.declared = Place::default();
    }
    format!("{desired:#?}")
}

#[tokio::test]
async fn files_of_another_site_and_files_with_a_mistake_are_refused() {
    let checker = Checker::new(SiteName::new("hut").unwrap());
    assert!(checker.read(&example()).unwrap_err().headline.contains("site `home`"));
    let checker = self::checker();
    let mut tree = example();
    tree.files.insert("environments/core/broken.yaml".to_owned(), b"kind: [".to_vec());
    assert!(checker.read(&tree).is_err());
}

#[test]
fn what_no_manifest_says_is_not_left_out() {
    let checker = checker();
    let mut site = checker.read(&example()).unwrap();
    site.environments[0].1.pause = Some("the rack is being moved".to_owned());
    let error = render(&checker.site, &site, &checker.kinds).unwrap_err();
    assert_eq!(error, "no manifest gives one environment a pause or a time zone of its own");
}
