//! Directories: that they are there, with their mode and owner. What is in them is not their business.

use holdfast_core::kind::Refusal;

use super::{is_account, shown_access};
use crate::host::ledger::{Entry, Origin, Part};
use crate::host::plan::Draft;
use crate::host::spec::{Directory, HostSpec};
use crate::host::state::{HostState, Node, NodeType};
use crate::host::step::Act;

pub(crate) fn plan(want: &HostSpec, seen: &HostState, draft: &mut Draft) {
    // A directory comes after the one that it is in, however the manifest lists them.
    let mut directories: Vec<&Directory> = want.directories.iter().collect();
    directories.sort_by(|a, b| a.path.cmp(&b.path));
    for directory in directories {
        let Directory { path, mode, owner, group } = directory;
        let entry = seen.ledger.get(&Part::Directory(path.clone()));
        match seen.paths.get(path) {
            None => draft.unseen.push(format!("`{path}`")),
            Some(None) => {
                let entry = entry.cloned().unwrap_or(Entry::new(Origin::Intended));
                draft.directories.push(Act::MakeDirectory { directory: directory.clone(), entry });
            }
            Some(Some(node)) if node.kind != NodeType::Directory => {
                draft.refusals.push(wrong_type(directory, node));
            }
            Some(Some(node)) => {
                let right = node.mode == *mode
                    && is_account(owner, &node.owner, node.uid)
                    && is_account(group, &node.group, node.gid);
                if !right {
                    draft.directories.push(Act::SetMode {
                        part: Part::Directory(path.clone()),
                        mode: *mode,
                        owner: owner.clone(),
                        group: group.clone(),
                        from: shown_access(node),
                        entry: standing(entry),
                    });
                }
            }
        }
    }
}

/// What the ledger shall say of a directory that is there.
fn standing(entry: Option<&Entry>) -> Entry {
    match entry.map(|entry| entry.origin) {
        // It was absent when we set out to make it, and it is there.
        Some(Origin::Created | Origin::Intended) => Entry::new(Origin::Created),
        Some(Origin::Existed) | None => Entry::new(Origin::Existed),
    }
}

fn wrong_type(directory: &Directory, node: &Node) -> Refusal {
    let path = &directory.path;
    Refusal::new(
        format!("`{path}` shall be a directory, but it is {}", node.kind.words()),
        format!("move `{path}` away on the host, or declare the place that is meant"),
    )
}
