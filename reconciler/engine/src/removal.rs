//! Removing what no manifest declares any more: last, and only after two complete looks that agree.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::any_kind::PlannedStep;
use holdfast_core::ident::{KindName, ResourceId};
use holdfast_core::kind::{Seen, TargetError, chain};
use holdfast_core::plan::{Action, Hold, Plan, decide, decide_orphan, orphans};
use holdfast_core::planted::{Defect, has};
use holdfast_core::report::Outcome;
use holdfast_core::secret::Secrets;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::budget::Try;
use crate::chance::Backoff;
use crate::execute::first_failure;
use crate::guard::guarded;
use crate::observe::World;
use crate::past::past_of;
use crate::run::Job;

/// Removes what the plan says. Gives the outcome of each, the holds among them.
pub(crate) async fn remove(
    world: &World<'_>,
    job: &Job,
    plan: &Plan,
    stop: &CancellationToken,
) -> BTreeMap<ResourceId, Outcome> {
    let mut outcomes = BTreeMap::new();
    let mut going: BTreeSet<&ResourceId> = BTreeSet::new();
    let mut leaving: BTreeMap<ResourceId, String> = BTreeMap::new();
    for item in plan.items.iter().filter(|item| !world.desired.resources.contains_key(&item.id)) {
        match &item.action {
            Action::Delete(_) => drop(going.insert(&item.id)),
            Action::Hold(hold) => drop(outcomes.insert(item.id.clone(), Outcome::Held(hold.clone()))),
            Action::Wait(what) => drop(leaving.insert(item.id.clone(), what.clone())),
            _ => {}
        }
    }
    let first = orphans_of(world);
    let kinds: BTreeSet<KindName> = going.iter().map(|id| id.kind.clone()).collect();
    for kind in kinds.iter().filter(|_| !has(Defect::NoSecondLook)) {
        world.look_at(&(world.environment.clone(), kind.clone()), Try::Again).await;
    }
    let second = orphans_of(world);
    for id in going {
        if stop.is_cancelled() {
            break;
        }
        // Where one look shows more than the other, one of them was short, and the brake was put on too few.
        let outcome = if first.get(&id.kind) == second.get(&id.kind) {
            remove_one(world, job, id).await
        } else {
            let error = TargetError::unavailable("removing it", "two looks at it did not agree");
            Outcome::Held(Hold::Unseen(error))
        };
        outcomes.insert(id.clone(), outcome);
    }
    outcomes.extend(until_gone(world, leaving, stop).await);
    outcomes
}

/// Waits for what is on its way out, or cannot be removed just now. Nothing is removed here: what turns out to
/// need it is planned anew, with everything that a plan of removals has to weigh.
async fn until_gone(
    world: &World<'_>,
    mut leaving: BTreeMap<ResourceId, String>,
    stop: &CancellationToken,
) -> BTreeMap<ResourceId, Outcome> {
    let limits = &world.engine.limits;
    let deadline = Instant::now() + limits.settle;
    let mut backoff = Backoff::new(limits.look_again);
    let mut outcomes = BTreeMap::new();
    while !leaving.is_empty() && Instant::now() < deadline {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(backoff.pause(&world.engine.chance)) => {}
        }
        let kinds: BTreeSet<KindName> = leaving.keys().map(|id| id.kind.clone()).collect();
        for kind in kinds {
            world.look_at(&(world.environment.clone(), kind), Try::Again).await;
        }
        leaving.retain(|id, what| match what_next(world, id) {
            Some(Action::Wait(now)) => {
                *what = now;
                true
            }
            // Out of sight is not gone.
            None => true,
            Some(_) => {
                outcomes.insert(id.clone(), Outcome::Unchanged);
                false
            }
        });
    }
    outcomes.extend(leaving.into_iter().map(|(id, what)| (id, Outcome::Leaving(what))));
    outcomes
}

/// What the last look makes of something that no manifest declares; `None` where that look was not complete.
fn what_next(world: &World<'_>, id: &ResourceId) -> Option<Action> {
    let observed = world.observed();
    if observed.incomplete.contains_key(&id.kind) {
        return None;
    }
    let seen = observed.seen.get(id).unwrap_or(&Seen::Absent);
    Some(decide(&world.engine.kinds[&id.kind], id, None, seen, world.desired.farewell(id)))
}

/// What the last looks found too much, of each kind. Its state may move between two looks; what must agree is what is
/// there, and ours.
fn orphans_of(world: &World<'_>) -> BTreeMap<KindName, BTreeSet<ResourceId>> {
    let mut all: BTreeMap<KindName, BTreeSet<ResourceId>> = BTreeMap::new();
    for id in orphans(world.environment, &world.engine.kinds, world.desired, &world.observed()) {
        all.entry(id.kind.clone()).or_default().insert(id);
    }
    all
}

async fn remove_one(world: &World<'_>, job: &Job, id: &ResourceId) -> Outcome {
    let kinds = &world.engine.kinds;
    let action = decide_orphan(world.environment, kinds, world.desired, &world.observed(), id);
    let steps: Vec<PlannedStep> = match action {
        Action::Delete(steps) => steps,
        Action::Hold(hold) => return Outcome::Held(hold),
        // It moved since the plan was made; the next one sees how.
        _ => return Outcome::Unchanged,
    };
    let Some(target) = world.target(id) else {
        return Outcome::Held(Hold::Unseen(TargetError::rejected(
            "removing it",
            "there is no connection for it",
        )));
    };
    if let Err(error) = world.engine.journal.removing(&job.commit, id).await {
        let error = TargetError::unavailable("removing it", chain(&error));
        return Outcome::Held(Hold::Unseen(error));
    }
    past_of(&job.past).removing(id);
    let none = Secrets::default();
    let results = match guarded("removing it", target.apply(&id.name, &steps, &none, &world.fence)).await {
        Ok(results) => results,
        Err(error) => return Outcome::Failed { step: "removing it".to_owned(), error },
    };
    match first_failure(&steps, &results) {
        None => {
            info!(resource = %id.short(), "removed");
            Outcome::Removed(steps.into_iter().map(|step| step.text).collect())
        }
        Some((_, step, error)) => {
            warn!(resource = %id.short(), step = %step, error = %error, "a removal failed");
            Outcome::Failed { step, error }
        }
    }
}
