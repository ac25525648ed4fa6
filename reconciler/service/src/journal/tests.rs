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
    assert_eq!(journal.all_due().await.unwrap().len(), 2);
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_broken_file_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    std::fs::write(&path, "this is no database".repeat(1_000)).unwrap();
    let journal = Sqlite::open(folder.path()).await.unwrap();
    assert_eq!(journal.pending().await.unwrap(), []);
    assert!(folder.path().join("journal.sqlite.broken").is_file());
}

#[tokio::test]
async fn a_file_with_a_broken_page_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    {
        let journal = Sqlite::open(folder.path()).await.unwrap();
        for digit in ['a', 'b', 'c'] {
            let text = "long ".repeat(30);
            journal.set_status(&commit(digit), &core(), &status(StatusState::Failure, &text)).await.unwrap();
        }
        journal.pool.close().await;
    }
    let mut bytes = std::fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    bytes[4096 * (pages - 1)..].fill(0xff);
    bytes[4096 * (pages - 3)..4096 * (pages - 2)].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let journal = Sqlite::open(folder.path()).await.unwrap();
    assert_eq!(journal.latest().await.unwrap().len(), 0);
    assert!(folder.path().join("journal.sqlite.broken").is_file());
}

#[tokio::test]
async fn a_journal_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    {
        let journal = Sqlite::open(folder.path()).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99, 'of tomorrow', 1, x'00', 0)",
        )
        .execute(&journal.pool)
        .await
        .unwrap();
    }
    let error = Sqlite::open(folder.path()).await.map(drop).unwrap_err();
    assert!(format!("{error:#}").contains("of another version of Holdfast; move it away"), "{error:#}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_can_still_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let error = Sqlite::open_read_only(folder.path()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("did the service ever run here?"), "{error}");
    let journal = Sqlite::open(folder.path()).await.unwrap();
    journal.set_status(&commit('a'), &core(), &status(StatusState::Success, "converged")).await.unwrap();
    let beside = Sqlite::open_read_only(folder.path()).await.unwrap();
    assert_eq!(beside.latest().await.unwrap().len(), 1, "while the service runs");
    beside.pool.close().await;
    journal.pool.close().await;
    let after = Sqlite::open_read_only(folder.path()).await.unwrap();
    assert_eq!(after.latest().await.unwrap().len(), 1, "after it ended");
    assert!(after.set_status(&commit('b'), &core(), &status(StatusState::Success, "x")).await.is_err());
}

#[tokio::test]
async fn of_a_plan_and_a_report_no_file_is_kept_and_nothing_without_bounds() {
    use holdfast_core::any_kind::PlannedStep;
    use holdfast_core::ident::ResourceId;
    use holdfast_core::kind::{Risk, TargetError};
    use holdfast_core::plan::{Action, Item};

    let journal = Sqlite::in_memory().await.unwrap();
    let environment = EnvironmentName::new("core").unwrap();
    let id = |n: usize| ResourceId::parse_in(&environment, &format!("Host/n{n}")).unwrap();
    let step = PlannedStep {
        text: "replace /etc/motd".to_owned(),
        risk: Risk::Quiet,
        changes: Vec::new(),
        secrets: Vec::new(),
        step: serde_json::json!({ "content": "the whole file" }),
    };
    let keep = Item { id: id(1), action: Action::Keep };
    let change = Item { id: id(2), action: Action::Update(vec![step.clone()]) };
    let plan = |items| Plan {
        environment: environment.clone(),
        items,
        notices: BTreeSet::new(),
        unseen: BTreeMap::new(),
    };
    let json = history::of_plan(&plan(vec![keep, change]));
    assert!(json.contains("replace /etc/motd") && !json.contains("the whole file"), "{json}");
    assert!(!json.contains("core/Host/n1"), "{json}");
    let long = PlannedStep { text: "x".repeat(2_000), ..step };
    let many = (0..1_000).map(|n| Item { id: id(n), action: Action::Create(vec![long.clone()]) }).collect();
    assert_eq!(history::of_plan(&plan(many)), r#"{"environment":"core","tooLong":1000}"#);

    let failed =
        Outcome::Failed { step: "x".to_owned(), error: TargetError::rejected("x", "y".repeat(2_000)) };
    let report = Report {
        environment: environment.clone(),
        commit: commit('a'),
        outcomes: (0..1_000).map(|n| (id(n), failed.clone())).collect(),
        unseen: BTreeMap::new(),
        notices: BTreeSet::new(),
        maybe_there: BTreeSet::new(),
    };
    let run = journal.run_started(&commit('a'), &plan(Vec::new())).await.unwrap();
    journal.run_finished(run, &report, &report.status()).await.unwrap();
    let latest = journal.latest().await.unwrap();
    let told = latest[0].problems.len();
    assert!((100..1_000).contains(&told), "{told}");
    assert!(latest[0].problems[0].text.starts_with("failed: Host/n0: x: yyy"));
}

#[tokio::test]
async fn what_can_never_be_posted_is_forgotten_at_last() {
    let journal = Sqlite::in_memory().await.unwrap();
    let mut connection = journal.pool.acquire().await.unwrap();
    for digit in "0123456789abcdef".chars() {
        let converged = status(StatusState::Success, "converged");
        statuses::want(&mut connection, &commit(digit), &core(), &converged, 1).await.unwrap();
    }
    statuses::trim(&mut connection, 4).await.unwrap();
    drop(connection);
    assert_eq!(journal.all_due().await.unwrap().len(), 8);
    assert_eq!(journal.all_due().await.unwrap()[0].commit, commit('f'), "the newest first");
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
    let due = journal.all_due().await.unwrap().remove(0);
    journal.set_status(&commit('a'), &core(), &status(StatusState::Failure, "held")).await.unwrap();
    journal.note_answer(&due, &Ok(()), 1, 0.0).await.unwrap();
    let still = journal.all_due().await.unwrap();
    assert_eq!(still[0].row.wanted.description, "held");
    let refused = Err(PostError::Refused { why: "401".to_owned() });
    journal.note_answer(&still[0], &refused, 1, 0.0).await.unwrap();
    assert_eq!(journal.all_due().await.unwrap()[0].row.due_at(), Some(3601));
    journal.note_answer(&still[0], &Ok(()), 1, 0.0).await.unwrap();
    assert_eq!(journal.all_due().await.unwrap(), []);
}

#[tokio::test]
async fn of_two_processes_one_posts_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Sqlite::open(folder.path()).await.unwrap(), Sqlite::open(folder.path()).await.unwrap());
    one.set_status(&commit('a'), &core(), &status(StatusState::Pending, "converging")).await.unwrap();
    let read = two.all_due().await.unwrap().remove(0);
    let claimed = one.claim_due(&read, "one", 100).await.unwrap().unwrap();
    assert_eq!(two.claim_due(&read, "two", 100).await.unwrap(), None, "it is another's");
    two.set_status(&commit('a'), &core(), &status(StatusState::Success, "converged")).await.unwrap();
    let newer = two.all_due().await.unwrap().remove(0);
    assert_eq!(two.claim_due(&newer, "two", 150).await.unwrap(), None, "what is newer waits");
    one.note_answer(&claimed, &Ok(()), 151, 0.0).await.unwrap();
    let newer = two.all_due().await.unwrap().remove(0);
    assert_eq!(one.claim_due(&claimed, "one", 152).await.unwrap(), None, "it is not as it was read");
    let claimed = two.claim_due(&newer, "two", 152).await.unwrap().unwrap();
    assert_eq!(claimed.row.wanted.description, "converged");
    // It dies; who has the lock of the folder knows that, and others wait.
    assert_eq!(one.claim_due(&claimed, "one", 153).await.unwrap(), None);
    one.end_leases().await.unwrap();
    let free = one.all_due().await.unwrap().remove(0);
    assert!(one.claim_due(&free, "one", 153).await.unwrap().is_some());
}

#[tokio::test]
async fn what_the_forge_shows_is_noted_only_of_what_was_read() {
    let journal = Sqlite::in_memory().await.unwrap();
    journal.set_status(&commit('a'), &core(), &status(StatusState::Pending, "converging")).await.unwrap();
    let read = journal.all_due().await.unwrap().remove(0);
    let held = status(StatusState::Failure, "held");
    journal.set_status(&commit('a'), &core(), &status(StatusState::Success, "converged")).await.unwrap();
    journal.note_shown(&read, &held, 1).await.unwrap();
    let still = journal.all_due().await.unwrap().remove(0);
    assert_eq!(still.row.wanted.description, "converged");
    journal.note_shown(&still, &status(StatusState::Success, "converged: 3"), 1).await.unwrap();
    assert_eq!(journal.all_due().await.unwrap(), []);
    let found = journal.status(&commit('a'), &core()).await.unwrap().unwrap();
    assert_eq!(found.description, "converged: 3");
}

#[tokio::test]
async fn what_an_earlier_journal_left_is_looked_for_until_it_has_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Sqlite::open(folder.path()).await.unwrap();
    assert!(journal.is_new().await.unwrap());
    let end = status(StatusState::Error, "superseded by bbbbbbb");
    journal.set_status(&commit('b'), &core(), &status(StatusState::Pending, "converging")).await.unwrap();
    for digit in ['a', 'b'] {
        journal.close_unknown(&commit(digit), &core(), &end).await.unwrap();
    }
    assert_eq!(journal.status(&commit('a'), &core()).await.unwrap(), Some(end));
    let known = journal.status(&commit('b'), &core()).await.unwrap().unwrap();
    assert_eq!(known.description, "converging", "what is known has its own end");
    let journal = Sqlite::open(folder.path()).await.unwrap();
    assert!(journal.is_new().await.unwrap(), "it broke off before");
    journal.note_closed().await.unwrap();
    assert!(!Sqlite::open(folder.path()).await.unwrap().is_new().await.unwrap());
}

#[tokio::test]
async fn with_one_connection_nothing_waits_for_another() {
    let journal = Sqlite::in_memory().await.unwrap();
    journal.set_status(&commit('a'), &core(), &status(StatusState::Success, "converged")).await.unwrap();
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, journal.take_up_due(1)).await.expect("it needs no second one").unwrap();
    let environment = EnvironmentName::new("core").unwrap();
    let taken = Lease::Taken { by: "one".to_owned() };
    let Lease::Held(epoch) = journal.lease(&environment, "one", limit).await.unwrap() else {
        panic!("it is free")
    };
    assert_eq!(journal.lease(&environment, "two", limit).await.unwrap(), taken);
    // In memory, everything would be gone with the connection.
    assert_eq!(journal.epoch(&environment).await.unwrap(), Some(epoch));
}

#[tokio::test]
async fn an_epoch_grows_with_each_change_of_hands_and_never_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Sqlite::open(folder.path()).await.unwrap();
    let environment = EnvironmentName::new("core").unwrap();
    let take = async |journal: &Sqlite, holder: &str, seconds: u64| {
        journal.lease(&environment, holder, Duration::from_secs(seconds)).await.unwrap()
    };
    let Lease::Held(first) = take(&journal, "one", 30).await else { panic!("it is free") };
    assert_eq!(take(&journal, "one", 30).await, Lease::Held(first), "who has it goes on having it");
    assert_eq!(take(&journal, "two", 30).await, Lease::Taken { by: "one".to_owned() });
    // A lease that would last ten times as long as any does: the clock was wrong when it was taken.
    assert_eq!(take(&journal, "one", 300).await, Lease::Held(first));
    assert_eq!(take(&journal, "two", 30).await, Lease::Held(Epoch(first.0 + 1)));
    // Another process on the same folder: the lock says that the last one is dead.
    journal.end_leases().await.unwrap();
    assert_eq!(take(&journal, "three", 30).await, Lease::Held(Epoch(first.0 + 2)));
    let lost = tempfile::tempdir().unwrap();
    let anew = Sqlite::open(lost.path()).await.unwrap();
    let Lease::Held(epoch) = take(&anew, "four", 30).await else { panic!("it is free") };
    assert!(epoch >= first, "{epoch:?} of a new journal comes after {first:?}");
}

#[tokio::test]
async fn a_commit_that_is_never_read_to_its_end_is_counted() {
    let journal = Sqlite::in_memory().await.unwrap();
    for deaths in 0..3 {
        assert_eq!(journal.attempt(&commit('a')).await.unwrap(), deaths);
    }
    assert_eq!(journal.attempt(&commit('b')).await.unwrap(), 0);
    journal.attempt_ended(&commit('a')).await.unwrap();
    assert_eq!(journal.attempt(&commit('a')).await.unwrap(), 0);
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
    let id = ResourceId::parse_in(&environment, "Host/nas").unwrap();
    let report = Report {
        environment,
        commit: commit('a'),
        outcomes: BTreeMap::from([(id, Outcome::Unchanged)]),
        unseen: BTreeMap::new(),
        notices: BTreeSet::new(),
        maybe_there: BTreeSet::new(),
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

#[tokio::test]
async fn a_full_disk_is_an_error_for_as_long_as_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    drop(Sqlite::open(folder.path()).await.unwrap());
    let options = SqliteConnectOptions::new().filename(folder.path().join("journal.sqlite"));
    let journal = Sqlite::connect(options, 1).await.unwrap();
    // The one connection may make the file no larger; a new one may.
    sqlx::query("PRAGMA max_page_count = 1").execute(&journal.pool).await.unwrap();
    let mut full = false;
    for number in 0..1_000 {
        let context = Context::Environment(EnvironmentName::new(format!("n{number}")).unwrap());
        let text = "long ".repeat(28);
        if journal.set_status(&commit('a'), &context, &status(StatusState::Pending, &text)).await.is_err() {
            full = true;
            break;
        }
    }
    assert!(full, "it would have to be full by now");
    journal.set_status(&commit('b'), &core(), &status(StatusState::Success, "converged")).await.unwrap();
    assert!(journal.status(&commit('b'), &core()).await.unwrap().is_some());
}
