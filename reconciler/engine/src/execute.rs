//! Executing: every resource that has something to do, as soon as what it needs is settled.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use holdfast_core::any_kind::PlannedStep;
use holdfast_core::desired::Farewell;
use holdfast_core::ident::ResourceId;
use holdfast_core::kind::{Risk, Seen, StepResult, TargetError};
use holdfast_core::plan::{Action, Hold, Plan, Resolution, decide, decide_wanted};
use holdfast_core::planted::{Defect, has};
use holdfast_core::report::Outcome;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::budget::Asked;
use crate::guard::guarded;
use crate::observe::World;
use crate::order::{skip_dependants, startable, unsettled};
use crate::progress::Progress;
use crate::rolling::Entry;
use crate::secrets::{self, Values};

/// What executing one plan gave: every resource that was not settled at its start.
pub(crate) enum Executed {
    Done(BTreeMap<ResourceId, Outcome>),
    /// Asked to stop: a newer commit, or the end of the service. What was begun was finished.
    Stopped,
}

/// What became of one resource.
enum End {
    Outcome(Outcome),
    Stopped,
}

/// Drives every resource that the last look did not find settled, needs first. `given_up` holds those that
/// failed before in this run: they are not tried again.
pub(crate) async fn execute(
    world: &World<'_>,
    plan: &Plan,
    given_up: &BTreeMap<ResourceId, Outcome>,
    stop: &CancellationToken,
) -> Executed {
    let permits = Semaphore::new(world.engine.limits.concurrency);
    let mut waiting = unsettled(world);
    let mut running = FuturesUnordered::new();
    let mut outcomes = BTreeMap::new();
    // First all of them, so that each tells its own reason, also one that another would block.
    let not_tried: BTreeMap<ResourceId, Outcome> =
        held(plan).chain(given_up.clone()).filter(|(id, _)| waiting.remove(id).is_some()).collect();
    for id in not_tried.keys() {
        skip_dependants(id, &mut waiting, &mut outcomes);
    }
    outcomes.extend(not_tried);
    loop {
        for id in startable(&waiting) {
            waiting.remove(&id);
            let permits = &permits;
            running.push(async move {
                let end = converge(world, &id, permits, stop).await;
                let well =
                    matches!(end, End::Stopped | End::Outcome(Outcome::Unchanged | Outcome::Applied(_)));
                world.rolling.leave(&id, well);
                (id, end)
            });
        }
        let Some((id, end)) = running.next().await else { break };
        let End::Outcome(outcome) = end else { continue };
        let settled = matches!(outcome, Outcome::Unchanged | Outcome::Applied(_));
        outcomes.insert(id.clone(), outcome);
        if settled {
            for needs in waiting.values_mut() {
                needs.remove(&id);
            }
        } else {
            skip_dependants(&id, &mut waiting, &mut outcomes);
        }
    }
    if stop.is_cancelled() { Executed::Stopped } else { Executed::Done(outcomes) }
}

/// What the plan holds for good: looking again would not change it.
fn held(plan: &Plan) -> impl Iterator<Item = (ResourceId, Outcome)> {
    plan.items.iter().filter_map(|item| match &item.action {
        Action::Hold(Hold::Blocked(_)) => None,
        Action::Hold(Hold::Unseen(error)) if error.is_unavailable() => None,
        Action::Hold(hold) => Some((item.id.clone(), Outcome::Held(hold.clone()))),
        _ => None,
    })
}

/// Looks, decides and acts on one resource until it is settled, held, failed or out of time.
#[tracing::instrument(name = "resource", skip_all, fields(resource = %id.short()))]
async fn converge(world: &World<'_>, id: &ResourceId, permits: &Semaphore, stop: &CancellationToken) -> End {
    let mut begun = None;
    loop {
        if stop.is_cancelled() {
            return End::Stopped;
        }
        let permit = permits.acquire().await.expect("the semaphore is never closed");
        // Its time begins with its first turn: what waited in the queue is not late.
        let progress = begun.get_or_insert_with(|| Progress::new(&world.engine.limits));
        let turn = guarded("converging it", turn(world, id, progress))
            .await
            .unwrap_or_else(|error| Turn::End(Outcome::Failed { step: "converging it".to_owned(), error }));
        drop(permit);
        let (reason, asked) = match turn {
            Turn::End(outcome) => return End::Outcome(outcome),
            Turn::Again => continue,
            Turn::Pause(outcome, asked) => (outcome, asked),
        };
        if Instant::now() >= progress.deadline {
            return End::Outcome(reason);
        }
        let what = match &reason {
            Outcome::Waiting(what) => Some(what.clone()),
            Outcome::Held(Hold::Unseen(error)) => Some(error.to_string()),
            _ => None,
        };
        if let Some(what) = what.filter(|what| progress.is_news(what.clone())) {
            info!(what, "waiting");
        }
        let pause = progress.backoff.pause(&world.engine.chance).max(asked.unwrap_or_default());
        let pause = pause.min(progress.deadline.saturating_duration_since(Instant::now()));
        tokio::select! {
            biased;
            () = stop.cancelled() => return End::Stopped,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One turn of looking, deciding and acting.
enum Turn {
    End(Outcome),
    /// Something moved: look again at once.
    Again,
    /// Nothing to do now. The outcome if the time is up, and the pause that the target asked for.
    Pause(Outcome, Option<std::time::Duration>),
}

async fn turn(world: &World<'_>, id: &ResourceId, progress: &mut Progress) -> Turn {
    let resource = &world.desired.resources[id];
    let mut resolution = world.resolve(resource);
    if let Resolution::Unseen(_) = resolution {
        world.read_secrets_again(resource).await;
        resolution = world.resolve(resource);
    }
    let spec = match resolution {
        Resolution::Ready(spec) => spec,
        Resolution::Unseen(error) => {
            return unseen(world, &Asked::secrets(world.engine.targets.secrets().target()), error);
        }
        Resolution::Later(references) => return refresh_references(world, id, &references).await,
    };
    let seen = world.look_at_one(id, spec.clone()).await;
    let kind = &world.engine.kinds[&id.kind];
    let asked = Asked {
        target: kind.target.to_owned(),
        kind: id.kind.to_string(),
        one: Some(id.name.to_string()),
        apart: kind.each_apart,
    };
    if let Seen::Unknown(error) = &seen
        && !has(Defect::UnknownIsAbsent)
    {
        return unseen(world, &asked, error.clone());
    }
    if resource.borrowed {
        // Nobody changes it now, and nothing would be done that waits for it.
        if let Some(reason) = world.observed().restraint.everything.clone() {
            return Turn::End(Outcome::Held(Hold::NotNow(reason)));
        }
        return borrowed(kind, id, &spec, &seen);
    }
    let action = decide_wanted(&world.engine.kinds, world.desired, &world.observed(), id, &spec, &seen);
    match action {
        Action::Keep => Turn::End(progress.settled()),
        Action::Create(steps) | Action::Adopt(steps) | Action::Update(steps) => {
            act(world, id, steps, progress).await
        }
        Action::Wait(what) => Turn::Pause(Outcome::Waiting(what), None),
        Action::Hold(Hold::Unseen(error)) => unseen(world, &asked, error),
        Action::Hold(hold) => Turn::End(Outcome::Held(hold)),
        Action::Delete(_) | Action::Later { .. } => {
            let error = TargetError::rejected("deciding", "a wanted resource cannot be removed or postponed");
            Turn::End(Outcome::Failed { step: "decide".to_owned(), error })
        }
    }
}

/// What cannot be seen is looked at again, unless a person must act first, or it may not be asked again in this run.
fn unseen(world: &World<'_>, asked: &Asked, error: TargetError) -> Turn {
    let pause = retry_after(&error);
    let again = error.is_unavailable() && !world.engine.budget.is_spent(asked);
    let outcome = Outcome::Held(Hold::Unseen(error));
    if again { Turn::Pause(outcome, pause) } else { Turn::End(outcome) }
}

/// An output is not known although the resource is settled (a guest that has no address yet): looks at it.
async fn refresh_references(
    world: &World<'_>,
    id: &ResourceId,
    references: &[holdfast_core::reference::OutputRef],
) -> Turn {
    let mut missing = Vec::new();
    for reference in references {
        let Ok(other) = reference.id(&id.environment) else { continue };
        missing.push(format!("the {} of {}", reference.output, other.seen_from(world.environment)));
        if let Some(resource) = world.desired.resources.get(&other)
            && let Resolution::Ready(spec) = world.resolve(resource)
        {
            world.look_at_one(&other, spec).await;
        }
    }
    Turn::Pause(Outcome::Waiting(format!("{} is not known yet", missing.join(" and "))), None)
}

/// A resource of another environment is waited for, never changed.
fn borrowed(
    kind: &holdfast_core::any_kind::KindInfo,
    id: &ResourceId,
    spec: &serde_json::Value,
    seen: &Seen<serde_json::Value>,
) -> Turn {
    let waiting = |what: String| Turn::Pause(Outcome::Waiting(what), None);
    match decide(kind, id, Some(spec), seen, Farewell::AsKind) {
        Action::Keep => Turn::End(Outcome::Unchanged),
        Action::Create(_) => waiting("it does not exist yet".to_owned()),
        Action::Wait(what) => waiting(what),
        _ => waiting("it is not converged in its own environment".to_owned()),
    }
}

/// Applies the steps, with the secrets that they need.
async fn act(world: &World<'_>, id: &ResourceId, steps: Vec<PlannedStep>, progress: &mut Progress) -> Turn {
    let first = steps.first().map_or_else(String::new, |step| step.text.clone());
    if let Some(why) = progress.is_in_vain(&steps) {
        let error = TargetError::rejected(first.clone(), why);
        return Turn::End(Outcome::Failed { step: first, error });
    }
    let values = match secrets::values(world.engine, &steps).await {
        Values::Ready(values) => values,
        Values::Changed(stamps) => {
            world.observed().stamps.extend(stamps);
            let what = "a secret that it needs changes again and again".to_owned();
            return Turn::Pause(Outcome::Waiting(what), None);
        }
        Values::Failed(error) => return failed(first, error, progress),
    };
    let Some(target) = world.target(id) else {
        let error = TargetError::rejected("applying", "there is no connection for it");
        return Turn::End(Outcome::Held(Hold::Unseen(error)));
    };
    if steps.iter().any(|step| step.risk >= Risk::Disruptive) {
        match world.rolling.enter(world, id).await {
            Entry::Granted => {}
            Entry::Wait { what, moving } => {
                // Its own time begins with its turn; but one that is away for another reason may stay so.
                if moving {
                    progress.wait_for_turn();
                }
                return Turn::Pause(Outcome::Waiting(what), None);
            }
            Entry::Stopped(why) => return Turn::End(Outcome::Held(Hold::NotNow(why))),
        }
    }
    let results = target.apply(&id.name, &steps, &values, &world.fence).await;
    for (step, result) in steps.iter().zip(&results) {
        if let StepResult::Done { warning } = result {
            info!(step = %step.text, warning = warning.as_deref(), "changed");
        }
    }
    match first_failure(&steps, &results) {
        None => {
            progress.moved(&steps);
            Turn::Again
        }
        Some((done, step, error)) => {
            if done > 0 {
                progress.moved(&steps[..done]);
            }
            failed(step, error, progress)
        }
    }
}

/// A failed step is tried again by looking again, unless a person must act first.
fn failed(step: String, error: TargetError, progress: &mut Progress) -> Turn {
    let asked = retry_after(&error);
    let again = error.is_unavailable();
    if progress.is_news(error.to_string()) {
        warn!(step = %step, error = %error, again, "a change failed");
    }
    let outcome = Outcome::Failed { step, error };
    if again { Turn::Pause(outcome, asked) } else { Turn::End(outcome) }
}

fn retry_after(error: &TargetError) -> Option<std::time::Duration> {
    match error {
        TargetError::Unavailable { retry_after, .. } => *retry_after,
        TargetError::Rejected { .. } => None,
    }
}

/// The number of steps that were done before the one that failed, that step's line, and the error.
pub(crate) fn first_failure(
    steps: &[PlannedStep],
    results: &[StepResult],
) -> Option<(usize, String, TargetError)> {
    for (index, step) in steps.iter().enumerate() {
        let error = match results.get(index) {
            Some(StepResult::Done { .. }) => continue,
            Some(StepResult::Failed(error)) => error.clone(),
            Some(StepResult::NotRun) | None => TargetError::unavailable(&step.text, "it was not run"),
        };
        return Some((index, step.text.clone(), error));
    }
    None
}
