//! What happens on the branch: pushes, and what people do to it by force.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_engine::ports::Refused;

use super::Stage;
use crate::checks::Pushed;
use crate::events::Event;
use crate::ports::manifests::Payload;
use crate::ports::repository::Trouble;
use crate::workload::{Body, Push, Sketch};

impl Stage {
    pub(super) fn happen_to_branch(&mut self, event: &Event) {
        let Some(tip) = self.tip.clone() else { return };
        let remote = self.home.remote.clone();
        let moved = match event {
            Event::Rewind(back) => remote.with(|history| history.rewind(*back)),
            Event::Rewrite => {
                let payload = remote.with(|history| history.get(&tip).map(|commit| commit.payload));
                payload.map(|payload| remote.with(|history| history.rewrite(payload)))
            }
            Event::BranchGone => {
                remote.with(crate::ports::repository::History::remove_branch);
                None
            }
            Event::Truncated(begins) => {
                remote.set_trouble(begins.then_some(Trouble::Truncated));
                return;
            }
            // The end of whatever it was.
            _ => {
                remote.with(|history| history.force(&tip));
                Some(tip)
            }
        };
        self.home.wire.trace(&format!(
            "{event:?}: the branch is at {}",
            moved.as_ref().map_or("nothing", CommitId::short)
        ));
        self.learn_commits();
        if let Some(moved) = &moved {
            self.home.checks.head(moved);
        }
    }

    /// Tells the checks of commits that came into being otherwise than by a push.
    fn learn_commits(&self) {
        let Some(head) = self.home.remote.head() else { return };
        let all: Vec<(CommitId, usize)> = self.home.remote.with(|history| {
            let reachable = history.reachable(&head);
            reachable.iter().filter_map(|id| Some((id.clone(), history.get(id)?.payload))).collect()
        });
        for (id, payload) in all {
            if !self.home.checks.knows(&id) {
                let before = self.home.remote.with(|history| history.before(&id));
                self.home.checks.committed(id, pushed(self.home.catalogue.get(payload).as_ref(), before));
            }
        }
    }

    pub(super) fn push(&mut self, at: usize, wakes: bool) {
        let Some(push) = self.workload.pushes.get(at) else { return };
        let payload = match &push.body {
            Body::Site(sketch) => Payload::Site(Arc::new(sketch.site())),
            Body::Invalid => {
                Payload::Refused(Refused::once("`cores` is missing (environments/core/all.yaml:3)"))
            }
            Body::Panics => Payload::Poison,
            Body::Hangs => Payload::Hangs,
            Body::Kills => Payload::Kills,
            Body::Unreadable => {
                Payload::Unreadable("the commit holds a file of 2 MiB; at most 1 MiB are read".to_owned())
            }
        };
        let index = self.home.catalogue.add(payload.clone());
        // People push onto what they know as the newest, wherever the branch stands.
        let tip = self.tip.clone();
        let commit = self.home.remote.with(|history| {
            if let Some(tip) = &tip {
                history.force(tip);
            }
            history.commit(index)
        });
        self.home.wire.trace(&format!("push {}: {}", commit.short(), push.label));
        let before = self.home.remote.with(|history| history.before(&commit));
        self.home.checks.committed(commit.clone(), pushed(Some(&payload), before));
        self.home.checks.head(&commit);
        self.pushed.insert(at, commit.clone());
        self.tip = Some(commit);
        if wakes {
            self.lives.iter().for_each(|life| life.wake.notify_one());
        }
    }

    /// One commit more than was drawn.
    pub(crate) fn push_more(&mut self, push: Push) {
        self.workload.pushes.push(push);
        self.push(self.workload.pushes.len() - 1, true);
    }

    /// The kept commits that the newest one does not descend from.
    pub(crate) fn stranded(&self) -> BTreeSet<CommitId> {
        let Some(tip) = &self.tip else { return BTreeSet::new() };
        let kept = self.home.machines.iter().flat_map(|machine| machine.mirror.kept().into_values());
        kept.filter(|kept| !self.home.remote.descends(kept, tip)).collect()
    }

    /// The environments of which the newest commit is in its first run.
    pub(crate) fn first(&self) -> BTreeSet<EnvironmentName> {
        let wanted = self.wanted().unwrap_or_default().into_iter();
        let is_first = |name: &EnvironmentName| {
            let desired = self.tip.as_ref().and_then(|tip| self.truth.desired(tip, name));
            desired.is_some_and(|desired| desired.first)
        };
        wanted.filter(is_first).collect()
    }

    /// What the newest commit wants, where it is valid.
    pub(crate) fn newest_sketch(&self) -> Option<&Sketch> {
        self.workload.pushes.get(*self.pushed.last_key_value()?.0)?.body.sketch()
    }

    /// The environments of the newest commit, where it is valid.
    pub(crate) fn wanted(&self) -> Option<Vec<EnvironmentName>> {
        Some(self.newest_sketch()?.rooms.keys().cloned().collect())
    }
}

fn pushed(payload: Option<&Payload>, before: BTreeSet<CommitId>) -> Pushed {
    match payload {
        Some(Payload::Site(site)) => Pushed {
            environments: site
                .environments
                .iter()
                .map(|(name, desired)| (name.clone(), Arc::new(desired.clone())))
                .collect(),
            before,
        },
        _ => Pushed { before, ..Pushed::default() },
    }
}
