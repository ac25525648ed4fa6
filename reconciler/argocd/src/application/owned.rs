//! Which fields are ours, by `metadata.managedFields`: what we once applied and want no more must go.

use serde_json::{Map, Value};

use crate::client::MANAGER;

/// A field's path, outermost first. An element of a set is its value after `=`.
pub(super) type Path = Vec<String>;

/// More owned fields than any Application has: what is beyond is not looked at.
const MOST: usize = 4096;

/// The fields that we applied, of an object's `managedFields`.
pub(super) fn owned(managed_fields: &Value) -> Vec<Path> {
    let mut paths = Vec::new();
    let entries = managed_fields.as_array().into_iter().flatten();
    for entry in entries.filter(|entry| entry["manager"] == MANAGER && entry["operation"] == "Apply") {
        if let Some(fields) = entry["fieldsV1"].as_object() {
            collect(fields, &mut Vec::new(), &mut paths);
        }
    }
    paths
}

fn collect(fields: &Map<String, Value>, path: &mut Path, paths: &mut Vec<Path>) {
    for (key, inner) in fields {
        // `.` is the parent itself, `k:` an element of a keyed list, of which Applications have none.
        let step = match key.split_once(':') {
            Some(("f", name)) => name.to_owned(),
            Some(("v", value)) => {
                let text = serde_json::from_str::<Value>(value).unwrap_or_default();
                format!("={}", text.as_str().unwrap_or_default())
            }
            _ => continue,
        };
        path.push(step);
        match inner.as_object().filter(|inner| inner.keys().any(|key| key != ".")) {
            Some(inner) if path.len() < 32 => collect(inner, path, paths),
            _ if paths.len() < MOST => paths.push(path.clone()),
            _ => {}
        }
        path.pop();
    }
}

/// Whether an object that is to be applied has a value at a path.
pub(super) fn covers(object: &Value, path: &[String]) -> bool {
    let Some((step, rest)) = path.split_first() else { return true };
    match object {
        Value::Object(fields) => fields.get(step).is_some_and(|inner| covers(inner, rest)),
        Value::Array(items) => match step.strip_prefix('=') {
            Some(value) => items.iter().any(|item| item == value),
            None => true,
        },
        // Our value has no fields where the owned one had: the whole is compared by its value.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_we_applied_and_want_no_more_is_found() {
        let fields = json!([
            { "manager": "holdfast", "operation": "Apply", "fieldsV1": {
                "f:metadata": {
                    "f:annotations": { ".": {}, "f:holdfast/mark": {}, "f:team": {} },
                    "f:finalizers": { ".": {}, "v:\"a.b/c\"": {} },
                },
                "f:spec": { "f:source": { ".": {}, "f:repoURL": {} }, "f:sources": {} },
            }},
            { "manager": "argocd-server", "operation": "Update", "fieldsV1": { "f:spec": { "f:project": {} } } },
        ]);
        let paths = owned(&fields);
        let shown: Vec<String> = paths.iter().map(|path| path.join(" ")).collect();
        assert_eq!(
            shown,
            [
                "metadata annotations holdfast/mark",
                "metadata annotations team",
                "metadata finalizers =a.b/c",
                "spec source repoURL",
                "spec sources",
            ]
        );
        let wanted =
            json!({ "metadata": { "finalizers": ["a.b/c"] }, "spec": { "source": { "repoURL": "x" } } });
        let dropped: Vec<&String> = shown
            .iter()
            .zip(&paths)
            .filter(|(_, path)| !covers(&wanted, path))
            .map(|(text, _)| text)
            .collect();
        assert_eq!(
            dropped,
            ["metadata annotations holdfast/mark", "metadata annotations team", "spec sources"]
        );
    }

    #[test]
    fn odd_managed_fields_are_no_trouble() {
        for odd in [
            json!(null),
            json!("x"),
            json!([1, {}, { "manager": "holdfast", "operation": "Apply", "fieldsV1": [] }]),
        ] {
            assert!(owned(&odd).is_empty());
        }
    }
}
