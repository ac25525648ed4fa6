//! The worker of the outbox: posts what is wanted on commits, one at a time, however long the forge is away.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::SiteName;
use holdfast_engine::chance::Chance;
use holdfast_forge::Forge;
use holdfast_forge::outbox::Pacer;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::clock::now;
use crate::journal::{Due, Sqlite};

/// The longest sleep without a look at the table, in seconds.
const LOOK_EVERY: i64 = 30;
/// Longer than any pause of the outbox's rules, in seconds.
const LONGEST_PAUSE: i64 = 2 * 3600;

/// Posts until `shutdown`, and then what is due at that moment. Without a forge there is nothing to do:
/// `holdfast status` shows the same.
pub(crate) async fn post_all(
    journal: Arc<Sqlite>,
    forge: Option<Arc<Forge>>,
    site: SiteName,
    shutdown: CancellationToken,
) {
    let Some(forge) = forge else { return };
    let chance = Chance::new(u64::from(std::process::id()));
    let mut pacer = Pacer::default();
    let mut failures = 0;
    if let Err(error) = journal.take_up(now()).await {
        error!(error = %error, "what is to be posted keeps its pauses");
    }
    loop {
        let pause = match post_next(&journal, &forge, &site, &mut pacer, &chance).await {
            Ok(pause) => {
                failures = 0;
                pause
            }
            Err(error) => {
                // What was posted could perhaps not be noted, and will be posted again: not often.
                let pause = (LOOK_EVERY << failures).min(600);
                failures = (failures + 1).min(5);
                error!(error = %error, "the outbox cannot be read or written");
                pause
            }
        };
        if pause <= 0 {
            continue;
        }
        if shutdown.is_cancelled() {
            return;
        }
        let pause = Duration::from_secs(pause.unsigned_abs());
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = journal.posts.notified(), if failures == 0 => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Posts one status if one is due. Gives the seconds until the next is.
async fn post_next(
    journal: &Sqlite,
    forge: &Forge,
    site: &SiteName,
    pacer: &mut Pacer,
    chance: &Chance,
) -> Result<i64, sqlx::Error> {
    let due = match next(journal.due().await?, pacer.next_slot(), now()) {
        Next::Now(due) => due,
        Next::In(seconds) => return Ok(seconds.min(LOOK_EVERY)),
    };
    post(journal, forge, site, chance, &due).await?;
    pacer.wrote(now());
    Ok(0)
}

/// What is to be posted next.
enum Next {
    Now(Box<Due>),
    /// Nothing yet: the seconds until then.
    In(i64),
}

/// Of all that is due the newest first: after a long outage of the forge, people look at the newest commit.
fn next(due: Vec<Due>, slot: i64, now: i64) -> Next {
    // A time further away than any pause is long comes from a clock that was wrong then.
    let wait = |at: i64| match at.saturating_sub(now) {
        wait if wait > LONGEST_PAUSE => 0,
        wait => wait,
    };
    let mut soonest = LOOK_EVERY;
    for due in due {
        let Some(at) = due.row.due_at() else { continue };
        match wait(at).max(wait(slot)) {
            ..=0 => return Next::Now(Box::new(due)),
            later => soonest = soonest.min(later),
        }
    }
    Next::In(soonest)
}

async fn post(
    journal: &Sqlite,
    forge: &Forge,
    site: &SiteName,
    chance: &Chance,
    due: &Due,
) -> Result<(), sqlx::Error> {
    let context = due.context.text(site);
    let answer = forge.post(&due.commit, &context, &due.row.wanted, None).await;
    match &answer {
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
    journal.answered(due, &answer, now(), chance.fraction()).await
}

#[cfg(test)]
mod tests {
    use holdfast_core::ident::{CommitId, EnvironmentName};
    use holdfast_core::report::{Status, StatusState};
    use holdfast_engine::ports::Context;
    use holdfast_forge::outbox::want;

    use super::*;

    fn due(digit: char, at: i64) -> Due {
        let status = Status::new(StatusState::Success, "converged");
        Due {
            commit: CommitId::new(digit.to_string().repeat(40)).unwrap(),
            context: Context::Environment(EnvironmentName::new("core").unwrap()),
            row: want(None, &status, at).unwrap(),
        }
    }

    fn chosen(due: Vec<Due>, slot: i64) -> String {
        match next(due, slot, 1_000) {
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
    fn a_clock_that_was_ahead_keeps_nothing_back() {
        let next_century = 4_102_444_800;
        assert_eq!(chosen(vec![due('a', next_century)], 0), "a");
        assert_eq!(chosen(vec![due('a', 100)], next_century), "a");
        assert_eq!(chosen(vec![due('a', 1_000 + 3_601)], 0), "in 30 s");
    }
}
