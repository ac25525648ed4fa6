//! I9: no effect with an epoch older than the newest: who lost the lease writes nothing.

use super::{Effect, Facts, Finding, How};

/// A write that had gone out before is nobody's to hold back; every other was let through by the fence.
pub(super) fn effect(facts: &Facts, effect: &Effect<'_>) -> Finding {
    let Some(actor) = effect.actor.filter(|_| effect.how == How::Write) else { return Finding::Silent };
    match facts.has_lease(actor.process, &actor.id.environment) {
        Some(true) => Finding::Holds,
        Some(false) => Finding::Breach(format!(
            "process {} did `{}` although another one has the lease",
            actor.process, actor.what
        )),
        None => Finding::Breach(format!("process {} did `{}` without a lease", actor.process, actor.what)),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::ports::Epoch;

    use super::super::testing::{World, environment, object};
    use super::*;

    #[test]
    fn who_lost_the_lease_writes_nothing() {
        let mut world = World::new();
        let web = object("home/core/VaultPolicy/web@web", "web", "a");
        let write = |world: &World, how| world.write("web", how, &[], &Some(("web", &web))).check(effect);
        assert_eq!(write(&world, How::Write), Finding::Holds);
        world.0.leased(2, &environment(), Epoch(2));
        assert!(matches!(write(&world, How::Write), Finding::Breach(_)));
        assert_eq!(write(&world, How::Late), Finding::Silent);
        world.0.journal_lost();
        assert!(matches!(write(&world, How::Write), Finding::Breach(_)));
    }
}
