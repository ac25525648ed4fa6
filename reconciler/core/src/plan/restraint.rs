//! Restraint: what may not be done just now, whatever is wanted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Hold};
use crate::any_kind::PlannedStep;
use crate::ident::ResourceId;
use crate::kind::Risk;

/// What the moment forbids. Reasons are phrases without clock times, so that the same situation reads the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restraint {
    /// Why nothing at all is changed: the site is paused, drift is only reported.
    pub everything: Option<String>,
    /// Why nothing disruptive is done: the maintenance window is shut.
    pub disruptive: Option<String>,
    /// Why single resources are left as they are: they drift back each time.
    pub resources: BTreeMap<ResourceId, String>,
    /// What was removed for this commit before.
    pub removed: BTreeSet<ResourceId>,
}

impl Restraint {
    /// What of an action may be done: all of it, or nothing.
    pub(super) fn over(&self, id: &ResourceId, action: Action) -> Action {
        let (Action::Create(steps) | Action::Adopt(steps) | Action::Update(steps) | Action::Delete(steps)) =
            &action
        else {
            return action;
        };
        let disruptive = || self.disruptive.as_ref().filter(|_| is_disruptive(steps));
        let reason = self.everything.as_ref().or_else(|| self.resources.get(id)).or_else(disruptive);
        match (reason, steps.first()) {
            (Some(reason), Some(first)) => {
                let more = if steps.len() > 1 { " and more" } else { "" };
                Action::Hold(Hold::NotNow(format!("{reason}; would {}{more}", first.text)))
            }
            (Some(reason), None) => Action::Hold(Hold::NotNow(reason.clone())),
            (None, _) => action,
        }
    }
}

/// Whether any of the steps takes something away for a while, or for good.
fn is_disruptive(steps: &[PlannedStep]) -> bool {
    steps.iter().any(|step| step.risk >= Risk::Disruptive)
}
