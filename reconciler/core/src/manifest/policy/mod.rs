//! `environments/<name>/environment.yaml`: what is decided for one environment as a whole, one file a section.

mod groups;
mod moved;
mod named;
mod protect;
mod retire;
pub(crate) mod times;
pub(crate) mod written;

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::Findings;
use super::names::Names;
use super::schema::Compiled;
use super::spot::Spot;
use super::words;
use crate::desired::{Drift, Group};
use crate::ident::{EnvironmentName, ResourceId};
use crate::schedule::{Window, Zone};
pub(crate) use named::{Named, NamedOnce};
use written::EnvironmentSpec;

pub(crate) const KIND: &str = "Environment";

/// An environment's file, read and not yet compared with what is declared.
pub(crate) struct Written<'t> {
    pub(crate) environment: EnvironmentName,
    spot: Spot<'t>,
    spec: EnvironmentSpec,
}

/// What an environment's file comes to.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub(crate) retire: BTreeSet<ResourceId>,
    pub(crate) protect: BTreeSet<ResourceId>,
    pub(crate) moved: BTreeMap<ResourceId, ResourceId>,
    pub(crate) groups: Vec<Group>,
    pub(crate) drift: Drift,
    pub(crate) maintenance: Option<Window>,
}

/// Reads a document of kind `Environment` that stands in the folder of `home`.
pub(crate) fn read<'t>(
    spot: Spot<'t>,
    home: &EnvironmentName,
    schema: &Compiled,
    findings: &mut Findings,
) -> Option<Written<'t>> {
    let expected = format!("environments/{home}/environment.yaml");
    if spot.path != expected && spot.path != expected.replace(".yaml", ".yml") {
        findings.push(
            spot.at_value("/kind", format!("an `{KIND}` stands in the wrong file"))
                .label("not here")
                .help(format!("move it to `{expected}`")),
        );
    }
    spot.only_fields("", &["apiVersion", "kind", "metadata", "spec"], findings);
    spot.only_fields("/metadata", &["name"], findings);
    if let Some(name) = spot.required_text("/metadata/name", home.as_str(), findings)
        && name != home.as_str()
    {
        let title = format!("environment {} stands in the folder of `{home}`", words::tick(name));
        let help = format!("write `name: {home}`, or move the file to the folder of {}", words::tick(name));
        findings.push(spot.at_value("/metadata/name", title).label("another environment").help(help));
    }
    let Some(spec) = spot.value().get("spec").cloned() else {
        findings.push(spot.at_key("", "`spec` is missing").label("without `spec`").help("write `spec: {}`"));
        return None;
    };
    if !spot.check("/spec", &spec, schema, findings) {
        return None;
    }
    // The schema is made from the type, so what fits the one fits the other.
    let spec = serde_json::from_value(spec).ok()?;
    Some(Written { environment: home.clone(), spot, spec })
}

/// Each environment's file once.
fn unique<'t>(written: Vec<Written<'t>>, findings: &mut Findings) -> Vec<Written<'t>> {
    let mut kept: BTreeMap<EnvironmentName, Written<'t>> = BTreeMap::new();
    for one in written {
        if let Some(first) = kept.get(&one.environment) {
            let title = format!("environment `{}` is declared twice", one.environment);
            findings.push(
                one.spot
                    .at_value("/kind", title)
                    .label("here again")
                    .also(first.spot.path, first.spot.value_span("/kind"), "first here")
                    .help("write all of it into one `spec`"),
            );
        } else {
            kept.insert(one.environment.clone(), one);
        }
    }
    kept.into_values().collect()
}

/// Compares what the files say with what is declared.
pub(crate) fn check<'t>(
    written: Vec<Written<'t>>,
    zone: Zone,
    names: &mut Names<'_, 't>,
) -> BTreeMap<EnvironmentName, Policy> {
    let written = unique(written, names.findings);
    let mut policies: BTreeMap<EnvironmentName, Policy> = BTreeMap::new();
    // What is gone is known of all environments before anything is looked for.
    for one in &written {
        let retired = retire::read(one, names);
        let retire = retired.keys().cloned().collect();
        names.retired.extend(retired);
        policies.insert(one.environment.clone(), Policy { retire, ..Policy::default() });
    }
    for one in &written {
        let moved = moved::read(one, names);
        let policy = policies.entry(one.environment.clone()).or_default();
        policy.moved = moved.iter().map(|(from, (to, _))| (from.clone(), to.clone())).collect();
        names.moved.extend(moved);
    }
    for one in &written {
        let policy = policies.entry(one.environment.clone()).or_default();
        policy.protect = protect::read(one, names);
        policy.groups = groups::read(one, names);
        policy.drift = times::drift(one.spot, one.spec.drift.as_ref(), zone, names.findings);
        policy.maintenance =
            times::maintenance(one.spot, one.spec.maintenance.as_ref(), zone, names.findings);
    }
    policies
}
