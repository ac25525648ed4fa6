//! Ties the resources of a commit together: what refers to what, in which order, and what cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::diagnostic::{Diagnostic, Findings};
use super::document::{Declaration, Mention};
use super::environment::Retired;
use super::words;
use crate::desired::{Desired, Resource, Site};
use crate::graph;
use crate::ident::{EnvironmentName, KindName, ResourceId};
use crate::plan::Kinds;

/// The most unknown names for which something similar is looked for.
const GUESSES: usize = 100;
/// The most resources of a cycle that its title names.
const IN_TITLE: usize = 5;

/// Everything that was read of a commit.
pub(crate) struct Read<'t> {
    /// In the order of the site.
    pub(crate) environments: Vec<EnvironmentName>,
    pub(crate) declarations: Vec<Declaration<'t>>,
    pub(crate) retired: Vec<Retired<'t>>,
    /// Environments with a document whose identity could not be read: what seems undeclared may be it.
    pub(crate) unclear: BTreeSet<EnvironmentName>,
}

/// Links what was read. What is wrong goes to `findings`; then the site is not to be used.
pub(crate) fn link(read: Read<'_>, kinds: &Kinds, findings: &mut Findings) -> Site {
    let Read { environments, declarations, retired, unclear } = read;
    let declared = unique(declarations, findings);
    let mut linker = Linker {
        environments: &environments,
        declared: &declared,
        kinds,
        unclear,
        guesses: 0,
        retired: BTreeMap::new(),
        findings,
    };
    linker.retire(retired);
    let edges = linker.edges();
    linker.cycles(&edges);
    let retired = linker.retired.keys().cloned().collect::<BTreeSet<_>>();
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
            let desired = desired(&environment, &resources, &retired);
            (environment, desired)
        })
        .collect();
    Site { environments, ..Site::default() }
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
    environments: &'l [EnvironmentName],
    declared: &'l BTreeMap<ResourceId, Declaration<'t>>,
    kinds: &'l Kinds,
    unclear: BTreeSet<EnvironmentName>,
    guesses: usize,
    retired: BTreeMap<ResourceId, (&'t str, Range<usize>)>,
    findings: &'l mut Findings,
}

impl<'t> Linker<'_, 't> {
    fn retire(&mut self, retired: Vec<Retired<'t>>) {
        for Retired { environment, text, path, span } in retired {
            let at = |title: String| Diagnostic::error(title).at(path, span.clone());
            let id = match ResourceId::parse_in(&environment, &text) {
                Ok(id) => id,
                Err(error) => {
                    let diagnostic = at(format!("{} {error}", words::tick(&text))).label("not a resource");
                    self.findings.push(diagnostic);
                    continue;
                }
            };
            if id.environment != environment {
                let title = format!("`{id}` belongs to another environment and cannot be retired here");
                let help = format!("list it in `environments/{}/environment.yaml`", id.environment);
                self.findings.push(at(title).label("not of this environment").help(help));
            } else if !self.kinds.contains_key(&id.kind) {
                let diagnostic = self.no_kind(at(no_kind_title(&id.kind)), &id.kind);
                self.findings.push(diagnostic);
            } else if let Some(declaration) = self.declared.get(&id) {
                self.findings.push(
                    at(format!("`{}` is retired and declared", id.short()))
                        .label("retired here")
                        .also(declaration.path, declaration.name.clone(), "declared here")
                        .help(
                            "keep one: remove its manifest to let it go, or take it off `retire:` to keep it",
                        ),
                );
            } else if let Some((first, first_span)) = self.retired.get(&id) {
                self.findings.push(
                    at(format!("`{}` is retired twice", id.short())).label("here again").also(
                        *first,
                        first_span.clone(),
                        "first here",
                    ),
                );
            } else {
                self.retired.insert(id, (path, span));
            }
        }
    }

    fn edges(&mut self) -> Edges {
        let mut edges = Edges::new();
        for (id, declaration) in self.declared {
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
            Ok(id) if !self.environments.contains(&id.environment) => {
                let names = self.environments.iter().map(EnvironmentName::as_str);
                let names: Vec<&str> = names.collect();
                let near = words::did_you_mean(id.environment.as_str(), names.iter().copied());
                at(format!("there is no environment `{}`", id.environment)).label("not an environment").help(
                    near.unwrap_or_else(|| format!("the environments are {}", words::list(&names, "and"))),
                )
            }
            Ok(id) if !self.kinds.contains_key(&id.kind) => {
                self.no_kind(at(no_kind_title(&id.kind)), &id.kind)
            }
            Ok(id) if !self.declared.contains_key(&id) => {
                if self.unclear.contains(&id.environment) {
                    return None;
                }
                self.undeclared(
                    at(format!("no manifest declares `{}`", id.seen_from(&from.environment))),
                    from,
                    &id,
                )
            }
            Ok(id) => match self.output_problem(&id, path, mention) {
                Some(diagnostic) => diagnostic,
                None => return Some(id),
            },
        };
        self.findings.push(diagnostic);
        None
    }

    fn no_kind(&self, diagnostic: Diagnostic, kind: &KindName) -> Diagnostic {
        let names: Vec<&str> = self.kinds.keys().map(KindName::as_str).collect();
        let near = words::did_you_mean(kind.as_str(), names.iter().copied());
        let help = near.unwrap_or_else(|| format!("the kinds are {}", words::list(&names, "and")));
        diagnostic.label("not a kind").help(help)
    }

    fn undeclared(&mut self, diagnostic: Diagnostic, from: &ResourceId, id: &ResourceId) -> Diagnostic {
        let diagnostic = diagnostic.label("nothing declares this");
        if let Some((path, span)) = self.retired.get(id) {
            return diagnostic
                .also(*path, span.clone(), "it is retired here")
                .help("what is retired is gone: refer to something else");
        }
        self.guesses += 1;
        if self.guesses > GUESSES {
            return diagnostic;
        }
        let elsewhere =
            self.environments.iter().filter(|environment| **environment != id.environment).find_map(
                |environment| {
                    let there = ResourceId { environment: environment.clone(), ..id.clone() };
                    self.declared.contains_key(&there).then_some(there)
                },
            );
        if let Some(there) = elsewhere {
            return diagnostic
                .help(format!("did you mean {}?", words::tick(&there.seen_from(&from.environment))));
        }
        let alike = self
            .declared
            .keys()
            .filter(|known| known.environment == id.environment && known.kind == id.kind)
            .map(|known| known.name.as_str());
        match words::closest(id.name.as_str(), alike) {
            Some(name) => {
                let meant = if id.environment == from.environment {
                    format!("{}/{name}", id.kind)
                } else {
                    format!("{}/{}/{name}", id.environment, id.kind)
                };
                diagnostic.help(format!("did you mean {}?", words::tick(&meant)))
            }
            None => {
                diagnostic.help(format!("declare it in `environments/{}/`, or leave it out", id.environment))
            }
        }
    }

    fn output_problem(&self, id: &ResourceId, path: &str, mention: &Mention) -> Option<Diagnostic> {
        let (output, span) = mention.output.as_ref()?;
        let outputs = self.kinds[&id.kind].outputs;
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
                let path = self.declared[id].path;
                let span = edges[id][next(index)].clone();
                let label = format!("{} needs {}", name(id), name(next(index)));
                diagnostic = if index == 0 {
                    diagnostic.at(path, span).label(label)
                } else {
                    diagnostic.also(path, span, label)
                };
            }
            self.findings
                .push(diagnostic.help("none of them could ever be first: remove one of these needs"));
        }
    }
}

fn no_kind_title(kind: &KindName) -> String {
    format!("there is no kind {}", words::tick(kind.as_str()))
}

/// What the commit wants of one environment: its own resources, and what they need of others.
fn desired(
    environment: &EnvironmentName,
    all: &BTreeMap<ResourceId, Resource>,
    retired: &BTreeSet<ResourceId>,
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
    let retire = retired.iter().filter(|id| id.environment == *environment).cloned().collect();
    let mut desired = Desired { resources, retire, ..Desired::default() };
    // A cycle was said before; then nobody uses the order.
    desired.order = graph::order(&desired.needs()).unwrap_or_default();
    desired
}
