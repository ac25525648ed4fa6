//! I3: nothing that holds data is destroyed or replaced, unless a commit lists it under `retire:`.

use super::{Effect, Facts, Finding};

pub(super) fn effect(facts: &Facts, effect: &Effect<'_>) -> Finding {
    if !effect.is_ours() {
        return Finding::Silent;
    }
    let by = effect.actor.map_or("what goes on by itself", |actor| actor.what.as_str());
    let mut finding = Finding::Silent;
    for (key, before, after) in effect.changed() {
        let Some(before) = before.filter(|before| before.protected || !before.data.is_empty()) else {
            continue;
        };
        finding = Finding::Holds;
        let lost: Vec<&str> = before
            .data
            .iter()
            .filter(|(slot, birth)| after.and_then(|after| after.data.get(*slot)) != Some(*birth))
            .map(|(slot, _)| slot.as_str())
            .collect();
        let is_gone = after.map(|after| after.birth) != Some(before.birth);
        if !is_gone && lost.is_empty() {
            continue;
        }
        if facts.owner(before).is_none_or(|id| !facts.is_retired(&id)) {
            let what = if is_gone { "is gone".to_owned() } else { format!("lost {}", lost.join(", ")) };
            let mark = before.mark.as_deref().unwrap_or("no mark");
            return Finding::Breach(format!(
                "{:?} {key} ({mark}) holds data and {what} by `{by}`; no commit retires it",
                effect.port
            ));
        }
    }
    finding
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::How;
    use super::super::testing::{World, object};
    use super::*;
    use crate::model::Object;

    #[test]
    fn data_goes_only_where_a_commit_names_it() {
        let guest = |name: &str| Object {
            protected: true,
            data: BTreeMap::from([("scsi0".to_owned(), 7)]),
            ..object(&format!("home/core/VaultPolicy/{name}@{name}"), name, "a")
        };
        let world = World::new();
        let (kept, retired) = (guest("kept"), guest("old"));
        let removal = |object: &Object| {
            world.write("kept", How::Write, &[(&object.identity, object)], None).check(effect)
        };
        assert!(matches!(removal(&kept), Finding::Breach(_)));
        assert_eq!(removal(&retired), Finding::Holds);
        let replaced = Object { data: BTreeMap::from([("scsi0".to_owned(), 8)]), ..kept.clone() };
        let replacement = world.write("kept", How::Itself, &[("kept", &kept)], Some(("kept", &replaced)));
        assert!(matches!(replacement.check(effect), Finding::Breach(_)));
        let by_somebody = world.write("kept", How::Somebody, &[("kept", &kept)], None);
        assert_eq!(by_somebody.check(effect), Finding::Silent);
    }
}
