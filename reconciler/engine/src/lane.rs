//! A lane: one environment, run after run, always toward the newest commit.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::desired::{Desired, Drift, DriftMode};
use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_core::kind::TargetError;
use holdfast_core::planted::{Defect, has};
use holdfast_core::report::{Report, Status, StatusState};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::Engine;
use crate::chance::Backoff;
use crate::past::{Past, past_of};
use crate::ports::{Context, Epoch, JournalError, Lease, RunId};
use crate::run::{End, Job, Why, run};
use crate::said::Said;

/// What a lane is to converge to.
#[derive(Clone)]
pub struct Wanted {
    pub commit: CommitId,
    pub desired: Arc<Desired>,
}

/// What a lane is told.
#[derive(Clone)]
pub enum Goal {
    Converge(Wanted),
    /// The environment left the repository with this commit: what it made is left as it is.
    Rest(CommitId),
}

impl Goal {
    fn commit(&self) -> &CommitId {
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
    let past = Arc::new(Mutex::new(Past::new(known(&engine, &environment).await)));
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
        let run = Run { engine: &engine, environment: &environment, wanted: &current, past: &past };
        let ended = run.once(why, &mut goal, &mut said, &shutdown).await;
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

/// What the environment held when it converged last. Nobody knows is an answer as well.
async fn known(engine: &Engine, environment: &EnvironmentName) -> BTreeSet<ResourceId> {
    match engine.journal.known(environment).await {
        Ok(known) => known,
        Err(error) => {
            warn!(environment = %environment, error = %chain(&error), "what was there last cannot be read");
            BTreeSet::new()
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

enum Ended {
    Converged,
    NotConverged,
    /// Nothing is wrong but that something has to wait for its time.
    Rests,
    /// Another process looks after the environment.
    Elsewhere,
    Stopped,
}

/// One run of a lane, with everything around it.
struct Run<'a> {
    engine: &'a Arc<Engine>,
    environment: &'a EnvironmentName,
    wanted: &'a Wanted,
    past: &'a Arc<Mutex<Past>>,
}

impl Run<'_> {
    async fn once(
        &self,
        why: Why,
        goal: &mut watch::Receiver<Goal>,
        said: &mut Said,
        shutdown: &CancellationToken,
    ) -> Ended {
        let (engine, environment) = (self.engine, self.environment);
        let epoch = match engine.journal.lease(environment, &engine.holder, engine.limits.lease).await {
            Ok(Lease::Held(epoch)) => epoch,
            Ok(Lease::Taken { by }) => {
                info!(environment = %environment, by, "another process looks after the environment");
                return Ended::Elsewhere;
            }
            Err(error) => {
                error!(environment = %environment, error = %chain(&error), "the journal failed, and nothing was changed");
                return Ended::NotConverged;
            }
        };
        match self.is_overtaken(epoch).await {
            Ok(false) => past_of(self.past).epoch = Some(epoch),
            Ok(true) => {
                info!(environment = %environment, "another process began a newer commit meanwhile, which is fetched first");
                return Ended::Elsewhere;
            }
            Err(error) => {
                error!(environment = %environment, error, "whether another process began a newer commit is not known, and nothing was changed");
                return Ended::NotConverged;
            }
        }
        let job = Job {
            environment: environment.clone(),
            commit: self.wanted.commit.clone(),
            desired: self.wanted.desired.clone(),
            epoch,
            why,
            drift: self.is_drift().await,
            past: self.past.clone(),
        };
        match self.drive(job, goal, shutdown).await {
            Ok(Ok(End::Finished { run, report })) => {
                said.tell(&report);
                let drift = why == Why::Drift;
                past_of(self.past).ended(&report, drift, engine.limits.resync, Instant::now());
                finish(engine, run, &report).await
            }
            Ok(Ok(End::Stopped)) => {
                overtaken(engine, environment, self.wanted, goal).await;
                Ended::Stopped
            }
            Ok(Err(error)) => {
                error!(environment = %environment, error = %chain(&error), "the journal failed, and nothing was changed");
                Ended::NotConverged
            }
            Err(panicked) => {
                error!(environment = %environment, commit = self.wanted.commit.short(), error = %panicked, "a run broke off");
                let text = "internal error: the run broke off; see the service's log";
                let status = Status::new(StatusState::Error, text);
                post(engine, &self.wanted.commit, environment, &status).await;
                Ended::NotConverged
            }
        }
    }

    /// Whether another process had the environment since this one had it last, and began a commit after ours: who slept
    /// meanwhile would carry out an old wish.
    async fn is_overtaken(&self, epoch: Epoch) -> Result<bool, String> {
        let last = past_of(self.past).epoch;
        if last.is_none_or(|last| last == epoch) {
            return Ok(false);
        }
        let begun = self.engine.journal.begun(self.environment).await.map_err(|error| chain(&error))?;
        let Some(begun) = begun.filter(|begun| *begun != self.wanted.commit) else { return Ok(false) };
        match self.engine.repository.descends(&self.wanted.commit, &begun).await {
            Ok(descends) => Ok(descends),
            // One that this process never fetched is newer than all that it did.
            Err(TargetError::Rejected { .. }) => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether the environment converged to this commit before. Asked only where something hangs on it; where nobody
    /// can tell, it counts as if it had, so that nothing is written.
    async fn is_drift(&self) -> bool {
        if self.wanted.desired.drift.mode == DriftMode::Correct {
            return false;
        }
        let kept = self.engine.repository.kept(self.environment).await;
        kept.map_or(true, |kept| kept.as_ref() == Some(&self.wanted.commit))
    }

    /// Runs, renews the lease meanwhile, and stops the run for a newer commit or where the lease is lost.
    async fn drive(
        &self,
        job: Job,
        goal: &mut watch::Receiver<Goal>,
        shutdown: &CancellationToken,
    ) -> Result<Result<End, JournalError>, JoinError> {
        let (engine, epoch) = (self.engine, job.epoch);
        let stop = shutdown.child_token();
        let task = {
            let (engine, stop) = (engine.clone(), stop.clone());
            // A task of its own, so that a panic in it is a result here and not the end of the service.
            AbortOnDropHandle::new(tokio::spawn(async move { run(&engine, &job, &stop).await }))
        };
        tokio::pin!(task);
        let mut renew = tokio::time::interval(engine.limits.lease / 3);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renew.tick().await;
        loop {
            tokio::select! {
                biased;
                joined = &mut task => return joined,
                changed = goal.changed(), if !stop.is_cancelled() => {
                    let newer = *goal.borrow().commit() != self.wanted.commit && !has(Defect::OlderRunGoesOn);
                    if changed.is_err() || newer {
                        stop.cancel();
                    }
                }
                _ = renew.tick(), if !stop.is_cancelled() => {
                    let lease = engine.journal.lease(self.environment, &engine.holder, engine.limits.lease).await;
                    // A journal that fails is no reason to stop: the fence asks it before each write.
                    if lease.is_ok_and(|lease| lease != Lease::Held(epoch)) {
                        warn!(environment = %self.environment, "another process took the environment over");
                        stop.cancel();
                    }
                }
            }
        }
    }
}

async fn finish(engine: &Engine, run: RunId, report: &Report) -> Ended {
    let status = report.status();
    let Report { environment, commit, outcomes: _, unseen: _, notices: _ } = report;
    info!(environment = %environment, commit = commit.short(), state = status.state.as_str(), status = %status.description, "the run ended");
    let converged = report.converged();
    if converged && let Err(error) = engine.repository.keep(environment, commit).await {
        warn!(environment = %environment, commit = commit.short(), error = %error, "the converged commit could not be kept");
    }
    if let Err(error) = engine.journal.run_finished(run, report, &status).await {
        error!(environment = %environment, error = %chain(&error), "the end of the run could not be recorded");
        return Ended::NotConverged;
    }
    match converged {
        true => Ended::Converged,
        false if report.rests() => Ended::Rests,
        false => Ended::NotConverged,
    }
}

/// A run that was stopped for a newer commit says so on the older one. One that was stopped by the end of the
/// service stays pending: the next start goes on with it.
async fn overtaken(
    engine: &Engine,
    environment: &EnvironmentName,
    current: &Wanted,
    goal: &watch::Receiver<Goal>,
) {
    let newer = goal.borrow().commit().clone();
    if newer != current.commit {
        post(engine, &current.commit, environment, &Status::superseded(&newer)).await;
    }
}

async fn post(engine: &Engine, commit: &CommitId, environment: &EnvironmentName, status: &Status) {
    let context = Context::Environment(environment.clone());
    if let Err(error) = engine.journal.set_status(commit, &context, status).await {
        error!(environment = %environment, error = %chain(&error), "a status could not be recorded");
    }
}

fn chain(error: &JournalError) -> String {
    holdfast_core::kind::chain(error)
}
