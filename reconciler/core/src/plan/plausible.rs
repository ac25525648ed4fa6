//! Plausibility: an answer that says that everything is gone is doubted before it is believed, and what cannot be seen
//! is not gone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Hold, Item, Observed};
use crate::desired::Desired;
use crate::ident::{EnvironmentName, KindName, ResourceId};
use crate::kind::{Seen, TargetError};
use crate::planted::{Defect, has};

/// With fewer, that all are gone at once is nothing strange.
const MANY: usize = 3;

/// The kinds of which several were there when the environment converged last, are wanted still, and of
/// which not one is there any more: a list that came back empty looks like this. All of them are unknown then,
/// unless `believed` holds the kind.
pub fn doubt(
    environment: &EnvironmentName,
    desired: &Desired,
    believed: &BTreeSet<KindName>,
    observed: &mut Observed,
) -> BTreeSet<KindName> {
    let mut gone: BTreeMap<KindName, usize> = BTreeMap::new();
    for id in observed.known.iter().map(|id| desired.known_as(id)) {
        if id.environment == *environment
            && desired.resources.contains_key(id)
            && matches!(observed.seen.get(id), Some(Seen::Absent))
        {
            *gone.entry(id.kind.clone()).or_default() += 1;
        }
    }
    let any_left = |kind: &KindName| {
        observed.seen.iter().any(|(id, seen)| {
            id.environment == *environment && id.kind == *kind && !matches!(seen, Seen::Absent)
        })
    };
    gone.retain(|kind, count| {
        *count >= MANY && !believed.contains(kind) && !any_left(kind) && !has(Defect::NoDoubt)
    });
    for (id, seen) in &mut observed.seen {
        if let Some(count) = gone.get(&id.kind)
            && id.environment == *environment
        {
            *seen = Seen::Unknown(TargetError::rejected(
                format!("looking at every {}", id.kind),
                format!(
                    "none of the {count} that were here is there any more; if they are really gone, push a commit \
                     (git commit --allow-empty) to have them made anew"
                ),
            ));
        }
    }
    gone.into_keys().collect()
}

/// What was there when the environment converged last, is declared no more, and is of a kind that could not be seen
/// whole: it may still stand there, so that the commit is not done yet.
pub(super) fn out_of_sight<'a>(
    environment: &'a EnvironmentName,
    desired: &'a Desired,
    observed: &'a Observed,
) -> impl Iterator<Item = Item> + 'a {
    let known: BTreeSet<&ResourceId> = observed.known.iter().map(|id| desired.known_as(id)).collect();
    known.into_iter().filter_map(move |id| {
        let why = observed.incomplete.get(&id.kind)?;
        let is_gone_from_here = id.environment == *environment && !desired.resources.contains_key(id);
        let error = TargetError::unavailable("whether it is still there is not known", why);
        is_gone_from_here.then(|| Item { id: id.clone(), action: Action::Hold(Hold::Unseen(error)) })
    })
}
