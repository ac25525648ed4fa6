//! `moved:` renames resources, which are untouched but for their marks. Renames may follow one another, and must end
//! at something.

use std::collections::{BTreeMap, BTreeSet};

use super::written::MovedSpec;
use super::{Named, Written, named};
use crate::ident::ResourceId;
use crate::manifest::diagnostic::Diagnostic;
use crate::manifest::names::Names;

/// The old name of each renamed resource, with the new one and where the old one stands.
type Moved<'t> = BTreeMap<ResourceId, (ResourceId, Named<'t>)>;

/// One entry with both its names read.
struct Entry<'t> {
    from: (ResourceId, Named<'t>),
    to: (ResourceId, Named<'t>),
}

/// The entries that can be.
#[derive(Default)]
struct Entries<'t> {
    moved: Moved<'t>,
    /// By new name: the old one, and where the new one stands.
    by_new: BTreeMap<ResourceId, (ResourceId, Named<'t>)>,
}

/// What is renamed. Entries that cannot be are told and left out.
pub(super) fn read<'t>(written: &Written<'t>, names: &mut Names<'_, 't>) -> Moved<'t> {
    let mut entries = Entries::default();
    for (index, MovedSpec { from, to }) in written.spec.moved.iter().enumerate() {
        let of = |field: &str| format!("/spec/moved/{index}/{field}");
        let from = named::own(written, from, &of("from"), "moved", names);
        let to = named::own(written, to, &of("to"), "moved", names);
        let (Some(from), Some(to)) = (from, to) else { continue };
        let entry = Entry { from, to };
        if let Some(problem) = problem(&entry, &entries, names) {
            names.findings.push(problem);
        } else {
            let Entry { from: (from, from_at), to: (to, to_at) } = entry;
            entries.moved.insert(from.clone(), (to.clone(), from_at));
            entries.by_new.insert(to, (from, to_at));
        }
    }
    let Entries { moved, by_new } = entries;
    let rings = rings(&moved, names);
    for (to, (_, at)) in &by_new {
        if !moved.contains_key(to) && !names.declared.contains_key(to) && !names.is_unclear(to) {
            let missing = at.error(format!("no manifest declares `{}`", to.short()));
            let missing = names.undeclared(missing, &written.environment, to);
            names.findings.push(missing);
        }
    }
    moved.into_iter().filter(|(from, _)| !rings.contains(from)).collect()
}

/// Why one entry cannot be, by itself or beside those before it.
fn problem<'t>(entry: &Entry<'t>, before: &Entries<'t>, names: &Names<'_, 't>) -> Option<Diagnostic> {
    let Entry { from: (from, from_at), to: (to, to_at) } = entry;
    Some(if from == to {
        to_at
            .error(format!("`{}` is moved to itself", from.short()))
            .label("the same name")
            .help("write the new name here, or remove the entry")
    } else if from.kind != to.kind {
        to_at
            .error(format!("`{}` cannot become a {}", from.short(), to.kind))
            .label("of another kind")
            .help(format!("a move changes the name alone: write `{}/{}`", from.kind, to.name))
    } else if let Some(declaration) = names.declared.get(from) {
        from_at
            .error(format!("`{}` is moved and still declared", from.short()))
            .label("the old name")
            .also(declaration.path, declaration.name.clone(), "declared here")
            .help(format!("name its manifest `{}`, or remove the entry", to.name))
    } else if let Some(retired) = names.retired.get(from) {
        let both = from_at.error(format!("`{}` is moved and retired", from.short())).label("moved here");
        retired.beside(both, "retired here").help(format!(
            "keep one: what is moved lives on as `{}`, what is retired may be destroyed",
            to.short()
        ))
    } else if let Some((_, first)) = before.moved.get(from) {
        let again = from_at.error(format!("`{}` is moved twice", from.short())).label("here again");
        first.beside(again, "first here").help("it can become one thing: keep one of the entries")
    } else if let Some((other, first)) = before.by_new.get(to) {
        let (other, from, to) = (other.short(), from.short(), to.short());
        let title = format!("`{other}` and `{from}` are both moved to `{to}`");
        first
            .beside(to_at.error(title).label("here again"), "first here")
            .help("only one can have the name: keep one of the entries, and retire the other resource")
    } else {
        return None;
    })
}

/// Says of every ring of renames that it ends nowhere. What is in one.
fn rings(all: &Moved<'_>, names: &mut Names<'_, '_>) -> BTreeSet<ResourceId> {
    /// The most names of a ring that its title shows.
    const SHOWN: usize = 5;
    let mut in_ring = BTreeSet::new();
    let mut done = BTreeSet::new();
    for start in all.keys() {
        let mut way: Vec<&ResourceId> = Vec::new();
        let mut here = start;
        while let Some((next, _)) = all.get(here).filter(|_| done.insert(here.clone())) {
            way.push(here);
            here = next;
        }
        // It came back to something on its own way: from there on it is a ring.
        let Some(first) = way.iter().position(|id| *id == here) else { continue };
        let ring = &way[first..];
        let mut shown: Vec<String> = ring.iter().take(SHOWN).map(|id| format!("`{}`", id.short())).collect();
        if ring.len() > SHOWN {
            shown.push(format!("… ({} in all)", ring.len()));
        }
        shown.push(format!("`{}`", ring[0].short()));
        let (_, at) = &all[ring[0]];
        let title = format!("a ring of moves: {}", shown.join(" -> "));
        let mut diagnostic = at.error(title).label("moved here");
        for id in &ring[1..] {
            diagnostic = all[*id].1.beside(diagnostic, "and here");
        }
        names.findings.push(diagnostic.help("a chain of moves must end at a name that a manifest declares"));
        in_ring.extend(ring.iter().map(|id| (*id).clone()));
    }
    in_ring
}
