//! Looking: everything that an environment's commit wants, in as few looks as its references allow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use holdfast_core::any_kind::{AnyKind, KindInfo};
use holdfast_core::desired::{Desired, Farewell, Resource};
use holdfast_core::ident::{EnvironmentName, KindName, Name, ResourceId};
use holdfast_core::kind::{Look, Scope, Seen, TargetError};
use holdfast_core::plan::{Action, Observed, Resolution, decide, hand_over, resolve};
use holdfast_core::{reference, secret};
use serde_json::Value;

use crate::Engine;
use crate::account::{Account, Allowed};
use crate::budget::Try;
use crate::fence::LeaseFence;
use crate::guard::guarded;
use crate::ports::Epoch;
use crate::rolling::Rolling;
use crate::secrets;

/// One environment's targets, and what was seen of them so far in this run.
pub(crate) struct World<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) environment: &'a EnvironmentName,
    pub(crate) desired: &'a Desired,
    targets: BTreeMap<Group, Arc<dyn AnyKind>>,
    observed: Mutex<Observed>,
    pub(crate) fence: LeaseFence<'a>,
    pub(crate) rolling: Rolling,
}

/// What one look covers: a kind in an environment.
type Group = (EnvironmentName, KindName);

impl<'a> World<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        environment: &'a EnvironmentName,
        desired: &'a Desired,
        epoch: Option<Epoch>,
    ) -> Self {
        let environments: BTreeSet<&EnvironmentName> =
            desired.resources.keys().map(|id| &id.environment).chain([environment]).collect();
        let targets = environments
            .into_iter()
            .flat_map(|environment| {
                let kinds = engine.targets.kinds(environment);
                kinds.into_iter().map(move |kind| ((environment.clone(), kind.info().name), kind))
            })
            .collect();
        let fence = LeaseFence { engine, environment, epoch };
        Self {
            engine,
            environment,
            desired,
            targets,
            observed: Mutex::default(),
            fence,
            rolling: Rolling::default(),
        }
    }

    /// What was seen so far. Held for moments only, never across a wait.
    pub(crate) fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn target(&self, id: &ResourceId) -> Option<&Arc<dyn AnyKind>> {
        self.targets.get(&(id.environment.clone(), id.kind.clone()))
    }

    /// Looks at everything: secrets first, then each kind as soon as what its specs refer to was looked at.
    pub(crate) async fn look_at_all(&self, reason: Try) {
        *self.observed() = Observed::default();
        let references: BTreeSet<_> = self
            .desired
            .resources
            .values()
            .filter(|resource| self.is_ours(&resource.id.kind))
            .flat_map(|resource| secret::references_in(&resource.spec))
            .collect();
        let stamps = secrets::stamps(self.engine, &references, reason).await;
        self.observed().stamps = stamps;
        let mut asked = BTreeSet::new();
        let mut pending = self.groups();
        while !pending.is_empty() {
            let ready = ready(&pending);
            asked.extend(
                join_all(ready.iter().map(|group| self.look_at(group, reason))).await.into_iter().flatten(),
            );
            pending.retain(|group, _| !ready.contains(group));
        }
        // What refers to its own kind, or round a ring of kinds, can be asked for only now.
        loop {
            let missed = self.missed(&asked);
            if missed.is_empty() {
                break;
            }
            asked.extend(missed.iter().flat_map(|(group, wanted)| ids(group, wanted)));
            join_all(missed.into_iter().map(|(group, wanted)| self.look_at_more(group, wanted))).await;
        }
    }

    /// What was not asked for yet although its spec is known by now.
    fn missed(&self, asked: &BTreeSet<ResourceId>) -> BTreeMap<Group, BTreeMap<Name, Value>> {
        let mut missed: BTreeMap<Group, BTreeMap<Name, Value>> = BTreeMap::new();
        for resource in self.desired.resources.values().filter(|resource| !asked.contains(&resource.id)) {
            if let Resolution::Ready(spec) = self.resolve(resource) {
                let group = (resource.id.environment.clone(), resource.id.kind.clone());
                missed.entry(group).or_default().insert(resource.id.name.clone(), spec);
            }
        }
        missed
    }

    /// Looks at some of a group, and keeps what was seen of the others.
    async fn look_at_more(&self, group: Group, wanted: BTreeMap<Name, Value>) {
        let look = self.observe(&group, Scope::Only, wanted, Try::Again).await;
        let mut observed = self.observed();
        let (environment, kind) = &group;
        for (name, seen) in look.seen {
            observed.seen.insert(id_of(environment, kind, name), hand_over(self.desired, seen));
        }
        observed.notices.extend(look.notices);
    }

    /// A fresh look at some wanted resources of one kind of this environment.
    pub(crate) async fn look_at_some(
        &self,
        kind: &KindName,
        wanted: BTreeMap<Name, Value>,
    ) -> BTreeMap<ResourceId, Seen<Value>> {
        let ids: Vec<ResourceId> =
            wanted.keys().map(|name| id_of(self.environment, kind, name.clone())).collect();
        self.look_at_more((self.environment.clone(), kind.clone()), wanted).await;
        let observed = self.observed();
        ids.into_iter().filter_map(|id| Some((id.clone(), observed.seen.get(&id)?.clone()))).collect()
    }

    /// The groups to look at, each with the groups that its specs refer to. A kind of which nothing is wanted
    /// is looked at as well: something of it may carry our mark.
    fn groups(&self) -> BTreeMap<Group, BTreeSet<Group>> {
        let group = |id: &ResourceId| (id.environment.clone(), id.kind.clone());
        let mut groups: BTreeMap<Group, BTreeSet<Group>> = self
            .targets
            .keys()
            .filter(|(environment, _)| environment == self.environment)
            .map(|group| (group.clone(), BTreeSet::new()))
            .collect();
        for resource in self.desired.resources.values() {
            let references = if self.is_ours(&resource.id.kind) {
                reference::references_in(&resource.spec)
            } else {
                Vec::new()
            };
            let refers_to = references
                .into_iter()
                .filter_map(|(_, reference)| reference.id(&resource.id.environment).ok())
                .map(|id| group(&id));
            groups.entry(group(&resource.id)).or_default().extend(refers_to);
        }
        groups
    }

    /// Whether our own references may stand in a kind's spec.
    fn is_ours(&self, kind: &KindName) -> bool {
        self.engine.kinds.get(kind).is_some_and(KindInfo::is_ours)
    }

    /// Looks at one group and adds what it sees. Specs whose references are not known yet are left out; gives
    /// those that it asked for.
    pub(crate) async fn look_at(&self, group: &Group, reason: Try) -> BTreeSet<ResourceId> {
        let (environment, kind) = group;
        let own = environment == self.environment;
        let wanted: BTreeMap<Name, Value> = self
            .desired
            .of_kind(kind)
            .filter(|resource| resource.id.environment == *environment)
            .filter_map(|resource| match self.resolve(resource) {
                Resolution::Ready(spec) => Some((resource.id.name.clone(), spec)),
                Resolution::Later(_) | Resolution::Unseen(_) => None,
            })
            .collect();
        let asked = ids(group, &wanted).collect();
        let look = self.observe(group, if own { Scope::All } else { Scope::Only }, wanted, reason).await;
        self.take_in(environment, kind, own, look);
        asked
    }

    /// Asks the target, as far as its retry budget allows. What it has no connection for, and what panics, is unknown.
    async fn observe(
        &self,
        group: &Group,
        scope: Scope,
        wanted: BTreeMap<Name, Value>,
        reason: Try,
    ) -> Look<Value> {
        let kind = &group.1;
        let Some(target) = self.targets.get(group) else {
            return Look::failed(wanted.keys(), &no_connection(kind));
        };
        let info = target.info();
        let account = Account {
            engine: self.engine,
            kind,
            target: info.target,
            apart: info.each_apart,
            whole: scope == Scope::All,
        };
        let Allowed { wanted, postponed } = match account.ask(wanted, reason) {
            Ok(allowed) => allowed,
            Err((wanted, error)) => return Look::failed(wanted.keys(), &error),
        };
        let names: Vec<Name> = wanted.keys().cloned().collect();
        let doing = format!("looking at every {kind}");
        let look = guarded(&doing, target.observe(scope, wanted)).await;
        let mut look = look.unwrap_or_else(|error| Look::failed(names.iter(), &error));
        account.note(&look);
        look.seen.extend(postponed.into_iter().map(|(name, error)| (name, Seen::Unknown(error))));
        look
    }

    fn take_in(&self, environment: &EnvironmentName, kind: &KindName, own: bool, look: Look<Value>) {
        let mut observed = self.observed();
        observed.seen.retain(|id, _| id.environment != *environment || id.kind != *kind);
        for (name, seen) in look.seen {
            observed.seen.insert(id_of(environment, kind, name), hand_over(self.desired, seen));
        }
        if own {
            match look.incomplete {
                Some(why) => drop(observed.incomplete.insert(kind.clone(), why)),
                None => drop(observed.incomplete.remove(kind)),
            }
        }
        observed.notices.extend(look.notices);
    }

    /// A fresh look at one resource.
    pub(crate) async fn look_at_one(&self, id: &ResourceId, spec: Value) -> Seen<Value> {
        let group = (id.environment.clone(), id.kind.clone());
        let wanted = BTreeMap::from([(id.name.clone(), spec)]);
        let mut look = self.observe(&group, Scope::Only, wanted, Try::Again).await;
        let seen = look.seen.remove(&id.name).unwrap_or_else(|| {
            Seen::Unknown(TargetError::rejected(
                format!("looking at {}", id.short()),
                "the look did not answer for it",
            ))
        });
        let seen = hand_over(self.desired, seen);
        self.observed().seen.insert(id.clone(), seen.clone());
        seen
    }

    /// Whether the last look found a resource settled.
    pub(crate) fn is_settled(&self, resource: &Resource) -> bool {
        let Resolution::Ready(spec) = self.resolve(resource) else { return false };
        let observed = self.observed();
        let Some(seen) = observed.seen.get(&resource.id) else { return false };
        let kind = &self.engine.kinds[&resource.id.kind];
        decide(kind, &resource.id, Some(&spec), seen, Farewell::AsKind) == Action::Keep
    }

    /// A resource's spec with everything in place that is known by now.
    pub(crate) fn resolve(&self, resource: &Resource) -> Resolution {
        resolve(&self.engine.kinds, &self.observed(), resource)
    }

    /// Reads the secrets of one resource again.
    pub(crate) async fn read_secrets_again(&self, resource: &Resource) {
        let references = secret::references_in(&resource.spec);
        let stamps = secrets::stamps(self.engine, &references, Try::Again).await;
        self.observed().stamps.extend(stamps);
    }
}

/// The groups that refer to nothing which is still to be looked at. Kinds that refer to each other in a ring
/// are looked at together; what stays unresolved is looked at once it is known.
fn ready(pending: &BTreeMap<Group, BTreeSet<Group>>) -> BTreeSet<Group> {
    let free: BTreeSet<Group> = pending
        .iter()
        .filter(|(group, refers_to)| {
            refers_to.iter().all(|other| other == *group || !pending.contains_key(other))
        })
        .map(|(group, _)| group.clone())
        .collect();
    if free.is_empty() { pending.keys().cloned().collect() } else { free }
}

fn id_of(environment: &EnvironmentName, kind: &KindName, name: Name) -> ResourceId {
    ResourceId { environment: environment.clone(), kind: kind.clone(), name }
}

fn ids<'a>(group: &'a Group, wanted: &'a BTreeMap<Name, Value>) -> impl Iterator<Item = ResourceId> + 'a {
    wanted.keys().map(|name| id_of(&group.0, &group.1, name.clone()))
}

fn no_connection(kind: &KindName) -> TargetError {
    TargetError::rejected(
        format!("looking at every {kind}"),
        format!("the service's config has no connection for {kind}; add its section"),
    )
}
