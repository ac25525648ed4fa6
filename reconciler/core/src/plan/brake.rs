//! The prune brake: what goes in one commit, at most, unless the commit names it.

use std::collections::BTreeSet;

use super::{Action, Hold, Item, Observed, decide};
use crate::desired::{Desired, Farewell};
use crate::ident::{EnvironmentName, KindName, ResourceId};
use crate::kind::{Refusal, Seen};
use crate::planted::{Defect, has};

/// So many objects of a kind may always go.
const FEW: usize = 3;
/// Of more, so many of a hundred.
const PERCENT: usize = 10;

/// More than 3 objects and more than 10 % of a kind do not go in one commit, unless it names them. What went before in
/// this commit counts: a list may have been short at first. What goes in several steps counts once.
pub(super) fn brake(
    environment: &EnvironmentName,
    desired: &Desired,
    observed: &Observed,
    items: &mut [Item],
) {
    let kinds: BTreeSet<KindName> = items.iter().map(|item| item.id.kind.clone()).collect();
    for kind in kinds {
        let counts = |id: &ResourceId| id.kind == kind && desired.farewell(id) != Farewell::Named;
        let going = |item: &Item| counts(&item.id) && matches!(item.action, Action::Delete(_));
        let gone: BTreeSet<&ResourceId> = observed.restraint.removed.iter().filter(|id| counts(id)).collect();
        let present = observed
            .seen
            .iter()
            .filter(|(id, seen)| {
                id.environment == *environment && id.kind == kind && matches!(seen, Seen::Present { .. })
            })
            .map(|(id, _)| id);
        let now: BTreeSet<&ResourceId> =
            items.iter().filter(|item| going(item)).map(|item| &item.id).collect();
        let (count, all) =
            (now.union(&gone).count(), gone.iter().copied().chain(present).collect::<BTreeSet<_>>().len());
        if now.is_empty() || count <= FEW || count * 100 <= all * PERCENT || has(Defect::NoBrake) {
            continue;
        }
        for item in items.iter_mut().filter(|item| going(item)) {
            item.action = Action::Hold(Hold::TooRisky(Refusal::new(
                format!("{count} of {all} {kind} would be removed in one commit"),
                format!("{}, or remove fewer at a time", decide::RETIRE),
            )));
        }
    }
}
