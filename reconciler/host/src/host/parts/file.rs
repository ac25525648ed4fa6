//! Files: content, mode and owner. Whatever is at the path and is no regular file is refused.

use holdfast_core::kind::Refusal;

use super::{is_account, shown_access};
use crate::host::ledger::{Content, Entry, Origin, Part};
use crate::host::plan::Draft;
use crate::host::spec::{File, HostSpec};
use crate::host::state::{HostState, Node, NodeType};
use crate::host::step::Act;

pub(crate) fn plan(want: &HostSpec, seen: &HostState, draft: &mut Draft) {
    for file in &want.files {
        let entry = seen.ledger.get(&Part::File(file.path.clone()));
        match seen.paths.get(&file.path) {
            None => draft.unseen.push(format!("`{}`", file.path)),
            Some(node) => plan_one(file, node.as_ref(), entry, draft),
        }
    }
}

fn plan_one(file: &File, node: Option<&Node>, entry: Option<&Entry>, draft: &mut Draft) {
    let path = &file.path;
    let act = match node {
        None => Act::WriteFile { file: file.clone(), seen: None, entry: standing(entry, None) },
        Some(Node { kind: NodeType::File, sha256: Some(sha256), .. }) => {
            let standing = standing(entry, Some(sha256));
            if !is_same(file, sha256, entry) {
                Act::WriteFile { file: file.clone(), seen: Some(sha256.clone()), entry: standing }
            } else if !is_access(file, node) {
                let content = Content { digest: file.content.digest(), sha256: sha256.clone() };
                Act::SetMode {
                    part: Part::File(path.clone()),
                    mode: file.mode,
                    owner: file.owner.clone(),
                    group: file.group.clone(),
                    from: node.map(shown_access).unwrap_or_default(),
                    entry: Entry { content: Some(content), ..standing },
                }
            } else {
                return;
            }
        }
        Some(Node { kind: NodeType::File, sha256: None, .. }) => {
            draft.unseen.push(format!("the content of `{path}`"));
            return;
        }
        Some(node) => {
            draft.refusals.push(Refusal::new(
                format!("`{path}` shall be a file, but it is {}", node.kind.words()),
                format!("move `{path}` away on the host, or declare the path that is meant"),
            ));
            return;
        }
    };
    draft.files.push(act);
}

/// Whether the bytes are the text. For text with secrets in it the ledger knows, by the stamps of the secrets
/// that were written; without an entry there it must be written once to be known.
fn is_same(file: &File, sha256: &str, entry: Option<&Entry>) -> bool {
    let digest = file.content.digest();
    match file.content.plain() {
        Some(_) => digest == sha256,
        None => entry.is_some_and(|entry| entry.holds(&digest, sha256)),
    }
}

fn is_access(file: &File, node: Option<&Node>) -> bool {
    node.is_some_and(|node| {
        node.mode == file.mode
            && is_account(&file.owner, &node.owner, node.uid)
            && is_account(&file.group, &node.group, node.gid)
    })
}

/// What the ledger says of a file that is about to be changed: whether it is ours, given what is there.
fn standing(entry: Option<&Entry>, sha256: Option<&str>) -> Entry {
    match (entry, sha256) {
        (None, None) => Entry::new(Origin::Intended),
        // Nothing says that it is ours.
        (None, Some(_)) => Entry::new(Origin::Existed),
        // A run died after it announced this file. Only the very bytes that it announced are its own.
        (Some(Entry { origin: Origin::Intended, pending, .. }), Some(sha256)) => {
            match pending.as_ref().filter(|content| content.sha256 == sha256) {
                Some(content) => Entry { content: Some(content.clone()), ..Entry::new(Origin::Created) },
                None => Entry::new(Origin::Existed),
            }
        }
        (Some(entry), Some(sha256)) => {
            let arrived = entry.pending.clone().filter(|content| content.sha256 == sha256);
            Entry { content: arrived.or_else(|| entry.content.clone()), pending: None, ..entry.clone() }
        }
        (Some(entry), None) => Entry { pending: None, ..entry.clone() },
    }
}
