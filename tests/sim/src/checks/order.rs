//! I10: no older commit is applied after a newer one was begun or converged, and none that pauses the site.

use holdfast_core::ident::ResourceId;

use super::{Effect, Facts, Finding, How};

pub(super) fn effect(_: &Facts, effect: &Effect<'_>) -> Finding {
    let Some(actor) = effect.actor.filter(|_| effect.how == How::Write) else { return Finding::Silent };
    Finding::of(actor.wrong.order.clone())
}

/// Why a process must not write any more for the commit that it runs.
pub(super) fn wrong(facts: &Facts, process: u8, id: &ResourceId, what: &str) -> Option<String> {
    let Some(mine) = facts.acts_for(process, &id.environment) else {
        return Some(format!("`{what}` was done for no run"));
    };
    if facts.desired(mine, &id.environment).is_some_and(|desired| desired.pause.is_some()) {
        return Some(format!("`{what}` was done for {}, which pauses the site", mine.short()));
    }
    let converged = facts.converged.get(&id.environment);
    if let Some(converged) = converged.filter(|converged| facts.descends(converged, mine)) {
        return Some(format!(
            "`{what}` was done for {}, before {} that converged",
            mine.short(),
            converged.short()
        ));
    }
    let (begun, order) = facts.begun.get(&id.environment).filter(|(begun, _)| begun != mine)?;
    facts
        .was_head_before(mine, *order)
        .then(|| format!("`{what}` was done for {}, after {} was begun", mine.short(), begun.short()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, commit, environment, object};
    use super::*;

    #[test]
    fn an_older_commit_is_not_applied_after_a_newer_one() {
        let mut world = World::new();
        let web = object("home/core/VaultPolicy/web@web", "web", "a");
        let write = |world: &World| world.write("web", How::Write, &[], Some(("web", &web))).check(effect);
        assert_eq!(write(&world), Finding::Holds);
        world.0.run_started(1, &commit('a'), world.0.head_of(&commit('a')), &environment());
        assert!(matches!(write(&world), Finding::Breach(_)));
        world.0.head(&commit('a'));
        world.0.run_started(1, &commit('a'), world.0.head_of(&commit('a')), &environment());
        assert_eq!(write(&world), Finding::Holds, "it was pushed again");
    }

    #[test]
    fn nothing_is_done_for_a_commit_that_the_converged_one_descends_from() {
        let mut world = World::new();
        let web = object("home/core/VaultPolicy/web@web", "web", "a");
        let write = |world: &World| world.write("web", How::Write, &[], Some(("web", &web))).check(effect);
        world.0.head(&commit('a'));
        world.0.run_started(1, &commit('a'), world.0.head_of(&commit('a')), &environment());
        assert_eq!(write(&world), Finding::Holds);
        world.0.converged.insert(environment(), commit('b'));
        assert!(matches!(write(&world), Finding::Breach(_)));
    }
}
