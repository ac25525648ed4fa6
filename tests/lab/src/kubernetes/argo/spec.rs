//! How the controller reads a spec: normal form, sources, revisions, and what a status was compared to.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Controller;
use crate::kubernetes::store::hex;

/// The spec as the controller writes it back: no empty project, no zero blocks (`NormalizeApplicationSpec`).
pub(super) fn normalized(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if spec["project"].as_str().is_none_or(str::is_empty) {
        spec["project"] = json!("default");
    }
    let policy = &spec["syncPolicy"];
    // An empty `automated` block still switches automation on; an empty retry block is not zero either.
    let set =
        ["automated", "retry", "managedNamespaceMetadata"].iter().any(|field| policy[field].is_object());
    if !set && is_zero(&policy["syncOptions"]) {
        remove(&mut spec, "syncPolicy");
    }
    if is_multi_source(&spec) {
        spec["sources"].as_array_mut().into_iter().flatten().for_each(normalize_source);
    } else if let Some(source) = spec.get_mut("source") {
        normalize_source(source);
    }
    spec
}

fn normalize_source(source: &mut Value) {
    for block in ["kustomize", "helm", "directory"] {
        if source.get(block).is_some_and(is_zero) {
            remove(source, block);
        }
    }
}

fn remove(value: &mut Value, field: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(field);
    }
}

/// Whether everything in a value has Go's zero value.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_zero),
    }
}

pub(super) fn is_multi_source(spec: &Value) -> bool {
    spec["sources"].as_array().is_some_and(|sources| !sources.is_empty())
}

fn sources(spec: &Value) -> Vec<&Value> {
    match spec["sources"].as_array() {
        Some(sources) if !sources.is_empty() => sources.iter().collect(),
        _ => vec![&spec["source"]],
    }
}

/// What `status.sync.comparedTo` says after a comparison. With several sources, Go still writes the single one.
pub(super) fn compared_to(spec: &Value) -> Value {
    let mut compared = json!({ "destination": spec["destination"] });
    if is_multi_source(spec) {
        compared["source"] = json!({ "repoURL": "" });
        compared["sources"] = spec["sources"].clone();
    } else {
        compared["source"] = spec["source"].clone();
    }
    if spec["ignoreDifferences"].is_array() {
        compared["ignoreDifferences"] = spec["ignoreDifferences"].clone();
    }
    compared
}

/// The revisions that the sources resolve to, in order.
pub(super) fn revisions(controller: &Controller, spec: &Value) -> Vec<String> {
    sources(spec).into_iter().map(|source| revision(controller, source)).collect()
}

fn revision(controller: &Controller, source: &Value) -> String {
    let repository = source["repoURL"].as_str().unwrap_or_default();
    let target = source["targetRevision"].as_str().filter(|target| !target.is_empty()).unwrap_or("HEAD");
    if let Some(known) = controller.revisions.get(&(repository.to_owned(), target.to_owned())) {
        return known.clone();
    }
    let is_commit = target.len() == 40 && target.chars().all(|c| c.is_ascii_hexdigit());
    if is_commit || source["chart"].is_string() {
        return target.to_owned();
    }
    // Nobody said which commit this is: any will do, but always the same.
    let digest = Sha256::digest(format!("{repository} {target}"));
    hex(&digest[..20])
}

/// What makes two syncs the same: sources, destination and revisions.
pub(super) fn fingerprint(spec: &Value, revisions: &[String]) -> Value {
    json!([spec["source"], spec["sources"], spec["destination"], revisions])
}

pub(super) fn is_automated(spec: &Value) -> bool {
    let automated = &spec["syncPolicy"]["automated"];
    automated.is_object() && automated["enabled"] != false
}
