//! Plausibility: an answer that says that everything is gone is doubted before it is believed.

use std::collections::{BTreeMap, BTreeSet};

use super::Observed;
use crate::desired::Desired;
use crate::ident::{EnvironmentName, KindName, ResourceId};
use crate::kind::{Seen, TargetError};
use crate::planted::{Defect, has};

/// With fewer, that all are gone at once is nothing strange.
const MANY: usize = 3;

/// The kinds of which several were there when the environment converged last (`known`), are wanted still, and of
/// which not one is there any more: a list that came back empty looks like this. All of them are unknown then,
/// unless `believed` holds the kind.
pub fn doubt(
    environment: &EnvironmentName,
    desired: &Desired,
    known: &BTreeSet<ResourceId>,
    believed: &BTreeSet<KindName>,
    observed: &mut Observed,
) -> BTreeSet<KindName> {
    let mut gone: BTreeMap<KindName, usize> = BTreeMap::new();
    for id in known.iter().map(|id| desired.known_as(id)) {
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
