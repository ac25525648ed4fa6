//! What was seen of an Application, reduced to what matters, and the pure reader of the live object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::MARK;
use super::owned::{self, Path};
use crate::client::one_line;

/// A live Application. Everything but the metadata and the spec is Argo CD's word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    pub uid: String,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub finalizers: Vec<String>,
    /// When it was asked to go; set while its finalizers are worked off.
    pub deleting: Option<String>,
    /// The controller that made it: generated Applications are the set's.
    pub generated_by: Option<String>,
    /// It carries no mark of anybody.
    pub unmarked: bool,
    /// The fields that Holdfast applied last.
    pub owned: Vec<Path>,
    pub spec: Map<String, Value>,
    /// An operation was requested. It stands for all of its run, and while it waits to be tried again.
    pub operation: bool,
    pub sync: Option<Sync>,
    pub health: Option<Health>,
    pub operation_state: Option<Operation>,
    /// The conditions whose type ends in `Error`.
    pub errors: Vec<Condition>,
    /// The last comparison against the latest revision. One that stands still is a sign of a repository that
    /// Argo CD cannot read, which it hides for a while. Telling that takes a clock, which a plan has not; it is
    /// kept for the pages, and decided nowhere yet.
    pub reconciled_at: Option<String>,
    /// What is out of sync, the first few.
    pub out_of_sync: Vec<String>,
    /// All that is out of sync would have to be pruned.
    pub only_pruning: bool,
    /// Applications that this one deploys.
    pub children: Vec<String>,
    /// What those are waiting for. Argo CD does not count it.
    pub unsettled_children: Vec<String>,
}

/// `status.sync`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sync {
    pub status: String,
    pub revision: Option<String>,
    /// One a source, where there are several.
    pub revisions: Vec<String>,
    /// Of which spec the status speaks.
    pub compared_to: Map<String, Value>,
}

/// `status.health`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    pub status: String,
    pub message: Option<String>,
}

/// `status.operationState`: the last sync, or the one that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    pub phase: String,
    pub message: Option<String>,
    /// While it runs: it waits to try again.
    pub finished_at: Option<String>,
    pub retries: u64,
    /// What it synced to, the first source's where there are several.
    pub revision: Option<String>,
    /// One a source, where there are several.
    pub revisions: Vec<String>,
    /// What it synced; none where Argo CD does not say.
    pub sources: Vec<Value>,
}

/// One of `status.conditions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
}

/// So many resources are named.
const NAMED: usize = 3;

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(one_line)
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl State {
    /// Reads a live object. What Argo CD wrote oddly is as if it had not written it; only without an identity
    /// or a spec nothing can be said.
    pub(crate) fn read(object: &Value) -> Result<Self, &'static str> {
        let metadata = &object["metadata"];
        let status = &object["status"];
        let out: Vec<&Value> =
            list(&status["resources"]).filter(|resource| resource["status"] == "OutOfSync").collect();
        let is_child = |resource: &&Value| {
            resource["kind"] == "Application"
                && resource["group"] == "argoproj.io"
                && resource["namespace"] == metadata["namespace"]
        };
        let name = |resource: &Value| resource["name"].as_str().map(str::to_owned);
        Ok(Self {
            uid: text(&metadata["uid"]).ok_or("it has no uid")?,
            resource_version: text(&metadata["resourceVersion"]).ok_or("it has no resourceVersion")?,
            labels: texts(&metadata["labels"]),
            annotations: texts(&metadata["annotations"]),
            finalizers: list(&metadata["finalizers"]).filter_map(text).collect(),
            deleting: text(&metadata["deletionTimestamp"]),
            generated_by: list(&metadata["ownerReferences"])
                .find(|owner| owner["kind"] == "ApplicationSet")
                .and_then(|owner| text(&owner["name"])),
            unmarked: metadata["annotations"][MARK].is_null(),
            owned: owned::owned(&metadata["managedFields"]),
            spec: object["spec"].as_object().cloned().ok_or("it has no spec")?,
            operation: object["operation"].is_object(),
            sync: status["sync"].as_object().map(|_| Sync::read(&status["sync"])),
            health: text(&status["health"]["status"])
                .map(|health| Health { status: health, message: text(&status["health"]["message"]) }),
            operation_state: text(&status["operationState"]["phase"])
                .map(|phase| Operation::read(phase, &status["operationState"])),
            errors: list(&status["conditions"]).filter_map(Condition::read_error).collect(),
            reconciled_at: text(&status["reconciledAt"]),
            out_of_sync: out.iter().take(NAMED).map(|resource| short_name(resource)).collect(),
            only_pruning: !out.is_empty() && out.iter().all(|resource| resource["requiresPruning"] == true),
            children: list(&status["resources"]).filter(is_child).filter_map(name).collect(),
            unsettled_children: Vec::new(),
        })
    }
}

fn short_name(resource: &Value) -> String {
    let part = |key: &str| text(&resource[key]).unwrap_or_default();
    format!("{}/{}", part("kind"), part("name"))
}

impl Sync {
    fn read(sync: &Value) -> Self {
        Self {
            status: text(&sync["status"]).unwrap_or_default(),
            revision: text(&sync["revision"]),
            revisions: list(&sync["revisions"]).map(|revision| text(revision).unwrap_or_default()).collect(),
            compared_to: sync["comparedTo"].as_object().cloned().unwrap_or_default(),
        }
    }
}

impl Operation {
    fn read(phase: String, state: &Value) -> Self {
        // One that ended before it had a result says only what was asked for.
        let said = [&state["syncResult"], &state["operation"]["sync"]];
        let revisions = |from: &Value| -> Vec<String> {
            list(&from["revisions"]).map(|revision| text(revision).unwrap_or_default()).collect()
        };
        let revisions = said.iter().map(|from| revisions(from)).find(|found| !found.is_empty());
        let revisions = revisions.unwrap_or_default();
        let revision = said.iter().find_map(|from| text(&from["revision"]));
        Self {
            phase,
            message: text(&state["message"]),
            finished_at: text(&state["finishedAt"]),
            retries: state["retryCount"].as_u64().unwrap_or(0),
            revision: revision.or_else(|| revisions.first().cloned()),
            revisions,
            sources: said
                .iter()
                .map(|from| sources(from))
                .find(|found| !found.is_empty())
                .unwrap_or_default(),
        }
    }
}

/// `sources`, or the one `source` where there are none. With several, Go writes an empty single one as well.
fn sources(from: &Value) -> Vec<Value> {
    let several: Vec<Value> = list(&from["sources"]).cloned().collect();
    let one =
        Some(&from["source"]).filter(|source| source["repoURL"].as_str().is_some_and(|url| !url.is_empty()));
    if several.is_empty() { one.into_iter().cloned().collect() } else { several }
}

impl Condition {
    fn read_error(condition: &Value) -> Option<Self> {
        let kind = text(&condition["type"]).filter(|kind| kind.ends_with("Error"))?;
        Some(Self { kind, message: text(&condition["message"]).unwrap_or_default() })
    }
}
