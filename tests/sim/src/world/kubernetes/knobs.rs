//! What the frame and scenarios can make happen to Applications.

use serde_json::{Value, json};

use super::app::{CASCADE, HOLDFAST, MARK, is_cascade};
use super::controller::{RETRIES, plain_spec};
use super::fields::Managers;
use super::spec::{print, repositories, revisions};
use super::write::NOTICE;
use super::{Cluster, Generated, NextSync};
use crate::model::Time;

impl Cluster {
    /// The next sync that begins fails once, and Argo CD tries it again.
    pub fn fail_next_sync(&mut self) {
        self.next_sync.failing = 1;
    }

    /// The next sync that begins fails until Argo CD gives up. It tries no other before the spec or the revision
    /// changes, or somebody syncs by hand.
    pub fn spoil_next_sync(&mut self) {
        self.next_sync.failing = RETRIES + 1;
    }

    /// The next sync that begins takes this long.
    pub fn slow_next_sync(&mut self, takes: Time) {
        self.next_sync.takes = Some(takes);
    }

    /// A commit in a repository that Applications come from. Argo CD sees it when it compares next.
    pub fn push(&mut self, repository: &str) {
        *self.pushes.entry(repository.to_owned()).or_default() += 1;
    }

    /// No repository answers Argo CD for a while, which it hides for three minutes.
    pub fn hide_repositories(&mut self, how_long: Time) {
        self.blind_until = self.blind_until.max(self.now + how_long);
    }

    /// What an Application deployed does badly for a while.
    pub fn degrade(&mut self, name: &str, how_long: Time) {
        let now = self.now;
        if let Some(app) = self.apps.get_mut(name) {
            app.argo.degraded_until = Some(now + how_long);
            app.argo.turns_at = Some(now);
        }
    }

    /// Somebody presses Sync.
    pub fn sync_by_hand(&mut self, name: &str) {
        let Some(app) = self.apps.get(name) else { return };
        if app.argo.running.is_some() || app.deleting.is_some() {
            return;
        }
        let (found, _) = revisions(&app.spec, &self.pushes);
        let print = print(&app.spec, &found);
        self.begin_sync(name, print, found.into_iter().next());
    }

    /// Somebody makes an Application without a mark, or with one in `annotations`.
    pub fn create(&mut self, name: &str, spec: &Value, annotations: &[(&str, &str)]) {
        let mut document = json!({ "metadata": { "annotations": {} }, "spec": spec });
        for (key, value) in annotations {
            document["metadata"]["annotations"][*key] = json!(value);
        }
        self.insert(name, &document, Managers::new());
    }

    /// Somebody makes the deletion of an Application delete everything that it deployed.
    pub fn add_cascade(&mut self, name: &str) {
        self.edit(name, "kubectl-edit", |document| {
            if let Some(list) = document["metadata"]["finalizers"].as_array_mut() {
                list.push(json!(CASCADE));
            }
        });
    }

    /// An `ApplicationSet` generates this Application, and keeps it as it is. One that is there becomes the set's.
    pub fn generate(&mut self, set: &str, name: &str) {
        let spec = plain_spec(name).as_object().cloned().unwrap_or_default();
        let at = Some(self.now + NOTICE);
        self.generated.insert(name.to_owned(), Generated { set: set.to_owned(), spec, at });
    }

    /// The repository of an Application holds these Applications.
    pub fn deploys(&mut self, parent: &str, children: &[&str]) {
        let children = children.iter().map(|child| (*child).to_owned()).collect();
        self.children.insert(parent.to_owned(), children);
    }

    /// A person puts right what only a person can: fields that others took, copied marks, deletions that are stuck,
    /// syncs that Argo CD gave up, everything that was to fail.
    pub fn mend(&mut self) {
        self.next_sync = NextSync::default();
        self.blind_until = self.now;
        let names: Vec<String> = self.apps.keys().cloned().collect();
        for name in names {
            let Some(app) = self.apps.get_mut(&name) else { continue };
            app.managers.retain(|manager, _| manager == HOLDFAST);
            if let Some(running) = &mut app.argo.running {
                running.failing = 0;
            }
            if app.argo.degraded_until.take().is_some() {
                app.argo.turns_at = Some(self.now);
            }
            app.argo.compare_at = app.argo.compare_at.min(self.now + NOTICE);
            let stuck = app.deleting.is_some();
            let gave_up = app.argo.failed.take().is_some();
            let copied = app.annotations.contains_key(MARK) && !app.is_marked(&name);
            if copied {
                self.edit(&name, "kubectl-annotate", |document| {
                    if let Some(annotations) = document["metadata"]["annotations"].as_object_mut() {
                        annotations.remove(MARK);
                    }
                });
            }
            if gave_up {
                self.sync_by_hand(&name);
            }
            if stuck {
                self.edit(&name, "kubectl-edit", |document| {
                    if let Some(finalizers) = document["metadata"]["finalizers"].as_array_mut() {
                        finalizers.retain(|item| item.as_str().is_some_and(is_cascade));
                    }
                });
                self.drop_if_free(&name);
            }
        }
    }

    /// The repositories that Applications come from.
    pub fn repositories(&self) -> Vec<String> {
        let all = self.apps.values().flat_map(|app| repositories(&app.spec));
        let mut all: Vec<String> = all.map(str::to_owned).collect();
        all.sort();
        all.dedup();
        all
    }
}
