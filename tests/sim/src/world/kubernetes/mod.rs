//! The simulated cluster with Argo CD: Applications with managed fields and finalizers, a slow controller, and what
//! it deployed, which outlives an Application unless that is deleted with a cascade.

mod app;
mod controller;
mod fields;
mod knobs;
mod meddle;
mod spec;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_argocd::application::{Application, Spec, State, Step};
use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind, Look, Owner, Scope, Seen, TargetError};
use holdfast_core::mark::{Mark, Realm};
use holdfast_core::secret::Secrets;
use rand::rngs::SmallRng;
use serde_json::{Map, Value};

use self::app::{App, MARK};
use crate::model::{Meddling, Model, Object, Time};

/// The one namespace of Argo CD's objects.
pub const NAMESPACE: &str = "argocd";
/// Applications that deploy Applications are followed so deep.
const DEPTH: usize = 8;

/// One cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cluster {
    now: Time,
    apps: BTreeMap<String, App>,
    /// By `namespace/application`.
    deployed: BTreeMap<String, Deployed>,
    /// What `ApplicationSet`s generate, by the Application's name.
    generated: BTreeMap<String, Generated>,
    /// Which Applications an Application's repository holds.
    children: BTreeMap<String, Vec<String>>,
    /// Commits pushed to a repository since the beginning.
    pushes: BTreeMap<String, u64>,
    /// Until then no repository answers Argo CD.
    blind_until: Time,
    /// Counts writes: the version of the newest.
    version: u64,
    births: u64,
    next_sync: NextSync,
}

/// What Argo CD deployed for one Application: a workload, and a volume with data in it.
#[derive(Debug, Clone, PartialEq)]
struct Deployed {
    /// What was synced there last.
    print: String,
    birth: u64,
    volume: u64,
}

/// One Application as its set wants it.
#[derive(Debug, Clone, PartialEq)]
struct Generated {
    set: String,
    spec: Map<String, Value>,
    /// When the set's controller puts it right.
    at: Option<Time>,
}

/// What happens to the sync that begins next.
#[derive(Debug, Clone, Default, PartialEq)]
struct NextSync {
    failing: u64,
    takes: Option<Time>,
}

impl Cluster {
    pub fn new() -> Self {
        Self::default()
    }

    fn owner(realm: &Realm, name: &str, app: &App) -> Owner {
        match app.annotations.get(MARK).map(|text| (text, Mark::parse(text))) {
            None => Owner::Nobody,
            Some((_, Some(mark))) => realm.owner(Some(&mark), &identity(name)),
            Some((text, None)) => Owner::Other(text.clone()),
        }
    }

    /// Argo CD does not count a child's health.
    fn unsettled_children(&self, parent: &str) -> Vec<String> {
        let mut unsettled = Vec::new();
        let mut visited = BTreeSet::from([parent]);
        let mut level = vec![parent];
        for _ in 0..DEPTH {
            let mut next = Vec::new();
            for child in level.into_iter().flat_map(|name| self.children_of(name)) {
                if !visited.insert(child) {
                    continue;
                }
                match self.apps.get(child).map(App::unsettled) {
                    None => unsettled.push(format!("{child}: it is not there")),
                    Some(what) => unsettled.extend(what.map(|what| format!("{child}: {what}"))),
                }
                next.push(child.as_str());
            }
            level = next;
        }
        unsettled.truncate(5);
        unsettled
    }

    /// The number of something new. It grows with time as well, so that a world that was set back to an older state
    /// gives none out twice.
    fn birth(&mut self) -> u64 {
        let now = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX);
        self.births = (self.births + 1).max(now);
        self.births
    }

    /// What its status lists, which it does once it was compared.
    fn children_of(&self, name: &str) -> &[String] {
        let compared = self.apps.get(name).is_some_and(|app| app.status.sync.is_some());
        self.children.get(name).filter(|_| compared).map_or(&[], Vec::as_slice)
    }

    /// A manifest of another namespace says nothing about what is here.
    fn elsewhere(name: &Name, spec: &Spec) -> Option<TargetError> {
        let other = spec.metadata.namespace.as_deref().filter(|namespace| *namespace != NAMESPACE)?;
        let why = format!(
            "its manifest names the namespace `{other}`, and Holdfast is configured for `{NAMESPACE}`"
        );
        Some(TargetError::rejected(format!("looking for application {name}"), why))
    }
}

/// What a mark has to name.
fn identity(name: &str) -> String {
    format!("{NAMESPACE}/{name}")
}

impl Model for Cluster {
    type Kind = Application;

    fn advance(&mut self, now: Time) {
        self.run_until(now);
    }

    fn look(&self, realm: &Realm, scope: Scope, wanted: &BTreeMap<Name, Spec>) -> Look<State> {
        let mut look = Look { seen: BTreeMap::new(), incomplete: None, failed: None, notices: Vec::new() };
        for (name, spec) in wanted {
            let seen = Self::elsewhere(name, spec).map_or(Seen::Absent, Seen::Unknown);
            look.seen.insert(name.clone(), seen);
        }
        for (object, app) in &self.apps {
            let Ok(name) = Name::new(object.as_str()) else { continue };
            let owner = Self::owner(realm, object, app);
            if owner == Owner::Copied {
                look.notices
                    .push(format!("application `{object}` carries a mark that was copied from another one"));
            }
            let ours = matches!(&owner, Owner::Ours(id) if id.kind == Application::NAME && id.name == name);
            let shown = match look.seen.get(&name) {
                Some(Seen::Unknown(_)) => false,
                Some(_) => true,
                None => scope == Scope::All && ours,
            };
            if shown {
                let mut state = app.state(object);
                state.children = self.children_of(object).to_vec();
                state.unsettled_children = self.unsettled_children(object);
                look.seen.insert(name, Seen::Present { state, owner });
            }
        }
        look
    }

    fn perform(
        &mut self,
        realm: &Realm,
        name: &Name,
        step: &Step,
        _secrets: &Secrets,
    ) -> Result<Option<String>, TargetError> {
        match step {
            Step::Apply { name: object, uid, object: wanted, .. } => {
                self.apply(realm, name, object, uid.as_deref(), wanted)?;
            }
            Step::KeepResources { name: object, finalizers, resource_version } => {
                self.set_finalizers(object, finalizers, resource_version)?;
            }
            Step::Delete { name: object, uid, resource_version } => {
                self.delete(object, Some((uid, resource_version)))?;
            }
        }
        Ok(None)
    }

    /// Applications by their name, and what they deployed by `namespace/application`. The latter carries no mark and
    /// is protected: what a cascade is going to delete counts as gone when it is asked for.
    fn objects(&self) -> BTreeMap<String, Object> {
        let mut objects = BTreeMap::new();
        for (name, app) in &self.apps {
            let object = Object {
                mark: app.annotations.get(MARK).cloned(),
                identity: identity(name),
                birth: app.birth,
                data: BTreeMap::new(),
                protected: false,
                healthy: app.healthy(),
                content: app.content.clone(),
                secrets: BTreeSet::new(),
            };
            objects.insert(name.clone(), object);
        }
        for (place, deployed) in &self.deployed {
            let object = Object {
                mark: None,
                identity: place.clone(),
                birth: deployed.birth,
                data: BTreeMap::from([("volume".to_owned(), deployed.volume)]),
                protected: true,
                healthy: true,
                content: deployed.print.clone(),
                secrets: BTreeSet::new(),
            };
            objects.insert(place.clone(), object);
        }
        objects
    }

    fn meddle(&mut self, chance: &mut SmallRng) -> Option<Meddling> {
        self.meddle_with(chance)
    }
}
