//! The order of a run: what waits for what, what may start, and what is skipped with something else.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::ResourceId;
use holdfast_core::report::Outcome;

use crate::observe::World;

/// What is not settled, each with what it still waits for.
pub(crate) type Waiting = BTreeMap<ResourceId, BTreeSet<ResourceId>>;

/// The wanted resources that are not settled, each with those of its needs that are not settled either. What is
/// borrowed counts only where something of our own waits for it: the rest is another environment's business.
pub(crate) fn unsettled(world: &World<'_>) -> Waiting {
    let resources = &world.desired.resources;
    let todo: BTreeSet<&ResourceId> =
        resources.iter().filter(|(_, resource)| !world.is_settled(resource)).map(|(id, _)| id).collect();
    let mut open: Vec<&ResourceId> = todo.iter().copied().filter(|id| !resources[*id].borrowed).collect();
    let mut unsettled = BTreeMap::new();
    while let Some(id) = open.pop() {
        if unsettled.contains_key(id) {
            continue;
        }
        let needs: BTreeSet<&ResourceId> =
            resources[id].needs.iter().filter(|need| todo.contains(need)).collect();
        open.extend(&needs);
        unsettled.insert(id.clone(), needs.into_iter().cloned().collect());
    }
    unsettled
}

pub(crate) fn startable(waiting: &Waiting) -> Vec<ResourceId> {
    waiting.iter().filter(|(_, needs)| needs.is_empty()).map(|(id, _)| id.clone()).collect()
}

/// Everything that needs `failed`, directly or not, is skipped.
pub(crate) fn skip_dependants(
    failed: &ResourceId,
    waiting: &mut Waiting,
    outcomes: &mut BTreeMap<ResourceId, Outcome>,
) {
    let mut causes = vec![failed.clone()];
    while let Some(cause) = causes.pop() {
        let dependants: Vec<ResourceId> =
            waiting.iter().filter(|(_, needs)| needs.contains(&cause)).map(|(id, _)| id.clone()).collect();
        for id in dependants {
            waiting.remove(&id);
            outcomes.insert(id.clone(), Outcome::Skipped(vec![failed.clone()]));
            causes.push(id);
        }
    }
}
