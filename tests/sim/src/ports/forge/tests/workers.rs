//! Workers that do not know what another one told: of a journal that was lost, of another process, of an earlier life.

use super::*;

fn held() -> Status {
    Status::new(StatusState::Failure, "held: 1 resource")
}

fn superseded() -> Status {
    Status::superseded(&commit('b'))
}

/// What a new journal wants, one after the other, of a commit that shows something already; and what it shows then.
async fn wanted_over(stands: Status, wanted: &[Status]) -> Vec<String> {
    let lab = Lab::new();
    lab.forge.set_by_hand(lab.wire.now(), &commit('a'), "holdfast/home/core", stands);
    let journal = lab.journal();
    let _worker = lab.post(&journal);
    let mut shown = Vec::new();
    for status in wanted {
        journal.set_status(&commit('a'), &core(), status).await.unwrap();
        tokio::time::sleep(Duration::from_mins(5)).await;
        shown.extend(lab.shown(&commit('a')));
    }
    shown
}

#[tokio::test(start_paused = true)]
async fn an_end_is_not_posted_over_by_a_journal_that_lost_it() {
    assert_eq!(wanted_over(converged(), &[pending(), held()]).await, ["converged", "converged"]);
    assert_eq!(wanted_over(converged(), &[superseded()]).await, ["converged"]);
    assert_eq!(wanted_over(converged(), &[Status::new(StatusState::Success, "valid")]).await, ["converged"]);
    let overtaken = superseded();
    assert_eq!(wanted_over(overtaken.clone(), &[converged()]).await, [overtaken.description]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_a_lost_journal_told_may_only_become_success() {
    let stays = "held: 1 resource";
    let shown = wanted_over(held(), &[pending(), superseded(), converged(), held()]).await;
    assert_eq!(shown, [stays, stays, "converged", "converged"]);
    assert_eq!(wanted_over(pending(), &[held(), pending()]).await, [stays, stays]);
}

#[tokio::test(start_paused = true)]
async fn an_end_outlives_a_journal_that_is_lost_while_the_forge_is_away() {
    let lab = Lab::new();
    lab.forge.set_by_hand(lab.wire.now(), &commit('a'), "holdfast/home/core", converged());
    lab.wire.set_down(Port::Forge, true);
    let journal = lab.journal();
    let _worker = lab.post(&journal);
    journal.set_status(&commit('a'), &core(), &pending()).await.unwrap();
    tokio::time::sleep(Duration::from_hours(5)).await;
    lab.wire.set_down(Port::Forge, false);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(lab.states(), ["success"]);
    assert_eq!(lab.store.statuses()[&(commit('a'), core())].due_at(), None);
}

#[tokio::test(start_paused = true)]
async fn a_forge_that_can_never_be_read_is_told_unread_after_a_day() {
    let strikes = (1..1_000).map(|number| Strike {
        port: Port::Forge,
        write: false,
        number,
        kind: FaultKind::ErrorBefore,
    });
    let lab = Lab::with(Faults::listed(0, strikes.collect()));
    let journal = lab.journal();
    let _worker = lab.post(&journal);
    journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    tokio::time::sleep(Duration::from_hours(23)).await;
    assert_eq!(lab.states(), Vec::<&str>::new());
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(lab.states(), ["success"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_none_posts_an_older_status_after_the_end() {
    let lab = Lab::struck(true, FaultKind::Slow);
    let journal = lab.journal();
    let (_one, _two) = (lab.post(&journal), lab.post_beside());
    journal.set_status(&commit('a'), &core(), &pending()).await.unwrap();
    // The post is on its way, and takes its time.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lab.states(), Vec::<&str>::new());
    journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert_eq!(lab.states(), ["pending", "success"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_process_that_died_was_posting_is_posted_by_the_other_once_its_time_is_over() {
    let lab = Lab::struck(true, FaultKind::CrashBefore);
    let journal = lab.journal();
    journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    let one = lab.post(&journal);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lab.wire.take_fallen(), [0]);
    let _two = lab.post_beside();
    let waited = lab.until_shown(&commit('a'), "converged").await;
    assert!((60..125).contains(&waited.as_secs()), "{waited:?}");
    drop(one);
}

#[tokio::test(start_paused = true)]
async fn what_the_only_process_was_posting_when_it_died_is_posted_by_its_next_start() {
    let lab = Lab::struck(true, FaultKind::CrashBefore);
    let journal = lab.journal();
    journal.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    let one = lab.post(&journal);
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(one);
    let next = SimJournal::open(&lab.store, &lab.wire, Arc::new(lab.clock.clone()), 1);
    next.end_leases().await.unwrap();
    let _two = lab.post_beside();
    assert!(lab.until_shown(&commit('a'), "converged").await < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn what_a_process_posts_as_it_wakes_is_told_over_by_the_end() {
    let lab = Lab::struck(true, FaultKind::Slow);
    let journal = lab.journal();
    journal.set_status(&commit('a'), &core(), &pending()).await.unwrap();
    let _one = lab.post(&journal);
    tokio::time::sleep(Duration::from_secs(2)).await;
    lab.wire.pause(0);
    let beside = SimJournal::open(&lab.store, &lab.wire, Arc::new(lab.clock.clone()), 1);
    beside.set_status(&commit('a'), &core(), &converged()).await.unwrap();
    let _two = lab.post_beside();
    lab.until_shown(&commit('a'), "converged").await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    lab.wire.wake(0);
    tokio::time::sleep(Duration::from_mins(11)).await;
    // Nobody could hold it back any more.
    assert_eq!(lab.states(), ["success", "pending", "success"]);
}

/// Closes what an earlier journal left of the branch's commits.
fn close(lab: &Lab, journal: &Arc<SimJournal>, remote: &Remote) -> AbortOnDropHandle<()> {
    let repository = SimRepository {
        remote: remote.clone(),
        mirror: Mirror::default(),
        catalogue: Catalogue::default(),
        wire: lab.wire.clone(),
        process: 0,
    };
    let work = close_what_was_left(journal.clone(), Arc::new(repository), Arc::new(lab.client()), site());
    AbortOnDropHandle::new(tokio::spawn(work))
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_journal_left_has_its_end_however_long_the_forge_is_away() {
    let lab = Lab::new();
    let remote = Remote::new(1);
    let commits: Vec<CommitId> = (0..3).map(|_| remote.with(|history| history.commit(0))).collect();
    for commit in &commits {
        lab.forge.set_by_hand(lab.wire.now(), commit, "holdfast/home/core", pending());
    }
    lab.wire.set_down(Port::Forge, true);
    let journal = lab.journal();
    let one = close(&lab, &journal, &remote);
    // What this journal knows has its own end.
    journal.set_status(&commits[1], &core(), &pending()).await.unwrap();
    tokio::time::sleep(Duration::from_hours(5)).await;
    let tries = lab.wire.asked(Port::Forge);
    assert!((30..40).contains(&tries), "{tries} in five hours");
    // The next start goes on with it.
    drop(one);
    assert!(journal.is_new());
    let journal = lab.journal();
    let _worker = lab.post(&journal);
    let _next = close(&lab, &journal, &remote);
    tokio::time::sleep(Duration::from_hours(5)).await;
    lab.wire.set_down(Port::Forge, false);
    let text = Status::superseded(&commits[2]).description;
    assert!(lab.until_shown(&commits[0], &text).await < Duration::from_mins(12));
    assert!(!journal.is_new());
    for commit in &commits[1..] {
        assert_eq!(lab.shown(commit).as_deref(), Some("converging"));
    }
}
