//! What left the manifest: what we made and nobody changed goes, everything else stays.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::kind::Refusal;

use super::service::is_unit_file;
use crate::host::ledger::{Entry, Origin, Part};
use crate::host::names::AbsolutePath;
use crate::host::plan::Draft;
use crate::host::spec::HostSpec;
use crate::host::state::{HostState, Node, NodeType};
use crate::host::step::Act;

/// Up to so many parts go without a question, however many the host has.
const FEW: usize = 20;
/// And up to this share of a host's parts, in percent.
const SHARE: usize = 20;

pub(crate) fn plan(want: &HostSpec, seen: &HostState, draft: &mut Draft) {
    let wanted = wanted(want);
    let gone: BTreeMap<&Part, &Entry> =
        seen.ledger.iter().filter(|(part, _)| !wanted.contains(part)).collect();
    let mut removal = Removal::new(seen);
    for (part, entry) in &gone {
        if let Part::File(path) = part {
            removal.file(path, entry);
        }
    }
    for (part, entry) in &gone {
        match part {
            Part::Service(_) => removal.service(part, entry),
            Part::Package(_) => drop(removal.forgotten.insert((*part).clone(), (*entry).clone())),
            Part::File(_) | Part::Directory(_) => {}
        }
    }
    // The inner ones first.
    for (part, entry) in gone.iter().rev() {
        if let Part::Directory(path) = part {
            removal.directory(path, entry);
        }
    }
    let count = removal.files.len() + removal.directories.len();
    let all = wanted.iter().chain(seen.ledger.keys()).collect::<BTreeSet<_>>().len();
    if count > FEW && count * 100 > all * SHARE {
        draft.refusals.push(Refusal::new(
            format!("{count} of the host's {all} parts would be removed at once"),
            format!("remove at most {FEW} files and directories a commit, if they shall go"),
        ));
        return;
    }
    removal.into_draft(draft);
}

fn wanted(want: &HostSpec) -> BTreeSet<Part> {
    let directories = want.directories.iter().map(|directory| Part::Directory(directory.path.clone()));
    let files = want.files.iter().map(|file| Part::File(file.path.clone()));
    let packages = want.packages.iter().map(|package| Part::Package(package.clone()));
    let services = want.services.iter().map(|service| Part::Service(service.name.clone()));
    directories.chain(files).chain(packages).chain(services).collect()
}

struct Removal<'a> {
    seen: &'a HostState,
    stops: Vec<Act>,
    files: BTreeMap<AbsolutePath, Act>,
    directories: Vec<Act>,
    forgotten: BTreeMap<Part, Entry>,
    conflicts: Vec<Refusal>,
    /// How many entries of each directory go.
    emptied: BTreeMap<String, u64>,
    /// Files that are in the way of their directories, and not ours to remove.
    staying: Vec<AbsolutePath>,
}

impl<'a> Removal<'a> {
    fn new(seen: &'a HostState) -> Self {
        Self {
            seen,
            stops: Vec::new(),
            files: BTreeMap::new(),
            directories: Vec::new(),
            forgotten: BTreeMap::new(),
            conflicts: Vec::new(),
            emptied: BTreeMap::new(),
            staying: Vec::new(),
        }
    }

    fn node(&self, path: &AbsolutePath) -> Option<&'a Node> {
        self.seen.paths.get(path).and_then(Option::as_ref)
    }

    fn file(&mut self, path: &AbsolutePath, entry: &Entry) {
        let part = Part::File(path.clone());
        let bytes =
            self.node(path).map(|node| node.sha256.as_deref().filter(|_| node.kind == NodeType::File));
        match (entry.origin, bytes) {
            // It was there before us; or it is gone already.
            (Origin::Existed, _) | (_, None) => drop(self.forgotten.insert(part, entry.clone())),
            (_, Some(Some(sha256))) if entry.wrote(sha256) => {
                *self.emptied.entry(path.parent().to_owned()).or_default() += 1;
                let act =
                    Act::RemoveFile { path: path.clone(), sha256: sha256.to_owned(), entry: entry.clone() };
                self.files.insert(path.clone(), act);
            }
            // We announced it, but what is there is not what we announced: never ours.
            (Origin::Intended, _) => drop(self.forgotten.insert(part, entry.clone())),
            (Origin::Created, _) => {
                self.staying.push(path.clone());
                self.conflicts.push(Refusal {
                    why: format!("`{path}` left the manifest, but somebody changed it since it was written"),
                    ways_out: vec![
                        format!("delete `{path}` on the host, if the change is not needed"),
                        format!(
                            "declare `{path}` in the manifest again, with the content that it shall have"
                        ),
                    ],
                });
            }
        }
    }

    /// A unit is stopped only where its own file was ours and goes; any other runs on.
    fn service(&mut self, part: &Part, entry: &Entry) {
        let Part::Service(name) = part else { return };
        if self.staying.iter().any(|path| is_unit_file(path, name)) {
            return;
        }
        let defines = |path: &AbsolutePath| is_unit_file(path, name) && path.name() == name.file_name();
        if self.files.keys().any(defines) {
            let unit = self.seen.services.get(name);
            if unit.is_some_and(|unit| unit.is_active() || unit.active == "activating") {
                self.stops.push(Act::Stop { unit: name.clone() });
            }
            if unit.is_some_and(|unit| unit.file_state.starts_with("enabled")) {
                self.stops.push(Act::Disable { unit: name.clone() });
            }
        }
        self.forgotten.insert(part.clone(), entry.clone());
    }

    /// A directory of ours goes if nothing is in it but what goes as well.
    fn directory(&mut self, path: &AbsolutePath, entry: &Entry) {
        let below = |staying: &AbsolutePath| {
            staying.as_str().strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        if self.staying.iter().any(below) {
            return;
        }
        let going = self.emptied.get(path.as_str()).copied().unwrap_or(0);
        let node = self.node(path);
        let empties =
            node.is_some_and(|node| node.kind == NodeType::Directory && node.entries == Some(going));
        if entry.origin == Origin::Existed || !empties {
            self.forgotten.insert(Part::Directory(path.clone()), entry.clone());
            return;
        }
        *self.emptied.entry(path.parent().to_owned()).or_default() += 1;
        self.directories.push(Act::RemoveDirectory { path: path.clone(), entry: entry.clone() });
    }

    fn into_draft(self, draft: &mut Draft) {
        draft.stops.extend(self.stops);
        draft.removed_files.extend(self.files.into_values());
        draft.removed_directories.extend(self.directories);
        draft.conflicts.extend(self.conflicts);
        if !self.forgotten.is_empty() {
            draft.forgotten.push(Act::Forget { entries: self.forgotten });
        }
    }
}
