//! A typed site as the files that somebody would have written for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use holdfast_core::desired::{Desired, Drift, DriftMode, Group, Resource, Site};
use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId, SiteName};
use holdfast_core::kind::HOLDFAST_V1;
use holdfast_core::manifest::{
    DriftModeSpec, DriftSpec, EnvironmentSpec, GroupSpec, MaintenanceSpec, MovedSpec, SiteSpec, Tree,
};
use holdfast_core::plan::Kinds;
use holdfast_core::schedule::{Schedule, show_duration};
use holdfast_core::text::{Piece, Text};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Renders a site as files. Texts that were made of pieces become templates that give the same pieces.
///
/// # Errors
/// What no manifest says: an unknown kind, one environment that pauses alone, two time zones.
pub fn render(name: &SiteName, site: &Site, kinds: &Kinds) -> Result<Tree, String> {
    let mut writer = Writer { kinds, files: BTreeMap::new(), templates: 0 };
    writer.put("holdfast.yaml", &[ours("Site", name.as_str(), &site_spec(site)?)]);
    for (environment, desired) in &site.environments {
        let folder = format!("environments/{environment}");
        let spec = environment_spec(environment, desired)?;
        let document = ours("Environment", environment.as_str(), &spec);
        writer.put(&format!("{folder}/environment.yaml"), &[document]);
        let mut by_kind: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for resource in desired.resources.values().filter(|resource| !resource.borrowed) {
            let document = writer.resource(environment, resource)?;
            by_kind.entry(resource.id.kind.to_string().to_lowercase()).or_default().push(document);
        }
        for (kind, documents) in by_kind {
            writer.put(&format!("{folder}/{kind}.yaml"), &documents);
        }
    }
    Ok(Tree { files: writer.files, refused: BTreeMap::new() })
}

fn ours(kind: &str, name: &str, spec: &impl Serialize) -> Value {
    json!({ "apiVersion": HOLDFAST_V1, "kind": kind, "metadata": { "name": name }, "spec": spec })
}

fn site_spec(site: &Site) -> Result<SiteSpec, String> {
    let Site { environments, rewind } = site;
    let pauses: BTreeSet<&Option<String>> = environments.iter().map(|(_, desired)| &desired.pause).collect();
    let schedules = environments.iter().flat_map(|(_, desired)| {
        desired.drift.schedule.iter().chain(desired.maintenance.as_ref().map(|window| &window.opens))
    });
    let zones: BTreeSet<&str> = schedules.map(|schedule| schedule.zone().name()).collect();
    if pauses.len() > 1 || zones.len() > 1 {
        return Err("no manifest gives one environment a pause or a time zone of its own".to_owned());
    }
    Ok(SiteSpec {
        environments: environments.iter().map(|(name, _)| name.to_string()).collect(),
        timezone: zones.first().map(|zone| (*zone).to_owned()),
        pause: pauses.first().and_then(|pause| (*pause).clone()),
        rewind: rewind.iter().map(CommitId::to_string).collect(),
    })
}

fn environment_spec(home: &EnvironmentName, desired: &Desired) -> Result<EnvironmentSpec, String> {
    let names = |ids: &BTreeSet<ResourceId>| ids.iter().map(ResourceId::short).collect();
    let Desired { retire, protect, moved, groups, drift, maintenance, .. } = desired;
    if retire.iter().chain(protect).any(|id| id.environment != *home) {
        return Err(format!("no manifest of {home} decides about another environment"));
    }
    let Drift { schedule, mode } = drift;
    let mode = match mode {
        DriftMode::Correct => DriftModeSpec::Correct,
        DriftMode::Report => DriftModeSpec::Report,
    };
    Ok(EnvironmentSpec {
        retire: names(retire),
        protect: names(protect),
        moved: moved.iter().map(|(from, to)| MovedSpec { from: from.short(), to: to.short() }).collect(),
        groups: groups.iter().map(|group| group_spec(group, names(&group.members))).collect(),
        drift: (*drift != Drift::default())
            .then(|| DriftSpec { schedule: schedule.as_ref().map(Schedule::to_string), mode }),
        maintenance: maintenance.as_ref().map(|window| MaintenanceSpec {
            opens: window.opens.to_string(),
            lasts: show_duration(window.lasts),
        }),
    })
}

fn group_spec(group: &Group, members: Vec<String>) -> GroupSpec {
    let Group { name, members: _, max_unavailable, max_failures } = group;
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    GroupSpec {
        name: name.to_string(),
        members,
        max_unavailable: number(*max_unavailable),
        max_failures: number(*max_failures),
    }
}

/// The files so far.
struct Writer<'k> {
    kinds: &'k Kinds,
    files: BTreeMap<String, Vec<u8>>,
    templates: usize,
}

impl Writer<'_> {
    fn put(&mut self, path: &str, documents: &[Value]) {
        let written: Vec<String> = documents
            .iter()
            .map(|document| serde_yaml::to_string(document).expect("plain data can be written"))
            .collect();
        self.files.insert(path.to_owned(), written.join("---\n").into_bytes());
    }

    fn resource(&mut self, home: &EnvironmentName, resource: &Resource) -> Result<Value, String> {
        let Resource { id, spec, needs, borrowed: _, declared: _ } = resource;
        let kind = self.kinds.get(&id.kind).ok_or_else(|| format!("there is no kind {}", id.kind))?;
        if kind.is_ours() {
            let needs: Vec<String> = needs.iter().map(|id| id.seen_from(home)).collect();
            let mut document = ours(id.kind.as_str(), id.name.as_str(), &self.written(spec));
            if !needs.is_empty() {
                document["metadata"]["dependsOn"] = json!(needs);
            }
            return Ok(document);
        }
        // A manifest of somebody else's API is its own spec, and says what it needs itself.
        let mut document = spec.clone();
        document["apiVersion"] = json!(kind.api_version);
        document["kind"] = json!(id.kind);
        Ok(document)
    }

    /// A spec as it is written.
    fn written(&mut self, spec: &Value) -> Value {
        match spec {
            Value::Array(items) => items.iter().map(|item| self.written(item)).collect(),
            Value::Object(fields) if fields.len() == 1 && fields.contains_key("pieces") => {
                match serde_json::from_value(spec.clone()) {
                    Ok(Text::Pieces { pieces }) => self.template(&pieces),
                    _ => spec.clone(),
                }
            }
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(key, field)| (key.clone(), self.written(field))).collect())
            }
            plain => plain.clone(),
        }
    }

    /// A template that gives these pieces, each literal by a variable so that nothing in it is read as a block.
    fn template(&mut self, pieces: &[Piece]) -> Value {
        let mut template = String::new();
        let mut vars = Map::new();
        for piece in pieces {
            match piece {
                Piece::Plain(text) => {
                    let name = format!("text{}", vars.len());
                    let _ = write!(template, "{{{{ {name} }}}}");
                    vars.insert(name, json!(text));
                }
                Piece::Secret(reference) => {
                    let (path, key) = (json!(reference.vault), json!(reference.key));
                    let _ = write!(template, "{{{{ vault({path}, {key}) }}}}");
                }
            }
        }
        self.templates += 1;
        let path = format!("files/text{}.j2", self.templates);
        self.files.insert(path.clone(), template.into_bytes());
        json!({ "template": path, "vars": vars })
    }
}
