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
/// How long a row is the worker's that posts it, in seconds: longer than a post takes. Who died in the middle lets go of
/// it by this.
const CLAIM: i64 = 90;
/// How long a forge may not be readable before something is posted unread, in seconds.
const UNREAD: i64 = 24 * 3600;

/// Whose a row is while it is posted: of several processes over one journal, one posts at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The worker, by a name that no other life has.
    pub by: String,
    /// When it lets go by itself, in seconds since 1970.
    pub until: i64,
}

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
    /// When the end is looked for once more, because an older post may have landed after it.
    #[serde(default)]
    pub confirm_at: Option<i64>,
    /// Who posts it at this moment.
    #[serde(default)]
    pub claim: Option<Claim>,
}

/// Whether a status may be told where another one stands: the one rule, of what is wanted and of what the forge shows.
/// A failure or error may become success, once; success and "superseded" are never taken back.
fn may_follow(stands: &Status, next: &Status) -> bool {
    let may = match stands.state {
        StatusState::Pending => true,
        StatusState::Failure | StatusState::Error => {
            !stands.is_terminal() && next.state == StatusState::Success
        }
        StatusState::Success => false,
    };
    may || has(Defect::FinalsOverwritten)
}

/// Wants a status. `None`: nothing changes, because it is wanted already, or because it may not follow what is.
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
            claim: None,
        });
    };
    if !may_follow(&row.wanted, status) || row.wanted == *status {
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

    /// Whether what the forge shows is read before anything is posted: it took nothing of this journal yet, so that one that
    /// was lost may have told an end; or an older post may have landed after the end.
    pub fn reads_first(&self) -> bool {
        self.acknowledged == 0 || self.number <= self.acknowledged
    }

    /// Whether what the forge shows stays: it is what is wanted, or what is wanted may not follow it.
    pub fn keeps(&self, shown: &Status) -> bool {
        *shown == self.wanted || !may_follow(shown, &self.wanted)
    }

    /// The row where the forge shows something that stays. `None`: it is not as it was `read` any more, and is looked at
    /// again.
    #[must_use]
    pub fn stands(&self, read: &Self, shown: &Status, now: i64) -> Option<Self> {
        if self != read || !self.keeps(shown) {
            return None;
        }
        let number = self.number.saturating_add(u32::from(*shown != self.wanted));
        let row = Self { wanted: shown.clone(), number, acknowledged: number, ..self.clone() };
        Some(row.shown(now))
    }

    /// How long it is another worker's still, in seconds; 0 for not at all.
    pub fn claimed_for(&self, by: &str, now: i64) -> i64 {
        let others = self.claim.as_ref().filter(|claim| claim.by != by);
        let left = others.map_or(0, |claim| claim.until.saturating_sub(now));
        // One that would last much longer than any does comes from a clock that was wrong then.
        if (1..=2 * CLAIM).contains(&left) { left } else { 0 }
    }

    /// Whether whoever claimed it has it still, with time left for a post: who stood still since then may have lost it.
    pub fn is_claimed(&self, now: i64) -> bool {
        self.claim
            .as_ref()
            .is_some_and(|claim| (CLAIM / 2..=CLAIM).contains(&claim.until.saturating_sub(now)))
    }

    /// The row as one worker's alone, who posts it now. `None`: it is another's, or not as it was `read` any more.
    #[must_use]
    pub fn claimed(&self, read: &Self, by: &str, now: i64) -> Option<Self> {
        if self != read || self.claimed_for(by, now) > 0 {
            return None;
        }
        let claim = Claim { by: by.to_owned(), until: now.saturating_add(CLAIM) };
        Some(Self { claim: Some(claim), ..self.let_go(now) })
    }

    /// The row once nobody has it who is alive: of what its worker posted last nobody knows whether it arrived.
    #[must_use]
    pub fn let_go(&self, now: i64) -> Self {
        let unclear_at = if self.claim.is_some() { Some(now) } else { self.unclear_at };
        Self { unclear_at, claim: None, ..self.clone() }
    }

    /// Whether the forge may not know the commit yet.
    pub fn may_be_unknown(&self, now: i64) -> bool {
        now.saturating_sub(self.since) < COMMIT_MAY_BE_NEW
    }

    /// Whether it was tried for so long to read what the forge shows that it is posted unread.
    pub fn is_posted_unread(&self, now: i64) -> bool {
        now.saturating_sub(self.since) >= UNREAD
    }

    /// The row once the forge shows what is acknowledged: an end is looked for once more where an older post may land
    /// after it.
    fn shown(mut self, now: i64) -> Self {
        self.failures = 0;
        if self.acknowledged >= self.number && self.wanted.state != StatusState::Pending {
            let late = self.unclear_at.take();
            let late = late.filter(|sent| (0..MAY_STILL_LAND).contains(&now.saturating_sub(*sent)));
            self.confirm_at = late.map(|_| now.saturating_add(MAY_STILL_LAND));
        }
        self
    }

    /// What the forge's answer makes of the row, of which `posted` was sent. `jitter` lies between 0 and 1.
    #[must_use]
    pub fn answered(&self, posted: &Self, answer: &Result<(), PostError>, now: i64, jitter: f64) -> Self {
        if let Err(error @ PostError::NotRead { .. }) = answer {
            return self.clone().put_off(error, now, jitter);
        }
        let may_have_arrived =
            matches!(answer, Ok(()) | Err(PostError::TryAgain { .. } | PostError::Unclear { .. }));
        let posts = self.posts.saturating_add(u32::from(may_have_arrived));
        let claim = self.claim.clone().filter(|claim| Some(claim) != posted.claim.as_ref());
        let mut row = Self { posts, last_post: Some(now), claim, ..self.clone() };
        // Its worker stood still, and another one posted a newer one meanwhile: this one may stand over it.
        let late = may_have_arrived && posted.number < self.acknowledged;
        if answer.is_ok() {
            row.acknowledged = row.acknowledged.max(posted.number);
            row = row.shown(now);
        } else if may_have_arrived {
            row.unclear_at = Some(now);
        }
        if late && row.acknowledged >= row.number && row.wanted.state != StatusState::Pending {
            let lands = if answer.is_ok() { 0 } else { MAY_STILL_LAND };
            row.confirm_at = Some(now.saturating_add(lands));
        }
        match answer {
            Ok(()) => row,
            Err(error) => row.put_off(error, now, jitter),
        }
    }

    /// The row after a failure: when it is tried again, if ever.
    fn put_off(mut self, error: &PostError, now: i64, jitter: f64) -> Self {
        self.failures = self.failures.saturating_add(1);
        let pause = match error {
            PostError::TryAgain { after, .. } => asked(*after).max(backoff(5, 600, self.failures, jitter)),
            PostError::Limited { after } => match after {
                Some(_) => asked(*after),
                None => backoff(60, 3600, self.failures, 1.0),
            },
            PostError::NoSuchCommit if self.may_be_unknown(now) => 30,
            PostError::NoSuchCommit => {
                self.dropped = Some("the forge does not know the commit".to_owned());
                0
            }
            PostError::Refused { .. } => LOOK_AGAIN,
            PostError::TooLong => {
                self.wanted.description = cut(&self.wanted.description, 100);
                self.number = self.number.saturating_add(1);
                1
            }
            PostError::Unclear { .. } => backoff(60, 3600, self.failures, 1.0),
            PostError::NotRead { after, .. } => {
                after.map_or_else(|| backoff(5, 600, self.failures, jitter), |after| asked(Some(after)))
            }
        };
        self.next_try = now.saturating_add(pause);
        self
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
