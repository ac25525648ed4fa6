//! Sets of field paths: who manages which field of an object, in memory and as `fieldsV1` on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Field(String),
    /// An item of a list that is keyed by some of its fields: `ownerReferences` by `uid`.
    Key(String),
    /// An item of a list that is a set: `finalizers`.
    Item(String),
}

pub(super) type Path = Vec<Step>;

impl Step {
    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(uid) => format!("k:{}", json!({ "uid": uid })),
            Self::Item(value) => format!("v:{}", json!(value)),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let (tag, rest) = text.split_once(':')?;
        match tag {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => {
                let key: Value = serde_json::from_str(rest).ok()?;
                Some(Self::Key(key.get("uid")?.as_str()?.to_owned()))
            }
            "v" => serde_json::from_str(rest).ok().map(Self::Item),
            _ => None,
        }
    }
}

/// How a path is printed: `.metadata.finalizers[="x"]`.
pub(super) struct Shown<'a>(pub(super) &'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| match step {
            Step::Field(name) => write!(f, ".{name}"),
            Step::Key(uid) => write!(f, "[uid={uid:?}]"),
            Step::Item(value) => write!(f, "[={value:?}]"),
        })
    }
}

/// How the items of a list are told apart. Lists of custom resources are atomic: owned as a whole.
pub(super) enum ListKind {
    Atomic,
    Set,
    ByUid,
}

pub(super) fn list_kind(path: &[Step]) -> ListKind {
    match path {
        [Step::Field(metadata), Step::Field(list)] if metadata == "metadata" => match list.as_str() {
            "finalizers" => ListKind::Set,
            "ownerReferences" => ListKind::ByUid,
            _ => ListKind::Atomic,
        },
        _ => ListKind::Atomic,
    }
}

/// Fields that identify an object or are the server's: nobody manages them.
fn unmanaged(path: &[Step]) -> bool {
    const SERVERS: &[&str] = &[
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
        "generateName",
    ];
    match path {
        [Step::Field(name)] => name == "apiVersion" || name == "kind",
        [Step::Field(metadata), Step::Field(name), ..] => {
            metadata == "metadata" && SERVERS.contains(&name.as_str())
        }
        _ => false,
    }
}

/// A place in an object: a container, or a leaf with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Container,
    Leaf(Value),
}

/// Every managed place of an object.
pub(super) fn spots(object: &Value) -> BTreeMap<Path, Spot> {
    let mut found = BTreeMap::new();
    gather(object, &mut Vec::new(), &mut found);
    found
}

fn gather(value: &Value, path: &mut Path, found: &mut BTreeMap<Path, Spot>) {
    if unmanaged(path) || (path.is_empty() && !value.is_object()) {
        return;
    }
    let children: Vec<(Step, &Value)> = match value {
        Value::Object(entries) => {
            entries.iter().map(|(name, value)| (Step::Field(name.clone()), value)).collect()
        }
        Value::Array(items) => match list_kind(path) {
            ListKind::Atomic => {
                found.insert(path.clone(), Spot::Leaf(value.clone()));
                return;
            }
            ListKind::Set => items
                .iter()
                .filter_map(|item| item.as_str().map(|text| (Step::Item(text.to_owned()), item)))
                .collect(),
            ListKind::ByUid => items
                .iter()
                .filter_map(|item| item["uid"].as_str().map(|uid| (Step::Key(uid.to_owned()), item)))
                .collect(),
        },
        leaf => {
            found.insert(path.clone(), Spot::Leaf(leaf.clone()));
            return;
        }
    };
    // The root and `metadata` are nobody's.
    if !path.is_empty() && path.as_slice() != [Step::Field("metadata".to_owned())] {
        found.insert(path.clone(), Spot::Container);
    }
    for (step, child) in children {
        path.push(step);
        gather(child, path, found);
        path.pop();
    }
}

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Set(pub(super) BTreeSet<Path>);

impl Set {
    /// What an applied configuration claims: its leaves, and its empty objects.
    pub(super) fn claimed(configuration: &Value) -> Self {
        let spots = spots(configuration);
        let paths: Vec<&Path> = spots.keys().collect();
        let mut claimed = BTreeSet::new();
        for (at, path) in paths.iter().enumerate() {
            // Sorted order puts the parts of a container right behind it.
            let has_parts = paths.get(at + 1).is_some_and(|next| next.starts_with(path));
            if !has_parts || matches!(path.last(), Some(Step::Key(_))) {
                claimed.insert((*path).clone());
            }
        }
        Self(claimed)
    }

    /// Whether the path itself or something below it is in the set.
    pub(super) fn touches(&self, path: &Path) -> bool {
        self.0.range(path.clone()..).next().is_some_and(|found| found.starts_with(path))
    }

    pub(super) fn to_fields_v1(&self) -> Value {
        let mut root = Value::Object(Map::new());
        for path in &self.0 {
            let mut at = &mut root;
            for step in path {
                at = &mut at[step.encode()];
                if at.is_null() {
                    *at = json!({});
                }
            }
        }
        // A member that also has parts is told from a mere container by `.`.
        for path in &self.0 {
            let mut at = &mut root;
            for step in path {
                at = &mut at[step.encode()];
            }
            if at.as_object().is_some_and(|parts| !parts.is_empty()) {
                at["."] = json!({});
            }
        }
        root
    }

    pub(super) fn from_fields_v1(fields: &Value) -> Self {
        let mut set = Self::default();
        read(fields, &mut Vec::new(), &mut set.0);
        set
    }
}

fn read(fields: &Value, path: &mut Path, into: &mut BTreeSet<Path>) {
    let Some(parts) = fields.as_object() else { return };
    if !path.is_empty() && (parts.is_empty() || parts.contains_key(".")) {
        into.insert(path.clone());
    }
    for (step, inner) in parts {
        if let Some(step) = Step::decode(step) {
            path.push(step);
            read(inner, path, into);
            path.pop();
        }
    }
}

/// What differs between two versions of an object.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Added and modified.
    pub(super) written: BTreeSet<Path>,
    pub(super) removed: BTreeSet<Path>,
}

pub(super) fn compare(before: &Value, after: &Value) -> Change {
    let (before, after) = (spots(before), spots(after));
    let mut change = Change::default();
    for (path, spot) in &after {
        if before.get(path) != Some(spot) {
            change.written.insert(path.clone());
        }
    }
    change.removed.extend(before.into_keys().filter(|path| !after.contains_key(path)));
    change
}
