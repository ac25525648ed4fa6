//! What the checks know of a world: the commits, who runs what, who has the lease, what stands where.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_core::desired::Desired;
use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId, SiteName};
use holdfast_core::mark::Mark;
use holdfast_core::report::Report;
use holdfast_engine::ports::Epoch;

use crate::model::Object;
use crate::wire::Port;

/// One commit as the frame made it.
#[derive(Clone, Default)]
pub struct Pushed {
    /// What it wants of each environment; nothing where it is invalid.
    pub environments: BTreeMap<EnvironmentName, Arc<Desired>>,
    /// What it descends from.
    pub before: BTreeSet<CommitId>,
}

/// What the checks know.
#[derive(Clone)]
pub struct Facts {
    pub(crate) site: SiteName,
    pub(crate) commits: BTreeMap<CommitId, Pushed>,
    /// When each commit last became the head, counted.
    heads: BTreeMap<CommitId, u64>,
    /// When each did first.
    first_heads: BTreeMap<CommitId, u64>,
    /// The commit that each process runs, by environment.
    pub(crate) running: BTreeMap<(u8, EnvironmentName), CommitId>,
    /// The commit that was begun last, by whomever, and the how manieth head it was then: it may be the head again later.
    pub(crate) begun: BTreeMap<EnvironmentName, (CommitId, u64)>,
    epochs: BTreeMap<(u8, EnvironmentName), Epoch>,
    newest: BTreeMap<EnvironmentName, Epoch>,
    /// What the last converged run had, as the journal knows it.
    pub(crate) known: BTreeMap<EnvironmentName, BTreeSet<ResourceId>>,
    /// The commit that each environment converged to last.
    pub(crate) converged: BTreeMap<EnvironmentName, CommitId>,
    /// The commits that are not read any more.
    pub(crate) quarantined: BTreeSet<CommitId>,
    /// Whether two processes may not have the same time.
    pub(crate) clocks_differ: bool,
    pub(crate) objects: BTreeMap<Port, Arc<BTreeMap<String, Object>>>,
}

impl Facts {
    pub fn new(site: SiteName, commits: BTreeMap<CommitId, Pushed>) -> Self {
        Self {
            site,
            commits,
            heads: BTreeMap::new(),
            first_heads: BTreeMap::new(),
            running: BTreeMap::new(),
            begun: BTreeMap::new(),
            epochs: BTreeMap::new(),
            newest: BTreeMap::new(),
            known: BTreeMap::new(),
            converged: BTreeMap::new(),
            quarantined: BTreeSet::new(),
            clocks_differ: false,
            objects: BTreeMap::new(),
        }
    }

    pub(crate) fn leased(&mut self, process: u8, environment: &EnvironmentName, epoch: Epoch) {
        self.epochs.insert((process, environment.clone()), epoch);
        let newest = self.newest.entry(environment.clone()).or_insert(epoch);
        *newest = (*newest).max(epoch);
    }

    pub(crate) fn run_started(
        &mut self,
        process: u8,
        commit: &CommitId,
        head: u64,
        environment: &EnvironmentName,
    ) {
        self.running.insert((process, environment.clone()), commit.clone());
        // Begun is what may write: who has lost the lease, or is a commit behind, begins nothing.
        if self.begun.get(environment).is_none_or(|(_, begun)| *begun <= head) {
            self.begun.insert(environment.clone(), (commit.clone(), head));
        }
    }

    pub(crate) fn head_of(&self, commit: &CommitId) -> u64 {
        self.heads.get(commit).copied().unwrap_or_default()
    }

    pub(crate) fn run_finished(&mut self, report: &Report) {
        if report.converged()
            && let Some(desired) = self.desired(&report.commit, &report.environment)
        {
            let own = desired.resources.values().filter(|resource| !resource.borrowed);
            let own = own.map(|resource| resource.id.clone()).collect();
            self.known.insert(report.environment.clone(), own);
            self.converged.insert(report.environment.clone(), report.commit.clone());
        }
    }

    pub(crate) fn journal_lost(&mut self) {
        self.epochs.clear();
        self.newest.clear();
        self.known.clear();
    }

    pub(crate) fn head(&mut self, commit: &CommitId) {
        let next = self.heads.values().max().copied().unwrap_or_default() + 1;
        self.heads.insert(commit.clone(), next);
        self.first_heads.entry(commit.clone()).or_insert(next);
    }

    /// Whether one commit became the head after another did.
    pub(crate) fn is_newer(&self, one: &CommitId, other: &CommitId) -> bool {
        self.heads.get(one) > self.heads.get(other)
    }

    /// Whether a commit was not the head any more once there had been so many heads.
    pub(crate) fn was_head_before(&self, commit: &CommitId, order: u64) -> bool {
        self.heads.get(commit).is_some_and(|head| *head < order)
    }

    /// Whether one commit was never the head again once another had become it.
    pub(crate) fn is_only_older(&self, one: &CommitId, other: &CommitId) -> bool {
        self.heads.get(one) < self.first_heads.get(other)
    }

    /// Whether the first commit descends from the second.
    pub(crate) fn descends(&self, one: &CommitId, other: &CommitId) -> bool {
        self.commits.get(one).is_some_and(|commit| commit.before.contains(other))
    }

    pub(crate) fn has_been_head(&self, commit: &CommitId) -> bool {
        self.heads.contains_key(commit)
    }

    /// Whether a process has the newest epoch of an environment; `None` where it never had one.
    pub(crate) fn has_lease(&self, process: u8, environment: &EnvironmentName) -> Option<bool> {
        let epoch = self.epochs.get(&(process, environment.clone()))?;
        Some(self.newest.get(environment) == Some(epoch))
    }

    /// The commit on whose behalf a process acts.
    pub(crate) fn acts_for(&self, process: u8, environment: &EnvironmentName) -> Option<&CommitId> {
        self.running.get(&(process, environment.clone()))
    }

    pub(crate) fn desired(&self, commit: &CommitId, environment: &EnvironmentName) -> Option<&Arc<Desired>> {
        self.commits.get(commit)?.environments.get(environment)
    }

    /// The resource whose valid mark an object carries.
    pub(crate) fn owner(&self, object: &Object) -> Option<ResourceId> {
        let mark = Mark::parse(object.mark.as_deref()?)?;
        (mark.site == self.site && names(&mark.object, &object.identity)).then_some(mark.id)
    }

    /// Whether any commit that was the head names it under `retire:`.
    pub(crate) fn is_retired(&self, id: &ResourceId) -> bool {
        self.commits
            .iter()
            .filter(|(commit, _)| self.has_been_head(commit))
            .filter_map(|(_, pushed)| pushed.environments.get(&id.environment))
            .any(|desired| desired.retire.contains(id))
    }
}

/// Whether a mark's object is the very thing that it stands on. A clone's mark is written before its uuid is known,
/// and names its number alone.
fn names(object: &str, identity: &str) -> bool {
    let new = object.strip_suffix("/new").and_then(|number| identity.strip_prefix(number));
    object == identity || new.is_some_and(|rest| rest.starts_with('/'))
}
