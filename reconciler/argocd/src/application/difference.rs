//! What differs between what is declared and what is there. Only declared fields count, and those that we
//! applied once and declare no more.

use holdfast_core::kind::Change;
use serde_json::{Map, Value, json};

use super::spec::Spec;
use super::state::State;
use super::{MARK, normal, owned};
use crate::client::one_line;

/// The object that is applied, without name, namespace and mark, which who applies it knows.
pub(super) fn wanted(want: &Spec) -> Value {
    let mut metadata = Map::new();
    if !want.metadata.labels.is_empty() {
        metadata.insert("labels".to_owned(), json!(want.metadata.labels));
    }
    if !want.metadata.annotations.is_empty() {
        metadata.insert("annotations".to_owned(), json!(want.metadata.annotations));
    }
    if !want.metadata.finalizers.is_empty() {
        metadata.insert("finalizers".to_owned(), json!(want.metadata.finalizers));
    }
    json!({ "metadata": metadata, "spec": want.spec })
}

/// All differences, in the order of their fields.
pub(super) fn differences(wanted: &Value, seen: &State) -> Vec<Change> {
    let mut changes = Vec::new();
    let live = json!({
        "metadata": { "labels": seen.labels, "annotations": seen.annotations },
        "spec": normal::spec(&seen.spec),
    });
    for part in ["labels", "annotations"] {
        let field = format!("metadata.{part}");
        compare(&field, &wanted["metadata"][part], live["metadata"].get(part), &mut changes);
    }
    for finalizer in wanted["metadata"]["finalizers"].as_array().into_iter().flatten() {
        if !seen.finalizers.iter().any(|live| finalizer == live) {
            changes.push(change("metadata.finalizers", None, Some(finalizer)));
        }
    }
    compare("spec", &wanted["spec"], Some(&live["spec"]), &mut changes);
    dropped(wanted, &live, seen, &mut changes);
    changes
}

fn compare(field: &str, want: &Value, live: Option<&Value>, changes: &mut Vec<Change>) {
    match (want, live) {
        (Value::Null, _) => {}
        (Value::Object(fields), Some(Value::Object(live))) => {
            for (key, inner) in fields {
                compare(&format!("{field}.{key}"), inner, live.get(key), changes);
            }
        }
        // Lists of an Application are atomic: they are one value.
        (want, Some(live)) if want == live => {}
        (want, live) => changes.push(change(field, live, Some(want))),
    }
}

/// A field that we own and declare no more is removed by the next apply.
fn dropped(wanted: &Value, live: &Value, seen: &State, changes: &mut Vec<Change>) {
    let is_mark = |path: &[String]| path.len() == 3 && path[1] == "annotations" && path[2] == MARK;
    for path in seen.owned.iter().filter(|path| !is_mark(path) && !owned::covers(wanted, path)) {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let (field, value) = match names.as_slice() {
            [fields @ .., last] if last.starts_with('=') => (fields.join("."), Some(json!(last[1..]))),
            fields => (fields.join("."), fields.iter().try_fold(live, |at, key| at.get(key)).cloned()),
        };
        changes.push(change(&field, value.as_ref(), None));
    }
}

fn change(field: &str, from: Option<&Value>, to: Option<&Value>) -> Change {
    let show = |value: &Value| match value {
        Value::String(text) => one_line(text),
        other => one_line(&other.to_string()),
    };
    Change { field: field.to_owned(), from: from.map(show), to: to.map(show) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(want: Value, seen: Value) -> Vec<String> {
        let want: Spec = serde_json::from_value(want).unwrap();
        let seen: State = serde_json::from_value(seen).unwrap();
        differences(&wanted(&want), &seen).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn differences_are_named_by_field() {
        let want = json!({
            "metadata": { "labels": { "team": "a" }, "finalizers": ["x.y/z"] },
            "spec": {
                "project": "", "destination": { "namespace": "web" },
                "source": { "repoURL": "u", "targetRevision": "v2", "helm": {} },
                "ignoreDifferences": [{ "kind": "Secret" }],
            },
        });
        let seen = json!({
            "labels": { "other": "x" },
            "owned": [["spec", "source", "path"], ["metadata", "finalizers", "=old"], ["metadata", "annotations", "holdfast/mark"]],
            "spec": {
                "project": "default", "destination": { "namespace": "web", "server": "s" },
                "source": { "repoURL": "u", "targetRevision": "v1", "path": "p" },
            },
        });
        assert_eq!(
            shown(want, seen),
            [
                "metadata.labels.team: (none) -> a",
                "metadata.finalizers: (none) -> x.y/z",
                "spec.ignoreDifferences: (none) -> [{\"kind\":\"Secret\"}]",
                "spec.source.targetRevision: v1 -> v2",
                "spec.source.path: p -> (none)",
                "metadata.finalizers: old -> (none)",
            ]
        );
    }
}
