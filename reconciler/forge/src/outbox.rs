//! The outbox's rules: which status is posted when, and what a forge's answer means. Pure; the journal keeps the
//! rows, and time and chance come in as arguments.

use std::collections::VecDeque;

use holdfast_core::planted::{Defect, has};
use holdfast_core::report::{Status, StatusState, cut};
use serde::{Deserialize, Serialize};

use crate::PostError;

/// How often a key is posted at most; the last is kept for the end.
const MAX_POSTS: u32 = 50;
/// How often the end itself may be tried while nobody knows whether it arrived: a forge that is broken for days must
/// not leave a commit pending. GitHub refuses after 1,000 a commit and context.
const MAX_TRIES: u32 = 900;
/// Progress is posted at most this often, in seconds.
const PROGRESS_EVERY: i64 = 60;
/// How long a forge may not know a commit that was just pushed, in seconds.
const COMMIT_MAY_BE_NEW: i64 = 600;
/// How long a post whose answer was lost may still land, in seconds: so long after it, the end is posted once more.
const MAY_STILL_LAND: i64 = 600;
/// How long a key rests whose token or repository is wrong, in seconds.
const LOOK_AGAIN: i64 = 3600;

/// One status a commit and context: what is wanted of it, and how far the forge has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub wanted: Status,
    /// Grows with every change of `wanted`, so that an answer to an older one clears nothing newer.
    pub number: u32,
    /// The number of the newest one that the forge took; 0 for none.
    pub acknowledged: u32,
    /// Posts so far, with those of which nobody knows whether they arrived. What was refused is none.
    pub posts: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Not before this time. All times are seconds since 1970.
    pub next_try: i64,
    pub last_post: Option<i64>,
    /// Since when the status is wanted in any form.
    pub since: i64,
    /// Why it is not posted any more.
    pub dropped: Option<String>,
    /// When a post was sent last of which nobody knows whether it arrived.
    #[serde(default)]
    pub unclear_at: Option<i64>,
    /// When the end is posted once more, because an older post may have landed after it.
    #[serde(default)]
    pub confirm_at: Option<i64>,
}

/// Wants a status. `None`: nothing changes, because it is wanted already, or because the status that stands is final.
/// A failure or error may become success, once; success and "superseded" are never taken back.
pub fn want(row: Option<&Row>, status: &Status, now: i64) -> Option<Row> {
    let Some(row) = row else {
        return Some(Row {
            wanted: status.clone(),
            number: 1,
            acknowledged: 0,
            posts: 0,
            failures: 0,
            next_try: now,
            last_post: None,
            since: now,
            dropped: None,
            unclear_at: None,
            confirm_at: None,
        });
    };
    let may_follow = match row.wanted.state {
        StatusState::Pending => true,
        StatusState::Failure | StatusState::Error => {
            !row.wanted.is_terminal() && status.state == StatusState::Success
        }
        StatusState::Success => false,
    };
    if !(may_follow || has(Defect::FinalsOverwritten)) || row.wanted == *status {
        return None;
    }
    // What a limit asked for still holds; a backoff after failures of an older text does not.
    Some(Row { wanted: status.clone(), number: row.number.saturating_add(1), failures: 0, ..row.clone() })
}

impl Row {
    /// When the row is to be posted; `None` where nothing is to be posted.
    pub fn due_at(&self) -> Option<i64> {
        if self.dropped.is_some() {
            return None;
        }
        if self.number <= self.acknowledged {
            return self.confirm_at.map(|at| at.max(self.next_try)).filter(|_| self.posts < MAX_TRIES);
        }
        if self.wanted.state != StatusState::Pending {
            return (self.posts < MAX_TRIES).then_some(self.next_try);
        }
        if self.posts.saturating_add(1) >= MAX_POSTS {
            return None;
        }
        let coalesced = self.last_post.map_or(self.next_try, |last| last.saturating_add(PROGRESS_EVERY));
        Some(self.next_try.max(coalesced))
    }

    /// The row as a new start of the service takes it up: a token or an address that was wrong may have been
    /// mended by it, so that what rests for that is tried once at once. What a limit asked for may have to be
    /// told again, which costs one request.
    #[must_use]
    pub fn at_start(&self, now: i64) -> Self {
        Self { next_try: self.next_try.min(now), ..self.clone() }
    }

    /// The row where the forge is found to show an end already, that a journal which was lost had told it: it stands.
    #[must_use]
    pub fn stands(&self, status: &Status) -> Self {
        let number = self.number.saturating_add(1);
        Self { wanted: status.clone(), number, acknowledged: number, ..self.clone() }
    }

    /// Whether the forge may not know the commit yet.
    pub fn may_be_unknown(&self, now: i64) -> bool {
        now.saturating_sub(self.since) < COMMIT_MAY_BE_NEW
    }

    /// Whether nothing was ever posted of it.
    pub fn is_new(&self) -> bool {
        self.posts == 0 && self.acknowledged == 0
    }

    /// What the forge's answer to the payload `number` makes of the row. `jitter` lies between 0 and 1.
    #[must_use]
    pub fn answered(&self, number: u32, answer: &Result<(), PostError>, now: i64, jitter: f64) -> Self {
        let may_have_arrived =
            matches!(answer, Ok(()) | Err(PostError::TryAgain { .. } | PostError::Unclear { .. }));
        let posts = self.posts.saturating_add(u32::from(may_have_arrived));
        let mut row = Self { posts, last_post: Some(now), ..self.clone() };
        let error = match answer {
            Ok(()) => {
                row.acknowledged = row.acknowledged.max(number);
                row.failures = 0;
                if row.acknowledged >= row.number && row.wanted.state != StatusState::Pending {
                    let late = row.unclear_at.take();
                    let late = late.filter(|sent| (0..MAY_STILL_LAND).contains(&now.saturating_sub(*sent)));
                    row.confirm_at = late.map(|_| now.saturating_add(MAY_STILL_LAND));
                }
                return row;
            }
            Err(error) => error,
        };
        row.failures = row.failures.saturating_add(1);
        if may_have_arrived {
            row.unclear_at = Some(now);
        }
        let pause = match error {
            PostError::TryAgain { after, .. } => asked(*after).max(backoff(5, 600, row.failures, jitter)),
            PostError::Limited { after } => match after {
                Some(_) => asked(*after),
                None => backoff(60, 3600, row.failures, 1.0),
            },
            PostError::NoSuchCommit if row.may_be_unknown(now) => 30,
            PostError::NoSuchCommit => {
                row.dropped = Some("the forge does not know the commit".to_owned());
                0
            }
            PostError::Refused { .. } => LOOK_AGAIN,
            PostError::TooLong => {
                row.wanted.description = cut(&row.wanted.description, 100);
                row.number = row.number.saturating_add(1);
                1
            }
            PostError::Unclear { .. } => backoff(60, 3600, row.failures, 1.0),
        };
        row.next_try = now.saturating_add(pause);
        row
    }
}

fn asked(after: Option<std::time::Duration>) -> i64 {
    // A forge may ask for at most an hour: more would be a mistake of its clock or ours.
    after.map_or(0, |after| {
        i64::try_from(after.as_secs().saturating_add(1)).unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)
    })
}

/// Doubling pauses in seconds, from `first` to `longest`, the upper half of each by chance.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "at most an hour of seconds"
)]
fn backoff(first: i64, longest: i64, failures: u32, jitter: f64) -> i64 {
    let ceiling = (first << failures.saturating_sub(1).min(12)).min(longest);
    let half = ceiling as f64 / 2.0;
    (half + half * jitter.clamp(0.0, 1.0)).ceil() as i64
}

/// How fast a repository's statuses may be written: one a second, 60 a minute, 400 an hour (GitHub refuses above 80
/// and 500).
#[derive(Debug, Default)]
pub struct Pacer(VecDeque<i64>);

impl Pacer {
    /// The first moment at which the next write may be sent.
    pub fn next_slot(&self) -> i64 {
        let after = |count: usize, seconds: i64| {
            self.0.len().checked_sub(count).and_then(|at| self.0.get(at)).map_or(i64::MIN, |at| at + seconds)
        };
        after(1, 1).max(after(60, 60)).max(after(400, 3600))
    }

    /// Notes a write.
    pub fn wrote(&mut self, now: i64) {
        self.0.push_back(now);
        while self.0.len() > 400 {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
