//! I4: at most so many of a group are away because of us, counted from health as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::kind::Risk;

use super::{Effect, Facts, Finding, How};
use crate::model::{Object, Time};
use crate::wire::Port;

/// So long somebody else's doing may be unknown to a process that looked before it.
const NEWS: Duration = Duration::from_mins(2);

/// Since when what is ill is ill, and whether nobody could know of it yet.
#[derive(Default)]
pub(super) struct Groups {
    ill: BTreeMap<(Port, String), (Time, How)>,
    /// When a look of a process failed last.
    pub(super) unseen: BTreeMap<(u8, Port), Time>,
}

impl Groups {
    pub(super) fn effect(&mut self, facts: &Facts, effect: &Effect<'_>) -> Finding {
        let finding = self.check(facts, effect);
        for (key, before, after) in effect.changed() {
            let key = (effect.port, key.clone());
            let was_well = before.is_none_or(|before| before.healthy);
            match after {
                Some(after) if !after.healthy && was_well => {
                    self.ill.insert(key, (effect.at, effect.how));
                }
                Some(after) if !after.healthy => {}
                _ => {
                    self.ill.remove(&key);
                }
            }
        }
        finding
    }

    /// A disruptive write on a member that is well, while as many others are away as may be.
    fn check(&self, facts: &Facts, effect: &Effect<'_>) -> Finding {
        let Some(actor) = effect.actor.filter(|_| effect.how == How::Write) else { return Finding::Silent };
        if actor.risk < Risk::Disruptive {
            return Finding::Silent;
        }
        let environment = &actor.id.environment;
        let commit = facts.acts_for(actor.process, environment);
        let Some(desired) = commit.and_then(|commit| facts.desired(commit, environment)) else {
            return Finding::Silent;
        };
        let is_well = |object: &Object| object.healthy && facts.owner(object).as_ref() == Some(&actor.id);
        if !effect.before.values().any(is_well) {
            return Finding::Silent;
        }
        let mut finding = Finding::Silent;
        for group in desired.groups_of(&actor.id) {
            finding = Finding::Holds;
            let away: Vec<String> = facts
                .objects
                .iter()
                .flat_map(|(port, objects)| objects.iter().map(|(key, object)| (*port, key, object)))
                .filter(|(port, key, object)| {
                    let object = if *port == effect.port { effect.before.get(*key) } else { Some(*object) };
                    object.is_some_and(|object| {
                        !object.healthy
                            && facts
                                .owner(object)
                                .is_some_and(|id| id != actor.id && group.members.contains(&id))
                            && self.was_known(*port, key, effect.at)
                    })
                })
                .map(|(_, key, _)| key.clone())
                .collect();
            if away.len() >= group.max_unavailable {
                return Finding::Breach(format!(
                    "`{}` disturbs a member of `{}` while {} is away, of which {} may be",
                    actor.what,
                    group.name,
                    away.join(" and "),
                    group.max_unavailable
                ));
            }
        }
        finding
    }

    fn was_known(&self, port: Port, key: &str, now: Time) -> bool {
        match self.ill.get(&(port, key.to_owned())) {
            None => true,
            Some((since, How::Write | How::Again)) => *since <= now,
            Some((since, _)) => now.saturating_sub(*since) > NEWS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, object};
    use super::*;

    #[test]
    fn a_second_member_is_not_disturbed_while_one_is_away() {
        let world = World::new();
        let member = |name: &str, healthy: bool| Object {
            healthy,
            ..object(&format!("home/core/VaultPolicy/{name}@{name}"), name, "a")
        };
        let (one, other) = (member("g1", true), member("g2", false));
        let after = member("g1", false);
        let write = |before: &[(&str, &Object)]| {
            let happened = world.write("g1", How::Write, before, Some(("g1", &after)));
            happened.check(|facts, effect| Groups::default().effect(facts, effect))
        };
        assert!(matches!(write(&[("g1", &one), ("g2", &other)]), Finding::Breach(_)));
        assert_eq!(write(&[("g1", &one), ("g2", &member("g2", true))]), Finding::Holds);
        assert_eq!(write(&[("g1", &after), ("g2", &other)]), Finding::Silent, "it was away itself");
        let stranger = member("web", false);
        assert_eq!(write(&[("g1", &one), ("web", &stranger)]), Finding::Holds);
    }
}
