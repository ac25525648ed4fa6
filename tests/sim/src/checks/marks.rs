//! I2: nothing is written to, or deleted, that does not carry our mark naming that very object.

use holdfast_core::mark::Mark;

use super::{Effect, Facts, Finding, How};

/// What is there may be changed where its mark is ours and names it, or where it carries none and gets ours with the
/// same write: that is an adoption, which the manifest asks for by name.
pub(super) fn effect(facts: &Facts, effect: &Effect<'_>) -> Finding {
    let Some(actor) = effect.actor.filter(|_| matches!(effect.how, How::Write | How::Again | How::Late))
    else {
        return Finding::Silent;
    };
    let mut finding = Finding::Silent;
    for (key, before, after) in effect.changed() {
        let Some(before) = before else { continue };
        let same = |after: &crate::model::Object| {
            before.content == after.content
                && before.data == after.data
                && before.birth == after.birth
                && before.mark == after.mark
        };
        if after.is_some_and(same) {
            continue;
        }
        let owned_by = facts.owner(before);
        let moved = actor
            .wrong
            .of
            .as_ref()
            .and_then(|commit| facts.desired(commit, &actor.id.environment))
            .and_then(|desired| owned_by.as_ref().map(|id| desired.known_as(id).clone()));
        let ours = owned_by.as_ref() == Some(&actor.id) || moved.as_ref() == Some(&actor.id);
        // Foreign text in the place of a mark marks nothing either.
        let unmarked = before.mark.as_deref().and_then(Mark::parse).is_none();
        let adopted = unmarked && after.and_then(|after| facts.owner(after)).as_ref() == Some(&actor.id);
        if !ours && !adopted {
            let mark = before.mark.as_deref().unwrap_or("none");
            return Finding::Breach(format!(
                "`{}` changed {:?} {key}, whose mark is {mark} and which is {}",
                actor.what, effect.port, before.identity
            ));
        }
        finding = Finding::Holds;
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, object};
    use super::*;

    #[test]
    fn a_copied_mark_owns_nothing_and_no_mark_is_adopted() {
        let world = World::new();
        let ours = object("home/core/VaultPolicy/web@web", "web", "a");
        let changed = crate::model::Object { content: "b".to_owned(), ..ours.clone() };
        let write = |before: &crate::model::Object, after: Option<&crate::model::Object>| {
            world.write("web", How::Write, &[("web", before)], after.map(|after| ("web", after)))
        };
        assert_eq!(write(&ours, Some(&changed)).check(effect), Finding::Holds);
        let copied = crate::model::Object { identity: "other".to_owned(), ..ours.clone() };
        assert!(matches!(write(&copied, Some(&changed)).check(effect), Finding::Breach(_)));
        assert!(matches!(write(&copied, None).check(effect), Finding::Breach(_)));
        let nobodys = crate::model::Object { mark: None, ..ours.clone() };
        assert_eq!(write(&nobodys, Some(&changed)).check(effect), Finding::Holds);
        assert!(matches!(write(&nobodys, None).check(effect), Finding::Breach(_)));
        let of_another = object("cabin/core/VaultPolicy/web@web", "web", "a");
        assert!(matches!(write(&of_another, Some(&changed)).check(effect), Finding::Breach(_)));
        assert_eq!(write(&ours, Some(&ours)).check(effect), Finding::Silent);
    }
}
