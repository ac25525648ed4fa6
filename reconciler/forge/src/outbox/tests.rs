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
fn an_end_is_looked_for_once_more_where_an_older_post_may_land_after_it() {
    let lost = PostError::TryAgain { after: None, why: "timed out".to_owned() };
    let row = pending().answered(&pending(), &Err(lost), 100, 0.0);
    let row = want(Some(&row), &status(StatusState::Success, "converged"), 110).unwrap();
    let row = row.answered(&row, &Ok(()), 120, 0.0);
    assert_eq!(row.due_at(), Some(720));
    let row = row.answered(&row, &Ok(()), 720, 0.0);
    assert_eq!(row.due_at(), None);
    let clear = pending().answered(&pending(), &Ok(()), 100, 0.0);
    let clear = want(Some(&clear), &status(StatusState::Success, "converged"), 110).unwrap();
    assert_eq!(clear.answered(&clear, &Ok(()), 120, 0.0).due_at(), None, "nothing was unclear");
}

/// What is told where the forge shows one status and another one is wanted.
fn told(shown: (StatusState, &str), wanted: (StatusState, &str)) -> String {
    let row = want(None, &status(wanted.0, wanted.1), 100).unwrap();
    match row.stands(&row, &status(shown.0, shown.1), 200) {
        None => "posted".to_owned(),
        Some(row) => {
            assert_eq!(row.due_at(), None);
            format!("keeps {}", row.wanted.description)
        }
    }
}

#[test]
fn what_stands_is_posted_over_by_the_rule_for_what_is_wanted() {
    use StatusState::{Error, Failure, Pending, Success};
    let superseded = (Error, "superseded by aaaaaaa");
    for (shown, wanted, expected) in [
        ((Success, "valid"), superseded, "keeps valid"),
        ((Success, "valid"), (Failure, "f"), "keeps valid"),
        ((Success, "valid"), (Pending, "p"), "keeps valid"),
        ((Success, "valid"), (Success, "valid: 3"), "keeps valid"),
        (superseded, (Success, "s"), "keeps superseded by aaaaaaa"),
        (superseded, (Pending, "p"), "keeps superseded by aaaaaaa"),
        ((Failure, "held"), (Success, "s"), "posted"),
        ((Failure, "held"), (Pending, "p"), "keeps held"),
        ((Failure, "held"), superseded, "keeps held"),
        ((Error, "away"), (Failure, "f"), "keeps away"),
        ((Error, "away"), (Success, "s"), "posted"),
        ((Pending, "p"), (Pending, "p"), "keeps p"),
        ((Pending, "p"), (Pending, "q"), "posted"),
        ((Pending, "p"), superseded, "posted"),
        ((Pending, "p"), (Failure, "f"), "posted"),
    ] {
        assert_eq!(told(shown, wanted), expected, "{wanted:?} over {shown:?}");
    }
}

#[test]
fn what_stands_counts_for_what_is_wanted_later() {
    let row = pending();
    let held = row.stands(&row, &status(StatusState::Failure, "held"), 150).unwrap();
    assert_eq!(after(&held, StatusState::Error, "away"), None);
    let success = after(&held, StatusState::Success, "converged").unwrap();
    assert_eq!(success.due_at(), Some(100));
    let newer = after(&row, StatusState::Success, "converged").unwrap();
    assert_eq!(newer.stands(&row, &status(StatusState::Failure, "held"), 150), None, "it is read again");
}

#[test]
fn the_forge_is_read_until_it_took_something_and_where_an_older_post_may_land() {
    let row = pending();
    assert!(row.reads_first());
    let lost = Err(PostError::TryAgain { after: None, why: "timed out".to_owned() });
    let row = row.answered(&row, &lost, 100, 0.0);
    assert!(row.reads_first(), "nobody knows whether it arrived");
    let row = row.answered(&row, &Ok(()), 110, 0.0);
    assert!(!after(&row, StatusState::Success, "converged").unwrap().reads_first());
    let row = after(&row, StatusState::Success, "converged").unwrap();
    let row = row.answered(&row, &Ok(()), 120, 0.0);
    assert_eq!(row.due_at(), Some(720));
    assert!(row.reads_first());
    let shown = row.stands(&row, &row.wanted, 720).unwrap();
    assert_eq!(shown.due_at(), None, "it stands: nothing is posted");
    assert_eq!(
        row.stands(&row, &status(StatusState::Pending, "converging"), 720),
        None,
        "it is posted again"
    );
}

#[test]
fn what_could_not_be_read_is_no_post() {
    let row = pending();
    let unread = |after| Err(PostError::NotRead { after, why: "502".to_owned() });
    let waits = row.answered(&row, &unread(None), 200, 1.0);
    assert_eq!((waits.posts, waits.due_at()), (0, Some(205)));
    assert_eq!(waits.answered(&waits, &unread(None), 205, 1.0).due_at(), Some(215));
    let asked = row.answered(&row, &unread(Some(Duration::from_secs(30))), 200, 1.0);
    assert_eq!(asked.due_at(), Some(231));
}

#[test]
fn one_posts_at_a_time() {
    let row = pending();
    let one = row.claimed(&row, "one", 100).unwrap();
    assert!(
        one.is_claimed(100) && one.is_claimed(145) && !one.is_claimed(146),
        "who stood still posts nothing"
    );
    assert_eq!(one.claimed(&row, "two", 101), None, "it is not as it was read");
    assert_eq!(one.claimed(&one, "two", 189), None);
    let newer = after(&one, StatusState::Success, "converged").unwrap();
    assert_eq!(newer.claimed(&newer, "two", 189), None, "what is newer waits as well");
    assert_eq!(newer.claimed(&row, "one", 101), None);
    let answered = newer.answered(&one, &Ok(()), 102, 0.0);
    assert_eq!(answered.claim, None);
    assert!(answered.claimed(&answered, "two", 102).is_some());
    let refused = one.answered(&one, &Err(PostError::Refused { why: "401".to_owned() }), 102, 0.0);
    assert_eq!(refused.claim, None);
}

#[test]
fn of_what_a_dead_worker_posted_nobody_knows_whether_it_arrived() {
    let row = pending();
    let one = row.claimed(&row, "one", 100).unwrap();
    let newer = after(&one, StatusState::Success, "converged").unwrap();
    let two = newer.claimed(&newer, "two", 190).unwrap();
    let told = two.answered(&two, &Ok(()), 191, 0.0);
    assert_eq!(told.due_at(), Some(791), "it is looked for once more");
    let gone = newer.let_go(110);
    assert_eq!(gone.claimed_for("two", 110), 0);
    assert_eq!(gone.answered(&gone, &Ok(()), 120, 0.0).due_at(), Some(720));
    assert_eq!(row.let_go(110), row);
}

#[test]
fn an_answer_of_who_stood_still_lets_the_end_be_looked_for() {
    let row = pending();
    let one = row.claimed(&row, "one", 100).unwrap();
    let newer = after(&one, StatusState::Success, "converged").unwrap();
    let two = newer.claimed(&newer, "two", 190).unwrap();
    let told = two.answered(&two, &Ok(()), 191, 0.0);
    let late = told.answered(&one, &Ok(()), 5_000, 0.0);
    assert_eq!((late.acknowledged, late.due_at()), (2, Some(5_000)), "at once");
    let lost = Err(PostError::TryAgain { after: None, why: "timed out".to_owned() });
    assert_eq!(told.answered(&one, &lost, 5_000, 0.0).due_at(), Some(5_600));
    let three = told.claimed(&told, "three", 791).unwrap();
    assert_eq!(three.answered(&one, &Ok(()), 792, 0.0).claim, three.claim, "it is another's now");
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
    let answered = newer.answered(&row, &Ok(()), 201, 0.0);
    assert_eq!(answered.due_at(), Some(100));
    assert_eq!(answered.answered(&answered, &Ok(()), 202, 0.0).due_at(), None);
}

#[test]
fn progress_is_coalesced_and_the_end_is_not() {
    let posted = pending().answered(&pending(), &Ok(()), 100, 0.0);
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
        row = row.answered(&row, &broken, now, 1.0);
        tries += 1;
    }
    assert_eq!(tries, MAX_TRIES);
    assert!(now > 6 * 24 * 3600, "{now}");
}

#[test]
fn what_was_refused_is_no_post() {
    let row = pending();
    let posts = |answer: Result<(), PostError>| row.answered(&row, &answer, 101, 0.0).posts;
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
    let next = |error: PostError| row.answered(&row, &Err(error), 1000, 1.0).due_at().map(|at| at - 1000);
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
    let fresh = row.answered(&row, &Err(PostError::NoSuchCommit), 200, 1.0);
    assert_eq!(fresh.dropped, None);
    let long = row.answered(&row, &Err(PostError::TooLong), 1000, 1.0);
    assert_eq!(long.number, 2);
}

#[test]
fn a_new_start_tries_at_once_what_was_refused() {
    let refused = Err(PostError::Refused { why: "401".to_owned() });
    let row = after(&pending(), StatusState::Success, "converged").unwrap();
    let resting = row.answered(&row, &refused, 200, 1.0);
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
    assert!(odd.answered(&odd, &Err(PostError::NoSuchCommit), 200, 1.0).dropped.is_some());
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
