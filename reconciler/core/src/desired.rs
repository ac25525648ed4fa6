//! Desired: everything that one commit wants of one environment, checked and linked.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::graph::Needs;
use crate::ident::{CommitId, EnvironmentName, KindName, Name, ResourceId};
use crate::planted::{Defect, has};
use crate::schedule::{Schedule, Window};

/// What a commit wants of one environment.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// Its resources, and those of other environments that they refer to ([`Resource::borrowed`]).
    pub resources: BTreeMap<ResourceId, Resource>,
    /// Each resource after what it needs.
    pub order: Vec<ResourceId>,
    /// What may be destroyed although it holds data: `retire:` of the environment's file.
    pub retire: BTreeSet<ResourceId>,
    /// What is never destroyed although its kind would let it go: `protect:` of the environment's file.
    pub protect: BTreeSet<ResourceId>,
    /// Renamed resources, old to new: `moved:` of the environment's file. The old names are not wanted.
    pub moved: BTreeMap<ResourceId, ResourceId>,
    pub groups: Vec<Group>,
    pub drift: Drift,
    /// When disruptive changes may be made; `None` for always.
    pub maintenance: Option<Window>,
    /// Why nothing may be changed just now, if so: `pause:` of the site's file.
    pub pause: Option<String>,
    /// Nobody knows a commit that the environment converged to before. What stands in the world and not in this
    /// commit may then be missing here, rather than too much there: nothing is removed that is not named.
    pub first: bool,
}

/// Alike resources of which only a few may be away at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: Name,
    pub members: BTreeSet<ResourceId>,
    /// How many may be unavailable at once, for whatever reason, before a change makes one more so. At least 1.
    pub max_unavailable: usize,
    /// How many may fail in a run before the others are left as they are. At least 1.
    pub max_failures: usize,
}

/// What the repository says about something that it does not declare any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// It may go, whatever it holds: `retire:`.
    Named,
    /// It stays, whatever its kind says: `protect:`.
    Protected,
    /// Its kind decides.
    AsKind,
}

/// When a converged environment is looked at again, and what is done about drift.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// `None`: at the service's own interval.
    pub schedule: Option<Schedule>,
    pub mode: DriftMode,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DriftMode {
    #[default]
    Correct,
    /// It is told, and left as it is. A new commit is still converged to.
    Report,
}

/// One resource as wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    pub id: ResourceId,
    /// The spec as its type reads it: files and templates are in place, references to outputs and secrets
    /// are not.
    pub spec: Value,
    /// What must be settled first: `dependsOn` and everything that the spec refers to.
    pub needs: BTreeSet<ResourceId>,
    /// It belongs to another environment: it is looked at and waited for, and never changed here.
    pub borrowed: bool,
    /// Where the commit declares it.
    pub declared: Place,
}

/// A place in the repository, for messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub path: String,
    /// From 1.
    pub line: usize,
}

impl Desired {
    /// The wanted resources of one kind in this environment and, borrowed, of others.
    pub fn of_kind<'a>(&'a self, kind: &'a KindName) -> impl Iterator<Item = &'a Resource> {
        self.resources.values().filter(move |resource| resource.id.kind == *kind)
    }

    /// The name that a resource goes by now: itself, or what it was renamed to.
    pub fn known_as<'a>(&'a self, id: &'a ResourceId) -> &'a ResourceId {
        let mut id = id;
        // A chain of renames ends: `manifest` refuses rings, and each step takes one entry.
        for _ in 0..self.moved.len() {
            match self.moved.get(id) {
                Some(new) => id = new,
                None => break,
            }
        }
        id
    }

    /// What is said about a resource that is not wanted.
    pub fn farewell(&self, id: &ResourceId) -> Farewell {
        let begins = |retired: &ResourceId| {
            id.kind == retired.kind && id.short().starts_with(&retired.short()) && has(Defect::RetireByPrefix)
        };
        if self.retire.contains(id) || self.retire.iter().any(begins) {
            Farewell::Named
        } else if self.protect.contains(id) {
            Farewell::Protected
        } else {
            Farewell::AsKind
        }
    }

    /// The groups that a resource is a member of.
    pub fn groups_of<'a>(&'a self, id: &'a ResourceId) -> impl Iterator<Item = &'a Group> {
        self.groups.iter().filter(move |group| group.members.contains(id))
    }

    /// What needs what.
    pub fn needs(&self) -> Needs {
        self.resources.iter().map(|(id, resource)| (id.clone(), resource.needs.clone())).collect()
    }
}

/// What a commit wants of the whole site.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// In the order in which the site's file lists them.
    pub environments: Vec<(EnvironmentName, Desired)>,
    /// Commits that this one may replace although it does not descend from them: `rewind:` of the site's file.
    pub rewind: BTreeSet<CommitId>,
}
