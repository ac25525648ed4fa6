//! Writes to Applications, as the API server takes or refuses them.

use std::collections::BTreeSet;

use holdfast_argocd::application::Application;
use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind as _, TargetError};
use holdfast_core::mark::Realm;
use serde_json::{Value, json};

use super::app::{App, HOLDFAST, MARK, is_cascade};
use super::fields::{self, Managers};
use super::spec::{place, refused};
use super::{Cluster, identity};
use crate::model::Time;

/// How long the controller takes to notice a write.
pub(super) const NOTICE: Time = Time::from_secs(2);
/// How long it takes to delete what an Application deployed.
const CASCADE_TAKES: Time = Time::from_secs(40);

impl Cluster {
    /// Server-side apply without force, with the mark. With a `uid` it is about that object, and makes none.
    pub(super) fn apply(
        &mut self,
        realm: &Realm,
        name: &Name,
        object: &str,
        uid: Option<&str>,
        wanted: &Value,
    ) -> Result<(), TargetError> {
        let doing = format!("applying application {object}");
        let mut configuration = json!({ "metadata": wanted["metadata"], "spec": wanted["spec"] });
        let mark = realm.mark(Application::NAME, name, identity(object));
        configuration["metadata"]["annotations"][MARK] = json!(mark.to_string());
        if let Some(why) = refused(&configuration) {
            return Err(TargetError::rejected(doing, format!("the kubernetes api answered {why}")));
        }
        let Some(app) = self.apps.get(object) else {
            if uid.is_some() {
                return Err(moved_on(&doing));
            }
            let paths: BTreeSet<fields::Path> = fields::leaves(&configuration).into_keys().collect();
            self.insert(object, &configuration, Managers::from([(HOLDFAST.to_owned(), paths)]));
            return Ok(());
        };
        let mut managers = app.managers.clone();
        let merged =
            fields::apply(&mut managers, HOLDFAST, &app.document(), &configuration).map_err(|conflicts| {
                let list: Vec<String> =
                    conflicts.iter().map(|c| format!("`{}` manages {}", c.manager, c.field)).collect();
                let why = format!(
                    "{}; take the field out of the manifest, or let that manager give it up",
                    list.join(", ")
                );
                TargetError::rejected(&doing, why)
            })?;
        // The owners of fields are asked first.
        if uid.is_some_and(|uid| uid != app.uid) {
            return Err(moved_on(&doing));
        }
        let new_finalizers =
            merged["metadata"]["finalizers"].as_array().map_or(0, Vec::len) > app.finalizers.len();
        if app.deleting.is_some() && new_finalizers {
            let why = "the kubernetes api answered 422: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted";
            return Err(TargetError::rejected(doing, why));
        }
        self.store(object, &merged, managers);
        Ok(())
    }

    /// A merge patch of the finalizers, for the version that was seen.
    pub(super) fn set_finalizers(
        &mut self,
        object: &str,
        finalizers: &[String],
        resource_version: &str,
    ) -> Result<(), TargetError> {
        // What is gone has no finalizers.
        let Some(app) = self.apps.get(object) else { return Ok(()) };
        if app.resource_version.to_string() != resource_version {
            return Err(moved_on(&format!("taking the cascade off application {object}")));
        }
        let before = app.document();
        let mut after = before.clone();
        after["metadata"]["finalizers"] = json!(finalizers);
        let mut managers = app.managers.clone();
        fields::update(&mut managers, HOLDFAST, &before, &after);
        self.store(object, &after, managers);
        self.drop_if_free(object);
        Ok(())
    }

    /// Deletes at once, or when its finalizers are worked off. The uid and version that were `seen` are preconditions.
    pub(super) fn delete(&mut self, object: &str, seen: Option<(&str, &str)>) -> Result<(), TargetError> {
        let now = self.now;
        let Some(app) = self.apps.get_mut(object) else { return Ok(()) };
        let version = app.resource_version.to_string();
        if seen.is_some_and(|seen| seen != (app.uid.as_str(), version.as_str())) {
            return Err(moved_on(&format!("deleting application {object}")));
        }
        if app.deleting.is_some() {
            return Ok(());
        }
        app.deleting = Some(now);
        app.note();
        app.argo.running = None;
        self.version += 1;
        app.resource_version = self.version;
        if app.cascades() {
            app.argo.gone_at = Some(now + CASCADE_TAKES);
            let place = place(&app.spec, object);
            self.deployed.remove(&place);
        }
        self.drop_if_free(object);
        Ok(())
    }

    /// The controller has deleted what was deployed, the Applications in it too.
    pub(super) fn finish_cascade(&mut self, object: &str) {
        let Some(app) = self.apps.get_mut(object) else { return };
        app.argo.gone_at = None;
        let before = app.document();
        app.finalizers.retain(|finalizer| !is_cascade(finalizer));
        app.note();
        let after = app.document();
        fields::update(&mut app.managers, "argocd-application-controller", &before, &after);
        self.version += 1;
        app.resource_version = self.version;
        for child in self.children.get(object).cloned().unwrap_or_default() {
            // Nothing can be refused without a precondition.
            drop(self.delete(&child, None));
        }
        self.drop_if_free(object);
    }

    /// Removes what is to go, once nothing holds it.
    pub(super) fn drop_if_free(&mut self, object: &str) {
        let is_free = |app: &App| app.deleting.is_some() && app.finalizers.is_empty();
        let free = self.apps.get(object).is_some_and(is_free);
        if free {
            self.apps.remove(object);
            if let Some(generated) = self.generated.get_mut(object) {
                generated.at = Some(self.now + NOTICE);
            }
        }
    }

    /// Stores a new object.
    pub(super) fn insert(&mut self, object: &str, document: &Value, managers: Managers) {
        let birth = self.birth();
        self.version += 1;
        let mut app = App::new(format!("uid-{birth}"), birth, document, managers, self.now + NOTICE);
        app.resource_version = self.version;
        self.apps.insert(object.to_owned(), app);
    }

    /// Stores what was merged. An equal object is not written; metadata alone asks for no comparison.
    pub(super) fn store(&mut self, object: &str, document: &Value, managers: Managers) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(object) else { return };
        let (before, spec) = (app.document(), app.spec.clone());
        app.take(document);
        if before == app.document() && managers == app.managers {
            return;
        }
        app.managers = managers;
        self.version += 1;
        app.resource_version = self.version;
        if spec != app.spec {
            app.argo.compare_at = app.argo.compare_at.min(now + NOTICE);
            if let Some(generated) =
                self.generated.get_mut(object).filter(|generated| generated.spec != app.spec)
            {
                generated.at = Some(now + NOTICE);
            }
        }
    }

    /// A write by somebody who does not apply.
    pub(super) fn edit(&mut self, object: &str, manager: &str, change: impl FnOnce(&mut Value)) {
        let Some(app) = self.apps.get(object) else { return };
        let before = app.document();
        let mut after = before.clone();
        change(&mut after);
        let mut managers = app.managers.clone();
        fields::update(&mut managers, manager, &before, &after);
        self.store(object, &after, managers);
    }
}

/// A precondition that does not hold any more.
fn moved_on(doing: &str) -> TargetError {
    TargetError::unavailable(doing, "it changed since it was looked at: the kubernetes api answered 409")
}
