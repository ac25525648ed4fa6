//! A small world of facts for the checks' own tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::desired::{Desired, Group, Place, Resource};
use holdfast_core::ident::{CommitId, EnvironmentName, KindName, Name, ResourceId, SiteName};
use holdfast_core::kind::Risk;
use holdfast_engine::ports::Epoch;

use super::{Actor, Effect, Facts, Finding, How, Pushed};
use crate::model::Object;
use crate::wire::Port;

pub(super) fn environment() -> EnvironmentName {
    EnvironmentName::new("core").expect("a valid test value")
}

pub(super) fn id(name: &str) -> ResourceId {
    let name = Name::new(name).expect("a valid test value");
    ResourceId { environment: environment(), kind: KindName::fixed("VaultPolicy"), name }
}

pub(super) fn commit(digit: char) -> CommitId {
    CommitId::new(digit.to_string().repeat(40)).expect("a valid test value")
}

pub(super) fn object(mark: &str, identity: &str, content: &str) -> Object {
    Object {
        mark: Some(mark.to_owned()),
        identity: identity.to_owned(),
        birth: 1,
        data: BTreeMap::new(),
        protected: false,
        healthy: true,
        content: content.to_owned(),
        secrets: BTreeSet::new(),
    }
}

/// Two commits, `a` and then `b`, of which the last retires `old` and has a group of `g1`, `g2` and `g3`. Process 1
/// runs `b` with the lease.
pub(super) struct World(pub(super) Facts);

impl World {
    pub(super) fn new() -> Self {
        let resource = |name: &str| Resource {
            id: id(name),
            spec: serde_json::Value::Null,
            needs: BTreeSet::new(),
            borrowed: false,
            declared: Place::default(),
        };
        let members = ["g1", "g2", "g3"];
        let desired = Desired {
            resources: members
                .iter()
                .chain(["web", "kept"].iter())
                .map(|name| (id(name), resource(name)))
                .collect(),
            retire: BTreeSet::from([id("old")]),
            groups: vec![Group {
                name: Name::new("g").expect("a valid test value"),
                members: members.iter().map(|name| id(name)).collect(),
                max_unavailable: 1,
                max_failures: 1,
            }],
            ..Desired::default()
        };
        let environments = BTreeMap::from([(environment(), Arc::new(desired))]);
        let first = Pushed { environments, before: BTreeSet::new() };
        let second = Pushed { before: BTreeSet::from([commit('a')]), ..first.clone() };
        let commits = BTreeMap::from([(commit('a'), first), (commit('b'), second)]);
        let mut facts = Facts::new(SiteName::new("home").expect("a valid test value"), commits);
        facts.head(&commit('a'));
        facts.head(&commit('b'));
        facts.leased(1, &environment(), Epoch(1));
        facts.run_started(1, &commit('b'), facts.head_of(&commit('b')), &environment());
        Self(facts)
    }

    /// An effect of process 1 on a resource, of these objects before, and of which one is something else after.
    pub(super) fn write(
        &self,
        on: &str,
        how: How,
        before: &[(&str, &Object)],
        after: Option<(&str, &Object)>,
    ) -> Happened {
        let before: BTreeMap<String, Object> =
            before.iter().map(|(key, object)| ((*key).to_owned(), (*object).clone())).collect();
        let mut then = before.clone();
        match after {
            Some((key, object)) => drop(then.insert((*key).to_owned(), (*object).clone())),
            None => then.clear(),
        }
        let mut facts = self.0.clone();
        let actor = super::Checks::new(facts.clone()).actor(1, id(on), "a step".to_owned(), Risk::Disruptive);
        facts.objects.insert(Port::Vault, Arc::new(then.clone()));
        Happened { facts, actor, how, before, after: then }
    }
}

pub(super) struct Happened {
    pub(super) facts: Facts,
    pub(super) actor: Actor,
    how: How,
    before: BTreeMap<String, Object>,
    after: BTreeMap<String, Object>,
}

impl Happened {
    pub(super) fn check(&self, check: impl FnOnce(&Facts, &Effect<'_>) -> Finding) -> Finding {
        let ours = !matches!(self.how, How::Itself | How::Somebody | How::Restored);
        let effect = Effect {
            port: Port::Vault,
            at: Duration::from_secs(1_000),
            how: self.how,
            actor: Some(&self.actor).filter(|_| ours),
            before: &self.before,
            after: &self.after,
        };
        check(&self.facts, &effect)
    }
}
