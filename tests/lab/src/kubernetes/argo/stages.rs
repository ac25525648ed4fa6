//! The stages an application goes through: compare, sync, become healthy, be deleted.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::spec::{compared_to, fingerprint, is_automated, is_multi_source, normalized, revisions};
use super::{Behaviour, Controller, Memory, has_cascade, without_cascade};
use crate::clock::stamp;

const REFRESH: &str = "argocd.argoproj.io/refresh";

/// What the controller knows when it looks at one application.
pub(super) struct View<'a> {
    pub(super) controller: &'a Controller,
    pub(super) behaviour: &'a Behaviour,
    pub(super) project_exists: bool,
    pub(super) now: Timestamp,
}

impl View<'_> {
    /// The application one stage on, or nothing if there is nothing to write.
    pub(super) fn next(&self, app: &Value, memory: &mut Memory) -> Option<Value> {
        let next = self.stage(app, memory)?;
        (next != *app).then_some(next)
    }

    fn stage(&self, app: &Value, memory: &mut Memory) -> Option<Value> {
        if !app["metadata"]["deletionTimestamp"].is_null() {
            return self.delete(app, memory);
        }
        let spec = normalized(&app["spec"]);
        if spec != app["spec"] {
            let mut app = app.clone();
            app["spec"] = spec;
            return Some(app);
        }
        let revisions = revisions(self.controller, &spec);
        let print = fingerprint(&spec, &revisions);
        let phase = app["status"]["operationState"]["phase"].as_str().unwrap_or_default();
        if phase == "Running" && memory.since.is_some() {
            return self.elapsed(memory, self.controller.settings.sync_delay).then(|| {
                memory.since = Some(self.now);
                self.finish_sync(app, memory, &revisions, print)
            });
        }
        if self.needs_comparison(app, memory, &revisions) {
            memory.automated = is_automated(&spec);
            return self.compare(app, memory, &revisions, &print);
        }
        let asked = app["operation"].is_object();
        let behind = memory.synced.as_ref() != Some(&print);
        let willing = is_automated(&spec) && memory.failed.as_ref() != Some(&print);
        if asked || (behind && willing) {
            memory.since = Some(self.now);
            return Some(self.start_sync(app, &revisions, asked));
        }
        (!behind && self.elapsed(memory, self.controller.settings.health_delay)).then(|| self.settle(app))
    }

    fn elapsed(&self, memory: &Memory, delay: Duration) -> bool {
        memory.since.is_none_or(|since| Duration::try_from(self.now - since).unwrap_or_default() >= delay)
    }

    /// A write to the metadata alone asks for no comparison, unless it is the `refresh` annotation.
    fn needs_comparison(&self, app: &Value, memory: &Memory, revisions: &[String]) -> bool {
        let sync = &app["status"]["sync"];
        let compared = compared_to(&app["spec"]);
        let expired = match app["status"]["reconciledAt"].as_str().map(str::parse::<Timestamp>) {
            Some(Ok(at)) => {
                Duration::try_from(self.now - at).unwrap_or_default()
                    >= self.controller.settings.refresh_every
            }
            _ => true,
        };
        let moved = revisions_of(sync) != revisions;
        let failing = !matches!(self.behaviour, Behaviour::SpecInvalid(_) | Behaviour::RepositoryDown(_))
            && sync["status"] == "Unknown";
        let switched_on = is_automated(&app["spec"]) && !memory.automated;
        !app["metadata"]["annotations"][REFRESH].is_null()
            || sync["comparedTo"] != compared
            || expired
            || moved
            || failing
            || switched_on
            || matches!(self.behaviour, Behaviour::SpecInvalid(_))
    }

    fn compare(
        &self,
        app: &Value,
        memory: &mut Memory,
        revisions: &[String],
        print: &Value,
    ) -> Option<Value> {
        let mut app = app.clone();
        if let Some(annotations) = app["metadata"]["annotations"].as_object_mut() {
            annotations.remove(REFRESH);
        }
        if let Some(why) = self.spec_problem(&app) {
            // The bad spec was not compared with anything: `reconciledAt` and `comparedTo` stay.
            app["status"]["sync"]["status"] = json!("Unknown");
            self.set_health(&mut app, "Unknown", "");
            self.set_conditions(&mut app, Some(("InvalidSpecError", &why)));
            return Some(app);
        }
        if let Behaviour::RepositoryDown(why) = self.behaviour {
            let since = *memory.repository_down.get_or_insert(self.now);
            let down = Duration::try_from(self.now - since).unwrap_or_default();
            if !app["status"]["reconciledAt"].is_null() && down < self.controller.settings.repository_grace {
                return None;
            }
            app["status"]["sync"]["status"] = json!("Unknown");
            app["status"]["sync"]["comparedTo"] = compared_to(&app["spec"]);
            self.set_conditions(&mut app, Some(("ComparisonError", why)));
            return Some(app);
        }
        memory.repository_down = None;
        let synced = memory.synced.as_ref() == Some(print);
        let status = if synced { "Synced" } else { "OutOfSync" };
        self.report_comparison(&mut app, status, revisions);
        if memory.synced.is_none() {
            self.set_health(&mut app, "Missing", "");
        } else if app["status"]["health"]["status"] == "Unknown" {
            self.set_health(&mut app, "Progressing", "");
        }
        match self.behaviour {
            Behaviour::SyncError(why) if memory.failed.as_ref() == Some(print) => {
                self.set_conditions(&mut app, Some(("SyncError", &failed_sync(revisions, why))));
            }
            _ => self.set_conditions(&mut app, None),
        }
        Some(app)
    }

    fn spec_problem(&self, app: &Value) -> Option<String> {
        if let Behaviour::SpecInvalid(why) = self.behaviour {
            return Some(why.clone());
        }
        let (spec, text) = (&app["spec"], |value: &Value| value.as_str().unwrap_or_default().to_owned());
        let destination = &spec["destination"];
        if !self.project_exists {
            let project = text(&spec["project"]);
            return Some(format!("Application referencing project {project} which does not exist"));
        }
        if text(&destination["server"]).is_empty() && text(&destination["name"]).is_empty() {
            return Some("Destination server missing from app spec".to_owned());
        }
        if !is_multi_source(spec) {
            let source = &spec["source"];
            if text(&source["repoURL"]).is_empty() {
                return Some("spec.source.repoURL and either spec.source.path, spec.source.chart, or spec.source.ref are required".to_owned());
            }
            if ["path", "chart", "ref"].iter().all(|field| text(&source[field]).is_empty()) {
                return Some("spec.source.repoURL and either spec.source.path, spec.source.chart, or spec.source.ref are required".to_owned());
            }
        }
        None
    }

    fn start_sync(&self, app: &Value, revisions: &[String], asked: bool) -> Value {
        let mut app = app.clone();
        if !asked {
            let mut sync = json!({});
            set_revisions(&mut sync, &app["spec"], revisions);
            app["operation"] =
                json!({ "initiatedBy": { "automated": true }, "retry": { "limit": 5 }, "sync": sync });
        }
        app["status"]["operationState"] = json!({
            "phase": "Running", "message": "waiting for completion of hook and resources",
            "operation": app["operation"], "startedAt": stamp(self.now),
        });
        app
    }

    fn finish_sync(&self, app: &Value, memory: &mut Memory, revisions: &[String], print: Value) -> Value {
        let mut app = app.clone();
        if let Some(fields) = app.as_object_mut() {
            fields.remove("operation");
        }
        let mut result = json!({ "resources": [workload(&app, "Synced")] });
        set_revisions(&mut result, &app["spec"], revisions);
        if is_multi_source(&app["spec"]) {
            result["sources"] = app["spec"]["sources"].clone();
            result["revision"] = json!("");
        } else {
            result["source"] = app["spec"]["source"].clone();
        }
        let operation = &mut app["status"]["operationState"];
        operation["finishedAt"] = json!(stamp(self.now));
        if let Behaviour::SyncError(why) = self.behaviour {
            operation["phase"] = json!("Failed");
            operation["message"] = json!(why);
            operation["retryCount"] = json!(5);
            result["resources"][0]["status"] = json!("SyncFailed");
            operation["syncResult"] = result;
            memory.failed = Some(print);
            self.report_comparison(&mut app, "OutOfSync", revisions);
            self.set_conditions(&mut app, Some(("SyncError", &failed_sync(revisions, why))));
            return app;
        }
        operation["phase"] = json!("Succeeded");
        operation["message"] = json!("successfully synced (all tasks run)");
        operation["syncResult"] = result;
        memory.synced = Some(print);
        memory.failed = None;
        // The end of an operation asks for a comparison with the latest revision.
        self.report_comparison(&mut app, "Synced", revisions);
        self.set_health(&mut app, "Progressing", "");
        self.set_conditions(&mut app, None);
        app
    }

    /// What a synced application's health becomes.
    fn settle(&self, app: &Value) -> Value {
        let mut app = app.clone();
        match self.behaviour {
            Behaviour::NeverHealthy => self.set_health(&mut app, "Progressing", ""),
            Behaviour::Degraded(why) => self.set_health(&mut app, "Degraded", why),
            _ if app["status"]["sync"]["status"] == "Unknown" => {}
            _ => self.set_health(&mut app, "Healthy", ""),
        }
        app
    }

    fn delete(&self, app: &Value, memory: &mut Memory) -> Option<Value> {
        if !has_cascade(app) {
            return None;
        }
        if let Behaviour::DeletionStuck(why) = self.behaviour {
            let mut app = app.clone();
            self.set_conditions(&mut app, Some(("DeletionError", why)));
            return Some(app);
        }
        let began = app["metadata"]["deletionTimestamp"].as_str().and_then(|at| at.parse().ok());
        memory.since = began.or(memory.since);
        self.elapsed(memory, self.controller.settings.delete_delay).then(|| without_cascade(app))
    }

    fn report_comparison(&self, app: &mut Value, status: &str, revisions: &[String]) {
        let compared = compared_to(&app["spec"]);
        let mut sync = json!({ "status": status, "comparedTo": compared });
        set_revisions(&mut sync, &app["spec"], revisions);
        app["status"]["sync"] = sync;
        app["status"]["reconciledAt"] = json!(stamp(self.now));
        app["status"]["controllerNamespace"] = json!("argocd");
        app["status"]["resourceHealthSource"] = json!("appTree");
        let mut resources = vec![workload(app, status)];
        let name = app["metadata"]["name"].as_str().unwrap_or_default();
        let children = self.controller.children.get(name);
        resources.extend(children.into_iter().flatten().map(|child| {
            json!({
                "group": "argoproj.io", "version": "v1alpha1", "kind": "Application", "name": child,
                "namespace": app["metadata"]["namespace"], "status": status,
            })
        }));
        if children.is_some() {
            app["status"]["summary"] = json!({ "isAppOfApps": true });
        }
        app["status"]["resources"] = json!(resources);
    }

    fn set_health(&self, app: &mut Value, status: &str, message: &str) {
        let known = &app["status"]["health"];
        if known["status"] == status && known["message"].as_str().unwrap_or_default() == message {
            return;
        }
        let mut health = json!({ "status": status, "lastTransitionTime": stamp(self.now) });
        if !message.is_empty() {
            health["message"] = json!(message);
        }
        app["status"]["health"] = health;
    }

    fn set_conditions(&self, app: &mut Value, condition: Option<(&str, &str)>) {
        let Some((kind, message)) = condition else {
            if let Some(status) = app["status"].as_object_mut() {
                status.remove("conditions");
            }
            return;
        };
        let known = &app["status"]["conditions"][0];
        if known["type"] != kind || known["message"] != message {
            let at = stamp(self.now);
            app["status"]["conditions"] =
                json!([{ "type": kind, "message": message, "lastTransitionTime": at }]);
        }
    }
}

/// The one Deployment that every application here is made of.
fn workload(app: &Value, status: &str) -> Value {
    json!({
        "group": "apps", "version": "v1", "kind": "Deployment", "status": status,
        "name": app["metadata"]["name"], "namespace": app["spec"]["destination"]["namespace"].as_str().unwrap_or("default"),
    })
}

fn failed_sync(revisions: &[String], why: &str) -> String {
    format!("Failed last sync attempt to [{}]: {why}", revisions.join(" "))
}

fn set_revisions(into: &mut Value, spec: &Value, revisions: &[String]) {
    if is_multi_source(spec) {
        into["revisions"] = json!(revisions);
    } else {
        into["revision"] = json!(revisions.first());
    }
}

fn revisions_of(sync: &Value) -> Vec<String> {
    let one = sync["revision"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let many = sync["revisions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned));
    one.into_iter().chain(many).collect()
}
