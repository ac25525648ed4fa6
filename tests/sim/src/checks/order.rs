//! I10: no older commit is applied after a newer one was begun, and none that pauses the site.

use super::{Effect, Facts, Finding, How, known};

pub(super) fn effect(facts: &Facts, effect: &Effect<'_>) -> Finding {
    let Some(actor) = effect.actor.filter(|_| effect.how == How::Write) else { return Finding::Silent };
    let environment = &actor.id.environment;
    let Some(mine) = facts.acts_for(actor.process, environment) else {
        return Finding::Breach(format!("`{}` was done for no run", actor.what));
    };
    if known::RESUMES_OLDER && facts.head_is_bad() {
        return Finding::Silent;
    }
    if facts.desired(mine, environment).is_some_and(|desired| desired.pause.is_some()) {
        return Finding::Breach(format!("`{}` was done for {}, which pauses", actor.what, mine.short()));
    }
    let begun = facts.begun.get(environment).filter(|begun| *begun != mine);
    Finding::of(begun.filter(|begun| facts.is_newer(begun, mine)).map(|begun| {
        format!("`{}` was done for {}, after {} was begun", actor.what, mine.short(), begun.short())
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, commit, environment, object};
    use super::*;

    #[test]
    fn an_older_commit_is_not_applied_after_a_newer_one() {
        let mut world = World::new();
        let web = object("home/core/VaultPolicy/web@web", "web", "a");
        let write = |world: &World| world.write("web", How::Write, &[], &Some(("web", &web))).check(effect);
        assert_eq!(write(&world), Finding::Holds);
        world.0.run_started(1, &commit('a'), &environment());
        assert!(matches!(write(&world), Finding::Breach(_)));
        world.0.head(&commit('a'));
        world.0.run_started(1, &commit('a'), &environment());
        assert_eq!(write(&world), Finding::Holds, "it was pushed again");
    }
}
