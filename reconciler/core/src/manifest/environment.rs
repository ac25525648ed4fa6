//! `environments/<name>/environment.yaml`: what is decided for one environment as a whole.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnostic::Findings;
use super::schema::Compiled;
use super::spot::Spot;
use super::words;
use crate::ident::EnvironmentName;

pub(crate) const KIND: &str = "Environment";

/// An environment: what is decided for it as a whole. Stands in `environments/<name>/environment.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// What may be destroyed although it holds data: `Kind/name`. Nothing may declare it any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retire: Vec<String>,
}

/// One entry of `retire:`.
#[derive(Debug)]
pub(crate) struct Retired<'t> {
    pub(crate) environment: EnvironmentName,
    pub(crate) text: String,
    pub(crate) path: &'t str,
    pub(crate) span: Range<usize>,
}

/// Reads a document of kind `Environment` that stands in the folder of `home`.
pub(crate) fn read<'t>(
    spot: Spot<'t>,
    home: &EnvironmentName,
    schema: &Compiled,
    findings: &mut Findings,
) -> Vec<Retired<'t>> {
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
        return Vec::new();
    };
    if !spot.check("/spec", &spec, schema, findings) {
        return Vec::new();
    }
    let EnvironmentSpec { retire } = serde_json::from_value(spec).unwrap_or_default();
    let entry = |(index, text): (usize, String)| {
        let span = spot.value_span(&format!("/spec/retire/{index}"));
        Retired { environment: home.clone(), text, path: spot.path, span }
    };
    retire.into_iter().enumerate().map(entry).collect()
}
