//! The port to the repository: what each trouble does to a fetch, and what the mirror keeps.

use std::collections::BTreeSet;

use super::super::manifests::Payload;
use super::*;
use crate::faults::{FaultKind, Faults, Strike};

fn setup() -> SimRepository {
    with(Faults::none(0))
}

fn with(faults: Faults) -> SimRepository {
    let wire = Wire::new(faults);
    wire.begin();
    let catalogue = Catalogue::default();
    catalogue.add(Payload::Poison);
    let (remote, mirror) = (Remote::new(1), Mirror::default());
    SimRepository { remote, mirror, catalogue, wire, process: 0 }
}

fn core() -> EnvironmentName {
    EnvironmentName::new("core").unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_mirror_follows_the_branch_wherever_it_goes() {
    let repository = setup();
    assert_eq!(repository.fetch().await, Ok(None), "an empty repository");
    let first = repository.remote.with(|history| history.commit(0));
    let second = repository.remote.with(|history| history.commit(0));
    assert!(repository.tree(&second).await.unwrap_err().is_unavailable(), "it is not fetched yet");
    assert_eq!(repository.fetch().await, Ok(Some(second.clone())));
    assert_eq!(repository.descends(&first, &second).await, Ok(true));
    assert_eq!(repository.descends(&second, &first).await, Ok(false));
    repository.remote.with(|history| history.rewind(1));
    assert_eq!(repository.fetch().await, Ok(Some(first.clone())));
    let rewritten = repository.remote.with(|history| history.rewrite(0));
    assert!(repository.descends(&first, &rewritten).await.is_err(), "not fetched yet");
    assert_eq!(repository.fetch().await, Ok(Some(rewritten.clone())));
    assert_eq!(repository.descends(&first, &rewritten).await, Ok(false));
    repository.remote.with(History::remove_branch);
    assert_eq!(repository.fetch().await, Ok(None));
    assert!(repository.tree(&second).await.is_ok(), "what was fetched stays");
    repository.remote.with(|history| history.force(&second));
    assert_eq!(repository.newest(9).await, Ok(vec![second, first]));
}

#[tokio::test(start_paused = true)]
async fn a_server_in_trouble_changes_nothing_or_shows_what_was() {
    let repository = setup();
    let first = repository.remote.with(|history| history.commit(0));
    assert_eq!(repository.fetch().await, Ok(Some(first.clone())));
    let second = repository.remote.with(|history| history.commit(0));
    repository.remote.set_trouble(Some(Trouble::Truncated));
    assert!(repository.fetch().await.unwrap_err().is_unavailable());
    assert!(repository.tree(&second).await.is_err(), "nothing of it was taken");
    repository.remote.set_trouble(Some(Trouble::Hangs));
    let before = repository.wire.now();
    assert!(repository.fetch().await.unwrap_err().is_unavailable());
    assert!(repository.wire.now() >= before + DEADLINE);
    repository.remote.set_trouble(Some(Trouble::Behind(1)));
    assert_eq!(repository.fetch().await, Ok(Some(first)));
    repository.remote.set_trouble(None);
    assert_eq!(repository.fetch().await, Ok(Some(second)));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_outlives_the_branch_and_not_the_folder() {
    let repository = setup();
    let first = repository.remote.with(|history| history.commit(0));
    assert!(repository.keep(&core(), &first).await.is_err(), "there is no mirror yet");
    assert_eq!(repository.kept(&core()).await, Ok(None));
    repository.fetch().await.unwrap();
    let unknown = repository.remote.with(|history| history.commit_aside(None, 0));
    assert!(repository.keep(&core(), &unknown).await.is_err());
    repository.keep(&core(), &first).await.unwrap();
    let rewritten = repository.remote.with(|history| history.rewrite(0));
    repository.fetch().await.unwrap();
    repository.mirror.clone_anew(&repository.remote);
    assert_eq!(repository.kept(&core()).await, Ok(Some(first.clone())));
    assert_eq!(repository.all_kept().await.unwrap().len(), 1);
    assert_eq!(repository.descends(&first, &rewritten).await, Ok(false));
    assert!(repository.tree(&first).await.is_ok(), "it can still be read");
    repository.mirror.lose();
    assert_eq!(repository.kept(&core()).await, Ok(None));
    repository.fetch().await.unwrap();
    assert_eq!(repository.all_kept().await, Ok(BTreeMap::new()));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_mirror_is_cloned_anew_once_somebody_noticed() {
    let repository = setup();
    let first = repository.remote.with(|history| history.commit(0));
    let second = repository.remote.with(|history| history.commit(0));
    repository.fetch().await.unwrap();
    repository.keep(&core(), &first).await.unwrap();
    repository.mirror.damage(&first);
    assert_eq!(repository.kept(&core()).await, Ok(None), "a kept commit that is lost is none");
    repository.fetch().await.unwrap();
    assert!(repository.tree(&second).await.is_ok(), "others are still read");
    assert!(repository.tree(&first).await.unwrap_err().is_unavailable());
    repository.fetch().await.unwrap();
    assert!(repository.tree(&first).await.is_ok());
    assert_eq!(repository.kept(&core()).await, Ok(None), "its name was lost with it");
}

#[tokio::test(start_paused = true)]
async fn two_seeds_have_other_commits_and_one_seed_the_same() {
    let ids = |seed| {
        let remote = Remote::new(seed);
        remote.with(|history| (0..5).map(|_| history.commit(0)).collect::<BTreeSet<_>>())
    };
    assert_eq!(ids(1), ids(1));
    assert!(ids(1).is_disjoint(&ids(2)));
}

#[tokio::test(start_paused = true)]
async fn what_the_wire_does_to_a_fetch() {
    for (kind, expected, is_there) in [
        (FaultKind::ErrorBefore, Err(()), false),
        (FaultKind::UnknownResult, Err(()), true),
        (FaultKind::Stale, Ok(Some(0)), false),
        (FaultKind::Empty, Ok(None), false),
        (FaultKind::Slow, Ok(Some(1)), true),
    ] {
        let strike = Strike { port: Port::Git, write: false, number: 2, kind };
        let repository = with(Faults::listed(0, BTreeSet::from([strike])));
        let mut commits = vec![repository.remote.with(|history| history.commit(0))];
        assert!(repository.fetch().await.is_ok());
        commits.push(repository.remote.with(|history| history.commit(0)));
        let fetched = repository.fetch().await.map_err(drop);
        assert_eq!(fetched, expected.map(|at: Option<usize>| at.map(|at| commits[at].clone())), "{kind}");
        assert_eq!(repository.tree(&commits[1]).await.is_ok(), is_there, "{kind}");
        assert_eq!(repository.fetch().await, Ok(Some(commits[1].clone())), "{kind}");
        assert!(repository.tree(&commits[1]).await.is_ok(), "{kind}");
    }
}
