//! A simulated Kubernetes API with Argo CD in it: the subset that a client of Argo CD's objects needs.
//!
//! It follows a 1.36 API server: server-side apply with managed fields, watches, pages, preconditions and
//! finalizers, and refusals in the real words.

mod access;
mod application;
mod argo;
mod checks;
mod discovery;
mod fields;
mod json_patch;
mod managed;
mod query;
mod read;
mod resources;
mod routes;
mod schema;
mod selector;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod verbs;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};

pub use self::access::Rule;
pub use self::argo::{Behaviour, MANAGER, Settings};

use self::resources::Resource;
use self::store::{Key, Store};
use self::verbs::Write;
use crate::clock::Clock;
use crate::http::{Server, Wire};

/// The token that may do everything, of the user `kubernetes-admin`.
pub const ADMIN_TOKEN: &str = "lab-admin-token";

struct State {
    store: Store,
    access: access::Access,
    controller: argo::Controller,
    clock: Clock,
    /// Plural names of definitions that are not installed.
    uninstalled: BTreeSet<String>,
}

struct Shared(Mutex<State>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running cluster. Dropping it closes its port.
pub struct Cluster {
    /// Counts and disturbs the requests.
    pub wire: Wire,
    server: Server,
    shared: Arc<Shared>,
    clock: Clock,
    auto: Option<tokio::task::JoinHandle<()>>,
}

impl Cluster {
    /// Starts a cluster with the namespaces `default` and `argocd` and the project `default`, on a free port.
    pub async fn start(settings: Settings) -> std::io::Result<Self> {
        Self::start_on(settings, None).await
    }

    /// As [`Cluster::start`], on a given port.
    pub async fn start_on(settings: Settings, port: Option<u16>) -> std::io::Result<Self> {
        let (wire, clock, auto) = (Wire::default(), Clock::default(), settings.auto);
        let mut access = access::Access::default();
        access.allow(ADMIN_TOKEN, "kubernetes-admin", &[Rule::everywhere(&["*"], &["*"])]);
        let controller = argo::Controller::new(settings);
        let shared = Arc::new(Shared(Mutex::new(State {
            store: Store::new(),
            access,
            controller,
            clock: clock.clone(),
            uninstalled: BTreeSet::new(),
        })));
        let router = Router::new().fallback(routes::serve).with_state(Arc::clone(&shared));
        let server = Server::start(router, &wire, port).await?;
        let auto = auto.map(|pace| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(pace);
                loop {
                    interval.tick().await;
                    argo::tick(&mut shared.lock());
                }
            })
        });
        let cluster = Self { wire, server, shared, clock, auto };
        cluster.add_namespace("default");
        cluster.add_namespace("argocd");
        cluster.seed("appprojects", "argocd", "default", json!({ "spec": { "sourceRepos": ["*"] } }));
        Ok(cluster)
    }

    /// The address of the API, such as `http://127.0.0.1:34567`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The clock by which delays and lifetimes run.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Gives a token to a user, with what it may do; replaces what the token could before.
    pub fn allow(&self, token: &str, user: &str, rules: &[Rule]) {
        self.shared.lock().access.allow(token, user, rules);
    }

    /// Takes a token back: whoever uses it gets 401.
    pub fn revoke(&self, token: &str) {
        self.shared.lock().access.revoke(token);
    }

    pub fn add_namespace(&self, name: &str) {
        self.seed("namespaces", "", name, json!({ "status": { "phase": "Active" } }));
    }

    /// Takes a custom resource definition away (or puts it back): its paths are 404.
    pub fn set_installed(&self, plural: &str, installed: bool) {
        let uninstalled = &mut self.shared.lock().uninstalled;
        if installed {
            uninstalled.remove(plural);
        } else {
            uninstalled.insert(plural.to_owned());
        }
    }

    /// Stores an object as somebody else's, past all checks of who may.
    fn seed(&self, plural: &str, namespace: &str, name: &str, mut body: Value) {
        let Some(resource) = Resource::named(plural) else { return };
        body["apiVersion"] = json!(resource.api_version());
        body["kind"] = json!(resource.kind);
        body["metadata"]["name"] = json!(name);
        drop(self.edit_or_create("kubectl", plural, namespace, name, body));
    }

    fn edit_or_create(
        &self,
        manager: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        body: Value,
    ) -> Result<Value, Value> {
        let mut state = self.shared.lock();
        let now = state.clock.stamp();
        let write = Self::write_of(manager, plural, namespace, name, now)?;
        let written = match state.store.get(&write.key) {
            Some(_) => write.patch(&mut state.store, |object| {
                *object = body;
                Ok(())
            }),
            None => write.create(&mut state.store, body),
        };
        written.map(|written| written.object).map_err(|failure| failure.body())
    }

    fn write_of<'a>(
        manager: &'a str,
        plural: &str,
        namespace: &str,
        name: &str,
        now: String,
    ) -> Result<Write<'a>, Value> {
        let resource = Resource::named(plural).ok_or_else(|| json!("no such resource"))?;
        let key = Key { plural: resource.plural, namespace: namespace.to_owned(), name: name.to_owned() };
        Ok(Write { resource, key, manager, dry_run: false, now, status_only: false })
    }

    /// Changes or makes an object as a third party does that ignores others' fields: `kubectl edit`, an operator.
    /// Counts as no request. The error is a `Status` body.
    pub fn edit(
        &self,
        manager: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Value, Value> {
        let mut body = self.object(plural, namespace, name).unwrap_or_else(|| {
            let resource = Resource::named(plural);
            json!({
                "apiVersion": resource.map(Resource::api_version), "kind": resource.map(|resource| resource.kind),
                "metadata": { "name": name },
            })
        });
        change(&mut body);
        self.edit_or_create(manager, plural, namespace, name, body)
    }

    /// Deletes an object as a third party does. Counts as no request.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> Result<Value, Value> {
        let mut state = self.shared.lock();
        let write = Self::write_of("kubectl", plural, namespace, name, state.clock.stamp())?;
        write.delete(&mut state.store, &json!({})).map_err(|failure| failure.body())
    }

    /// An object as it stands.
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let resource = Resource::named(plural)?;
        let key = Key { plural: resource.plural, namespace: namespace.to_owned(), name: name.to_owned() };
        self.shared.lock().store.get(&key).cloned()
    }

    /// All objects of a kind, in the order of namespace and name.
    pub fn objects(&self, plural: &str) -> Vec<Value> {
        let state = self.shared.lock();
        state.store.all().filter(|(key, _)| key.plural == plural).map(|(_, object)| object.clone()).collect()
    }

    /// Forgets all history: watches from older revisions, and older pages, get 410.
    pub fn compact(&self) {
        self.shared.lock().store.compact();
    }

    /// Lets Argo CD's controller move every application on by at most one stage.
    pub fn tick(&self) {
        argo::tick(&mut self.shared.lock());
    }

    /// Moves the clock on, then ticks.
    pub fn tick_after(&self, time: Duration) {
        self.clock.advance(time);
        self.tick();
    }

    /// Sets what happens to the application of this name.
    pub fn behave(&self, app: &str, behaviour: Behaviour) {
        self.shared.lock().controller.behaviours.insert(app.to_owned(), behaviour);
    }

    /// Says which commit a target revision of a repository is. Moving it is a push.
    pub fn set_revision(&self, repository: &str, target: &str, commit: &str) {
        let at = (repository.to_owned(), target.to_owned());
        self.shared.lock().controller.revisions.insert(at, commit.to_owned());
    }

    /// Makes an application one of applications: its status lists these as resources.
    pub fn set_children(&self, app: &str, children: &[&str]) {
        let children = children.iter().map(|name| (*name).to_owned()).collect();
        self.shared.lock().controller.children.insert(app.to_owned(), children);
    }

    /// The applications whose resources were deleted with them, in order.
    pub fn cascaded(&self) -> Vec<String> {
        self.shared.lock().controller.cascaded.clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(auto) = &self.auto {
            auto.abort();
        }
    }
}
