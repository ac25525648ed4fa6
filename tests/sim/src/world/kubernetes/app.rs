//! One Application as it is stored, and what Argo CD's controller knows of it.

use std::collections::BTreeMap;

use holdfast_argocd::application::State;
use holdfast_argocd::application::state::{Condition, Health, Operation, Sync};
use holdfast_core::mark::Mark;
use serde_json::{Map, Value, json};

use super::fields::{Managers, object};
use super::identity;
use crate::model::Time;

/// Where the mark stands.
pub(super) const MARK: &str = "holdfast/mark";
/// Under this name Holdfast applies.
pub(super) const HOLDFAST: &str = "holdfast";
/// With it, or with a suffix of it, deleting an Application deletes what it deployed.
pub(super) const CASCADE: &str = "resources-finalizer.argocd.argoproj.io";

/// A stored Application.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct App {
    pub(super) uid: String,
    pub(super) resource_version: u64,
    pub(super) birth: u64,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) finalizers: Vec<String>,
    pub(super) spec: Map<String, Value>,
    pub(super) managers: Managers,
    pub(super) deleting: Option<Time>,
    pub(super) generated_by: Option<String>,
    pub(super) status: Status,
    pub(super) argo: Argo,
    /// The document as one text, kept since it is asked for far more often than it changes.
    pub(super) content: String,
}

/// `operation` and `status`: the controller's word.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Status {
    pub(super) operation: bool,
    pub(super) sync: Option<Sync>,
    pub(super) health: Option<Health>,
    pub(super) operation_state: Option<Operation>,
    pub(super) errors: Vec<Condition>,
    pub(super) reconciled_at: Option<Time>,
}

/// What the controller remembers, and what is going to happen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Argo {
    /// When it is compared next, whatever happens.
    pub(super) compare_at: Time,
    pub(super) running: Option<Running>,
    /// The health turns at this time.
    pub(super) turns_at: Option<Time>,
    /// Until then it is degraded by somebody else's doing.
    pub(super) degraded_until: Option<Time>,
    /// When a cascading deletion has deleted everything.
    pub(super) gone_at: Option<Time>,
    /// What was tried in vain: not tried again by itself.
    pub(super) failed: Option<String>,
    /// Syncs begun, so that no two take the same time.
    pub(super) syncs: u64,
    /// Since when its repository does not answer, as far as it was asked.
    pub(super) blind_since: Option<Time>,
}

/// A sync that runs, or waits to be tried again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running {
    pub(super) at: Time,
    pub(super) waits: bool,
    /// What is being synced: sources, destination and revisions.
    pub(super) print: String,
    pub(super) revision: Option<String>,
    /// Where it goes.
    pub(super) place: String,
    /// So many attempts are going to fail.
    pub(super) failing: u64,
}

impl App {
    pub(super) fn new(uid: String, birth: u64, document: &Value, managers: Managers, now: Time) -> Self {
        let argo = Argo { compare_at: now, ..Argo::default() };
        let mut app = Self {
            uid,
            resource_version: 0,
            birth,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            finalizers: Vec::new(),
            spec: Map::new(),
            managers,
            deleting: None,
            generated_by: None,
            status: Status::default(),
            argo,
            content: String::new(),
        };
        app.take(document);
        app
    }

    /// What managers manage of it.
    pub(super) fn document(&self) -> Value {
        json!({
            "metadata": { "labels": self.labels, "annotations": self.annotations, "finalizers": self.finalizers },
            "spec": self.spec,
        })
    }

    /// Takes over a document that was merged.
    pub(super) fn take(&mut self, document: &Value) {
        let texts = |part: &str| -> BTreeMap<String, String> {
            let fields = object(document, &["metadata", part]).into_iter().flatten();
            fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        };
        self.labels = texts("labels");
        self.annotations = texts("annotations");
        let finalizers = document["metadata"]["finalizers"].as_array();
        self.finalizers =
            finalizers.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect();
        self.spec = object(document, &["spec"]).cloned().unwrap_or_default();
        self.note();
    }

    /// To be called after each change of what managers manage, and of what is on its way out.
    pub(super) fn note(&mut self) {
        let mut document = self.document();
        document["deleting"] = json!(self.deleting.is_some());
        self.content = document.to_string();
    }

    /// It carries a mark that names it.
    pub(super) fn is_marked(&self, name: &str) -> bool {
        let mark = self.annotations.get(MARK).and_then(|text| Mark::parse(text));
        mark.is_some_and(|mark| mark.object == identity(name))
    }

    pub(super) fn cascades(&self) -> bool {
        self.finalizers.iter().any(|finalizer| is_cascade(finalizer))
    }

    /// What a look shows of it. Children are told by who knows the others.
    pub(super) fn state(&self, name: &str) -> State {
        let Status { operation, sync, health, operation_state, errors, reconciled_at } = &self.status;
        let out = sync.as_ref().is_some_and(|sync| sync.status == "OutOfSync");
        State {
            uid: self.uid.clone(),
            resource_version: self.resource_version.to_string(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            finalizers: self.finalizers.clone(),
            deleting: self.deleting.map(stamp),
            generated_by: self.generated_by.clone(),
            unmarked: !self.annotations.contains_key(MARK),
            owned: self.managers.get(HOLDFAST).into_iter().flatten().cloned().collect(),
            spec: self.spec.clone(),
            operation: *operation,
            sync: sync.clone(),
            health: health.clone(),
            operation_state: operation_state.clone(),
            errors: errors.clone(),
            reconciled_at: reconciled_at.map(stamp),
            out_of_sync: if out { vec![format!("Deployment/{name}")] } else { Vec::new() },
            only_pruning: false,
            children: Vec::new(),
            unsettled_children: Vec::new(),
        }
    }

    /// What its parent would wait for, if it had one.
    pub(super) fn unsettled(&self) -> Option<String> {
        let sync = self.status.sync.as_ref().map_or("Unknown", |sync| sync.status.as_str());
        let health = self.status.health.as_ref().map_or("Unknown", |health| health.status.as_str());
        if self.deleting.is_some() {
            return Some("it is being deleted".to_owned());
        }
        if self.status.operation {
            return Some("argo cd has a sync requested".to_owned());
        }
        ((sync, health) != ("Synced", "Healthy")).then(|| format!("argo cd says {sync}, health is {health}"))
    }

    pub(super) fn healthy(&self) -> bool {
        self.deleting.is_none()
            && self.status.health.as_ref().is_some_and(|health| health.status == "Healthy")
    }
}

pub(super) fn is_cascade(finalizer: &str) -> bool {
    finalizer.starts_with(CASCADE)
}

/// A moment as the API writes it; the world begins with the year.
pub(super) fn stamp(at: Time) -> String {
    let seconds = at.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    format!(
        "2026-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        1 + days / 28,
        1 + days % 28,
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}
