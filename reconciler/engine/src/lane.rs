//! A lane: one environment, run after run, always toward the newest commit.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::desired::{Desired, Drift};
use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::planted::{Defect, has};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::chance::Backoff;
use crate::past::{Past, past_of};
use crate::run::Why;
use crate::said::Said;
use crate::turn::{Ended, Turn};

/// What a lane is to converge to.
#[derive(Clone)]
pub struct Wanted {
    pub commit: CommitId,
    pub desired: Arc<Desired>,
    /// What had been begun last in the environment when this was decided, and what it may leave behind. Another commit
    /// that was begun since is another process's doing.
    pub begun: BTreeSet<CommitId>,
}

/// What a lane is told.
#[derive(Clone)]
pub enum Goal {
    Converge(Wanted),
    /// The environment left the repository with this commit: what it made is left as it is.
    Rest(CommitId),
}

impl Goal {
    pub(crate) fn commit(&self) -> &CommitId {
        match self {
            Self::Converge(wanted) => &wanted.commit,
            Self::Rest(commit) => commit,
        }
    }
}

/// A lane as the watcher sees it.
pub(crate) struct Lane {
    pub(crate) goal: watch::Sender<Goal>,
    /// The commit that it is at just now.
    pub(crate) working: watch::Receiver<Option<CommitId>>,
}

impl Lane {
    /// The commit that it is to converge to.
    pub(crate) fn wanted(&self) -> Option<CommitId> {
        match &*self.goal.borrow() {
            Goal::Converge(wanted) => Some(wanted.commit.clone()),
            Goal::Rest(_) => None,
        }
    }

    /// Whether the lane will end a commit itself.
    pub(crate) fn has(&self, commit: &CommitId) -> bool {
        let wanted = matches!(&*self.goal.borrow(), Goal::Converge(wanted) if wanted.commit == *commit);
        wanted || self.working.borrow().as_ref() == Some(commit)
    }
}

/// Runs one environment until `shutdown`, and tells by `working` which commit it is at just now. A newer commit stops
/// the run of an older one at the next safe point: what was begun is finished, nothing new is begun.
pub async fn lane(
    engine: Arc<Engine>,
    environment: EnvironmentName,
    mut goal: watch::Receiver<Goal>,
    working: watch::Sender<Option<CommitId>>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(engine.limits.retry);
    let mut said = Said::default();
    let mut begun: Option<CommitId> = None;
    let mut why = Why::Commit;
    // When drift is looked for next.
    let mut scheduled = Instant::now();
    let past = Arc::new(Mutex::new(Past::default()));
    loop {
        let now = goal.borrow_and_update().clone();
        let Goal::Converge(current) = now else {
            if !wait(&engine, &mut goal, &shutdown, None).await {
                return;
            }
            continue;
        };
        if begun.as_ref() != Some(&current.commit) {
            backoff.reset();
            past_of(&past).new_commit();
            begun = Some(current.commit.clone());
            why = Why::Commit;
        }
        working.send_replace(Some(current.commit.clone()));
        let turn = Turn { engine: &engine, environment: &environment, wanted: &current, past: &past };
        let ended = turn.take(why, &mut goal, &mut said, &shutdown).await;
        working.send_replace(None);
        if why != Why::Retry {
            scheduled = Instant::now() + next_look(&engine, &current.desired.drift);
        }
        if !matches!(ended, Ended::NotConverged) {
            backoff.reset();
        }
        let soon = Instant::now() + backoff.pause(&engine.chance);
        let (until, next) = match ended {
            Ended::Converged if has(Defect::NoDrift) => (Instant::now() + Duration::from_hours(10_000), why),
            Ended::NotConverged if has(Defect::NeverAgain) => {
                (Instant::now() + Duration::from_hours(10_000), why)
            }
            Ended::Converged => (scheduled, Why::Drift),
            // What failed is tried again soon, and at the next look for drift at the latest.
            Ended::NotConverged if soon < scheduled => (soon, Why::Retry),
            // What rests for its time is only looked at when it is time to look.
            Ended::Rests if why == Why::Drift => (scheduled, Why::Drift),
            Ended::NotConverged | Ended::Rests => (scheduled, Why::Schedule),
            Ended::Elsewhere => (Instant::now() + engine.chance.around(engine.limits.lease), why),
            Ended::Stopped => (Instant::now(), Why::Commit),
        };
        why = next;
        if !wait(&engine, &mut goal, &shutdown, Some(until)).await {
            return;
        }
    }
}

/// How long it is until drift is looked for.
fn next_look(engine: &Engine, drift: &Drift) -> Duration {
    let now = engine.clock.now();
    let next = drift.schedule.as_ref().and_then(|schedule| schedule.next(now));
    match next {
        Some(next) => Duration::from_secs(next.0.abs_diff(now.0)).max(Duration::from_secs(1)),
        None => engine.chance.around(engine.limits.resync),
    }
}

/// Waits for a newer commit, until `until`, or until a pause on the machine ends. `false` where the lane is to end.
async fn wait(
    engine: &Engine,
    goal: &mut watch::Receiver<Goal>,
    shutdown: &CancellationToken,
    until: Option<Instant>,
) -> bool {
    loop {
        let paused = engine.halt.reason().is_some();
        let soon = paused.then(|| Instant::now() + engine.limits.poll);
        let next = soon.into_iter().chain(until).min();
        let pause = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return false,
            changed = goal.changed() => return changed.is_ok(),
            () = pause => {}
        }
        if next == until || (paused && engine.halt.reason().is_none()) {
            return true;
        }
    }
}
