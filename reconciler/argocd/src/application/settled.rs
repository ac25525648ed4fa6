//! When an Application is settled: every sign that Argo CD gives must say so, about the spec that stands now.
//!
//! A status can be old: it counts only when the spec that it compared is the one that is there. That also
//! covers the time right after our own write.

use serde_json::{Map, Value};

use super::normal::essence;
use super::state::{Operation, State, Sync};

/// Why it is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pending {
    /// It goes on by itself, or somebody may push what is missing.
    Waits(String),
    /// Argo CD gave up: nothing happens before a person does something.
    GaveUp(String),
}

impl Pending {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Waits(text) | Self::GaveUp(text) => text,
        }
    }
}

/// Why it is not up, whatever is wanted.
pub(super) fn unhealthy(seen: &State) -> Option<String> {
    if let Some(since) = &seen.deleting {
        return Some(format!("it is being deleted since {since}"));
    }
    match &seen.health {
        None => Some("argo cd has not told its health yet".to_owned()),
        Some(health) if health.status == "Healthy" => None,
        Some(health) => Some(with(format!("health is {}", health.status), health.message.as_deref())),
    }
}

/// What is missing until it is settled. `None`: it is.
pub(super) fn pending(seen: &State) -> Option<Pending> {
    let waits = |text: String| Some(Pending::Waits(text));
    if let Some(since) = &seen.deleting {
        return waits(format!("it is being deleted since {since}"));
    }
    let error = seen.errors.first().map(|error| format!("{}: {}", error.kind, error.message));
    let Some(sync) = seen.sync.as_ref().filter(|sync| !sync.status.is_empty()) else {
        return waits(with("argo cd has not compared it yet".to_owned(), error.as_deref()));
    };
    if !compared_to_spec(&seen.spec, sync) {
        return waits(with("argo cd has not compared this spec yet".to_owned(), error.as_deref()));
    }
    // The request stands while it runs, of which there is more to tell.
    if let Some(running) = seen.operation_state.as_ref().and_then(running) {
        return waits(running);
    }
    if seen.operation {
        return waits("argo cd has a sync requested".to_owned());
    }
    if let Some(error) = seen.errors.iter().find(|error| error.kind == "SyncError") {
        return Some(Pending::GaveUp(format!("argo cd gave up syncing: {}", error.message)));
    }
    if let Some(error) = error {
        return waits(format!("argo cd reports {error}"));
    }
    if sync.status != "Synced" {
        return waits(not_synced(seen, sync));
    }
    if let Some(text) = other_revision(&seen.spec, sync) {
        return waits(text);
    }
    if let Some(failed) = failed(seen, sync) {
        return waits(failed);
    }
    if let Some(text) = unhealthy(seen) {
        return waits(text);
    }
    seen.unsettled_children.first().map(|child| Pending::Waits(format!("application {child}")))
}

/// The status speaks of the spec that is there. `sources` wins over `source`; a hydrated source is compared
/// as what it became, so only its destination can be.
fn compared_to_spec(spec: &Map<String, Value>, sync: &Sync) -> bool {
    let fields: &[&str] = if spec.contains_key("sourceHydrator") {
        &["destination", "ignoreDifferences"]
    } else if several(spec).is_some() {
        &["destination", "ignoreDifferences", "sources"]
    } else {
        &["destination", "ignoreDifferences", "source"]
    };
    let essence_of = |object: &Map<String, Value>, field: &str| {
        object
            .get(field)
            .map(essence)
            .filter(|value| *value != Value::Object(Map::new()) && *value != Value::Array(Vec::new()))
    };
    fields.iter().all(|field| essence_of(spec, field) == essence_of(&sync.compared_to, field))
}

fn running(operation: &Operation) -> Option<String> {
    let message = operation.message.as_deref();
    match (operation.phase.as_str(), &operation.finished_at) {
        ("Running", Some(_)) => {
            let text = format!(
                "argo cd waits to try the sync again (attempt {})",
                operation.retries.saturating_add(1)
            );
            Some(with(text, message))
        }
        ("Running", None) => Some(with("argo cd is syncing".to_owned(), message)),
        ("Terminating", _) => Some("argo cd is ending a sync".to_owned()),
        _ => None,
    }
}

/// A failed sync counts while it is about the sources and the revisions that stand; an older one was overtaken, and one
/// of sources that were taken back is over: where nothing of it was deployed, Argo CD finds nothing to sync, and lets its
/// failure stand for ever.
fn failed(seen: &State, sync: &Sync) -> Option<String> {
    let operation = seen.operation_state.as_ref()?;
    if !matches!(operation.phase.as_str(), "Failed" | "Error") {
        return None;
    }
    let same_revision = if operation.revisions.is_empty() || sync.revisions.is_empty() {
        let compared = sync.revision.as_ref().or(sync.revisions.first());
        operation.revision.is_none() || operation.revision.as_ref() == compared
    } else {
        operation.revisions == sync.revisions
    };
    (same_revision && same_sources(&seen.spec, operation))
        .then(|| with("the last sync failed".to_owned(), operation.message.as_deref()))
}

/// As Argo CD tells whether it tried something before: by the sources without `targetRevision`, since what it resolved
/// to is compared. What it does not say counts as the same, and so does a hydrated source, which the spec does not hold.
fn same_sources(spec: &Map<String, Value>, operation: &Operation) -> bool {
    if operation.sources.is_empty() || spec.contains_key("sourceHydrator") {
        return true;
    }
    let bare = |source: &Value| {
        let mut source = essence(source);
        if let Value::Object(fields) = &mut source {
            fields.remove("targetRevision");
        }
        source
    };
    let wanted = match several(spec) {
        Some(sources) => sources.iter().collect(),
        None => Vec::from_iter(spec.get("source")),
    };
    wanted.into_iter().map(bare).eq(operation.sources.iter().map(bare))
}

fn several(spec: &Map<String, Value>) -> Option<&Vec<Value>> {
    spec.get("sources").and_then(Value::as_array).filter(|list| !list.is_empty())
}

fn not_synced(seen: &State, sync: &Sync) -> String {
    let resources = (!seen.out_of_sync.is_empty()).then(|| seen.out_of_sync.join(", "));
    let says = with(format!("argo cd says {}", sync.status), resources.as_deref());
    if sync.status != "OutOfSync" {
        return says;
    }
    let policy = seen.spec.get("syncPolicy").and_then(|policy| policy.get("automated"));
    let automated = policy.filter(|automated| !automated.is_null() && automated["enabled"] != false);
    match automated {
        None => {
            format!("{says}; automated sync is off, so somebody must sync it, or set `syncPolicy.automated`")
        }
        Some(automated) if seen.only_pruning && automated["prune"] != true => {
            format!("{says}; it would have to be pruned, and `syncPolicy.automated.prune` is off")
        }
        Some(_) => match failed(seen, sync) {
            Some(failed) => format!("{says}; {failed}"),
            None => says,
        },
    }
}

/// Where the spec names a commit in full, that commit must be the one that was compared.
fn other_revision(spec: &Map<String, Value>, sync: &Sync) -> Option<String> {
    let pairs: Vec<(&Value, Option<&String>)> = match several(spec) {
        Some(sources) => {
            sources.iter().enumerate().map(|(at, source)| (source, sync.revisions.get(at))).collect()
        }
        None => spec.get("source").map(|source| (source, sync.revision.as_ref())).into_iter().collect(),
    };
    pairs.into_iter().find_map(|(source, compared)| {
        let wanted = source["targetRevision"].as_str().filter(|revision| is_commit(revision))?;
        let compared = compared.map_or("none", String::as_str);
        (!wanted.eq_ignore_ascii_case(compared))
            .then(|| format!("argo cd compared revision {compared}, and {wanted} is wanted"))
    })
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

fn with(text: String, detail: Option<&str>) -> String {
    match detail {
        Some(detail) if !detail.is_empty() => format!("{text}: {detail}"),
        _ => text,
    }
}
