//! Adoption: a host without a ledger gets one that names all its parts, since only its ledger says whose it is.
//!
//! Nothing tells whether a part that is as wanted was there before us or a ledger of ours was lost, so it counts as
//! having been there: it is let go when it leaves the manifest, in words, and never removed.

use std::collections::BTreeMap;

use super::service;
use crate::host::ledger::{Content, Entry, Origin, Part};
use crate::host::spec::HostSpec;
use crate::host::state::HostState;
use crate::host::step::Act;

/// What the ledger shall say of what is as wanted already; nothing where there is a ledger.
pub(crate) fn plan(want: &HostSpec, seen: &HostState) -> Option<BTreeMap<Part, Entry>> {
    if seen.ledger_sha256.is_some() || !seen.ledger.is_empty() {
        return None;
    }
    let mut entries = BTreeMap::new();
    for directory in &want.directories {
        entries.insert(Part::Directory(directory.path.clone()), Entry::new(Origin::Existed));
    }
    for file in &want.files {
        let node = seen.paths.get(&file.path).and_then(Option::as_ref);
        let content = node
            .and_then(|node| node.sha256.clone())
            .map(|sha256| Content { digest: file.content.digest(), sha256 });
        entries.insert(Part::File(file.path.clone()), Entry { content, ..Entry::new(Origin::Existed) });
    }
    for service in want.services.iter().filter(|service| service.running) {
        entries.insert(Part::Service(service.name.clone()), service::standing(service, want));
    }
    Some(entries)
}

/// The act that is left beside others, which tell the ledger of their own parts. A ledger is begun with any of them.
pub(crate) fn beside(entries: BTreeMap<Part, Entry>, acts: &[Act]) -> Option<Act> {
    let mut entries = entries;
    for act in acts {
        match act {
            Act::MakeDirectory { directory, .. } => {
                entries.remove(&Part::Directory(directory.path.clone()));
            }
            Act::WriteFile { file, .. } => {
                entries.remove(&Part::File(file.path.clone()));
            }
            Act::SetMode { part, .. } => {
                entries.remove(part);
            }
            Act::Enable { unit, .. } | Act::Start { unit, .. } | Act::Restart { unit, .. } => {
                entries.remove(&Part::Service(unit.clone()));
            }
            _ => {}
        }
    }
    (acts.is_empty() || !entries.is_empty()).then_some(Act::Adopt { entries })
}
