//! The worker of the outbox: posts what is wanted on commits, one at a time, however long the forge is away.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::SiteName;
use holdfast_core::kind::chain;
use holdfast_core::report::Status;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::PostError;
use crate::outbox::Pacer;
use crate::ports::{Due, Rows, Statuses};

/// The longest sleep without a look at the rows, in seconds.
const LOOK_EVERY: i64 = 30;
/// The pause between two posts that only pacing makes.
const PACED: Duration = Duration::from_secs(1);
/// Longer than any pause of the outbox's rules, in seconds.
const LONGEST_PAUSE: i64 = 2 * 3600;

/// The pause after the forge refused to be read.
const REFUSED_READING: Duration = Duration::from_secs(30);

/// The worker's name, time and chance.
pub struct Ways {
    /// One that no other worker of the journal has, nor an earlier life of this one.
    pub name: String,
    /// Seconds since 1970.
    pub now: Box<dyn Fn() -> i64 + Send + Sync>,
    /// A number between 0 and 1, another each time.
    pub jitter: Box<dyn Fn() -> f64 + Send + Sync>,
}

/// Posts until `shutdown`, and then what is due at that moment.
pub async fn post_all<R: Rows, S: Statuses>(
    rows: Arc<R>,
    forge: Arc<S>,
    site: SiteName,
    ways: Ways,
    shutdown: CancellationToken,
) {
    let mut worker = Worker { rows, forge, site, ways, pacer: Pacer::default() };
    let mut failures = 0;
    if let Err(error) = worker.rows.take_up((worker.ways.now)()).await {
        error!(error = %chain(&error), "what is to be posted keeps its pauses");
    }
    loop {
        let pause = match worker.post_next().await {
            Ok(pause) => {
                failures = 0;
                pause
            }
            Err(error) => {
                // What was posted could perhaps not be noted, and will be posted again: not often.
                let pause = (LOOK_EVERY << failures).min(600);
                failures = (failures + 1).min(5);
                error!(error = %chain(&error), "the outbox cannot be read or written");
                pause
            }
        };
        if pause <= 0 {
            continue;
        }
        let pause = Duration::from_secs(pause.unsigned_abs());
        if shutdown.is_cancelled() {
            // What is only paced is posted before the end, what has to wait is for the next start.
            if pause > PACED || failures > 0 {
                return;
            }
            tokio::time::sleep(pause).await;
            continue;
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = worker.rows.changed(), if failures == 0 => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Worker<R, S> {
    rows: Arc<R>,
    forge: Arc<S>,
    site: SiteName,
    ways: Ways,
    pacer: Pacer,
}

impl<R: Rows, S: Statuses> Worker<R, S> {
    /// Posts one status if one is due. Gives the seconds until the next is.
    async fn post_next(&mut self) -> Result<i64, R::Error> {
        let due = self.rows.due().await?;
        let due = match next(due, self.pacer.next_slot(), &self.ways.name, (self.ways.now)()) {
            Next::Now(due) => due,
            Next::In(seconds) => return Ok(seconds.min(LOOK_EVERY)),
        };
        self.post(&due).await?;
        self.pacer.wrote((self.ways.now)());
        Ok(0)
    }

    /// Posts one status, unless the forge shows it, or what it may not follow. It is claimed before, so that no other
    /// process posts an older one after it.
    async fn post(&self, due: &Due) -> Result<(), R::Error> {
        let context = due.context.text(&self.site);
        if due.row.reads_first() {
            match self.shown(due, &context).await {
                Ok(Some(shown)) if due.row.keeps(&shown) => {
                    let state = shown.state.as_str();
                    info!(commit = due.commit.short(), context, state, "what was told already stands");
                    return self.rows.stands(due, &shown, (self.ways.now)()).await;
                }
                Ok(_) => {}
                Err(error) => return self.answered(due, &context, &Err(error)).await,
            }
        }
        let claimed = self.rows.claim(due, &self.ways.name, (self.ways.now)()).await?;
        let Some(claimed) = claimed.filter(|claimed| claimed.row.is_claimed((self.ways.now)())) else {
            return Ok(());
        };
        let answer = self.forge.post(&claimed.commit, &context, &claimed.row.wanted).await;
        self.answered(&claimed, &context, &answer).await
    }

    async fn answered(
        &self,
        due: &Due,
        context: &str,
        answer: &Result<(), PostError>,
    ) -> Result<(), R::Error> {
        match answer {
            Ok(()) => debug!(
                commit = due.commit.short(),
                context,
                state = due.row.wanted.state.as_str(),
                "posted a status"
            ),
            Err(error) => {
                warn!(commit = due.commit.short(), context, error = %error, "a status could not be posted");
            }
        }
        self.rows.answered(due, answer, (self.ways.now)(), (self.ways.jitter)()).await
    }

    /// What the forge shows. An end that a journal told that was lost is kept by this also where nobody here remembers it;
    /// nothing but what is *said* follows from it. Who can never read posts at last.
    async fn shown(&self, due: &Due, context: &str) -> Result<Option<Status>, PostError> {
        let now = (self.ways.now)();
        match self.forge.statuses(&due.commit).await {
            Ok(statuses) => {
                let ours = statuses.into_iter().find(|(name, _)| name == context);
                Ok(ours.map(|(_, status)| status))
            }
            Err(error @ PostError::Limited { .. }) => Err(error),
            Err(ref error @ PostError::TryAgain { after, .. }) if !due.row.is_posted_unread(now) => {
                Err(PostError::NotRead { after, why: error.to_string() })
            }
            // Who may not read might post over an end that stands: for a while that is waited for. A forge that does not
            // know the commit yet may answer the same.
            Err(error @ (PostError::Refused { .. } | PostError::Unclear { .. }))
                if due.row.may_be_unknown(now) =>
            {
                Err(PostError::NotRead { after: Some(REFUSED_READING), why: error.to_string() })
            }
            // What the forge says to the post tells these apart.
            Err(_) => Ok(None),
        }
    }
}

/// What is to be posted next.
enum Next {
    Now(Box<Due>),
    /// Nothing yet: the seconds until then.
    In(i64),
}

/// Of all that is due the newest first: after a long outage of the forge, people look at the newest commit. What another
/// worker posts at this moment waits for that.
fn next(due: Vec<Due>, slot: i64, name: &str, now: i64) -> Next {
    // A time further away than any pause is long comes from a clock that was wrong then.
    let wait = |at: i64| match at.saturating_sub(now) {
        wait if wait > LONGEST_PAUSE => 0,
        wait => wait,
    };
    let mut soonest = LOOK_EVERY;
    for due in due {
        let Some(at) = due.row.due_at() else { continue };
        match wait(at).max(wait(slot)).max(due.row.claimed_for(name, now)) {
            ..=0 => return Next::Now(Box::new(due)),
            later => soonest = soonest.min(later),
        }
    }
    Next::In(soonest)
}

#[cfg(test)]
mod tests {
    use holdfast_core::ident::{CommitId, EnvironmentName};
    use holdfast_core::report::{Context, Status, StatusState};

    use super::*;
    use crate::outbox::want;

    fn due(digit: char, at: i64) -> Due {
        let status = Status::new(StatusState::Success, "converged");
        Due {
            commit: CommitId::new(digit.to_string().repeat(40)).unwrap(),
            context: Context::Environment(EnvironmentName::new("core").unwrap()),
            row: want(None, &status, at).unwrap(),
        }
    }

    fn chosen(due: Vec<Due>, slot: i64) -> String {
        match next(due, slot, "one", 1_000) {
            Next::Now(due) => due.commit.short()[..1].to_owned(),
            Next::In(seconds) => format!("in {seconds} s"),
        }
    }

    #[test]
    fn the_newest_that_is_due_is_posted_first() {
        assert_eq!(chosen(vec![due('c', 1_010), due('b', 900), due('a', 100)], 0), "b");
        assert_eq!(chosen(vec![due('c', 1_010), due('b', 1_005)], 0), "in 5 s");
        assert_eq!(chosen(vec![due('a', 100)], 1_001), "in 1 s");
        assert_eq!(chosen(vec![], 0), "in 30 s");
        assert_eq!(chosen(vec![due('a', 100)], i64::MIN), "a");
    }

    #[test]
    fn what_another_worker_posts_is_left_to_it_for_its_time() {
        let of = |by: &str, since: i64| {
            let due = due('a', 100);
            let row = due.row.claimed(&due.row, by, since).unwrap();
            vec![Due { row, ..due }]
        };
        assert_eq!(chosen(of("two", 1_000), 0), "in 30 s");
        assert_eq!(chosen(of("two", 920), 0), "in 10 s");
        assert_eq!(chosen(of("two", 910), 0), "a", "its time is over");
        assert_eq!(chosen(of("two", 100_000), 0), "a", "from a clock that was ahead");
        assert_eq!(chosen(of("one", 1_000), 0), "a", "an own one, of which the answer could not be noted");
    }

    #[test]
    fn a_clock_that_was_ahead_keeps_nothing_back() {
        let next_century = 4_102_444_800;
        assert_eq!(chosen(vec![due('a', next_century)], 0), "a");
        assert_eq!(chosen(vec![due('a', 100)], next_century), "a");
        assert_eq!(chosen(vec![due('a', 1_000 + 3_601)], 0), "in 30 s");
    }
}
