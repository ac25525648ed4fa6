//! I9: no effect with an epoch older than the newest: who lost the lease writes nothing.

use holdfast_core::ident::ResourceId;

use super::{Effect, Facts, Finding, How};

pub(super) fn effect(_: &Facts, effect: &Effect<'_>) -> Finding {
    let Some(actor) = effect.actor.filter(|_| effect.how == How::Write) else { return Finding::Silent };
    Finding::of(actor.wrong.lease.clone())
}

/// Why a process may not write just now, although the fence let it through.
pub(super) fn wrong(facts: &Facts, process: u8, id: &ResourceId, what: &str) -> Option<String> {
    match facts.has_lease(process, &id.environment) {
        Some(true) => None,
        Some(false) => Some(format!("process {process} did `{what}` although another one has the lease")),
        None => Some(format!("process {process} did `{what}` without a lease")),
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
        let write = |world: &World, how| world.write("web", how, &[], Some(("web", &web))).check(effect);
        assert_eq!(write(&world, How::Write), Finding::Holds);
        world.0.leased(2, &environment(), Epoch(2));
        assert!(matches!(write(&world, How::Write), Finding::Breach(_)));
        assert_eq!(write(&world, How::Late), Finding::Silent);
        world.0.journal_lost();
        assert!(matches!(write(&world, How::Write), Finding::Breach(_)));
    }
}
