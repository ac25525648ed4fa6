//! Desired: everything that one commit wants of one environment, checked and linked.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::graph::Needs;
use crate::ident::{EnvironmentName, KindName, ResourceId};

/// What a commit wants of one environment.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// Its resources, and those of other environments that they refer to ([`Resource::borrowed`]).
    pub resources: BTreeMap<ResourceId, Resource>,
    /// Each resource after what it needs.
    pub order: Vec<ResourceId>,
    /// What may be destroyed although it holds data: `retire:` of the environment's file.
    pub retire: BTreeSet<ResourceId>,
    /// Nobody knows a commit that the environment converged to before. What stands in the world and not in this
    /// commit may then be missing here, rather than too much there: nothing is removed that is not named.
    pub first: bool,
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
}
