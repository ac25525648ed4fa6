//! Cases in which tools of this sort destroyed what they looked after, replayed against Holdfast in its own terms: what
//! was destroyed there must stand here.

mod identity;
mod operations;
mod reads;

use super::script::Scenario;

/// One case as it was, and what is played.
pub struct Incident {
    /// As it is known: `argo-cd#3473`.
    pub name: &'static str,
    /// Where it is told; empty where it was never published.
    pub link: &'static str,
    /// What happened there.
    pub there: &'static str,
    pub scenario: Scenario,
}

/// All cases.
pub fn all() -> Vec<Incident> {
    reads::all().into_iter().chain(identity::all()).chain(operations::all()).collect()
}

/// A case by its name.
pub fn named(name: &str) -> Option<Incident> {
    all().into_iter().find(|incident| incident.name == name)
}
