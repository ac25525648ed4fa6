//! `metadata.managedFields`: the managers of an object, and how a write moves fields between them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::fields::{ListKind, Path, Set, Shown, Spot, Step, compare, list_kind, spots};
use super::status::{Answer, Failure};

/// Who writes, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    /// `Apply` or `Update`.
    pub(super) operation: &'static str,
    pub(super) name: String,
    pub(super) api_version: String,
}

impl Manager {
    pub(super) fn apply(name: &str, api_version: &str) -> Self {
        Self { operation: "Apply", name: name.to_owned(), api_version: api_version.to_owned() }
    }

    pub(super) fn update(name: &str, api_version: &str) -> Self {
        Self { operation: "Update", name: name.to_owned(), api_version: api_version.to_owned() }
    }

    /// How a conflict names it.
    fn shown(&self) -> String {
        match self.operation {
            "Update" => format!("{:?} using {}", self.name, self.api_version),
            _ => format!("{:?}", self.name),
        }
    }
}

/// All managers of one object.
#[derive(Debug, Default, Clone)]
pub(super) struct Managers(BTreeMap<Manager, (Set, String)>);

impl Managers {
    pub(super) fn of(object: &Value) -> Self {
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let read = |entry: &Value| {
            let manager = Manager {
                operation: if entry["operation"] == "Apply" { "Apply" } else { "Update" },
                name: entry["manager"].as_str()?.to_owned(),
                api_version: entry["apiVersion"].as_str().unwrap_or_default().to_owned(),
            };
            let time = entry["time"].as_str().unwrap_or_default().to_owned();
            Some((manager, (Set::from_fields_v1(&entry["fieldsV1"]), time)))
        };
        Self(entries.iter().filter_map(read).collect())
    }

    pub(super) fn write_to(&self, object: &mut Value) {
        let mut entries: Vec<_> = self.0.iter().filter(|(_, (set, _))| !set.0.is_empty()).collect();
        entries.sort_by(|(a, (_, at)), (b, (_, bt))| {
            (a.operation, at, &a.name).cmp(&(b.operation, bt, &b.name))
        });
        let entries: Vec<Value> = entries
            .into_iter()
            .map(|(manager, (set, time))| {
                json!({
                    "manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version,
                    "time": time, "fieldsType": "FieldsV1", "fieldsV1": set.to_fields_v1(),
                })
            })
            .collect();
        object["metadata"]["managedFields"] = Value::Array(entries);
    }

    /// Everybody but one.
    fn others(&mut self, me: &Manager) -> impl Iterator<Item = (&Manager, &mut Set)> {
        self.0.iter_mut().filter(move |(manager, _)| *manager != me).map(|(manager, (set, _))| (manager, set))
    }

    fn set(&mut self, manager: &Manager, set: Set, now: &str) {
        let unchanged = self.0.get(manager).is_some_and(|(known, _)| *known == set);
        if !unchanged {
            self.0.insert(manager.clone(), (set, now.to_owned()));
        }
    }

    /// A write that is not an apply: it takes what it changes, from whomever.
    pub(super) fn update(&mut self, manager: &Manager, before: &Value, after: &Value, now: &str) {
        let change = compare(before, after);
        if change.written.is_empty() && change.removed.is_empty() {
            return;
        }
        let mut mine = self.0.get(manager).map_or_else(Set::default, |(set, _)| set.clone());
        for (_, set) in self.others(manager) {
            set.0.retain(|path| !change.written.contains(path) && !change.removed.contains(path));
        }
        mine.0.retain(|path| !change.removed.contains(path));
        mine.0.extend(change.written);
        self.0.insert(manager.clone(), (mine, now.to_owned()));
    }
}

/// Merges an applied configuration into the live object. `live` is `Null` where there is none.
pub(super) fn apply(
    manager: &Manager,
    live: &Value,
    configuration: &Value,
    force: bool,
    now: &str,
) -> Answer<Value> {
    let mut managers = Managers::of(live);
    if managers.0.is_empty() && !live.is_null() {
        // Fields from before anybody was tracked belong to a manager of this name.
        let all = Set(spots(live)
            .into_iter()
            .filter(|(_, spot)| matches!(spot, Spot::Leaf(_)))
            .map(|(p, _)| p)
            .collect());
        managers.set(&Manager::update("before-first-apply", &manager.api_version), all, now);
    }
    let mut configuration = configuration.clone();
    drop_nulls(&mut configuration);
    let claimed = Set::claimed(&configuration);
    let mut merged = live.clone();
    merge(&mut merged, &configuration, &mut Vec::new());

    let change = compare(live, &merged);
    let mut conflicts = BTreeMap::new();
    for (other, set) in managers.others(manager) {
        let taken: Vec<Path> = set.0.intersection(&change.written).cloned().collect();
        if !taken.is_empty() {
            conflicts.insert(other.clone(), taken);
        }
    }
    if !force && !conflicts.is_empty() {
        return Err(refusal(&conflicts));
    }
    for (_, set) in managers.others(manager) {
        set.0.retain(|path| !change.written.contains(path) && !change.removed.contains(path));
    }

    let former = managers.0.get(manager).map_or_else(Set::default, |(set, _)| set.clone());
    let mut kept = claimed.clone();
    for (_, set) in managers.others(manager) {
        kept.0.extend(set.0.iter().cloned());
    }
    for path in former.0.difference(&claimed.0) {
        if !kept.touches(path) {
            remove(&mut merged, path, &kept);
        }
    }
    managers.set(manager, claimed, now);
    managers.write_to(&mut merged);
    Ok(merged)
}

fn refusal(conflicts: &BTreeMap<Manager, Vec<Path>>) -> Failure {
    let total: usize = conflicts.values().map(Vec::len).sum();
    let causes: Vec<Value> = conflicts
        .iter()
        .flat_map(|(manager, paths)| {
            paths.iter().map(|path| {
                json!({
                    "reason": "FieldManagerConflict",
                    "message": format!("conflict with {}", manager.shown()),
                    "field": Shown(path).to_string(),
                })
            })
        })
        .collect();
    let message = match conflicts.iter().next() {
        Some((manager, paths)) if total == 1 => {
            let path = paths.first().map(|path| Shown(path).to_string()).unwrap_or_default();
            format!("Apply failed with 1 conflict: conflict with {}: {path}", manager.shown())
        }
        _ => {
            let mut lines = Vec::new();
            for (manager, paths) in conflicts {
                lines.push(format!("conflicts with {}:", manager.shown()));
                lines.extend(paths.iter().map(|path| format!("- {}", Shown(path))));
            }
            format!("Apply failed with {total} conflicts: {}", lines.join("\n"))
        }
    };
    Failure::apply_conflict(message, &causes)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn merge(into: &mut Value, from: &Value, path: &mut Path) {
    match (&mut *into, from) {
        (Value::Object(mine), Value::Object(theirs)) => {
            for (name, value) in theirs {
                path.push(Step::Field(name.clone()));
                merge(mine.entry(name.clone()).or_insert(Value::Null), value, path);
                path.pop();
            }
        }
        (Value::Array(mine), Value::Array(theirs)) if !matches!(list_kind(path), ListKind::Atomic) => {
            for item in theirs {
                let same = |other: &&mut Value| match list_kind(path) {
                    ListKind::ByUid => other["uid"] == item["uid"],
                    ListKind::Set | ListKind::Atomic => **other == *item,
                };
                match mine.iter_mut().find(same) {
                    Some(other) => merge_item(other, item),
                    None => mine.push(item.clone()),
                }
            }
        }
        _ => *into = from.clone(),
    }
}

fn merge_item(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(mine), Value::Object(theirs)) => {
            mine.extend(theirs.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        (into, from) => *into = from.clone(),
    }
}

/// Takes the value at a path away, and the containers that this empties and nobody claims.
fn remove(object: &mut Value, path: &Path, kept: &Set) {
    let Some((last, parent_path)) = path.split_last() else { return };
    let Some(parent) = resolve(object, parent_path) else { return };
    match (parent, last) {
        (Value::Object(entries), Step::Field(name)) => drop(entries.remove(name)),
        (Value::Array(items), Step::Item(value)) => items.retain(|item| item != value),
        (Value::Array(items), Step::Key(uid)) => items.retain(|item| item["uid"] != **uid),
        _ => return,
    }
    let emptied = match resolve(object, parent_path) {
        Some(Value::Object(entries)) => entries.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        _ => false,
    };
    let parent_path = parent_path.to_vec();
    if emptied && parent_path.len() > 1 && !kept.touches(&parent_path) {
        remove(object, &parent_path, kept);
    }
}

fn resolve<'a>(object: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(object, |at, step| match (at, step) {
        (Value::Object(entries), Step::Field(name)) => entries.get_mut(name),
        (Value::Array(items), Step::Key(uid)) => items.iter_mut().find(|item| item["uid"] == **uid),
        (Value::Array(items), Step::Item(value)) => items.iter_mut().find(|item| **item == **value),
        _ => None,
    })
}

/// Whether two versions differ in more than the moments in `managedFields`.
pub(super) fn same_but_times(a: &Value, b: &Value) -> bool {
    let plain = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
            metadata.remove("resourceVersion");
        }
        object
    };
    let sets = |object: &Value| -> BTreeSet<(Manager, BTreeSet<Path>)> {
        Managers::of(object).0.into_iter().map(|(manager, (set, _))| (manager, set.0)).collect()
    };
    plain(a) == plain(b) && sets(a) == sets(b)
}

/// An RFC 7386 merge patch.
pub(super) fn merge_patch(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Some(entries) = target.as_object_mut() {
        for (name, value) in patch {
            if value.is_null() {
                entries.remove(name);
            } else {
                merge_patch(entries.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
    }
}
