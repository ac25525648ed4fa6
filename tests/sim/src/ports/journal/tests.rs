//! The journal's rules, each as the service's tests have it, and the ways in which a file breaks.

use std::collections::BTreeMap;

use holdfast_core::report::{Outcome, StatusState};

use super::super::clock::SimClock;
use super::*;
use crate::faults::{FaultKind, Faults, Strike};

struct Site {
    store: Store,
    wire: Wire,
    clock: SimClock,
}

impl Site {
    fn new() -> Self {
        Self::with(Faults::none(0))
    }

    /// One whose first write is struck.
    fn struck(kind: FaultKind) -> Self {
        let strike = Strike { port: Port::Journal, write: true, number: 1, kind };
        Self::with(Faults::listed(0, BTreeSet::from([strike])))
    }

    fn with(faults: Faults) -> Self {
        let wire = Wire::new(faults);
        wire.begin();
        Self { store: Store::default(), clock: SimClock::new(&wire), wire }
    }

    fn open(&self, process: u8) -> SimJournal {
        SimJournal::open(&self.store, &self.wire, Arc::new(self.clock.clone()), process)
    }
}

fn commit(digit: char) -> CommitId {
    CommitId::new(digit.to_string().repeat(40)).unwrap()
}

fn environment() -> EnvironmentName {
    EnvironmentName::new("core").unwrap()
}

fn core() -> Context {
    Context::Environment(environment())
}

fn status(state: StatusState, text: &str) -> Status {
    Status::new(state, text)
}

fn pending() -> Status {
    status(StatusState::Pending, "converging")
}

fn plan() -> Plan {
    Plan { environment: environment(), items: Vec::new(), notices: BTreeSet::new(), unseen: BTreeMap::new() }
}

fn report(outcomes: Vec<(&str, Outcome)>) -> Report {
    let id = |text| ResourceId::parse_in(&environment(), text).unwrap();
    Report {
        environment: environment(),
        commit: commit('a'),
        outcomes: outcomes.into_iter().map(|(text, outcome)| (id(text), outcome)).collect(),
        unseen: BTreeMap::new(),
        notices: BTreeSet::new(),
        maybe_there: BTreeSet::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_wanted_survives_a_restart_and_final_stays_final() {
    let site = Site::new();
    {
        let journal = site.open(0);
        assert!(journal.is_new());
        journal.set_status(&commit('a'), &core(), &pending()).await.unwrap();
        let valid = status(StatusState::Success, "valid");
        journal.set_status(&commit('a'), &Context::Validate, &valid).await.unwrap();
        journal.set_status(&commit('a'), &Context::Validate, &pending()).await.unwrap();
    }
    let journal = site.open(1);
    assert!(journal.is_new(), "what another journal may have left was not looked for");
    journal.closed().await.unwrap();
    assert!(!site.open(2).is_new());
    assert_eq!(journal.pending().await.unwrap(), [(commit('a'), core())]);
    let found = journal.status(&commit('a'), &Context::Validate).await.unwrap();
    assert_eq!(found.unwrap().description, "valid");
    assert_eq!(journal.status(&commit('b'), &core()).await.unwrap(), None);
    let due = Rows::due(&journal).await.unwrap();
    assert_eq!(due.iter().map(|due| due.context.key()).collect::<Vec<_>>(), ["validate", "core"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_is_told_the_longest_unchanged_first() {
    let site = Site::new();
    let journal = site.open(0);
    for digit in ['c', 'a', 'b'] {
        journal.set_status(&commit(digit), &core(), &pending()).await.unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
    }
    let waiting = status(StatusState::Pending, "waiting");
    journal.set_status(&commit('c'), &core(), &waiting).await.unwrap();
    let order: Vec<CommitId> =
        journal.pending().await.unwrap().into_iter().map(|(commit, _)| commit).collect();
    assert_eq!(order, [commit('a'), commit('b'), commit('c')]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_late_clears_nothing_newer() {
    let site = Site::new();
    let journal = site.open(0);
    journal.set_status(&commit('a'), &core(), &pending()).await.unwrap();
    let due = Rows::due(&journal).await.unwrap().remove(0);
    journal.set_status(&commit('a'), &core(), &status(StatusState::Failure, "held")).await.unwrap();
    journal.answered(&due, &Ok(()), 1, 0.0).await.unwrap();
    let still = Rows::due(&journal).await.unwrap();
    assert_eq!(still[0].row.wanted.description, "held");
    let refused = Err(PostError::Refused { why: "401".to_owned() });
    journal.answered(&still[0], &refused, 1, 0.0).await.unwrap();
    assert_eq!(Rows::due(&journal).await.unwrap()[0].row.due_at(), Some(3601));
    Rows::take_up(&journal, 7).await.unwrap();
    assert_eq!(Rows::due(&journal).await.unwrap()[0].row.due_at(), Some(7));
    journal.answered(&still[0], &Ok(()), 8, 0.0).await.unwrap();
    assert_eq!(Rows::due(&journal).await.unwrap(), []);
}

/// The epoch, where the environment was free or the holder's own.
async fn take(journal: &SimJournal, holder: &str) -> Option<u64> {
    match journal.lease(&environment(), holder, Duration::from_mins(1)).await.unwrap() {
        Lease::Held(Epoch(epoch)) => Some(epoch),
        Lease::Taken { .. } => None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_environment_changes_hands_when_its_time_is_over_and_never_before() {
    let site = Site::new();
    let (one, two) = (site.open(0), site.open(1));
    let minute = Duration::from_mins(1);
    assert_eq!(one.epoch(&environment()).await.unwrap(), None);
    let first = take(&one, "one").await.unwrap();
    assert_eq!(take(&two, "two").await, None);
    tokio::time::advance(minute * 2).await;
    assert_eq!(take(&one, "one").await, Some(first), "nobody took it");
    tokio::time::advance(minute * 2).await;
    assert_eq!(take(&two, "two").await, Some(first + 1));
    assert_eq!(one.epoch(&environment()).await.unwrap(), Some(Epoch(first + 1)));
    assert_eq!(site.store.epoch(&environment()), Some(Epoch(first + 1)));
    assert_eq!(take(&one, "one").await, None);
    one.end_leases().await.unwrap();
    assert_eq!(take(&one, "one").await, Some(first + 2));
    site.store.lose();
    let epoch = take(&site.open(2), "three").await.unwrap();
    assert!(epoch > first, "an epoch of a lost journal never comes again");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_lets_a_lease_run_out() {
    for jump in [3_600, -3_600] {
        let site = Site::new();
        let (one, two) = (site.open(0), site.open(1));
        let first = take(&one, "one").await.unwrap();
        site.clock.jump(jump);
        assert_eq!(take(&two, "two").await, Some(first + 1), "{jump}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_never_ended_are_counted() {
    let site = Site::new();
    for begun in 0..3 {
        assert_eq!(site.open(begun).attempt(&commit('a')).await.unwrap(), u32::from(begun));
    }
    let journal = site.open(9);
    assert_eq!(journal.attempt(&commit('b')).await.unwrap(), 0);
    journal.attempt_ended(&commit('a')).await.unwrap();
    assert_eq!(journal.attempt(&commit('a')).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_its_status_and_what_is_known_are_recorded_together() {
    let site = Site::new();
    let journal = site.open(0);
    journal.lease(&environment(), "one", Duration::from_mins(1)).await.unwrap();
    let run = journal.run_started(&commit('a'), &plan()).await.unwrap();
    assert_eq!(site.store.runs()[0].finished, None);
    let removed = Outcome::Removed(vec!["delete policy old".to_owned()]);
    let good = report(vec![("Host/nas", Outcome::Unchanged), ("VaultPolicy/old", removed)]);
    journal.run_finished(run, &good, &good.status()).await.unwrap();
    assert!(site.store.runs()[0].finished.unwrap().1);
    let known = journal.known(&environment()).await.unwrap();
    assert_eq!(known.resources.iter().map(ResourceId::short).collect::<Vec<_>>(), ["Host/nas"]);
    let found = journal.status(&commit('a'), &core()).await.unwrap().unwrap();
    assert_eq!(found.state, StatusState::Success);
    let run = journal.run_started(&commit('a'), &plan()).await.unwrap();
    let bad = report(vec![("Host/web", Outcome::Waiting("a boot".to_owned()))]);
    journal.run_finished(run, &bad, &bad.status()).await.unwrap();
    assert_eq!(journal.known(&environment()).await.unwrap(), known, "only what converged is known");
    assert_eq!(site.store.runs().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_fails_writes_and_serves_reads() {
    let site = Site::new();
    let journal = site.open(0);
    journal.set_status(&commit('a'), &core(), &pending()).await.unwrap();
    site.store.set_full(true);
    let error = journal.set_status(&commit('b'), &core(), &pending()).await.unwrap_err();
    let text = holdfast_core::kind::chain(&error);
    assert_eq!(text, "recording a status in the journal: database or disk is full");
    assert_eq!(journal.pending().await.unwrap().len(), 1);
    site.store.set_full(false);
    journal.set_status(&commit('b'), &core(), &pending()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_torn_file_is_no_use_and_is_put_aside_at_the_next_start() {
    let site = Site::new();
    let journal = site.open(0);
    journal.set_status(&commit('a'), &core(), &pending()).await.unwrap();
    site.store.tear();
    assert!(journal.pending().await.is_err());
    assert!(journal.set_status(&commit('a'), &core(), &pending()).await.is_err());
    let journal = site.open(1);
    assert!(journal.is_new());
    assert_eq!(site.store.put_aside(), 1);
    journal.set_status(&commit('b'), &core(), &pending()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_file_is_seen_by_the_next_process_alone() {
    let site = Site::new();
    let old = site.open(0);
    old.lease(&environment(), "one", Duration::from_mins(1)).await.unwrap();
    old.set_status(&commit('a'), &core(), &pending()).await.unwrap();
    let backup = site.store.backup();
    site.store.lose();
    assert!(site.open(1).is_new());
    assert_eq!(old.pending().await.unwrap().len(), 1, "it goes on with the file that it has open");
    assert!(site.store.statuses().is_empty());
    site.store.restore(backup);
    assert_eq!(site.open(2).pending().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_text_is_told_for_the_canaries_and_no_plan_s_data_is_among_them() {
    let site = Site::new();
    let journal = site.open(0);
    let run = journal.run_started(&commit('a'), &plan()).await.unwrap();
    let bad = report(vec![("Host/web", Outcome::Waiting("a boot".to_owned()))]);
    journal.run_finished(run, &bad, &bad.status()).await.unwrap();
    let texts = site.store.take_texts().join("\n");
    assert!(texts.contains("a boot") && texts.contains("environment"), "{texts}");
    assert!(site.store.take_texts().is_empty());
    site.store.collect_texts(false);
    journal.set_status(&commit('b'), &core(), &pending()).await.unwrap();
    assert!(site.store.take_texts().is_empty());
}

/// Whether a write came back within an hour.
async fn set(journal: &SimJournal) -> Option<bool> {
    let (commit, context, status) = (commit('a'), core(), pending());
    let write = journal.set_status(&commit, &context, &status);
    tokio::time::timeout(Duration::from_hours(1), write).await.ok().map(|done| done.is_ok())
}

#[tokio::test(start_paused = true)]
async fn a_crash_within_a_write_leaves_all_of_it_or_nothing() {
    for (kind, rows) in [(FaultKind::CrashBefore, 0), (FaultKind::CrashAfter, 1)] {
        let site = Site::struck(kind);
        let journal = site.open(0);
        assert_eq!(set(&journal).await, None, "{kind}: nobody is told");
        assert_eq!(site.wire.take_fallen(), [0]);
        assert_eq!(set(&journal).await, None, "{kind}: the dead write nothing more");
        assert_eq!(site.open(1).pending().await.unwrap().len(), rows, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_which_nobody_knows_is_there_and_one_that_failed_is_not() {
    for (kind, done, rows) in [
        (FaultKind::ErrorBefore, false, 0),
        (FaultKind::DiskFull, false, 0),
        (FaultKind::UnknownResult, false, 1),
        (FaultKind::Twice, true, 1),
        (FaultKind::Lie, true, 1),
    ] {
        let site = Site::struck(kind);
        let journal = site.open(0);
        assert_eq!(set(&journal).await, Some(done), "{kind}");
        assert_eq!(journal.pending().await.unwrap().len(), rows, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_happens_later() {
    let site = Site::struck(FaultKind::Zombie);
    let journal = site.open(0);
    assert_eq!(set(&journal).await, Some(false));
    assert!(site.store.statuses().is_empty());
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(journal.pending().await.unwrap().len(), 1);
}
