//! A turn of a lane: one run, with everything around it: the lease, what the journal remembers, the end that is told.

use std::sync::{Arc, Mutex};

use holdfast_core::desired::DriftMode;
use holdfast_core::ident::{CommitId, EnvironmentName};
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
use crate::history::last_converged;
use crate::lane::{Goal, Wanted};
use crate::past::{Past, past_of};
use crate::ports::{Context, Epoch, JournalError, Lease, RunId};
use crate::run::{End, Job, Why, run};
use crate::said::Said;

/// How a run of a lane ended.
pub(crate) enum Ended {
    Converged,
    NotConverged,
    /// Nothing is wrong but that something has to wait for its time.
    Rests,
    /// Another process looks after the environment.
    Elsewhere,
    Stopped,
}

/// What the journal says of an environment that is about to be converged.
enum Recalled {
    Ours,
    Overtaken,
}

/// One run of a lane, with everything around it.
pub(crate) struct Turn<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) environment: &'a EnvironmentName,
    pub(crate) wanted: &'a Wanted,
    pub(crate) past: &'a Arc<Mutex<Past>>,
}

impl Turn<'_> {
    pub(crate) async fn take(
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
        match self.recall(epoch).await {
            Ok(Recalled::Ours) => {}
            Ok(Recalled::Overtaken) => {
                info!(environment = %environment, "another process began a newer commit meanwhile, which is fetched first");
                return Ended::Elsewhere;
            }
            Err(error) => {
                error!(environment = %environment, error, "what was done here before cannot be read, and nothing was changed");
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

    /// Brings the past up to the journal, where the lease was in other hands or the commit is another one.
    async fn recall(&self, epoch: Epoch) -> Result<Recalled, String> {
        let (journal, commit) = (&self.engine.journal, &self.wanted.commit);
        let before = past_of(self.past).of.clone();
        let of = (epoch, commit.clone());
        if before.as_ref() == Some(&of) {
            return Ok(Recalled::Ours);
        }
        if before.is_none_or(|(before, _)| before != epoch) && self.is_overtaken().await? {
            return Ok(Recalled::Overtaken);
        }
        let known = journal.known(self.environment).await.map_err(|error| chain(&error))?;
        let removed = journal.removed(self.environment, commit).await.map_err(|error| chain(&error))?;
        past_of(self.past).recall(of, known, removed);
        Ok(Recalled::Ours)
    }

    /// Whether another process began a commit after ours since ours was decided on: who slept meanwhile would carry out
    /// an old wish.
    async fn is_overtaken(&self) -> Result<bool, String> {
        let begun = self.engine.journal.begun(self.environment).await.map_err(|error| chain(&error))?;
        let is_news = |begun: &CommitId| *begun != self.wanted.commit && !self.wanted.begun.contains(begun);
        let Some(begun) = begun.filter(is_news) else { return Ok(false) };
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
        let converged = last_converged(self.engine, self.environment).await;
        converged.map_or(true, |converged| converged.as_ref() == Some(&self.wanted.commit))
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
    let Report { environment, commit, .. } = report;
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
