//! `holdfast.yaml`: the name of the site, and its environments in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnostic::{Diagnostic, Findings};
use super::document;
use super::schema::Compiled;
use super::sitewide::{self, Sitewide};
use super::spot::Spot;
use super::tree::Tree;
use super::words;
use super::yaml::{self, Budget, Document};
use crate::ident::{EnvironmentName, SiteName};

pub(crate) const KIND: &str = "Site";
pub(crate) const PATH: &str = super::tree::SITE_FILE;

/// The site: one infra repository and everything that it describes. Stands in `holdfast.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteSpec {
    /// The environments, in their order. Each has a folder `environments/<name>/`.
    #[schemars(inner(length(min = 1, max = 63)))]
    pub environments: Vec<String>,
    /// The time zone of every schedule and window: a name of the IANA database, such as `Europe/Berlin`. Without
    /// it they mean UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub timezone: Option<String>,
    /// Why nothing may be changed just now, in one line. While it stands here every environment is looked at and
    /// reported, and left as it is. Remove it to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 200))]
    pub pause: Option<String>,
    /// Commits that this one may replace although it does not descend from them, all 40 digits of each. A commit
    /// that goes back behind what was last converged to (a force push, a rewritten history) is held without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewind: Vec<String>,
}

/// What `holdfast.yaml` says, as far as it could be read.
#[derive(Debug, Default)]
pub(crate) struct SiteFile {
    pub(crate) name: Option<SiteName>,
    /// Where the name stands.
    pub(crate) name_at: Range<usize>,
    pub(crate) environments: Vec<EnvironmentName>,
    /// Where the environments are listed.
    pub(crate) list: Option<Range<usize>>,
    /// Whether the list can be relied on.
    pub(crate) listed: bool,
    pub(crate) sitewide: Sitewide,
}

const EXAMPLE: &str = "write a `holdfast.yaml` at the root of the repository: `apiVersion: holdfast/v1`, \
     `kind: Site`, `metadata: { name: home }`, `spec: { environments: [core] }`";

/// Reads the site's file.
pub(crate) fn read(tree: &Tree, schema: &Compiled, budget: &mut Budget, findings: &mut Findings) -> SiteFile {
    let Some(bytes) = tree.files.get(PATH) else {
        findings.push(absent(tree));
        return SiteFile::default();
    };
    let documents = yaml::load(PATH, bytes, budget, findings);
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let mut site = SiteFile::default();
    let mut seen: Option<&Document> = None;
    for document in documents.iter().filter(|document| document.broken || !document.value.is_null()) {
        let spot = Spot { path: PATH, text, document };
        if document.broken {
            seen = seen.or(Some(document));
            continue;
        }
        let Some(header) = document::header(spot, findings) else {
            seen = seen.or(Some(document));
            continue;
        };
        if header.kind != KIND {
            findings.push(
                spot.at_value("/kind", format!("`{PATH}` holds the site and nothing else"))
                    .label(format!("not `{KIND}`"))
                    .help("move it into a file below `environments/<name>/`"),
            );
        } else if let Some(first) = seen {
            findings.push(
                spot.at_value("/kind", "the site is declared twice")
                    .label("here again")
                    .also(PATH, first.value_span("/kind"), "first here")
                    .help("keep one of them"),
            );
        } else {
            seen = Some(document);
            site = read_one(spot, schema, findings);
        }
    }
    if seen.is_none() {
        findings.push(Diagnostic::error(format!("`{PATH}` declares no site")).in_file(PATH).help(EXAMPLE));
    }
    site
}

fn absent(tree: &Tree) -> Diagnostic {
    if let Some(why) = tree.refused.get(PATH) {
        return Diagnostic::error(format!("`{PATH}` cannot be read: {why}")).in_file(PATH).help(EXAMPLE);
    }
    if tree.files.is_empty() && tree.refused.is_empty() {
        // It may hold other files: only what matters to us is in the tree.
        let title = format!("the repository holds nothing to read: no `{PATH}` and no `environments/`");
        return Diagnostic::error(title).help(EXAMPLE);
    }
    let missing = Diagnostic::error(format!("there is no `{PATH}` at the root of the repository"));
    let alike = tree.files.keys().find(|path| {
        let name = path.rsplit('/').next().unwrap_or(path);
        matches!(name, "holdfast.yml" | PATH)
    });
    match alike {
        Some(path) => missing.help(format!("move {} to `{PATH}`", words::tick(path))),
        None => missing.help(EXAMPLE),
    }
}

fn read_one(spot: Spot<'_>, schema: &Compiled, findings: &mut Findings) -> SiteFile {
    spot.only_fields("", &["apiVersion", "kind", "metadata", "spec"], findings);
    spot.only_fields("/metadata", &["name"], findings);
    let name = spot.required_text("/metadata/name", "home", findings).and_then(|name| {
        SiteName::new(name)
            .map_err(|error| {
                let title = format!("the site's name {} {error}", words::tick(name));
                let help = document::usable(name).map(|name| format!("call it `{name}`"));
                findings.push(spot.at_value("/metadata/name", title).label("the site's name").helps(help));
            })
            .ok()
    });
    let name_at = spot.value_span("/metadata/name");
    let mut site = SiteFile { name, name_at, ..SiteFile::default() };
    let spec = spot.value().get("spec").cloned().unwrap_or_default();
    if !spot.check("/spec", &spec, schema, findings) {
        return site;
    }
    let Ok(spec) = serde_json::from_value::<SiteSpec>(spec) else { return site };
    site.sitewide = sitewide::read(spot, &spec, findings);
    site.list = Some(spot.document.key_span("/spec/environments"));
    site.listed = true;
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    for (index, name) in spec.environments.iter().enumerate() {
        let pointer = format!("/spec/environments/{index}");
        match EnvironmentName::new(name.as_str()) {
            Err(error) => {
                let title = format!("the environment's name {} {error}", words::tick(name));
                let help = document::usable(name).filter(|usable| usable.as_str() != name);
                let help =
                    help.map_or_else(|| "choose another name".to_owned(), |name| format!("call it `{name}`"));
                findings.push(
                    spot.at_value(&pointer, title)
                        .label("an environment's name")
                        .help(format!("{help}, and its folder too")),
                );
                site.listed = false;
            }
            Ok(environment) => {
                if let Some(first) = seen.get(name.as_str()) {
                    findings.push(
                        spot.at_value(&pointer, format!("environment {} is listed twice", words::tick(name)))
                            .label("here again")
                            .also(spot.path, spot.value_span(first), "first here"),
                    );
                } else {
                    seen.insert(name, pointer);
                    site.environments.push(environment);
                }
            }
        }
    }
    site
}

/// Compares the list with the folders. The environments to read: all that are listed, and where the list
/// cannot be relied on, all folders.
pub(crate) fn match_folders(site: &SiteFile, tree: &Tree, findings: &mut Findings) -> Vec<EnvironmentName> {
    let folders: BTreeSet<&str> = tree
        .files
        .keys()
        .chain(tree.refused.keys())
        .filter_map(|path| path.strip_prefix("environments/")?.split_once('/'))
        .map(|(folder, _)| folder)
        .collect();
    if !site.listed {
        return folders.into_iter().filter_map(|folder| EnvironmentName::new(folder).ok()).collect();
    }
    let list = site.list.clone().unwrap_or(0..0);
    for environment in &site.environments {
        if !folders.contains(environment.as_str()) {
            let folder = format!("environments/{environment}/");
            let title = format!("environment `{environment}` is listed and has no folder");
            let help = format!("add a file such as `{folder}environment.yaml`, or take it off the list");
            findings.push(
                Diagnostic::error(title)
                    .at(PATH, list.clone())
                    .label(format!("`{environment}` is listed here"))
                    .help(help),
            );
        }
    }
    for folder in folders {
        if !site.environments.iter().any(|environment| environment.as_str() == folder) {
            let label = format!("{} is not listed here", words::tick(folder));
            let title =
                format!("the folder {} is not listed", words::tick(&format!("environments/{folder}/")));
            let near = words::did_you_mean(folder, site.environments.iter().map(EnvironmentName::as_str));
            findings.push(
                Diagnostic::error(title)
                    .at(PATH, list.clone())
                    .label(label)
                    .help("add it to the list at the place that it has in the order, or remove the folder")
                    .helps(near),
            );
        }
    }
    site.environments.clone()
}
