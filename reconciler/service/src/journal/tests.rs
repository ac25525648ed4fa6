//! The journal over a real database file.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::report::{Outcome, StatusState};
use holdfast_forge::PostError;

use super::*;

fn commit(digit: char) -> CommitId {
    CommitId::new(digit.to_string().repeat(40)).unwrap()
}

fn core() -> Context {
    Context::Environment(EnvironmentName::new("core").unwrap())
}

fn status(state: StatusState, text: &str) -> Status {
    Status::new(state, text)
}

#[tokio::test]
async fn what_was_wanted_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let journal = Sqlite::open(folder.path()).await.unwrap();
        journal.set_status(&commit('a'), &core(), &status(StatusState::Pending, "converging")).await.unwrap();
        journal
            .set_status(&commit('a'), &Context::Validate, &status(StatusState::Success, "valid"))
            .await
            .unwrap();
    }
    let journal = Sqlite::open(folder.path()).await.unwrap();
    assert_eq!(journal.pending().await.unwrap(), [(commit('a'), core())]);
    assert_eq!(journal.due().await.unwrap().len(), 2);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(folder.path().join("journal.sqlite")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_final_status_stays_over_restarts() {
    let journal = Sqlite::in_memory().await.unwrap();
    journal.set_status(&commit('a'), &core(), &status(StatusState::Success, "converged")).await.unwrap();
    journal.set_status(&commit('a'), &core(), &status(StatusState::Pending, "converging")).await.unwrap();
    let found = journal.status(&commit('a'), &core()).await.unwrap().unwrap();
    assert_eq!(found.description, "converged");
    assert_eq!(journal.status(&commit('b'), &core()).await.unwrap(), None);
}

#[tokio::test]
async fn an_answer_that_comes_late_clears_nothing_newer() {
    let journal = Sqlite::in_memory().await.unwrap();
    journal.set_status(&commit('a'), &core(), &status(StatusState::Pending, "converging")).await.unwrap();
    let due = journal.due().await.unwrap().remove(0);
    journal.set_status(&commit('a'), &core(), &status(StatusState::Failure, "held")).await.unwrap();
    journal.answered(&due, &Ok(()), 1, 0.0).await.unwrap();
    let still = journal.due().await.unwrap();
    assert_eq!(still[0].row.wanted.description, "held");
    let refused = Err(PostError::Refused { why: "401".to_owned() });
    journal.answered(&still[0], &refused, 1, 0.0).await.unwrap();
    assert_eq!(journal.due().await.unwrap()[0].row.due_at(), Some(3601));
    journal.answered(&still[0], &Ok(()), 1, 0.0).await.unwrap();
    assert_eq!(journal.due().await.unwrap(), []);
}

#[tokio::test]
async fn a_run_and_its_status_are_recorded_together() {
    let journal = Sqlite::in_memory().await.unwrap();
    let environment = EnvironmentName::new("core").unwrap();
    let plan = Plan {
        environment: environment.clone(),
        items: Vec::new(),
        notices: BTreeSet::new(),
        unseen: BTreeMap::new(),
    };
    let run = journal.run_started(&commit('a'), &plan).await.unwrap();
    let id = holdfast_core::ident::ResourceId::parse_in(&environment, "Host/nas").unwrap();
    let report = Report {
        environment,
        commit: commit('a'),
        outcomes: BTreeMap::from([(id, Outcome::Unchanged)]),
        unseen: BTreeMap::new(),
    };
    journal.run_finished(run, &report, &report.status()).await.unwrap();
    let latest = journal.latest().await.unwrap();
    assert_eq!(latest.len(), 1);
    assert_eq!((latest[0].context.as_str(), latest[0].state.as_str()), ("core", "success"));
    assert_eq!(latest[0].description, "converged: 1 resource");
    assert!(!latest[0].posted);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_at_once_waits_for_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let journal = std::sync::Arc::new(Sqlite::open(folder.path()).await.unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for digit in ['a', 'b', 'c', 'd'] {
        let journal = journal.clone();
        writers.spawn(async move {
            for number in 0..20 {
                let text = format!("look {number}");
                journal.set_status(&commit(digit), &core(), &status(StatusState::Pending, &text)).await?;
            }
            Ok::<_, JournalError>(())
        });
    }
    for written in writers.join_all().await {
        written.unwrap();
    }
}
