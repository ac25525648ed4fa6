//! What goes on by itself: Argo CD compares, syncs, tries again, reports health; sets put right what they generated.
//!
//! Everything happens at times that were fixed before, in the order of time, so that one leap and many small steps
//! end the same.

use holdfast_argocd::application::state::{Condition, Health, Operation, Sync};
use serde_json::{Map, Value, json};

use super::app::{App, Running, stamp};
use super::fields::{self, Managers};
use super::spec::{automated, compared_to, hash, place, print, problem, revisions, rewritten, sources};
use super::{Cluster, Deployed};
use crate::model::Time;

const MANAGER: &str = "argocd-application-controller";
/// A comparison is done again after so long, and up to half as long again (`timeout.reconciliation`).
const REFRESH: u64 = 120;
/// An unreachable repository is asked again after so long.
const ASK_AGAIN: Time = Time::from_secs(30);
/// For so long an error of the repository is hidden.
const GRACE: Time = Time::from_mins(3);
/// Attempts after the first, where `syncPolicy.retry` is not set.
pub(super) const RETRIES: u64 = 5;
const FAILURE: &str = "one or more objects failed to apply";

/// What happens next to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Gone,
    Sync,
    Health,
    Compare,
    Generate,
}

impl Cluster {
    pub(super) fn run_until(&mut self, now: Time) {
        while let Some((at, name, event)) = self.next_event().filter(|(at, ..)| *at <= now) {
            self.now = self.now.max(at);
            match event {
                Event::Gone => self.finish_cascade(&name),
                Event::Sync => self.sync_goes_on(&name),
                Event::Health => self.turn(&name),
                Event::Compare => self.compare(&name),
                Event::Generate => self.generate_again(&name),
            }
        }
        self.now = self.now.max(now);
    }

    fn next_event(&self) -> Option<(Time, String, Event)> {
        let apps = self.apps.iter().flat_map(|(name, app)| {
            let argo = &app.argo;
            let running = argo.running.as_ref().map(|running| running.at);
            let compare = app.deleting.is_none().then_some(argo.compare_at);
            [
                (argo.gone_at, Event::Gone),
                (running, Event::Sync),
                (argo.turns_at, Event::Health),
                (compare, Event::Compare),
            ]
            .into_iter()
            .filter_map(move |(at, event)| Some((at?, name, event)))
        });
        let sets = self.generated.iter().filter_map(|(name, set)| Some((set.at?, name, Event::Generate)));
        let (at, name, event) = apps.chain(sets).min()?;
        Some((at, name.clone(), event))
    }

    /// Compares an Application with its repository, and begins to sync it where that is automatic.
    fn compare(&mut self, name: &str) {
        let (now, blind) = (self.now, self.blind_until > self.now);
        let Some(app) = self.apps.get_mut(name) else { return };
        let before = (app.status.clone(), app.spec.clone());
        app.argo.compare_at = now + Time::from_secs(REFRESH + hash(name, app.argo.syncs) % (REFRESH / 2));
        if let Some(spec) = rewritten(&app.spec) {
            let (old, managers) = (app.document(), &mut app.managers);
            app.spec = spec;
            let new = json!({ "metadata": old["metadata"], "spec": app.spec });
            fields::update(managers, MANAGER, &old, &new);
            app.note();
        }
        if let Some(why) = problem(&app.spec) {
            unknown(app, "InvalidSpecError", why, None);
            app.status.health = Some(health("Unknown", None));
        } else if blind {
            app.argo.compare_at = now + ASK_AGAIN;
            let since = *app.argo.blind_since.get_or_insert(now);
            // The old status stands for a while, whatever it was about.
            if app.status.sync.is_none() || now >= since + GRACE {
                let compared = compared_to(&app.spec);
                unknown(
                    app,
                    "ComparisonError",
                    "failed to list refs: the repository does not answer",
                    Some(compared),
                );
            }
        } else {
            app.argo.blind_since = None;
            self.report_comparison(name);
        }
        let Some(app) = self.apps.get_mut(name) else { return };
        if (&before.0, &before.1) != (&app.status, &app.spec) {
            self.version += 1;
            app.resource_version = self.version;
        }
    }

    fn report_comparison(&mut self, name: &str) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(name) else { return };
        let (found, several) = revisions(&app.spec, &self.pushes);
        let print = print(&app.spec, &found);
        let live = self.deployed.get(&place(&app.spec, name));
        let synced = live.is_some_and(|live| live.print == print);
        let first = found.first().cloned();
        app.status.sync = Some(Sync {
            status: if synced { "Synced" } else { "OutOfSync" }.to_owned(),
            revision: first.clone().filter(|_| !several),
            revisions: if several { found } else { Vec::new() },
            compared_to: compared_to(&app.spec),
        });
        app.status.reconciled_at = Some(now);
        let known = app.status.health.as_ref().map_or("", |health| health.status.as_str());
        match live {
            None => app.status.health = Some(health("Missing", None)),
            Some(_) if matches!(known, "" | "Unknown" | "Missing") => {
                app.status.health = Some(health("Progressing", None));
                app.argo.turns_at = Some(now + seconds(5, 20, name, 1));
            }
            Some(_) => {}
        }
        let gave_up = !synced && app.argo.failed.as_ref() == Some(&print);
        app.status.errors = if gave_up { vec![sync_error(first.as_deref())] } else { Vec::new() };
        if !synced && !gave_up && automated(&app.spec) && app.argo.running.is_none() {
            self.begin_sync(name, print, first);
        }
    }

    /// Begins to sync what the spec asks for now.
    pub(super) fn begin_sync(&mut self, name: &str, print: String, revision: Option<String>) {
        let next = std::mem::take(&mut self.next_sync);
        let Some(app) = self.apps.get_mut(name) else { return };
        app.argo.syncs += 1;
        // Some take minutes.
        let usual = match hash(name, app.argo.syncs) % 8 {
            0 => seconds(120, 240, name, app.argo.syncs),
            _ => seconds(4, 40, name, app.argo.syncs),
        };
        app.argo.running = Some(Running {
            at: self.now + next.takes.unwrap_or(usual),
            waits: false,
            print,
            revision: revision.clone(),
            place: place(&app.spec, name),
            failing: next.failing,
        });
        app.status.operation = true;
        let (found, several) = revisions(&app.spec, &self.pushes);
        app.status.operation_state = Some(Operation {
            phase: "Running".to_owned(),
            message: Some("waiting for completion of hook and resources".to_owned()),
            revision,
            revisions: if several { found } else { Vec::new() },
            sources: sources(&app.spec).into_iter().filter(|source| source.is_object()).cloned().collect(),
            ..Operation::default()
        });
    }

    /// An attempt ends, or the next one begins.
    fn sync_goes_on(&mut self, name: &str) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(name) else { return };
        let Some(mut running) = app.argo.running.take() else { return };
        let mut operation = app.status.operation_state.take().unwrap_or_default();
        self.version += 1;
        app.resource_version = self.version;
        if running.waits {
            operation.retries += 1;
            operation.finished_at = None;
            running.waits = false;
            running.at = now + seconds(4, 20, name, operation.retries);
            app.argo.running = Some(running);
        } else if running.failing > 0 && operation.retries < RETRIES {
            operation.finished_at = Some(stamp(now));
            operation.message = Some(FAILURE.to_owned());
            running.failing -= 1;
            running.waits = true;
            running.at = now + Time::from_secs((5 << operation.retries).min(180));
            app.argo.running = Some(running);
        } else if running.failing > 0 {
            "Failed".clone_into(&mut operation.phase);
            operation.message = Some(FAILURE.to_owned());
            operation.finished_at = Some(stamp(now));
            app.status.operation = false;
            app.argo.failed = Some(running.print);
        } else {
            "Succeeded".clone_into(&mut operation.phase);
            operation.message = Some("successfully synced (all tasks run)".to_owned());
            operation.finished_at = Some(stamp(now));
            app.status.operation = false;
            app.argo.failed = None;
            app.status.health = Some(health("Progressing", None));
            app.argo.turns_at = Some(now + seconds(5, 25, name, app.argo.syncs));
            self.deploy(name, running);
        }
        if let Some(app) = self.apps.get_mut(name) {
            let over = operation.phase != "Running";
            app.status.operation_state = Some(operation);
            // The end of an operation asks for a comparison with the latest revision.
            if over {
                self.compare(name);
            }
        }
    }

    /// What is there by that name stays what it is; only what it runs changes.
    fn deploy(&mut self, name: &str, running: Running) {
        if let Some(live) = self.deployed.get_mut(&running.place) {
            live.print = running.print;
        } else {
            let new = Deployed { print: running.print, birth: self.birth(), volume: self.birth() };
            self.deployed.insert(running.place, new);
        }
        for child in self.children.get(name).cloned().unwrap_or_default() {
            if !self.apps.contains_key(&child) {
                let spec = plain_spec(&child);
                self.insert(&child, &json!({ "metadata": {}, "spec": spec }), Managers::new());
            }
        }
    }

    /// The health turns: for a moment to the worse for some, to the better in the end.
    fn turn(&mut self, name: &str) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(name) else { return };
        let status = app.status.health.as_ref().map_or("", |health| health.status.as_str());
        let stumbles = status == "Progressing" && hash(name, app.argo.syncs).is_multiple_of(3);
        let (next, turns_at) = if let Some(until) = app.argo.degraded_until.filter(|until| *until > now) {
            (health("Degraded", Some("Deployment: back-off restarting failed container")), Some(until))
        } else if stumbles {
            (
                health("Degraded", Some("Deployment: waiting for a replica")),
                Some(now + seconds(3, 9, name, 3)),
            )
        } else {
            app.argo.degraded_until = None;
            (health("Healthy", None), None)
        };
        // Of what is not there, or cannot be told, no health is told either.
        if !matches!(status, "Missing" | "Unknown") {
            app.status.health = Some(next);
            self.version += 1;
            app.resource_version = self.version;
        }
        app.argo.turns_at = turns_at;
    }

    /// A set makes what it generated as it was, and makes it anew.
    fn generate_again(&mut self, name: &str) {
        let Some(generated) = self.generated.get_mut(name) else { return };
        generated.at = None;
        let (set, spec) = (generated.set.clone(), generated.spec.clone());
        if self.apps.contains_key(name) {
            self.edit(name, "argocd-applicationset-controller", |document| document["spec"] = json!(spec));
        } else {
            self.insert(name, &json!({ "metadata": {}, "spec": spec }), Managers::new());
        }
        if let Some(app) = self.apps.get_mut(name) {
            app.generated_by = Some(set);
        }
    }
}

/// The comparison could not be made.
fn unknown(app: &mut App, kind: &str, message: &str, compared: Option<Map<String, Value>>) {
    let sync = app.status.sync.get_or_insert_with(Sync::default);
    "Unknown".clone_into(&mut sync.status);
    if let Some(compared) = compared {
        sync.compared_to = compared;
    }
    app.status.errors = vec![Condition { kind: kind.to_owned(), message: message.to_owned() }];
}

/// Argo CD gave up on a revision.
fn sync_error(revision: Option<&str>) -> Condition {
    let message = format!("Failed last sync attempt to [{}]: {FAILURE}", revision.unwrap_or_default());
    Condition { kind: "SyncError".to_owned(), message }
}

fn health(status: &str, message: Option<&str>) -> Health {
    Health { status: status.to_owned(), message: message.map(str::to_owned) }
}

/// Some seconds, the same in every run.
fn seconds(from: u64, to: u64, name: &str, salt: u64) -> Time {
    Time::from_secs(from + hash(name, salt ^ from) % (to - from))
}

/// An Application as somebody writes it who has nothing special in mind.
pub(super) fn plain_spec(name: &str) -> Value {
    json!({
        "project": "default",
        "destination": { "server": "https://kubernetes.default.svc", "namespace": name },
        "source": { "repoURL": format!("https://git.lan/{name}"), "path": "deploy", "targetRevision": "main" },
        "syncPolicy": { "automated": {} },
    })
}
