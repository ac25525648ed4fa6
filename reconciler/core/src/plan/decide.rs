//! The rules that stand above every kind: what may be done, given what the kind wants done.

use serde_json::Value;

use super::{Action, Hold};
use crate::any_kind::{KindInfo, PlannedStep};
use crate::desired::Farewell;
use crate::ident::ResourceId;
use crate::kind::{Next, Owner, Refusal, Risk, Seen};
use crate::planted::{Defect, has};

/// Decides about one resource. `want` is its resolved spec, `None` where nothing declares it any more;
/// `farewell` is what the repository says about it then.
pub fn decide(
    kind: &KindInfo,
    id: &ResourceId,
    want: Option<&Value>,
    seen: &Seen<Value>,
    farewell: Farewell,
) -> Action {
    let (state, owner) = match seen {
        Seen::Unknown(_) if has(Defect::UnknownIsAbsent) => (None, None),
        Seen::Unknown(error) => return Action::Hold(Hold::Unseen(error.clone())),
        Seen::Absent => (None, None),
        Seen::Present { state, owner } => (Some(state), Some(owner)),
    };
    match (want, owner) {
        (Some(_), Some(owner)) => {
            if let Some(refusal) = foreign(id, owner) {
                return Action::Hold(Hold::Refused(refusal));
            }
        }
        (None, Some(Owner::Ours(marked))) if marked == id => {}
        // Only what carries our mark is ever removed.
        (None, _) => return Action::Keep,
        (Some(_), None) => {}
    }
    let steps = match (kind.plan)(&id.name, want, state) {
        Next::Settled => return Action::Keep,
        Next::Wait(_) if has(Defect::SettledBeforeHealthy) => return Action::Keep,
        Next::Wait(what) => return Action::Wait(what),
        Next::Refuse(refusal) => return Action::Hold(Hold::Refused(refusal)),
        Next::Do(steps) => steps,
    };
    match (want, owner) {
        (None, _) => removal(kind, state, steps, farewell),
        (Some(_), _) => match destructive(&steps) {
            Some(step) => Action::Hold(Hold::TooRisky(Refusal::new(
                format!("`{}` is destructive, and converging never destroys", step.text),
                "make this change by hand, or declare a new resource and retire this one",
            ))),
            None => match owner {
                None => Action::Create(steps),
                Some(Owner::Nobody) => Action::Adopt(steps),
                Some(_) => Action::Update(steps),
            },
        },
    }
}

fn destructive(steps: &[PlannedStep]) -> Option<&PlannedStep> {
    steps.iter().find(|step| step.risk == Risk::Destructive)
}

/// How something is let go.
pub(super) const RETIRE: &str = "list it under `retire:` in environment.yaml to let it go";

/// What holds data goes only where the repository names it.
fn removal(kind: &KindInfo, state: Option<&Value>, steps: Vec<PlannedStep>, farewell: Farewell) -> Action {
    let why = match farewell {
        Farewell::Protected => "it left the repository, and `protect:` keeps it",
        Farewell::AsKind if state.is_none_or(kind.protected) && !has(Defect::NoProtection) => {
            "it left the repository, and may hold data"
        }
        Farewell::Named | Farewell::AsKind => return Action::Delete(steps),
    };
    Action::Hold(Hold::TooRisky(Refusal::new(why, RETIRE)))
}

/// Why an object that carries a mark may not be touched, if so.
fn foreign(id: &ResourceId, owner: &Owner) -> Option<Refusal> {
    match owner {
        Owner::Nobody => None,
        Owner::Ours(marked) if marked == id => None,
        Owner::Ours(marked) => Some(Refusal::new(
            format!("it is managed as `{}`", marked.short()),
            format!(
                "to rename it, write `moved: [{{ from: {}, to: {} }}]` in environment.yaml",
                marked.short(),
                id.short()
            ),
        )),
        Owner::Other(who) => Some(Refusal::new(
            format!("it is managed by `{who}`"),
            "remove it there first, or choose another object here",
        )),
        Owner::Copied => Some(Refusal::new(
            "it carries a mark that was copied from another object",
            "remove the copied mark from it, so that it can be adopted",
        )),
    }
}
