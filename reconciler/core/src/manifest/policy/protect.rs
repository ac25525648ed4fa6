//! `protect:` names what is never destroyed, whether a manifest declares it or not any more.

use std::collections::BTreeSet;

use super::{NamedOnce, Written, named};
use crate::ident::ResourceId;
use crate::manifest::names::Names;

/// What is protected.
pub(super) fn read<'t>(written: &Written<'t>, names: &mut Names<'_, 't>) -> BTreeSet<ResourceId> {
    let mut protected = BTreeSet::new();
    let mut once = NamedOnce::default();
    for (index, text) in written.spec.protect.iter().enumerate() {
        let pointer = format!("/spec/protect/{index}");
        let Some((id, at)) = named::own(written, text, &pointer, "protected", names) else { continue };
        if let Some(retired) = names.retired.get(&id) {
            let both = at.error(format!("`{}` is protected and retired", id.short())).label("protected here");
            let both = retired.beside(both, "retired here");
            names.findings.push(both.help("keep one: `retire:` lets it go, `protect:` keeps it"));
        } else if let Some((new, moved)) = names.moved.get(&id) {
            let old = at.error(format!("`{}` is protected by a name that it has no more", id.short()));
            let old = moved.beside(old.label("its old name"), "moved here");
            names.findings.push(old.help(format!("write `{}`", new.short())));
        } else if once.add(&id, &at, "protected", names) {
            protected.insert(id);
        }
    }
    protected
}
