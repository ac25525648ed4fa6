//! A repository of the same machine.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::kind::TargetError;
use holdfast_repo::Mirror;

use crate::support::{Upstream, command, core, run};

#[tokio::test]
async fn an_empty_repository_has_no_commit() {
    let upstream = Upstream::new();
    let mirror = upstream.mirror();
    assert_eq!(mirror.fetch().await, Ok(None));
    assert_eq!(mirror.kept(&core()).await, Ok(None));
}

#[tokio::test]
async fn a_missing_branch_is_none_and_a_new_one_is_found() {
    let upstream = Upstream::new();
    let first = upstream.commit(&[("holdfast.yaml", "a")]);
    let mut settings = upstream.settings(upstream.bare().to_str().unwrap());
    settings.branch = "live".to_owned();
    let mirror = Mirror::new(&settings).unwrap();
    assert_eq!(mirror.fetch().await, Ok(None));
    upstream.git(&["branch", "live", "main"]);
    assert_eq!(mirror.fetch().await, Ok(Some(first)));
}

#[tokio::test]
async fn commits_and_force_pushes_are_followed() {
    let upstream = Upstream::new();
    let first = upstream.commit(&[("holdfast.yaml", "a")]);
    let mirror = upstream.mirror();
    assert_eq!(mirror.fetch().await, Ok(Some(first.clone())));
    assert_eq!(mirror.fetch().await, Ok(Some(first.clone())));
    let second = upstream.commit(&[("holdfast.yaml", "b")]);
    assert_eq!(mirror.fetch().await, Ok(Some(second.clone())));
    assert_eq!(mirror.descends(&first, &second).await, Ok(true));
    assert_eq!(mirror.descends(&second, &second).await, Ok(true));
    assert_eq!(mirror.descends(&second, &first).await, Ok(false));

    upstream.git(&["reset", "-q", "--hard", first.as_str()]);
    assert_eq!(mirror.fetch().await, Ok(Some(first.clone())));
    let other = upstream.commit(&[("holdfast.yaml", "c")]);
    assert_eq!(mirror.fetch().await, Ok(Some(other.clone())));
    assert_eq!(mirror.descends(&second, &other).await, Ok(false));
}

#[tokio::test]
async fn a_commit_that_the_mirror_never_saw_is_no_ancestor() {
    let upstream = Upstream::new();
    let head = upstream.commit(&[("holdfast.yaml", "a")]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    let unknown = CommitId::new("1".repeat(40)).unwrap();
    assert_eq!(mirror.descends(&unknown, &head).await, Ok(false));
    let error = mirror.descends(&head, &unknown).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("comparing commits {} and 1111111: the mirror has no commit 1111111", head.short())
    );
    assert!(!error.is_unavailable(), "asking again does not bring it back");
}

#[tokio::test]
async fn branches_that_are_gone_go_and_make_room() {
    let upstream = Upstream::new();
    let first = upstream.commit(&[("holdfast.yaml", "a")]);
    upstream.git(&["branch", "topic"]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    assert!(upstream.mirrored().join("refs/heads/topic").is_file());
    upstream.git(&["branch", "-D", "topic"]);
    upstream.git(&["branch", "topic/one"]);
    mirror.fetch().await.unwrap();
    assert!(upstream.mirrored().join("refs/heads/topic/one").is_file());
    upstream.git(&["branch", "-D", "topic/one"]);
    upstream.git(&["branch", "topic"]);
    assert_eq!(mirror.fetch().await, Ok(Some(first)));
    assert!(upstream.mirrored().join("refs/heads/topic").is_file());

    upstream.git(&["update-ref", "-d", "refs/heads/main"]);
    assert_eq!(mirror.fetch().await, Ok(None));
}

#[tokio::test]
async fn what_is_kept_stays_after_a_force_push() {
    let upstream = Upstream::new();
    let first = upstream.commit(&[("holdfast.yaml", "a")]);
    let second = upstream.commit(&[("holdfast.yaml", "b")]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    mirror.keep(&core(), &first).await.unwrap();
    mirror.keep(&core(), &second).await.unwrap();
    upstream.git(&["reset", "-q", "--hard", first.as_str()]);
    mirror.fetch().await.unwrap();
    assert_eq!(mirror.kept(&core()).await, Ok(Some(second.clone())));
    let again = upstream.mirror();
    assert_eq!(again.kept(&core()).await, Ok(Some(second.clone())));
    let apps = EnvironmentName::new("apps").unwrap();
    again.keep(&apps, &first).await.unwrap();
    assert_eq!(again.all_kept().await, Ok(BTreeMap::from([(apps, first.clone()), (core(), second)])));
    let unknown = CommitId::new("1".repeat(40)).unwrap();
    assert!(again.keep(&core(), &unknown).await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn a_commit_is_found_by_what_people_call_it() {
    let upstream = Upstream::new();
    let first = upstream.commit(&[("holdfast.yaml", "a")]);
    let second = upstream.commit(&[("holdfast.yaml", "b")]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    for (text, commit) in
        [(first.short(), &first), (first.as_str(), &first), ("main", &second), ("main~1", &first)]
    {
        assert_eq!(mirror.resolve(text).await.as_ref(), Ok(commit), "{text}");
    }
    assert_eq!(mirror.recent(&second, 9).await, Ok(vec![second.clone(), first.clone()]));
    assert_eq!(mirror.recent(&second, 1).await, Ok(vec![second.clone()]));
    for wrong in ["nothing", "0000000", "main~9", "", "main^{tree}"] {
        let error = mirror.resolve(wrong).await.unwrap_err();
        assert!(!error.is_unavailable(), "{error}");
    }
}

#[tokio::test]
async fn a_path_without_repository_is_refused() {
    let upstream = Upstream::new();
    let refused = async |path: &str| {
        let mut settings = upstream.settings(path);
        settings.mirror_dir = upstream.folder.path().join("other");
        Mirror::new(&settings).unwrap().fetch().await.unwrap_err()
    };
    let missing = upstream.folder.path().join("nothing");
    let error = refused(missing.to_str().unwrap()).await;
    let expected = "the repository was not found: check `url`, and that the credential may read it";
    assert_eq!(error, TargetError::rejected(format!("fetching {}", missing.display()), expected));
    // A folder, but no repository.
    let error = refused(upstream.folder.path().join("work").to_str().unwrap()).await;
    assert!(error.to_string().contains("the repository was not found"), "{error}");
}

#[tokio::test]
async fn a_work_tree_is_as_good_as_a_bare_repository() {
    let upstream = Upstream::new();
    let head = upstream.commit(&[("holdfast.yaml", "a")]);
    let clone = upstream.folder.path().join("clone");
    run(command("git").args(["clone", "-q"]).arg(upstream.bare()).arg(&clone));
    let mirror = Mirror::new(&upstream.settings(&format!("file://{}", clone.display()))).unwrap();
    assert_eq!(mirror.fetch().await, Ok(Some(head)));
    assert!(mirror.watcher().is_some());
}

#[tokio::test]
async fn a_repository_of_another_user_says_how_to_trust_it() {
    let all = command("git")
        .env_remove("GIT_CONFIG_GLOBAL")
        .env_remove("GIT_CONFIG_NOSYSTEM")
        .args(["config", "--get-all", "safe.directory"])
        .output();
    if run(command("id").arg("-u")) != "0" || !all.unwrap().stdout.is_empty() {
        println!("SKIPPED: it needs root, and a git that trusts no folder by configuration");
        return;
    }
    let upstream = Upstream::new();
    upstream.commit(&[("holdfast.yaml", "a")]);
    run(command("chown").args(["-R", "nobody"]).arg(upstream.bare()));
    let error = upstream.mirror().fetch().await.unwrap_err();
    assert!(!error.is_unavailable());
    let path = upstream.bare();
    let expected = format!("`git config --system --add safe.directory {}`", path.display());
    assert!(error.to_string().contains(&expected), "{error}");
}

#[tokio::test]
async fn a_push_wakes_and_a_fetch_does_not() {
    let upstream = Upstream::new();
    upstream.commit(&[("holdfast.yaml", "a")]);
    let mirror = upstream.mirror();
    let mut watcher = mirror.watcher().expect("a local repository can be watched");
    let soon = Duration::from_secs(10);
    for n in 0..3 {
        let pushed = upstream.commit(&[("holdfast.yaml", &n.to_string())]);
        tokio::time::timeout(soon, watcher.changed()).await.expect("a push wakes");
        assert_eq!(mirror.fetch().await, Ok(Some(pushed)));
    }
    upstream.git(&["branch", "deep/er/branch"]);
    tokio::time::timeout(soon, watcher.changed()).await.expect("a new branch wakes");
    upstream.git(&["pack-refs", "--all"]);
    tokio::time::timeout(soon, watcher.changed()).await.expect("packing wakes");
    mirror.fetch().await.unwrap();
    let woken = tokio::time::timeout(Duration::from_millis(500), watcher.changed()).await;
    assert!(woken.is_err(), "reading must not wake");
}
