//! I5: deletions of one commit stay below the brake, and one that wants nothing deletes nothing.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::{CommitId, EnvironmentName, KindName, ResourceId};

use super::{Effect, Facts, Finding};
use crate::wire::Port;

/// What went by one commit, of one kind: what was not named, and how many there were at first.
#[derive(Default)]
pub(super) struct Brake(BTreeMap<Account, (BTreeSet<ResourceId>, usize)>);

/// Of an environment, a kind, a commit.
type Account = (EnvironmentName, KindName, Option<CommitId>);

impl Brake {
    pub(super) fn effect(&mut self, facts: &Facts, effect: &Effect<'_>) -> Finding {
        // A machine goes with its guest, and comes back with it.
        if !effect.is_ours() || effect.port == Port::Hosts {
            return Finding::Silent;
        }
        let mut finding = Finding::Silent;
        for (key, before) in effect.gone() {
            let Some(id) = facts.owner(before) else { continue };
            let process = effect.actor.map(|actor| actor.process);
            let commit = process
                .and_then(|process| facts.acts_for(process, &id.environment))
                .or_else(|| facts.begun.get(&id.environment).map(|(commit, _)| commit));
            let desired = commit.and_then(|commit| facts.desired(commit, &id.environment));
            if facts.is_retired(&id) {
                continue;
            }
            let all = effect
                .before
                .values()
                .filter_map(|object| facts.owner(object))
                .filter(|other| other.environment == id.environment && other.kind == id.kind)
                .count();
            let account = (id.environment.clone(), id.kind.clone(), commit.cloned());
            let (gone, of) = self.0.entry(account).or_insert((BTreeSet::new(), all));
            gone.insert(id);
            let count = gone.len();
            finding = Finding::Holds;
            let wants_nothing =
                desired.is_none_or(|desired| desired.resources.values().all(|resource| resource.borrowed));
            if wants_nothing {
                return Finding::Breach(format!(
                    "{key} went, by a commit that wants nothing of the environment"
                ));
            }
            if count > 3 && count * 10 > *of {
                return Finding::Breach(format!("{key} is the {count}th of {of} that went by one commit"));
            }
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::super::How;
    use super::super::testing::{World, object};
    use super::*;

    #[test]
    fn the_fourth_of_six_is_one_too_many_and_of_forty_is_not() {
        let world = World::new();
        let names = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>();
        let went = |there: usize, going: usize| {
            let mut brake = Brake::default();
            let mut last = Finding::Silent;
            for first in 0..going {
                let objects: Vec<_> = names(there)
                    .into_iter()
                    .map(|name| {
                        (name.clone(), object(&format!("home/core/VaultPolicy/{name}@{name}"), &name, ""))
                    })
                    .collect();
                let before: BTreeMap<_, _> = objects.iter().skip(first).cloned().collect();
                let after: BTreeMap<_, _> = objects.iter().skip(first + 1).cloned().collect();
                let happened = world.write("p0", How::Write, &[], None);
                last = happened.check(|facts, effect| {
                    brake.effect(facts, &Effect { before: &before, after: &after, ..*effect })
                });
            }
            last
        };
        assert_eq!(went(6, 3), Finding::Holds);
        assert!(matches!(went(6, 4), Finding::Breach(_)));
        assert_eq!(went(40, 4), Finding::Holds);
    }
}
