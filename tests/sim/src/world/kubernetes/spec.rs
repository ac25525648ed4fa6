//! How the API server and the controller read a spec: what they refuse, rewrite, and make of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const KNOWN: [&str; 9] = [
    "destination",
    "ignoreDifferences",
    "info",
    "project",
    "revisionHistoryLimit",
    "source",
    "sourceHydrator",
    "sources",
    "syncPolicy",
];

/// What the API server refuses before anything is stored, in its words: the definition's schema, read strictly.
pub(super) fn refused(document: &Value) -> Option<String> {
    let spec = &document["spec"];
    let fields = spec.as_object().into_iter().flatten();
    let unknown: Vec<&String> =
        fields.map(|(key, _)| key).filter(|key| !KNOWN.contains(&key.as_str())).collect();
    if let Some(field) = unknown.first() {
        return Some(format!("400: strict decoding error: unknown field \"spec.{field}\""));
    }
    for (field, fits) in
        [("project", spec["project"].is_string()), ("destination", spec["destination"].is_object())]
    {
        if !fits {
            return Some(format!("422: Application.argoproj.io is invalid: spec.{field}: Required value"));
        }
    }
    let wrong = |source: &Value| source.is_object() && !source["repoURL"].is_string();
    (wrong(&spec["source"]) || spec["sources"].as_array().is_some_and(|list| list.iter().any(wrong)))
        .then(|| "422: Application.argoproj.io is invalid: spec.source.repoURL: Required value".to_owned())
}

/// Why the controller cannot compare it, if so.
pub(super) fn problem(spec: &Map<String, Value>) -> Option<&'static str> {
    let empty = |value: &Value| value.as_str().is_none_or(str::is_empty);
    let destination = spec.get("destination").unwrap_or(&Value::Null);
    if empty(&destination["server"]) && empty(&destination["name"]) {
        return Some("Destination server missing from app spec");
    }
    let incomplete = |source: &&Value| {
        empty(&source["repoURL"]) || ["path", "chart", "ref"].iter().all(|field| empty(&source[*field]))
    };
    sources(spec).iter().any(incomplete).then_some(
        "spec.source.repoURL and either spec.source.path, spec.source.chart, or spec.source.ref are required",
    )
}

/// The spec as the controller writes it back, where that differs: no empty project, no blocks that say nothing.
pub(super) fn rewritten(spec: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut new = spec.clone();
    if new.get("project").is_none_or(|project| project == "") {
        new.insert("project".to_owned(), json!("default"));
    }
    let switches = ["automated", "managedNamespaceMetadata", "retry"];
    let idle = |policy: &Value| switches.iter().all(|field| policy[*field].is_null()) && zero(policy);
    if new.get("syncPolicy").is_some_and(idle) {
        new.remove("syncPolicy");
    }
    let blocks = ["directory", "helm", "kustomize"];
    let clean = |source: &mut Value| {
        if let Value::Object(fields) = source {
            fields.retain(|key, value| !(blocks.contains(&key.as_str()) && zero(value)));
        }
    };
    match new.get_mut("sources") {
        Some(Value::Array(list)) if !list.is_empty() => list.iter_mut().for_each(clean),
        _ => drop(new.get_mut("source").map(clean)),
    }
    (new != *spec).then_some(new)
}

fn zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(zero),
    }
}

pub(super) fn automated(spec: &Map<String, Value>) -> bool {
    let automated = spec.get("syncPolicy").map_or(&Value::Null, |policy| &policy["automated"]);
    automated.is_object() && automated["enabled"] != false
}

/// Several sources win over one.
fn several(spec: &Map<String, Value>) -> Option<&Vec<Value>> {
    spec.get("sources").and_then(Value::as_array).filter(|list| !list.is_empty())
}

/// All sources, of which one may be null.
pub(super) fn sources(spec: &Map<String, Value>) -> Vec<&Value> {
    match several(spec) {
        Some(list) => list.iter().collect(),
        None => vec![spec.get("source").unwrap_or(&Value::Null)],
    }
}

/// What `status.sync.comparedTo` says. With several sources, Go still writes the single one.
pub(super) fn compared_to(spec: &Map<String, Value>) -> Map<String, Value> {
    let mut compared = Map::new();
    let mut keep = |field: &str| {
        if let Some(value) = spec.get(field) {
            compared.insert(field.to_owned(), value.clone());
        }
    };
    keep("destination");
    keep("ignoreDifferences");
    keep(if several(spec).is_some() { "sources" } else { "source" });
    if several(spec).is_some() {
        compared.insert("source".to_owned(), json!({ "repoURL": "" }));
    }
    compared
}

/// The revisions that the sources resolve to, and whether there are several sources. `pushes` counts the commits
/// of each repository.
pub(super) fn revisions(spec: &Map<String, Value>, pushes: &BTreeMap<String, u64>) -> (Vec<String>, bool) {
    let resolve = |source: &Value| {
        let text = |field: &str| source[field].as_str().unwrap_or_default();
        let target = text("targetRevision");
        let is_commit = target.len() == 40 && target.bytes().all(|b| b.is_ascii_hexdigit());
        if is_commit || source["chart"].is_string() {
            return target.to_owned();
        }
        let count = pushes.get(text("repoURL")).copied().unwrap_or(0);
        let seed = format!("{} {target} {count}", text("repoURL"));
        format!("{:016x}{:016x}{:08x}", hash(&seed, 1), hash(&seed, 2), hash(&seed, 3) & 0xffff_ffff)
    };
    (sources(spec).into_iter().map(resolve).collect(), several(spec).is_some())
}

/// What makes two syncs the same.
pub(super) fn print(spec: &Map<String, Value>, revisions: &[String]) -> String {
    json!([sources(spec), spec.get("destination"), revisions]).to_string()
}

/// Where it deploys to.
pub(super) fn place(spec: &Map<String, Value>, name: &str) -> String {
    let destination = spec.get("destination").unwrap_or(&Value::Null);
    format!("{}/{name}", destination["namespace"].as_str().unwrap_or("default"))
}

/// The repositories that it comes from.
pub(super) fn repositories(spec: &Map<String, Value>) -> Vec<&str> {
    sources(spec).into_iter().filter_map(|source| source["repoURL"].as_str()).collect()
}

/// FNV-1a: chance that is the same in every run, however time is cut.
pub(super) fn hash(text: &str, salt: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64 ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed =
        text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 7
}
