//! `groups:` names alike resources of which only a few may be away at once.

use std::collections::{BTreeMap, BTreeSet};

use super::written::GroupSpec;
use super::{Named, NamedOnce, Written, named};
use crate::desired::Group;
use crate::ident::{Name, ResourceId};
use crate::manifest::document::usable;
use crate::manifest::names::Names;
use crate::manifest::words;

/// The groups, in the order of the file.
pub(super) fn read<'t>(written: &Written<'t>, names: &mut Names<'_, 't>) -> Vec<Group> {
    let mut seen: BTreeMap<Name, Named<'t>> = BTreeMap::new();
    let mut groups = Vec::new();
    for (index, spec) in written.spec.groups.iter().enumerate() {
        let base = format!("/spec/groups/{index}");
        let name = name(written, &spec.name, &base, &mut seen, names);
        let members = members(written, &spec.members, &base, names);
        let (Some(name), Some(members)) = (name, members) else { continue };
        if fits(written, spec, &members, &base, names) {
            groups.push(Group {
                name,
                members,
                max_unavailable: spec.max_unavailable as usize,
                max_failures: spec.max_failures as usize,
            });
        }
    }
    groups
}

fn name<'t>(
    written: &Written<'t>,
    text: &str,
    base: &str,
    seen: &mut BTreeMap<Name, Named<'t>>,
    names: &mut Names<'_, 't>,
) -> Option<Name> {
    let at = Named::at(written, &format!("{base}/name"));
    let diagnostic = match Name::new(text) {
        Err(error) => {
            let help = usable(text).map(|name| format!("call it `{name}`"));
            at.error(format!("the group's name {} {error}", words::tick(text)))
                .label("not a name")
                .helps(help)
        }
        Ok(name) => {
            let Some(first) = seen.get(&name) else {
                seen.insert(name.clone(), at);
                return Some(name);
            };
            let again = at.error(format!("two groups are called `{name}`")).label("here again");
            first.beside(again, "first here").help("give one of them another name")
        }
    };
    names.findings.push(diagnostic);
    None
}

/// The members; `None` where one of them cannot be.
fn members<'t>(
    written: &Written<'t>,
    texts: &[String],
    base: &str,
    names: &mut Names<'_, 't>,
) -> Option<BTreeSet<ResourceId>> {
    let mut members = BTreeSet::new();
    let mut once = NamedOnce::default();
    let mut all = true;
    for (index, text) in texts.iter().enumerate() {
        let pointer = format!("{base}/members/{index}");
        let own = named::own(written, text, &pointer, named::MEMBER, names);
        let Some((id, at)) = own else {
            all = false;
            continue;
        };
        if !names.declared.contains_key(&id) {
            all = false;
            if !names.is_unclear(&id) {
                let missing = at.error(format!("no manifest declares `{}`", id.short()));
                let missing = names.undeclared(missing, &written.environment, &id);
                names.findings.push(missing);
            }
        } else if once.add(&id, &at, named::MEMBER, names) {
            members.insert(id);
        } else {
            all = false;
        }
    }
    all.then_some(members)
}

/// Whether the limit of a group limits anything.
fn fits<'t>(
    written: &Written<'t>,
    spec: &GroupSpec,
    members: &BTreeSet<ResourceId>,
    base: &str,
    names: &mut Names<'_, 't>,
) -> bool {
    let (most, count) = (spec.max_unavailable as usize, members.len());
    if most < count {
        return true;
    }
    let group = words::tick(&spec.name);
    let diagnostic = if count == 1 {
        written
            .spot
            .at_value(&format!("{base}/members"), format!("group {group} has one member, which may be away"))
            .label("nothing is left beside it")
            .help("add the members that stand in for it, or remove the group")
    } else {
        written
            .spot
            .at_value(
                &format!("{base}/maxUnavailable"),
                format!("all {count} members of group {group} may be unavailable at once"),
            )
            .label("a limit that limits nothing")
            .help(match count - 1 {
                1 => "write 1, or remove the group".to_owned(),
                most => format!("write a number from 1 to {most}, or remove the group"),
            })
    };
    names.findings.push(diagnostic);
    false
}
