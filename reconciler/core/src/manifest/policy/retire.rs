//! `retire:` names what may be destroyed although it holds data.

use std::collections::BTreeMap;

use super::{Named, NamedOnce, Written, named};
use crate::ident::ResourceId;
use crate::manifest::names::Names;

/// What is retired, and where.
pub(super) fn read<'t>(written: &Written<'t>, names: &mut Names<'_, 't>) -> BTreeMap<ResourceId, Named<'t>> {
    let mut retired = BTreeMap::new();
    let mut once = NamedOnce::default();
    for (index, text) in written.spec.retire.iter().enumerate() {
        let pointer = format!("/spec/retire/{index}");
        let Some((id, at)) = named::own(written, text, &pointer, "retired", names) else { continue };
        if let Some(declaration) = names.declared.get(&id) {
            let both = at
                .error(format!("`{}` is retired and declared", id.short()))
                .label("retired here")
                .also(declaration.path, declaration.name.clone(), "declared here")
                .help("keep one: remove its manifest to let it go, or take it off `retire:` to keep it");
            names.findings.push(both);
        } else if once.add(&id, &at, "retired", names) {
            retired.insert(id, at);
        }
    }
    retired
}
