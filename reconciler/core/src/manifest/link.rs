//! Ties the resources of a commit together: what refers to what, in which order, and what cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::diagnostic::{Diagnostic, Findings};
use super::document::{Declaration, Mention};
use super::names::{Names, no_kind_title};
use super::policy::{self, Policy};
use super::sitewide::Sitewide;
use super::words;
use crate::desired::{Desired, Resource, Site};
use crate::graph;
use crate::ident::{EnvironmentName, ResourceId};
use crate::plan::Kinds;

/// The most resources of a cycle that its title names.
const IN_TITLE: usize = 5;

/// Everything that was read of a commit.
pub(crate) struct Read<'t> {
    /// In the order of the site.
    pub(crate) environments: Vec<EnvironmentName>,
    pub(crate) declarations: Vec<Declaration<'t>>,
    /// The environments' own files.
    pub(crate) policies: Vec<policy::Written<'t>>,
    pub(crate) sitewide: Sitewide,
    /// Environments with a document whose identity could not be read: what seems undeclared may be it.
    pub(crate) unclear: BTreeSet<EnvironmentName>,
}

/// Links what was read. What is wrong goes to `findings`; then the site is not to be used.
pub(crate) fn link(read: Read<'_>, kinds: &Kinds, findings: &mut Findings) -> Site {
    let Read { environments, declarations, policies, sitewide, unclear } = read;
    let declared = unique(declarations, findings);
    let mut names = Names::new(&environments, &declared, kinds, unclear, findings);
    let mut policies = policy::check(policies, sitewide.zone, &mut names);
    let mut linker = Linker { names };
    let edges = linker.edges();
    linker.cycles(&edges);
    let resources: BTreeMap<ResourceId, Resource> = declared
        .into_iter()
        .map(|(id, declaration)| {
            let needs = edges.get(&id).map(|needs| needs.keys().cloned().collect()).unwrap_or_default();
            let Declaration { spec, declared, .. } = declaration;
            (id.clone(), Resource { id, spec, needs, borrowed: false, declared })
        })
        .collect();
    let environments = environments
        .into_iter()
        .map(|environment| {
            let policy = policies.remove(&environment).unwrap_or_default();
            let desired = desired(&environment, &resources, policy, sitewide.pause.clone());
            (environment, desired)
        })
        .collect();
    Site { environments, rewind: sitewide.rewind }
}

/// Each resource once.
fn unique<'t>(
    declarations: Vec<Declaration<'t>>,
    findings: &mut Findings,
) -> BTreeMap<ResourceId, Declaration<'t>> {
    let mut declared: BTreeMap<ResourceId, Declaration<'t>> = BTreeMap::new();
    for declaration in declarations {
        if let Some(first) = declared.get(&declaration.id) {
            findings.push(
                Diagnostic::error(format!("`{}` is declared twice", declaration.id))
                    .at(declaration.path, declaration.name)
                    .label("here again")
                    .also(first.path, first.name.clone(), "first here")
                    .help("keep one of them, or give one another name"),
            );
        } else {
            declared.insert(declaration.id.clone(), declaration);
        }
    }
    declared
}

/// Each resource with what it needs, and where it says so.
type Edges = BTreeMap<ResourceId, BTreeMap<ResourceId, Range<usize>>>;

struct Linker<'l, 't> {
    names: Names<'l, 't>,
}

impl Linker<'_, '_> {
    fn edges(&mut self) -> Edges {
        let mut edges = Edges::new();
        for (id, declaration) in self.names.declared {
            let mut needs = BTreeMap::new();
            for mention in &declaration.mentions {
                if let Some(target) = self.target(id, declaration.path, mention) {
                    needs.entry(target).or_insert_with(|| mention.span.clone());
                }
            }
            edges.insert(id.clone(), needs);
        }
        edges
    }

    /// The resource that a mention means, if it can be meant.
    fn target(&mut self, from: &ResourceId, path: &str, mention: &Mention) -> Option<ResourceId> {
        let at = |title: String| Diagnostic::error(title).at(path, mention.span.clone());
        let diagnostic = match ResourceId::parse_in(&from.environment, &mention.target) {
            Err(error) => at(format!("{} {error}", words::tick(&mention.target))).label("not a resource"),
            Ok(id) if id == *from => {
                at(format!("`{}` needs itself", from.short())).label("this is itself").help("leave it out")
            }
            Ok(id) if !self.names.environments.contains(&id.environment) => {
                let names = self.names.environments.iter().map(EnvironmentName::as_str);
                let names: Vec<&str> = names.collect();
                let near = words::did_you_mean(id.environment.as_str(), names.iter().copied());
                at(format!("there is no environment `{}`", id.environment)).label("not an environment").help(
                    near.unwrap_or_else(|| format!("the environments are {}", words::list(&names, "and"))),
                )
            }
            Ok(id) if !self.names.kinds.contains_key(&id.kind) => {
                self.names.no_kind(at(no_kind_title(&id.kind)), &id.kind)
            }
            Ok(id) if !self.names.declared.contains_key(&id) => {
                if self.names.is_unclear(&id) {
                    return None;
                }
                let missing = at(format!("no manifest declares `{}`", id.seen_from(&from.environment)));
                self.names.undeclared(missing, &from.environment, &id)
            }
            Ok(id) => match self.output_problem(&id, path, mention) {
                Some(diagnostic) => diagnostic,
                None => return Some(id),
            },
        };
        self.names.findings.push(diagnostic);
        None
    }

    fn output_problem(&self, id: &ResourceId, path: &str, mention: &Mention) -> Option<Diagnostic> {
        let (output, span) = mention.output.as_ref()?;
        let outputs = self.names.kinds[&id.kind].outputs;
        if outputs.contains(&output.as_str()) {
            return None;
        }
        let diagnostic = Diagnostic::error(format!("a {} has no output {}", id.kind, words::tick(output)))
            .at(path, span.clone())
            .label("not an output");
        let near = words::did_you_mean(output, outputs.iter().copied());
        Some(match (near, outputs.is_empty()) {
            (Some(near), _) => diagnostic.help(near),
            (None, true) => {
                diagnostic.help(format!("a {} gives nothing that others could refer to", id.kind))
            }
            (None, false) => diagnostic.help(format!("its outputs are {}", words::list(outputs, "and"))),
        })
    }

    fn cycles(&mut self, edges: &Edges) {
        let needs = edges.iter().map(|(id, needs)| (id.clone(), needs.keys().cloned().collect())).collect();
        let Err(cycles) = graph::order(&needs) else { return };
        for graph::Cycle(ring) in cycles {
            let next = |index: usize| &ring[(index + 1) % ring.len()];
            let home = &ring[0].environment;
            let name = |id: &ResourceId| format!("`{}`", id.seen_from(home));
            let mut shown: Vec<String> = ring.iter().take(IN_TITLE).map(name).collect();
            if ring.len() > IN_TITLE {
                shown.push(format!("… ({} in all)", ring.len()));
            }
            shown.push(name(&ring[0]));
            let title = format!("a cycle of needs: {}", shown.join(" -> "));
            let mut diagnostic = Diagnostic::error(title);
            for (index, id) in ring.iter().enumerate() {
                let path = self.names.declared[id].path;
                let span = edges[id][next(index)].clone();
                let label = format!("{} needs {}", name(id), name(next(index)));
                diagnostic = if index == 0 {
                    diagnostic.at(path, span).label(label)
                } else {
                    diagnostic.also(path, span, label)
                };
            }
            self.names
                .findings
                .push(diagnostic.help("none of them could ever be first: remove one of these needs"));
        }
    }
}

/// What the commit wants of one environment: its own resources, and what they need of others.
fn desired(
    environment: &EnvironmentName,
    all: &BTreeMap<ResourceId, Resource>,
    policy: Policy,
    pause: Option<String>,
) -> Desired {
    let mut resources: BTreeMap<ResourceId, Resource> = BTreeMap::new();
    let mut open: Vec<&Resource> =
        all.values().filter(|resource| resource.id.environment == *environment).collect();
    while let Some(resource) = open.pop() {
        if resources.contains_key(&resource.id) {
            continue;
        }
        open.extend(resource.needs.iter().filter_map(|need| all.get(need)));
        let borrowed = resource.id.environment != *environment;
        resources.insert(resource.id.clone(), Resource { borrowed, ..resource.clone() });
    }
    let Policy { retire, protect, moved, groups, drift, maintenance } = policy;
    let mut desired = Desired {
        resources,
        order: Vec::new(),
        retire,
        protect,
        moved,
        groups,
        drift,
        maintenance,
        pause,
        // What was there before is not the commit's to know.
        first: false,
    };
    // A cycle was said before; then nobody uses the order.
    desired.order = graph::order(&desired.needs()).unwrap_or_default();
    desired
}
