//! The local mirror: what was fetched, and the commits that are kept. A crash leaves it; it goes with the state folder.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::kind::TargetError;

use super::history::{Commit, History};

/// What is on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Local {
    /// Whether anything was ever fetched.
    exists: bool,
    tip: Option<CommitId>,
    objects: BTreeSet<CommitId>,
    kept: BTreeMap<EnvironmentName, CommitId>,
    /// What the disk lost.
    lost: BTreeSet<CommitId>,
    /// Somebody noticed.
    damaged: bool,
}

impl Local {
    /// Takes in where the branch stands. One that is gone over there goes here too, and no commit does.
    pub(super) fn receive(&mut self, history: &History, tip: Option<&CommitId>) {
        if self.damaged {
            self.clone_anew(history, tip);
        }
        self.exists = true;
        if self.tip.as_ref() != tip {
            self.objects.extend(tip.into_iter().flat_map(|tip| history.reachable(tip)));
            self.tip = tip.cloned();
        }
    }

    /// A fresh clone, with everything that was kept: commits that nobody names any more are gone with the old one.
    pub(super) fn clone_anew(&mut self, history: &History, tip: Option<&CommitId>) {
        let has = |id: &CommitId| self.objects.contains(id);
        let kept: BTreeMap<EnvironmentName, CommitId> =
            self.kept.iter().filter(|(_, id)| has(id)).map(|(name, id)| (name.clone(), id.clone())).collect();
        let named = tip.into_iter().chain(kept.values());
        let objects = named.flat_map(|id| history.reachable(id)).collect();
        *self = Self { exists: true, tip: tip.cloned(), objects, kept, ..Self::default() };
    }

    /// The disk loses a commit. The first read that needs it says so, and the next fetch after that clones anew.
    pub(super) fn damage(&mut self, lost: &CommitId) {
        if self.objects.remove(lost) {
            self.lost.insert(lost.clone());
        }
    }

    fn damaged(&mut self, doing: &str) -> TargetError {
        self.damaged = true;
        TargetError::unavailable(doing, "the mirror is damaged: it is cloned anew at the next fetch")
    }

    pub(super) fn find<'h>(
        &mut self,
        history: &'h History,
        doing: &str,
        id: &CommitId,
    ) -> Result<&'h Commit, TargetError> {
        if !self.exists {
            return Err(TargetError::unavailable(doing, "there is no mirror of the repository yet"));
        }
        if self.lost.contains(id) {
            return Err(self.damaged(doing));
        }
        let known = history.get(id).filter(|_| self.objects.contains(id));
        known.ok_or_else(|| {
            TargetError::unavailable(doing, format!("the mirror has no commit {}", id.short()))
        })
    }

    /// The mirror is never shallow: a commit that it does not have is in nobody's history, and asking again does not bring
    /// it back.
    pub(super) fn descends(
        &mut self,
        history: &History,
        old: &CommitId,
        new: &CommitId,
    ) -> Result<bool, TargetError> {
        let doing = format!("comparing commits {} and {}", old.short(), new.short());
        if self.exists && !self.lost.contains(new) && !self.objects.contains(new) {
            return Err(TargetError::rejected(doing, format!("the mirror has no commit {}", new.short())));
        }
        self.find(history, &doing, new)?;
        if !self.objects.contains(old) {
            return Ok(false);
        }
        let behind = history.reachable(new);
        if behind.is_disjoint(&self.lost) { Ok(behind.contains(old)) } else { Err(self.damaged(&doing)) }
    }

    pub(super) fn keep(
        &mut self,
        history: &History,
        environment: &EnvironmentName,
        commit: &CommitId,
    ) -> Result<(), TargetError> {
        self.find(history, &format!("keeping commit {} of {environment}", commit.short()), commit)?;
        self.kept.insert(environment.clone(), commit.clone());
        Ok(())
    }

    /// What is kept and still there. Nothing before the first fetch.
    pub(super) fn kept(&self) -> BTreeMap<EnvironmentName, CommitId> {
        let there = self.kept.iter().filter(|(_, id)| self.objects.contains(*id));
        there.map(|(name, id)| (name.clone(), id.clone())).collect()
    }
}
