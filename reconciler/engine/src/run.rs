//! One run of one commit in one environment, as one function.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use holdfast_core::desired::{Desired, DriftMode};
use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_core::plan::{Action, Plan, Restraint, doubt, orphans, plan};
use holdfast_core::planted::{Defect, has};
use holdfast_core::report::{Outcome, Report};
use holdfast_core::schedule::Window;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::Engine;
use crate::budget::Try;
use crate::execute::{Executed, execute};
use crate::observe::World;
use crate::past::{Past, past_of};
use crate::ports::{Epoch, JournalError, RunId};
use crate::removal::remove;

/// What a run is to do.
pub struct Job {
    pub environment: EnvironmentName,
    pub commit: CommitId,
    pub desired: Arc<Desired>,
    pub epoch: Epoch,
    pub why: Why,
    /// The environment converged to this commit before: what differs now is drift.
    pub drift: bool,
    pub past: Arc<Mutex<Past>>,
}

/// Why a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A new commit.
    Commit,
    /// The one before did not converge.
    Retry,
    /// It is time to look for drift, of what converged before.
    Drift,
    /// It is time to look again at what did not converge before.
    Schedule,
}

impl Why {
    fn first_try(self) -> Try {
        match self {
            Self::Commit | Self::Drift | Self::Schedule => Try::First,
            Self::Retry => Try::Again,
        }
    }
}

/// How a run ended.
pub enum End {
    Finished {
        run: RunId,
        report: Report,
    },
    /// It was asked to stop, and what it had begun is finished.
    Stopped,
}

/// Brings an environment to a commit: look at everything, plan, execute, and look again until a look finds
/// nothing to do, or nothing that can be done.
///
/// # Errors
/// Where the journal cannot be written: a run that nobody could account for is not begun.
#[tracing::instrument(name = "run", skip_all, fields(environment = %job.environment, commit = job.commit.short()))]
pub async fn run(engine: &Engine, job: &Job, stop: &CancellationToken) -> Result<End, JournalError> {
    let Job { environment, commit, desired, epoch, why, drift: _, past } = job;
    let world = World::new(engine, environment, desired, Some(*epoch));
    let mut tally = Tally::default();
    let mut journal_entry = None;
    for round in 1..=engine.limits.rounds {
        tokio::select! {
            biased;
            // A look changes nothing, so that it can be broken off.
            () = stop.cancelled() => return Ok(End::Stopped),
            () = world.look_at_all(if round == 1 { why.first_try() } else { Try::Again }) => {}
        }
        restrain(&world, job);
        let plan = plan(environment, &engine.kinds, desired, &world.observed());
        let run = if let Some(run) = journal_entry {
            run
        } else {
            let run = engine.journal.run_started(commit, &plan).await?;
            past_of(past).begins(&plan);
            *journal_entry.insert(run)
        };
        info!(round, todo = plan.items.iter().filter(|item| item.action != Action::Keep).count(), "planned");
        tally.settle(&world, &plan);
        if stop.is_cancelled() {
            return Ok(End::Stopped);
        }
        let mut outcomes = match execute(&world, &plan, &tally.given_up(), stop).await {
            Executed::Done(outcomes) => outcomes,
            Executed::Stopped => return Ok(End::Stopped),
        };
        outcomes.extend(remove(&world, job, &plan, stop).await);
        if stop.is_cancelled() {
            return Ok(End::Stopped);
        }
        let moved = tally.take_in(outcomes);
        if !moved || round == engine.limits.rounds || has(Defect::SuccessUnseen) {
            if has(Defect::SuccessUnseen) {
                tally.moved.clear();
            }
            let outcomes = tally.finish(desired);
            let (environment, commit) = (environment.clone(), commit.clone());
            let mut report = Report {
                environment,
                commit,
                outcomes,
                unseen: plan.unseen,
                notices: plan.notices,
                maybe_there: BTreeSet::new(),
            };
            let converged = report.converged();
            let unsure =
                report.there().filter(|id| !converged || !desired.resources.contains_key(*id)).cloned();
            let orphans = orphans(&job.environment, &engine.kinds, desired, &world.observed());
            report.maybe_there = unsure.chain(orphans).collect();
            return Ok(End::Finished { run, report });
        }
    }
    unreachable_rounds()
}

/// Looks at everything and plans, and changes nothing.
pub async fn preview(engine: &Engine, environment: &EnvironmentName, desired: &Desired) -> Plan {
    let world = World::new(engine, environment, desired, None);
    world.look_at_all(Try::First).await;
    world.observed().restraint = Restraint { everything: paused(engine, desired), ..Restraint::default() };
    plan(environment, &engine.kinds, desired, &world.observed())
}

/// Puts what the moment forbids beside what was seen, and doubts what is implausible.
fn restrain(world: &World<'_>, job: &Job) {
    let engine = world.engine;
    let mut past = past_of(&job.past);
    let mut observed = world.observed();
    let believed = past.believed(&job.commit);
    // What no connection is configured for any more is nobody's business.
    observed.known = past.known(&job.desired).into_iter().filter(|id| world.target(id).is_some()).collect();
    let doubted = doubt(&job.environment, &job.desired, &believed, &mut observed);
    past.doubted(doubted, &job.commit);
    let reported = (job.drift && job.desired.drift.mode == DriftMode::Report)
        .then(|| "drift is only reported here".to_owned());
    let shut = |window: &Window| !window.is_open(engine.clock.now());
    observed.restraint = Restraint {
        everything: paused(engine, &job.desired).or(reported),
        disruptive: (job.desired.maintenance.as_ref().filter(|window| shut(window)))
            .map(|window| format!("it waits for the maintenance window ({})", window.opens)),
        resources: past.slowed(engine.limits.resync, Instant::now()),
        removed: past.removed.clone(),
    };
}

/// Why nothing may be changed, if so.
fn paused(engine: &Engine, desired: &Desired) -> Option<String> {
    let locally = engine.halt.reason().map(|reason| format!("paused on the service's machine: {reason}"));
    let reason =
        locally.or_else(|| desired.pause.as_ref().map(|reason| format!("the site is paused: {reason}")));
    reason.filter(|_| !has(Defect::PauseIgnored))
}

/// The loop above returns in its last round; a limit of no rounds is a mistake of the caller.
fn unreachable_rounds() -> Result<End, JournalError> {
    Err(JournalError { doing: "running".to_owned(), source: "the limit of rounds is zero".into() })
}

/// What all rounds of a run gave.
#[derive(Default)]
struct Tally {
    /// The lines of what was changed, in any round.
    applied: BTreeMap<ResourceId, Vec<String>>,
    /// The last outcome of each resource.
    last: BTreeMap<ResourceId, Outcome>,
    /// What came to rest since the last full look, by a change or by itself: no full look has seen it yet.
    moved: BTreeSet<ResourceId>,
}

impl Tally {
    /// What a full look found settled is settled now, whatever a round before said; and what left the repository
    /// and is not there any more needs no word.
    fn settle(&mut self, world: &World<'_>, plan: &Plan) {
        let desired = world.desired;
        self.moved.clear();
        let planned: BTreeSet<&ResourceId> = plan.items.iter().map(|item| &item.id).collect();
        let is_gone = |id: &ResourceId| {
            !desired.resources.contains_key(id)
                && !planned.contains(id)
                && !plan.unseen.contains_key(&id.kind)
        };
        self.last.retain(|id, _| !is_gone(id));
        let kept = plan.items.iter().filter(|item| item.action == Action::Keep).map(|item| &item.id);
        // What another environment owns is in no plan of this one.
        let borrowed = desired.resources.values().filter(|other| other.borrowed && world.is_settled(other));
        for id in kept.chain(borrowed.map(|other| &other.id)) {
            self.last.insert(id.clone(), Outcome::Unchanged);
        }
    }

    /// What failed, was held or ran out of time in a round before is not tried again in this run. (A full look
    /// that finds it settled takes it out.)
    fn given_up(&self) -> BTreeMap<ResourceId, Outcome> {
        let given_up = |outcome: &Outcome| {
            matches!(outcome, Outcome::Failed { .. } | Outcome::Held(_) | Outcome::Waiting(_))
        };
        self.last
            .iter()
            .filter(|(_, outcome)| given_up(outcome))
            .map(|(id, outcome)| (id.clone(), outcome.clone()))
            .collect()
    }

    /// Whether anything moved, so that everything has to be looked at again: while one was changed or waited for,
    /// another may have gone astray.
    fn take_in(&mut self, outcomes: BTreeMap<ResourceId, Outcome>) -> bool {
        for (id, outcome) in outcomes {
            if let Outcome::Applied(steps) | Outcome::Removed(steps) = &outcome {
                self.applied.entry(id.clone()).or_default().extend(steps.iter().cloned());
            }
            if matches!(outcome, Outcome::Applied(_) | Outcome::Removed(_) | Outcome::Unchanged) {
                self.moved.insert(id.clone());
            }
            self.last.insert(id, outcome);
        }
        !self.moved.is_empty()
    }

    /// The outcome of every resource.
    fn finish(mut self, desired: &Desired) -> BTreeMap<ResourceId, Outcome> {
        for id in &self.moved {
            let restless = Outcome::Waiting("it moved again at every look".to_owned());
            self.last.insert(id.clone(), restless);
        }
        let own = |id: &ResourceId| desired.resources.get(id).is_none_or(|resource| !resource.borrowed);
        self.last.retain(|id, outcome| own(id) || *outcome != Outcome::Unchanged);
        for (id, outcome) in &mut self.last {
            if *outcome == Outcome::Unchanged
                && let Some(steps) = self.applied.remove(id)
            {
                *outcome = Outcome::Applied(steps);
            }
        }
        // What was removed is in no plan any more.
        for (id, steps) in self.applied {
            self.last.entry(id).or_insert(Outcome::Removed(steps));
        }
        self.last
    }
}
