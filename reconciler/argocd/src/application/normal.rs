//! The form that Argo CD's controller gives a spec: what it rewrites must not be a difference.
//!
//! (`NormalizeApplicationSpec` and `NormalizeSource` of Argo CD: an empty `project` becomes `default`; a
//! `syncPolicy` and a source's `helm`, `kustomize`, `directory` and `plugin` that say nothing are removed.)

use serde_json::{Map, Value};

const SOURCE_BLOCKS: [&str; 4] = ["directory", "helm", "kustomize", "plugin"];
/// An empty one of these says something: `automated: {}` switches automation on.
const POINTERS: [&str; 3] = ["automated", "managedNamespaceMetadata", "retry"];

/// Gives a spec in the controller's form.
pub(super) fn spec(spec: &Map<String, Value>) -> Map<String, Value> {
    let mut normal = without_nulls(spec);
    if normal.get("project").is_none_or(|project| project == "") {
        normal.insert("project".to_owned(), Value::from("default"));
    }
    if normal.get("syncPolicy").is_some_and(says_nothing) {
        normal.remove("syncPolicy");
    }
    match normal.get_mut("sources").and_then(Value::as_array_mut) {
        Some(sources) if !sources.is_empty() => sources.iter_mut().for_each(source),
        _ => drop(normal.get_mut("source").map(source)),
    }
    normal
}

fn source(source: &mut Value) {
    if let Value::Object(fields) = source {
        fields.retain(|key, value| !(SOURCE_BLOCKS.contains(&key.as_str()) && is_zero(value)));
    }
}

fn says_nothing(policy: &Value) -> bool {
    policy.as_object().is_some_and(|fields| {
        fields.iter().all(|(key, value)| !POINTERS.contains(&key.as_str()) && is_zero(value))
    })
}

/// What Go's JSON leaves out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_zero),
    }
}

/// A null in a manifest means that nothing is wanted there.
fn without_nulls(fields: &Map<String, Value>) -> Map<String, Value> {
    let keep = fields.iter().filter(|(_, value)| !value.is_null());
    keep.map(|(key, value)| {
        let value = match value {
            Value::Object(inner) => Value::Object(without_nulls(inner)),
            other => other.clone(),
        };
        (key.clone(), value)
    })
    .collect()
}

/// Without anything that says nothing, at any depth: how two texts of the same Go value compare, such as a
/// spec and the copy of it in `status.sync.comparedTo`.
pub(super) fn essence(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(_, inner)| !is_zero(inner))
                .map(|(key, inner)| (key.clone(), essence(inner)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(essence).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn normal(value: &Value) -> Value {
        Value::Object(spec(value.as_object().unwrap()))
    }

    #[test]
    fn blocks_that_say_nothing_go_and_automation_stays() {
        let wanted = json!({
            "project": "",
            "source": { "repoURL": "x", "helm": {}, "directory": { "recurse": false, "jsonnet": {} }, "path": "" },
            "syncPolicy": { "syncOptions": [] },
        });
        assert_eq!(
            normal(&wanted),
            json!({ "project": "default", "source": { "repoURL": "x", "path": "" } })
        );
        let automated = json!({ "project": "p", "syncPolicy": { "automated": {} } });
        assert_eq!(normal(&automated), automated);
        let several =
            json!({ "project": "p", "sources": [{ "repoURL": "x", "kustomize": {} }], "source": null });
        assert_eq!(normal(&several), json!({ "project": "p", "sources": [{ "repoURL": "x" }] }));
    }
}
