//! The forge's behaviours under the shipped worker, and what it makes of a lost journal.

mod workers;

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::{EnvironmentName, SiteName};
use holdfast_core::report::{Context, StatusState};
use holdfast_engine::ports::Journal as _;
use holdfast_forge::aftermath::close_what_was_left;
use holdfast_forge::worker::post_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::journal::{SimJournal, Store};
use super::super::manifests::Catalogue;
use super::super::repository::{Mirror, Remote, SimRepository};
use super::*;
use crate::faults::{FaultKind, Faults, Strike};

/// One machine with its journal, and the forge.
struct Lab {
    wire: Wire,
    clock: SimClock,
    store: Store,
    forge: Forge,
}

impl Lab {
    fn new() -> Self {
        Self::with(Faults::none(0))
    }

    /// One whose first call of a sort is struck.
    fn struck(write: bool, kind: FaultKind) -> Self {
        let strike = Strike { port: Port::Forge, write, number: 1, kind };
        Self::with(Faults::listed(0, BTreeSet::from([strike])))
    }

    fn with(faults: Faults) -> Self {
        let wire = Wire::new(faults);
        wire.begin();
        Self { clock: SimClock::new(&wire), wire, store: Store::default(), forge: Forge::default() }
    }

    fn journal(&self) -> Arc<SimJournal> {
        Arc::new(SimJournal::open(&self.store, &self.wire, Arc::new(self.clock.clone()), 0))
    }

    fn client(&self) -> SimForge {
        SimForge { forge: self.forge.clone(), wire: self.wire.clone(), process: 0 }
    }

    /// A life of the worker, which ends when this is dropped.
    fn post(&self, journal: &Arc<SimJournal>) -> AbortOnDropHandle<()> {
        let client = Arc::new(self.client());
        let nothing_more = CancellationToken::new();
        let work = post_all(journal.clone(), client, site(), ways(&self.clock, 1), nothing_more);
        AbortOnDropHandle::new(tokio::spawn(work))
    }

    /// The worker of a second process over the same journal.
    fn post_beside(&self) -> AbortOnDropHandle<()> {
        let client = Arc::new(SimForge { process: 1, ..self.client() });
        let journal = SimJournal::open(&self.store, &self.wire, Arc::new(self.clock.clone()), 1);
        let nothing_more = CancellationToken::new();
        let work = post_all(Arc::new(journal), client, site(), ways(&self.clock, 2), nothing_more);
        AbortOnDropHandle::new(tokio::spawn(work))
    }

    /// The states that the forge took, in their order.
    fn states(&self) -> Vec<&'static str> {
        self.forge.log().iter().map(|posted| posted.status.state.as_str()).collect()
    }

    fn shown(&self, commit: &CommitId) -> Option<String> {
        let key = (commit.clone(), core().text(&site()));
        self.forge.shown().get(&key).map(|status| status.description.clone())
    }

    /// How long until a commit shows a status.
    async fn until_shown(&self, commit: &CommitId, text: &str) -> Duration {
        let since = self.wire.now();
        while self.shown(commit).as_deref() != Some(text) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(self.wire.now() < since + Duration::from_hours(3), "it is never shown");
        }
        self.wire.now().saturating_sub(since)
    }
}

fn site() -> SiteName {
    SiteName::new("home").unwrap()
}

fn core() -> Context {
    Context::Environment(EnvironmentName::new("core").unwrap())
}

fn commit(digit: char) -> CommitId {
    CommitId::new(digit.to_string().repeat(40)).unwrap()
}

fn converged() -> Status {
    Status::new(StatusState::Success, "converged")
}

fn pending() -> Status {
    Status::new(StatusState::Pending, "converging")
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_posted_once() {
    let lab = Lab::new();
    let journal = lab.journal();
    let _worker = lab.post(&journal);
    journal.set_status(&commit('a'), &core(), &pending()).await.unwrap();
    lab.until_shown(&commit('a'), "converging").await;
    journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    assert!(lab.until_shown(&commit('a'), "converged").await <= Duration::from_secs(3));
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(lab.forge.log().len(), 2);
    assert_eq!(lab.forge.log()[1].context, "holdfast/home/core");
    assert_eq!(left_pending(&lab.forge), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_over_restarts() {
    let lab = Lab::new();
    let journal = lab.journal();
    lab.wire.set_down(Port::Forge, true);
    let worker = lab.post(&journal);
    journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(lab.shown(&commit('a')), None);
    let tries = lab.wire.asked(Port::Forge);
    assert!((5..20).contains(&tries), "{tries} tries in an hour");
    drop(worker);
    lab.wire.set_down(Port::Forge, false);
    let _worker = lab.post(&lab.journal());
    assert!(
        lab.until_shown(&commit('a'), "converged").await < Duration::from_secs(30),
        "a new start tries at once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_rests_for_an_hour_or_until_the_next_start() {
    let lab = Lab::new();
    let journal = lab.journal();
    lab.forge.refuse_token(true);
    let worker = lab.post(&journal);
    journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    tokio::time::sleep(Duration::from_mins(50)).await;
    // For ten minutes it is tried to read what stands, and then once to post.
    let asked = lab.wire.asked(Port::Forge);
    assert!((15..25).contains(&asked), "{asked}");
    lab.forge.refuse_token(false);
    let waited = lab.until_shown(&commit('a'), "converged").await;
    assert!(waited > Duration::from_mins(9), "{waited:?}");
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_not_known_yet_is_tried_for_ten_minutes() {
    let lab = Lab::new();
    let journal = lab.journal();
    lab.forge.hide(&commit('a'), Some(lab.wire.now() + Duration::from_mins(5)));
    lab.forge.hide(&commit('b'), None);
    let _worker = lab.post(&journal);
    journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    journal.set_status(&commit('b'), &core(), &converged()).await.unwrap();
    assert!(lab.until_shown(&commit('a'), "converged").await >= Duration::from_mins(4));
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(lab.shown(&commit('b')), None);
    let dropped = lab.store.statuses()[&(commit('b'), core())].dropped.clone();
    assert_eq!(dropped.as_deref(), Some("the forge does not know the commit"));
}

#[tokio::test(start_paused = true)]
async fn what_the_real_ones_refuse_is_refused() {
    let lab = Lab::new();
    let client = lab.client();
    let long = Status { state: StatusState::Success, description: "x".repeat(141) };
    assert_eq!(client.post(&commit('a'), "holdfast/home/core", &long).await, Err(PostError::TooLong));
    for _ in 0..MOST {
        assert_eq!(client.post(&commit('a'), "holdfast/home/core", &pending()).await, Ok(()));
    }
    let error = client.post(&commit('a'), "holdfast/home/core", &pending()).await.unwrap_err();
    assert!(matches!(error, PostError::Unclear { .. }), "{error}");
    assert_eq!(client.post(&commit('a'), "holdfast/home/validate", &pending()).await, Ok(()));
    lab.forge.set_by_hand(lab.wire.now(), &commit('a'), "ci/build", converged());
    let listed = client.statuses(&commit('a')).await.unwrap();
    assert_eq!(listed.len(), 2, "what is not ours is left out");
}

#[test]
fn an_error_of_the_wire_is_an_answer_of_the_forge() {
    let limited = TargetError::Unavailable {
        doing: "post".to_owned(),
        why: "too many requests (429)".to_owned(),
        retry_after: Some(Duration::from_secs(7)),
    };
    assert_eq!(answer(limited), PostError::Limited { after: Some(Duration::from_secs(7)) });
    let cut = answer(TargetError::unavailable("post", "connection reset"));
    assert_eq!(cut, PostError::TryAgain { after: None, why: "connection reset".to_owned() });
    assert!(matches!(answer(TargetError::rejected("post", "403")), PostError::Refused { .. }));
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_journal_nothing_stays_pending_but_the_newest() {
    let lab = Lab::new();
    let remote = Remote::new(1);
    let commits: Vec<CommitId> = (0..4).map(|_| remote.with(|history| history.commit(0))).collect();
    for commit in &commits[..3] {
        lab.forge.set_by_hand(lab.wire.now(), commit, "holdfast/home/core", pending());
        lab.forge.set_by_hand(lab.wire.now(), commit, "holdfast/hut/core", pending());
    }
    lab.forge.set_by_hand(lab.wire.now(), &commits[0], "holdfast/home/core", converged());
    let repository = SimRepository {
        remote,
        mirror: Mirror::default(),
        catalogue: Catalogue::default(),
        wire: lab.wire.clone(),
        process: 0,
    };
    let journal = lab.journal();
    let _worker = lab.post(&journal);
    close_what_was_left(journal.clone(), Arc::new(repository), Arc::new(lab.client()), site()).await;
    let text = Status::superseded(&commits[3]).description;
    for commit in &commits[1..3] {
        lab.until_shown(commit, &text).await;
    }
    assert_eq!(lab.shown(&commits[0]).as_deref(), Some("converged"));
    let left: BTreeSet<String> = left_pending(&lab.forge).into_iter().map(|(_, context)| context).collect();
    assert_eq!(left, BTreeSet::from(["holdfast/hut/core".to_owned()]), "another site's are its own");
}

#[tokio::test(start_paused = true)]
async fn a_post_of_which_nobody_knows_is_looked_for_and_repeated_only_where_it_is_not_there() {
    for (kind, posts) in [
        (FaultKind::ErrorBefore, 1),
        (FaultKind::UnknownResult, 1),
        (FaultKind::Twice, 2),
        (FaultKind::Throttled, 1),
    ] {
        let lab = Lab::struck(true, kind);
        let journal = lab.journal();
        let _worker = lab.post(&journal);
        journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
        lab.until_shown(&commit('a'), "converged").await;
        tokio::time::sleep(Duration::from_mins(30)).await;
        assert_eq!(lab.forge.log().len(), posts, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_may_be_older_or_shorter_than_it_should_be() {
    for (kind, listed) in [
        (FaultKind::ErrorBefore, None),
        (FaultKind::Stale, Some(vec!["pending"])),
        (FaultKind::Short, Some(vec![])),
        (FaultKind::Empty, Some(vec![])),
        (FaultKind::Slow, Some(vec!["success"])),
    ] {
        let lab = Lab::struck(false, kind);
        for status in [pending(), converged()] {
            lab.forge.set_by_hand(lab.wire.now(), &commit('a'), "holdfast/home/core", status);
        }
        let states = lab
            .client()
            .statuses(&commit('a'))
            .await
            .ok()
            .map(|listed| listed.iter().map(|(_, status)| status.state.as_str()).collect::<Vec<_>>());
        assert_eq!(states, listed, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_before_a_crash_is_found_and_not_repeated() {
    let lab = Lab::struck(true, FaultKind::CrashAfter);
    let journal = lab.journal();
    let worker = lab.post(&journal);
    journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    lab.until_shown(&commit('a'), "converged").await;
    drop(worker);
    let _second = lab.post_beside();
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!(lab.forge.log().len(), 1);
    assert_eq!(lab.store.statuses()[&(commit('a'), core())].due_at(), None);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_lands_after_the_end_is_told_over_again() {
    let lab = Lab::struck(true, FaultKind::Zombie);
    let journal = lab.journal();
    let _worker = lab.post(&journal);
    journal.set_status(&commit('a'), &core(), &pending()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!(lab.states(), ["success", "pending", "success"]);
    assert_eq!(left_pending(&lab.forge), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn progress_on_a_commit_that_is_not_known_yet_waits_no_longer_than_its_end_would() {
    let lab = Lab::new();
    let journal = lab.journal();
    lab.forge.hide(&commit('a'), Some(lab.wire.now() + Duration::from_mins(5)));
    let _worker = lab.post(&journal);
    journal.set_status(&commit('a'), &core(), &pending()).await.unwrap();
    let waited = lab.until_shown(&commit('a'), "converging").await;
    assert!(waited < Duration::from_mins(7), "{waited:?}");
}
