//! The outbox's rules, one by one.

use std::time::Duration;

use super::*;

fn status(state: StatusState, text: &str) -> Status {
    Status::new(state, text)
}

fn pending() -> Row {
    want(None, &status(StatusState::Pending, "converging"), 100).unwrap()
}

fn after(row: &Row, state: StatusState, text: &str) -> Option<Row> {
    want(Some(row), &status(state, text), 200)
}

#[test]
fn an_end_is_posted_once_more_where_an_older_post_may_land_after_it() {
    let lost = PostError::TryAgain { after: None, why: "timed out".to_owned() };
    let row = pending().answered(1, &Err(lost), 100, 0.0);
    let row = want(Some(&row), &status(StatusState::Success, "converged"), 110).unwrap();
    let row = row.answered(2, &Ok(()), 120, 0.0);
    assert_eq!(row.due_at(), Some(720));
    let row = row.answered(2, &Ok(()), 720, 0.0);
    assert_eq!(row.due_at(), None);
    let clear = pending().answered(1, &Ok(()), 100, 0.0);
    let clear = want(Some(&clear), &status(StatusState::Success, "converged"), 110).unwrap();
    assert_eq!(clear.answered(2, &Ok(()), 120, 0.0).due_at(), None, "nothing was unclear");
}

#[test]
fn an_end_that_stands_already_is_not_posted_over() {
    let stands = pending().stands(&status(StatusState::Success, "converged: 3 resources"));
    assert_eq!(stands.due_at(), None);
    assert_eq!(want(Some(&stands), &status(StatusState::Failure, "failed"), 200), None);
}

#[test]
fn an_equal_status_is_no_post() {
    assert_eq!(after(&pending(), StatusState::Pending, "converging"), None);
    assert_eq!(after(&pending(), StatusState::Pending, "waiting").unwrap().number, 2);
}

#[test]
fn success_and_superseded_are_never_taken_back() {
    let success = after(&pending(), StatusState::Success, "converged").unwrap();
    let superseded = after(&pending(), StatusState::Error, "superseded by aaaaaaa").unwrap();
    for row in [success, superseded] {
        for state in [StatusState::Pending, StatusState::Success, StatusState::Failure, StatusState::Error] {
            assert_eq!(after(&row, state, "another"), None, "{row:?}");
        }
    }
}

#[test]
fn a_failure_may_only_become_success() {
    let failure = after(&pending(), StatusState::Failure, "held").unwrap();
    assert_eq!(after(&failure, StatusState::Pending, "again"), None);
    assert_eq!(after(&failure, StatusState::Failure, "held differently"), None);
    let success = after(&failure, StatusState::Success, "converged").unwrap();
    assert_eq!(after(&success, StatusState::Failure, "held"), None);
}

#[test]
fn an_answer_to_an_older_payload_clears_nothing_newer() {
    let row = pending();
    let newer = after(&row, StatusState::Success, "converged").unwrap();
    let answered = newer.answered(row.number, &Ok(()), 201, 0.0);
    assert_eq!(answered.due_at(), Some(100));
    assert_eq!(answered.answered(2, &Ok(()), 202, 0.0).due_at(), None);
}

#[test]
fn progress_is_coalesced_and_the_end_is_not() {
    let posted = pending().answered(1, &Ok(()), 100, 0.0);
    assert_eq!(after(&posted, StatusState::Pending, "waiting").unwrap().due_at(), Some(160));
    assert_eq!(after(&posted, StatusState::Success, "converged").unwrap().due_at(), Some(100));
}

#[test]
fn the_last_of_the_posts_is_kept_for_the_end() {
    let row = Row { posts: MAX_POSTS - 1, ..pending() };
    assert_eq!(row.due_at(), None);
    let end = after(&row, StatusState::Failure, "held").unwrap();
    assert!(end.due_at().is_some());
}

#[test]
fn a_forge_that_is_broken_for_days_still_gets_the_end() {
    let mut row = after(&pending(), StatusState::Failure, "held").unwrap();
    let broken = Err(PostError::TryAgain { after: None, why: "502".to_owned() });
    let (mut tries, mut now) = (0, 100);
    while let Some(at) = row.due_at() {
        now = at;
        row = row.answered(row.number, &broken, now, 1.0);
        tries += 1;
    }
    assert_eq!(tries, MAX_TRIES);
    assert!(now > 6 * 24 * 3600, "{now}");
}

#[test]
fn what_was_refused_is_no_post() {
    let row = pending();
    let posts = |answer: Result<(), PostError>| row.answered(1, &answer, 101, 0.0).posts;
    let why = || "x".to_owned();
    assert_eq!(posts(Ok(())), 1);
    assert_eq!(posts(Err(PostError::TryAgain { after: None, why: why() })), 1);
    assert_eq!(posts(Err(PostError::Unclear { why: why() })), 1);
    for refused in [
        PostError::Limited { after: None },
        PostError::NoSuchCommit,
        PostError::Refused { why: why() },
        PostError::TooLong,
    ] {
        assert_eq!(posts(Err(refused)), 0);
    }
}

#[test]
fn every_answer_has_its_pause() {
    let row = pending();
    let next = |error: PostError| row.answered(1, &Err(error), 1000, 1.0).due_at().map(|at| at - 1000);
    let why = || "x".to_owned();
    // The row is progress, so nothing is posted within its minute anyhow.
    assert_eq!(next(PostError::TryAgain { after: None, why: why() }), Some(60));
    assert_eq!(next(PostError::TryAgain { after: Some(Duration::from_secs(99)), why: why() }), Some(100));
    assert_eq!(next(PostError::Limited { after: Some(Duration::from_mins(5)) }), Some(301));
    assert_eq!(next(PostError::Limited { after: Some(Duration::MAX) }), Some(3600));
    assert_eq!(next(PostError::Limited { after: None }), Some(60));
    assert_eq!(next(PostError::Refused { why: why() }), Some(3600));
    assert_eq!(next(PostError::Unclear { why: why() }), Some(60));
    assert_eq!(next(PostError::NoSuchCommit), None, "it has been wanted for longer than ten minutes");
    let fresh = row.answered(1, &Err(PostError::NoSuchCommit), 200, 1.0);
    assert_eq!(fresh.dropped, None);
    let long = row.answered(1, &Err(PostError::TooLong), 1000, 1.0);
    assert_eq!(long.number, 2);
}

#[test]
fn a_new_start_tries_at_once_what_was_refused() {
    let refused = Err(PostError::Refused { why: "401".to_owned() });
    let row = after(&pending(), StatusState::Success, "converged").unwrap();
    let resting = row.answered(row.number, &refused, 200, 1.0);
    assert_eq!(resting.due_at(), Some(200 + LOOK_AGAIN));
    assert_eq!(resting.at_start(300).due_at(), Some(300));
    assert_eq!(row.at_start(300), row, "what is due already keeps its turn");
}

#[test]
fn pauses_double_up_to_their_limit() {
    let pauses: Vec<i64> = (1..10).map(|failures| backoff(5, 600, failures, 1.0)).collect();
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    assert_eq!(backoff(5, 600, 1, 0.0), 3);
    assert_eq!(backoff(5, 600, u32::MAX, 0.0), 300);
}

#[test]
fn a_row_that_holds_anything_is_still_a_row() {
    let odd = Row {
        number: u32::MAX,
        posts: u32::MAX,
        failures: u32::MAX,
        last_post: Some(i64::MAX),
        since: i64::MIN,
        ..pending()
    };
    assert_eq!(odd.due_at(), None);
    assert_eq!(after(&odd, StatusState::Success, "converged").unwrap().number, u32::MAX);
    assert!(odd.answered(1, &Err(PostError::NoSuchCommit), 200, 1.0).dropped.is_some());
}

#[test]
fn writes_are_paced() {
    let mut pacer = Pacer::default();
    let mut now = 0;
    let mut times = Vec::new();
    for _ in 0..500 {
        now = now.max(pacer.next_slot());
        pacer.wrote(now);
        times.push(now);
    }
    let most = |window: i64| {
        times.iter().map(|at| times.iter().filter(|t| (*at..at + window).contains(t)).count()).max()
    };
    assert_eq!(most(1), Some(1));
    assert_eq!(most(60), Some(60));
    assert_eq!(most(3600), Some(400));
}
