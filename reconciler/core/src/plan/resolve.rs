//! Putting values in the place of references, as far as the world has told them.

use serde_json::Value;

use super::{Kinds, Observed};
use crate::desired::Resource;
use crate::kind::TargetError;
use crate::reference::{self, OutputRef};
use crate::secret;

/// A spec with its references replaced, or why they are not.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    Ready(Value),
    /// These outputs are not known yet.
    Later(Vec<OutputRef>),
    /// A secret could not be read.
    Unseen(TargetError),
}

/// Replaces the references in a resource's spec by what was observed.
pub fn resolve(kinds: &Kinds, observed: &Observed, resource: &Resource) -> Resolution {
    let mut spec = resource.spec.clone();
    if !kinds.get(&resource.id.kind).is_some_and(crate::any_kind::KindInfo::is_ours) {
        return Resolution::Ready(spec);
    }
    let unresolved = reference::substitute(&mut spec, |reference| {
        let id = reference.id(&resource.id.environment).ok()?;
        observed.outputs(kinds, &id).get(&reference.output).cloned()
    });
    if !unresolved.is_empty() {
        return Resolution::Later(unresolved);
    }
    let mut stamps = std::collections::BTreeMap::new();
    for reference in secret::references_in(&spec) {
        match observed.stamps.get(&reference) {
            Some(Ok(stamp)) => drop(stamps.insert(reference, stamp.clone())),
            Some(Err(error)) => return Resolution::Unseen(error.clone()),
            None => {
                let doing = format!("reading the secret {reference}");
                return Resolution::Unseen(TargetError::unavailable(doing, "it was not read yet"));
            }
        }
    }
    secret::stamp_all(&mut spec, &stamps);
    Resolution::Ready(spec)
}
