//! A stand-in for Argo CD's application controller: it rewrites specs, compares, syncs, and reports, one stage a
//! tick, after `controller/appcontroller.go` and `controller/state.go` of Argo CD 3.x.

mod spec;
mod stages;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::State;
use super::resources::Resource;
use super::store::Key;
use super::verbs::Write;

/// The name under which the controller owns fields.
pub const MANAGER: &str = "argocd-application-controller";

/// How fast the controller is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Ticks by itself at this pace; without it only [`super::Cluster::tick`] moves anything.
    pub auto: Option<Duration>,
    /// How long a sync runs.
    pub sync_delay: Duration,
    /// How long an application is `Progressing` after a sync.
    pub health_delay: Duration,
    /// How long a cascading deletion takes.
    pub delete_delay: Duration,
    /// A comparison older than this is done again (`timeout.reconciliation`).
    pub refresh_every: Duration,
    /// For how long an error of the repository is swallowed.
    pub repository_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auto: None,
            sync_delay: Duration::ZERO,
            health_delay: Duration::ZERO,
            delete_delay: Duration::ZERO,
            refresh_every: Duration::from_mins(2),
            repository_grace: Duration::from_mins(3),
        }
    }
}

/// What happens to one application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Syncs and becomes healthy.
    #[default]
    Usual,
    /// Syncs, and stays `Progressing`.
    NeverHealthy,
    /// Syncs, and is `Degraded` with this message.
    Degraded(String),
    /// Every sync fails with this message; none is tried again before the source or the revision changes.
    SyncError(String),
    /// The spec is refused with this message; `reconciledAt` does not move.
    SpecInvalid(String),
    /// The repository does not answer: the old status stands for the grace period, then `ComparisonError`.
    RepositoryDown(String),
    /// A cascading deletion fails with this message, for ever.
    DeletionStuck(String),
    /// The controller does not look at it at all.
    Ignored,
}

/// What the controller remembers of one application, by uid.
#[derive(Debug, Default, Clone)]
pub(super) struct Memory {
    /// When the present stage began.
    since: Option<Timestamp>,
    /// The sources and revisions of the last successful sync.
    synced: Option<Value>,
    /// Those of the last failed one: not tried again.
    failed: Option<Value>,
    /// When the repository was first seen not to answer.
    repository_down: Option<Timestamp>,
    automated: bool,
}

/// The controller and its knobs.
#[derive(Debug, Default)]
pub(super) struct Controller {
    pub(super) settings: Settings,
    pub(super) behaviours: BTreeMap<String, Behaviour>,
    /// Revisions by repository and target revision.
    pub(super) revisions: BTreeMap<(String, String), String>,
    pub(super) children: BTreeMap<String, Vec<String>>,
    /// Applications whose resources were deleted with them.
    pub(super) cascaded: Vec<String>,
    memory: BTreeMap<String, Memory>,
}

impl Controller {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }
}

/// Moves every application on by at most one stage.
pub(super) fn tick(state: &mut State) {
    let Some(applications) = Resource::named("applications") else { return };
    let apps: Vec<(Key, Value)> = state
        .store
        .all()
        .filter(|(key, _)| key.plural == applications.plural)
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect();
    let alive = |uid: &String| apps.iter().any(|(_, app)| app["metadata"]["uid"] == **uid);
    state.controller.memory.retain(|uid, _| alive(uid));
    for (key, app) in apps {
        let behaviour = state.controller.behaviours.get(&key.name).cloned().unwrap_or_default();
        if behaviour == Behaviour::Ignored {
            continue;
        }
        let now = state.clock.now();
        let uid = app["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let mut memory = state.controller.memory.remove(&uid).unwrap_or_default();
        let view = stages::View {
            controller: &state.controller,
            behaviour: &behaviour,
            project_exists: project_exists(state, &key, &app),
            now,
        };
        let next = view.next(&app, &mut memory);
        state.controller.memory.insert(uid, memory);
        if let Some(next) = next {
            let had = has_cascade(&app);
            write(state, applications, &key, &next);
            if had && !has_cascade(&next) {
                state.controller.cascaded.push(key.name);
            }
        }
    }
}

fn project_exists(state: &State, key: &Key, app: &Value) -> bool {
    let project = app["spec"]["project"].as_str().unwrap_or_default();
    let name = if project.is_empty() { "default" } else { project };
    let project = Key { plural: "appprojects", namespace: key.namespace.clone(), name: name.to_owned() };
    state.store.get(&project).is_some()
}

/// Writes what changed, as the controller's own merge patch does.
fn write(state: &mut State, resource: &'static Resource, key: &Key, next: &Value) {
    let write = Write {
        resource,
        key: key.clone(),
        manager: MANAGER,
        dry_run: false,
        now: state.clock.stamp(),
        status_only: false,
    };
    let written = write.patch(&mut state.store, |object| {
        *object = next.clone();
        Ok(())
    });
    if let Err(failure) = written {
        tracing::error!(?failure, app = key.name, "the controller's own write was refused");
    }
}

/// The finalizers by which deleting an Application deletes its resources.
fn is_cascade(name: &str) -> bool {
    let base = "resources-finalizer.argocd.argoproj.io";
    name == base || name.strip_prefix(base).is_some_and(|rest| rest == "/foreground" || rest == "/background")
}

fn has_cascade(app: &Value) -> bool {
    app["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| list.iter().any(|item| item.as_str().is_some_and(is_cascade)))
}

/// Takes the cascading finalizers off.
fn without_cascade(app: &Value) -> Value {
    let mut app = app.clone();
    let mut left = app["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    left.retain(|item| !item.as_str().is_some_and(is_cascade));
    app["metadata"]["finalizers"] = json!(left);
    app
}
