//! Who manages which field: what server-side apply merges, refuses and takes away, on documents of `metadata` and
//! `spec`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A field, outermost first. An element of the set of finalizers is its value after `=`.
pub(super) type Path = Vec<String>;

/// The fields of every manager, by its name. `holdfast` applies, all others update.
pub(super) type Managers = BTreeMap<String, BTreeSet<Path>>;

/// Every field that can be managed, with its value. Lists are one value, but for the set of finalizers.
pub(super) fn leaves(document: &Value) -> BTreeMap<Path, Value> {
    let mut found = BTreeMap::new();
    gather(document, &mut Vec::new(), &mut found);
    found
}

fn gather(value: &Value, path: &mut Path, found: &mut BTreeMap<Path, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() || is_plain(path) => {
            for (name, inner) in fields {
                path.push(name.clone());
                gather(inner, path, found);
                path.pop();
            }
        }
        Value::Array(items) if is_set(path) => {
            for item in items.iter().filter_map(Value::as_str) {
                let mut path = path.clone();
                path.push(format!("={item}"));
                found.insert(path, Value::Null);
            }
        }
        leaf => drop(found.insert(path.clone(), leaf.clone())),
    }
}

/// Nobody manages the containers of metadata, nor the document itself.
fn is_plain(path: &[String]) -> bool {
    path.len() < 2 || path[0] == "metadata"
}

fn is_set(path: &[String]) -> bool {
    path.len() == 2 && path[0] == "metadata" && path[1] == "finalizers"
}

/// What another manager's field is in the way of.
pub(super) struct Conflict {
    pub(super) manager: String,
    pub(super) field: String,
}

/// Merges a configuration into a document, for the manager `me`, without force.
pub(super) fn apply(
    managers: &mut Managers,
    me: &str,
    live: &Value,
    configuration: &Value,
) -> Result<Value, Vec<Conflict>> {
    let mut merged = live.clone();
    merge(&mut merged, configuration, &mut Vec::new());
    let (before, after) = (leaves(live), leaves(&merged));
    let written = |path: &Path| after.contains_key(path) && before.get(path) != after.get(path);
    let conflicts: Vec<Conflict> = managers
        .iter()
        .filter(|(manager, _)| *manager != me)
        .flat_map(|(manager, paths)| {
            let taken = paths.iter().filter(|path| written(path));
            taken.map(|path| Conflict { manager: manager.clone(), field: shown(path) })
        })
        .collect();
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let claimed: BTreeSet<Path> = leaves(configuration).into_keys().collect();
    let mut kept = claimed.clone();
    kept.extend(managers.iter().filter(|(manager, _)| *manager != me).flat_map(|(_, paths)| paths.clone()));
    let former = managers.insert(me.to_owned(), claimed).unwrap_or_default();
    for path in former.iter().filter(|path| !touches(&kept, path)) {
        remove(&mut merged, path, &kept);
    }
    Ok(merged)
}

/// A write that is no apply: it takes what it changes, from whomever, and what it removes is nobody's.
pub(super) fn update(managers: &mut Managers, me: &str, before: &Value, after: &Value) {
    let (before, after) = (leaves(before), leaves(after));
    let written: BTreeSet<Path> = after
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(value))
        .map(|(path, _)| path.clone())
        .collect();
    let removed: BTreeSet<&Path> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    for paths in managers.values_mut() {
        paths.retain(|path| !written.contains(path) && !removed.contains(path));
    }
    if !written.is_empty() {
        managers.entry(me.to_owned()).or_default().extend(written);
    }
    managers.retain(|_, paths| !paths.is_empty());
}

fn merge(into: &mut Value, from: &Value, path: &mut Path) {
    match (&mut *into, from) {
        (Value::Object(mine), Value::Object(theirs)) => {
            for (name, value) in theirs {
                path.push(name.clone());
                merge(mine.entry(name.clone()).or_insert(Value::Null), value, path);
                path.pop();
            }
        }
        (Value::Array(mine), Value::Array(theirs)) if is_set(path) => {
            for item in theirs {
                if !mine.contains(item) {
                    mine.push(item.clone());
                }
            }
        }
        _ => *into = from.clone(),
    }
}

/// Whether the path itself or something below it is in the set.
fn touches(paths: &BTreeSet<Path>, path: &Path) -> bool {
    paths.range(path.clone()..).next().is_some_and(|found| found.starts_with(path))
}

/// Takes a field away, and the containers that this empties and nobody claims.
fn remove(document: &mut Value, path: &Path, kept: &BTreeSet<Path>) {
    let Some((last, parents)) = path.split_last() else { return };
    let parent = parents.iter().try_fold(&mut *document, |at, name| at.get_mut(name));
    let emptied = match parent {
        Some(Value::Object(fields)) => {
            fields.remove(last);
            fields.is_empty()
        }
        Some(Value::Array(items)) => {
            items.retain(|item| item.as_str() != last.strip_prefix('='));
            false
        }
        _ => return,
    };
    if emptied && parents.len() > 1 && !touches(kept, &parents.to_vec()) {
        remove(document, &parents.to_vec(), kept);
    }
}

/// `.metadata.finalizers[="x"]`, as the API server prints it.
fn shown(path: &Path) -> String {
    path.iter()
        .map(|step| match step.strip_prefix('=') {
            Some(item) => format!("[={item:?}]"),
            None => format!(".{step}"),
        })
        .collect()
}

/// The document's part under `metadata` or the top, as an object; nothing where it is something else.
pub(super) fn object<'a>(document: &'a Value, path: &[&str]) -> Option<&'a Map<String, Value>> {
    path.iter().try_fold(document, |at, name| at.get(*name))?.as_object()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_applied_no_more_goes_unless_somebody_else_has_it() {
        let mut managers = Managers::new();
        let one = json!({ "metadata": { "labels": { "a": "1" }, "finalizers": ["x/y"] },
                          "spec": { "source": { "path": "p", "helm": { "a": "b" } }, "project": "q" } });
        let live = apply(&mut managers, "holdfast", &json!({}), &one).ok().unwrap();
        let edited = json!({ "metadata": live["metadata"], "spec": {
            "source": { "path": "other", "helm": { "a": "b" } }, "project": "q" } });
        update(&mut managers, "kubectl-edit", &live, &edited);
        let two = json!({ "metadata": {}, "spec": { "project": "q" } });
        let after = apply(&mut managers, "holdfast", &edited, &two).ok().unwrap();
        assert_eq!(
            after,
            json!({ "metadata": { "finalizers": [] }, "spec": { "source": { "path": "other" }, "project": "q" } })
        );
    }

    #[test]
    fn a_field_of_another_manager_is_a_conflict_only_when_it_would_change() {
        let mut managers = Managers::new();
        let one = json!({ "spec": { "source": { "path": "p" } } });
        let live = apply(&mut managers, "holdfast", &json!({}), &one).ok().unwrap();
        let edited = json!({ "spec": { "source": { "path": "q" } } });
        update(&mut managers, "kubectl-edit", &live, &edited);
        let conflicts = apply(&mut managers, "holdfast", &edited, &one).err().unwrap();
        assert_eq!(
            (conflicts[0].manager.as_str(), conflicts[0].field.as_str()),
            ("kubectl-edit", ".spec.source.path")
        );
        assert!(apply(&mut managers, "holdfast", &edited, &edited).is_ok(), "the same value is shared");
        let gone = json!({ "spec": { "source": {} } });
        update(&mut managers, "kubectl-edit", &edited, &gone);
        assert!(apply(&mut managers, "holdfast", &gone, &one).is_ok(), "what nobody has is free");
    }
}
