//! What other people do to Applications.

use rand::RngExt as _;
use rand::rngs::SmallRng;
use serde_json::json;

use super::Cluster;
use super::app::{App, CASCADE, HOLDFAST, MARK, is_cascade};
use super::controller::plain_spec;
use crate::model::{Meddling, Time};

/// So many Applications of strangers are enough.
const STRANGERS: usize = 4;
const EDITOR: &str = "kubectl-edit";

impl Cluster {
    pub(super) fn meddle_with(&mut self, chance: &mut SmallRng) -> Option<Meddling> {
        let marked: Vec<String> = self
            .apps
            .iter()
            .filter(|(name, app)| app.is_marked(name) && app.deleting.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        let what = chance.random_range(0..13_u8);
        let minutes = Time::from_mins(chance.random_range(1..=8));
        if what == 0 || marked.is_empty() {
            return self.one_of_their_own();
        }
        let name = marked[chance.random_range(0..marked.len())].clone();
        match what {
            1 => self.take_a_field(&name),
            2 => self.clear_a_field(&name),
            3 => {
                self.edit(&name, EDITOR, |document| document["metadata"]["labels"]["theirs"] = json!("yes"));
                Some(said(format!("somebody labels application {name}"), &name))
            }
            4 => self.deleted_by_hand(&name),
            5 => {
                self.edit(&name, EDITOR, |document| {
                    if let Some(list) = document["metadata"]["finalizers"].as_array_mut()
                        && !list.iter().any(|item| item.as_str().is_some_and(is_cascade))
                    {
                        list.push(json!(CASCADE));
                    }
                });
                Some(said(format!("somebody adds the cascade to application {name}"), &name))
            }
            6 => self.copied(&name),
            7 => self.copied_over(&name, &marked),
            8 => {
                self.degrade(&name, minutes);
                Some(said(format!("application {name} does badly for a while"), &name))
            }
            9 => {
                self.hide_repositories(minutes);
                Some(said("no repository answers argo cd for a while".to_owned(), &name))
            }
            10 => {
                let repository = self.repositories().into_iter().next()?;
                self.push(&repository);
                Some(said(format!("somebody pushes to {repository}"), &name))
            }
            11 => {
                self.edit(&name, EDITOR, |document| {
                    if let Some(annotations) = document["metadata"]["annotations"].as_object_mut() {
                        annotations.remove(MARK);
                    }
                });
                Some(said(format!("somebody takes the mark off application {name}"), &name))
            }
            _ => {
                self.sync_by_hand(&name);
                Some(said(format!("somebody syncs application {name}"), &name))
            }
        }
    }

    /// A field that we applied gets another value, and another manager: to us, that is a conflict.
    fn take_a_field(&mut self, name: &str) -> Option<Meddling> {
        let source = self.apps.get(name)?.spec.get("source")?.clone();
        let ours = managed(self.apps.get(name)?, &["spec", "source", "path"]);
        self.edit(name, EDITOR, |document| {
            document["spec"]["source"] = source;
            document["spec"]["source"]["path"] = json!("edited");
        });
        let what = format!("somebody edits the path of application {name}");
        Some(Meddling { what, key: name.to_owned(), needs_a_person: ours })
    }

    /// A field that we applied goes away, and is nobody's.
    fn clear_a_field(&mut self, name: &str) -> Option<Meddling> {
        let field = ["targetRevision", "path"]
            .into_iter()
            .find(|field| self.apps.get(name).is_some_and(|app| managed(app, &["spec", "source", *field])))?;
        self.edit(name, EDITOR, |document| {
            if let Some(source) = document["spec"]["source"].as_object_mut() {
                source.remove(field);
            }
        });
        Some(said(format!("somebody clears {field} of application {name}"), name))
    }

    /// With whatever finalizers it has. What holds it for good needs a person.
    fn deleted_by_hand(&mut self, name: &str) -> Option<Meddling> {
        let held = self.apps.get(name)?.finalizers.iter().any(|finalizer| !is_cascade(finalizer));
        self.delete(name, None).ok()?;
        let what = format!("somebody deletes application {name}");
        Some(Meddling { what, key: name.to_owned(), needs_a_person: held })
    }

    /// As `kubectl get -o yaml`, another name, and `kubectl create` do it.
    fn copied(&mut self, name: &str) -> Option<Meddling> {
        let copy = format!("{name}-copy");
        if self.apps.len() > 64 || self.apps.contains_key(&copy) {
            return None;
        }
        let mut document = self.apps.get(name)?.document();
        document["metadata"]["finalizers"] = json!([]);
        self.insert(&copy, &document, super::fields::Managers::new());
        Some(said(format!("somebody copies application {name} to {copy}"), &copy))
    }

    /// The same onto one that is there, with its mark.
    fn copied_over(&mut self, name: &str, marked: &[String]) -> Option<Meddling> {
        let other = marked.iter().find(|other| *other != name)?;
        let mark = self.apps.get(name)?.annotations.get(MARK)?.clone();
        self.edit(other, "kubectl-replace", |document| {
            document["metadata"]["annotations"][MARK] = json!(mark);
        });
        let what = format!("somebody copies the annotations of application {name} over those of {other}");
        Some(Meddling { what, key: other.clone(), needs_a_person: true })
    }

    fn one_of_their_own(&mut self) -> Option<Meddling> {
        let count = self.apps.keys().filter(|name| name.starts_with("theirs-")).count();
        let name = format!("theirs-{count}");
        if count >= STRANGERS || self.apps.contains_key(&name) {
            return None;
        }
        if count % 2 == 1 {
            self.generate("theirs", &name);
        } else {
            self.create(&name, &plain_spec(&name), &[]);
        }
        Some(said(format!("somebody makes their own application {name}"), &name))
    }
}

/// Whether we applied a field.
fn managed(app: &App, path: &[&str]) -> bool {
    app.managers.get(HOLDFAST).is_some_and(|paths| paths.iter().any(|ours| ours == path))
}

/// Something that mends itself, or that we mend.
fn said(what: String, key: &str) -> Meddling {
    Meddling { what, key: key.to_owned(), needs_a_person: false }
}
