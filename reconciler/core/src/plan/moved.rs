//! Renames: `moved:` hands an object to its new name, untouched but for its mark.

use serde_json::Value;

use super::{Hold, Observed};
use crate::desired::Desired;
use crate::ident::ResourceId;
use crate::kind::{Owner, Refusal, Seen, TargetError};
use crate::planted::{Defect, has};

/// What was seen, with our marks read by the names that their resources go by now. The mark itself is
/// written anew by the kind: by itself where its plan compares it (a guest), else when the object changes for another
/// reason. Until then its entry under `moved:` is what makes it ours.
pub fn hand_over(desired: &Desired, seen: Seen<Value>) -> Seen<Value> {
    match seen {
        Seen::Present { state, owner: Owner::Ours(marked) } if !has(Defect::RenameReplaces) => {
            Seen::Present { state, owner: Owner::Ours(desired.known_as(&marked).clone()) }
        }
        other => other,
    }
}

/// Why a renamed resource must not be made: what it was is somewhere else, or may be. Making it would leave two.
pub(super) fn elsewhere(
    desired: &Desired,
    observed: &Observed,
    id: &ResourceId,
    seen: &Seen<Value>,
) -> Option<Hold> {
    if !matches!(seen, Seen::Absent) {
        return None;
    }
    let mut olds = desired.moved.keys().filter(|old| desired.known_as(old) == id);
    if let Some(why) = observed.incomplete.get(&id.kind) {
        let doing = format!("looking for `{}`", olds.next()?.short());
        return Some(Hold::Unseen(TargetError::unavailable(doing, why)));
    }
    let handed_over =
        |seen: &Seen<Value>| matches!(seen, Seen::Present { owner: Owner::Ours(now), .. } if now == id);
    let old = olds.find(|old| observed.seen.get(*old).is_some_and(handed_over))?;
    Some(Hold::Refused(Refusal {
        why: format!(
            "`moved:` says that it is `{}`, which is another object than the one it describes",
            old.short()
        ),
        ways_out: vec![
            "describe the object that is there".to_owned(),
            format!(
                "or take the entry off `moved:`: it is made then, and `{}` goes as what left the repository",
                old.short()
            ),
        ],
    }))
}
