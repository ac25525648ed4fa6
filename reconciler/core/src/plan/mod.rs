//! The plan: what is to be done about every resource, decided from what is wanted and what was seen.

mod brake;
mod decide;
mod moved;
mod plausible;
mod render;
mod resolve;
mod restraint;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::any_kind::{KindInfo, PlannedStep};
use crate::desired::{Desired, Farewell};
use crate::ident::{EnvironmentName, KindName, ResourceId};
use crate::kind::{Owner, Refusal, Seen, TargetError};
use crate::planted::{Defect, has};
use crate::reference::Outputs;
use crate::secret::{SecretRef, Stamp};

pub use decide::decide;
pub use moved::hand_over;
pub use plausible::doubt;
pub use render::render;
pub use resolve::{Resolution, resolve};
pub use restraint::Restraint;

/// The kinds that are known, by name.
pub type Kinds = BTreeMap<KindName, KindInfo>;

/// What was seen of the world by one pass.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Every wanted resource that was looked at, and what else carries our mark.
    pub seen: BTreeMap<ResourceId, Seen<Value>>,
    /// Kinds of which no orphan may be concluded, and why.
    pub incomplete: BTreeMap<KindName, String>,
    /// The secrets that the wanted resources refer to: their stamps, or why they could not be read.
    pub stamps: BTreeMap<SecretRef, Result<Stamp, TargetError>>,
    /// What a person should know: copied marks and the like.
    pub notices: BTreeSet<String>,
    /// What the environment held when it converged last, as far as anybody knows.
    pub known: BTreeSet<ResourceId>,
    /// What may not be done just now, whatever is wanted.
    pub restraint: Restraint,
}

impl Observed {
    /// The outputs of a resource, as far as they are known.
    pub fn outputs(&self, kinds: &Kinds, id: &ResourceId) -> Outputs {
        match (self.seen.get(id), kinds.get(&id.kind)) {
            (Some(Seen::Present { state, .. }), Some(kind)) => (kind.outputs_of)(state),
            _ => Outputs::new(),
        }
    }
}

/// What is to be done about one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub environment: EnvironmentName,
    /// In the order in which they will run; removals last.
    pub items: Vec<Item>,
    pub notices: BTreeSet<String>,
    /// Kinds that were not seen whole, and why: what left the repository may still stand there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unseen: BTreeMap<KindName, String>,
}

/// What is to be done about one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub id: ResourceId,
    pub action: Action,
}

/// The decision about one resource. It leaves no choice to who executes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// As wanted, and healthy.
    Keep,
    /// Nothing is there.
    Create(Vec<PlannedStep>),
    /// Something is there that nobody manages, and the manifest names it.
    Adopt(Vec<PlannedStep>),
    Update(Vec<PlannedStep>),
    /// No manifest declares it any more.
    Delete(Vec<PlannedStep>),
    /// Nothing to do now, and not there yet: for what it waits.
    Wait(String),
    /// Something to do, once `needs` are settled. What is expected to follow is told, not promised.
    Later {
        needs: Vec<ResourceId>,
        expected: Vec<String>,
    },
    Hold(Hold),
}

/// Why nothing is done about a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// It, or a secret that it needs, could not be seen.
    Unseen(TargetError),
    /// Its kind refuses, or somebody else owns it.
    Refused(Refusal),
    /// What would have to be done destroys something that the repository does not name.
    TooRisky(Refusal),
    /// It may be done, and not now: the site is paused, a maintenance window is shut, its group has too few that
    /// are well.
    NotNow(String),
    /// What it needs is itself held.
    Blocked(ResourceId),
}

/// Plans a whole environment. Pure: the same arguments give the same plan.
pub fn plan(environment: &EnvironmentName, kinds: &Kinds, desired: &Desired, observed: &Observed) -> Plan {
    let mut actions: BTreeMap<ResourceId, Action> = BTreeMap::new();
    for id in &desired.order {
        let action = plan_one(kinds, desired, observed, &actions, id);
        actions.insert(id.clone(), action);
    }
    let mut items: Vec<Item> = desired
        .order
        .iter()
        .filter(|id| !desired.resources[*id].borrowed)
        .map(|id| Item { id: id.clone(), action: actions[id].clone() })
        .collect();
    let mut notices = observed.notices.clone();
    for item in plan_removals(environment, kinds, desired, observed) {
        match &item.action {
            Action::Delete(_) if desired.first && !desired.retire.contains(&item.id) => {
                notices.insert(format!(
                    "`{}` is managed by Holdfast, and no manifest declares it: a first run removes nothing, the next \
                     commit will",
                    item.id.short()
                ));
            }
            _ => items.push(item),
        }
    }
    Plan { environment: environment.clone(), items, notices, unseen: observed.incomplete.clone() }
}

/// Plans one wanted resource, given what was decided about those that it needs.
fn plan_one(
    kinds: &Kinds,
    desired: &Desired,
    observed: &Observed,
    decided: &BTreeMap<ResourceId, Action>,
    id: &ResourceId,
) -> Action {
    let resource = &desired.resources[id];
    let unsettled: Vec<ResourceId> = resource
        .needs
        .iter()
        .filter(|need| !matches!(decided.get(*need), Some(Action::Keep)))
        .cloned()
        .collect();
    let spec = match resolve(kinds, observed, resource) {
        Resolution::Ready(spec) => spec,
        Resolution::Unseen(error) => return Action::Hold(Hold::Unseen(error)),
        Resolution::Later(_) => return later(decided, unsettled, resource, Vec::new()),
    };
    let not_looked = Seen::Unknown(TargetError::unavailable("looking at it", "it was not looked at yet"));
    let seen = observed.seen.get(id).unwrap_or(&not_looked);
    let action = decide_wanted(kinds, desired, observed, id, &spec, seen);
    match &action {
        Action::Create(steps) | Action::Adopt(steps) | Action::Update(steps) if !unsettled.is_empty() => {
            let expected = steps.iter().map(|step| step.text.clone()).collect();
            later(decided, unsettled, resource, expected)
        }
        _ => action,
    }
}

/// Decides about a wanted resource whose spec is resolved, by everything that stands above its kind.
pub fn decide_wanted(
    kinds: &Kinds,
    desired: &Desired,
    observed: &Observed,
    id: &ResourceId,
    spec: &Value,
    seen: &Seen<Value>,
) -> Action {
    if let Some(hold) = moved::elsewhere(desired, observed, id, seen) {
        return Action::Hold(hold);
    }
    let action = decide(&kinds[&id.kind], id, Some(spec), seen, Farewell::AsKind);
    observed.restraint.over(id, action)
}

/// Waits for what is needed; where that is held, so is this. A reference that stays unknown although
/// everything needed is settled (a guest that does not tell its address) is waited for as well.
fn later(
    decided: &BTreeMap<ResourceId, Action>,
    unsettled: Vec<ResourceId>,
    resource: &crate::desired::Resource,
    expected: Vec<String>,
) -> Action {
    match unsettled.iter().find(|need| matches!(decided.get(*need), Some(Action::Hold(_)))) {
        Some(held) => Action::Hold(Hold::Blocked(held.clone())),
        None if unsettled.is_empty() => {
            Action::Later { needs: resource.needs.iter().cloned().collect(), expected }
        }
        None => Action::Later { needs: unsettled, expected },
    }
}

/// Plans what carries our mark and is declared no more.
fn plan_removals(
    environment: &EnvironmentName,
    kinds: &Kinds,
    desired: &Desired,
    observed: &Observed,
) -> Vec<Item> {
    let mut items: Vec<Item> = orphans(environment, kinds, desired, observed)
        .into_iter()
        .map(|id| {
            let action = decide_orphan(environment, kinds, desired, observed, &id);
            Item { id, action }
        })
        .filter(|item| item.action != Action::Keep)
        .collect();
    items.extend(plausible::out_of_sight(environment, desired, observed));
    brake::brake(environment, desired, observed, &mut items);
    for item in &mut items {
        let action = std::mem::replace(&mut item.action, Action::Keep);
        item.action = observed.restraint.over(&item.id, action);
    }
    items
}

/// Decides about what carries our mark and is declared no more, but for the brake and the moment's restraint.
pub fn decide_orphan(
    environment: &EnvironmentName,
    kinds: &Kinds,
    desired: &Desired,
    observed: &Observed,
    id: &ResourceId,
) -> Action {
    let farewell = desired.farewell(id);
    let seen = observed.seen.get(id).unwrap_or(&Seen::Absent);
    let kind = &kinds[&id.kind];
    let action = decide(kind, id, None, seen, farewell);
    if !matches!(action, Action::Delete(_)) {
        return action;
    }
    let empty = desired.resources.values().all(|resource| resource.borrowed) && !has(Defect::EmptyRemoves);
    if farewell != Farewell::Named && empty {
        return Action::Hold(Hold::TooRisky(Refusal::new(
            "the environment declares nothing at all any more, which is more likely a mistake than a wish",
            decide::RETIRE,
        )));
    }
    match unread(environment, kinds, observed, kind.target).filter(|_| !has(Defect::UnreadRemoves)) {
        Some(unread) => Action::Hold(Hold::Unseen(TargetError::unavailable(
            "removing it",
            format!("{unread} could not be seen, and nothing is removed then"),
        ))),
        None => action,
    }
}

/// Something of a system that could not be read in this pass, if there is such a thing. Objects that are reached
/// each by itself say nothing of one another.
fn unread(environment: &EnvironmentName, kinds: &Kinds, observed: &Observed, target: &str) -> Option<String> {
    let shared =
        |kind: &KindName| kinds.get(kind).is_some_and(|kind| kind.target == target && !kind.each_apart);
    let kind = observed.incomplete.keys().find(|kind| shared(kind)).map(|kind| format!("every {kind}"));
    kind.or_else(|| {
        let unknown = |(id, seen): &(&ResourceId, &Seen<Value>)| {
            id.environment == *environment && shared(&id.kind) && matches!(seen, Seen::Unknown(_))
        };
        observed.seen.iter().find(unknown).map(|(id, _)| id.short())
    })
}

/// What carries our mark in this environment and is wanted no more, of the kinds that were seen whole.
pub fn orphans(
    environment: &EnvironmentName,
    kinds: &Kinds,
    desired: &Desired,
    observed: &Observed,
) -> Vec<ResourceId> {
    let ours = |id: &ResourceId, seen: &Seen<Value>| matches!(seen, Seen::Present { owner: Owner::Ours(marked), .. } if marked == id);
    observed
        .seen
        .iter()
        .filter(|(id, seen)| {
            id.environment == *environment
                && kinds.contains_key(&id.kind)
                && !observed.incomplete.contains_key(&id.kind)
                && !desired.resources.contains_key(*id)
                && ours(id, seen)
        })
        .map(|(id, _)| id.clone())
        .collect()
}

#[cfg(test)]
mod tests;
