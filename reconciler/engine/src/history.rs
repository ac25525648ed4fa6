//! What the history says: which commit an environment goes on with after a start, and which ones would take it back.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_core::desired::{Desired, Site};
use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::kind::TargetError;
use holdfast_core::planted::{Defect, has};
use tracing::{info, warn};

use crate::Engine;
use crate::lane::{Lane, Wanted};
use crate::ports::{Context, Refused};
use crate::watch::{TakeError, Watcher};

impl Watcher {
    /// Looks after every environment of the newest commit that any environment converged to: at a start, a bad
    /// commit must not leave the home alone. What had left the repository by then stays left.
    pub(crate) async fn resume_newest(&mut self) -> Result<(), TakeError> {
        let mut newest: Option<CommitId> = None;
        let kept = self.engine.repository.all_kept().await.map_err(TakeError::Tree)?;
        for commit in kept.values() {
            let is_newer = match &newest {
                Some(newest) => {
                    self.engine.repository.descends(newest, commit).await.map_err(TakeError::Tree)?
                }
                None => true,
            };
            if is_newer {
                newest = Some(commit.clone());
            }
        }
        let Some(newest) = newest else { return Ok(()) };
        let Some(site) = self.read_again(&newest).await? else { return Ok(()) };
        let environments = site.environments.into_iter().map(|(name, _)| name).collect();
        self.resume(&environments).await
    }

    /// Reads a commit that was in order once.
    async fn read_again(&self, commit: &CommitId) -> Result<Option<Site>, TakeError> {
        let problem = match self.engine.repository.tree(commit).await {
            Ok(tree) => match self.read(tree).await {
                Ok(site) => return Ok(Some(site)),
                Err(Refused { headline, .. }) => headline,
            },
            Err(error) if error.is_unavailable() => return Err(TakeError::Tree(error)),
            Err(error) => error.to_string(),
        };
        warn!(commit = commit.short(), problem, "a commit that converged once is not valid any more");
        Ok(None)
    }

    /// Lets each of the environments that has no lane go on with the commit that its lane was at last. Where nobody knows
    /// which that was, the last one that it converged to is only looked at: what came after it may have changed and added
    /// things, which must not be taken back.
    pub(crate) async fn resume(&mut self, environments: &BTreeSet<EnvironmentName>) -> Result<(), TakeError> {
        let without_lane: Vec<EnvironmentName> =
            environments.iter().filter(|name| !self.is_alive(name)).cloned().collect();
        for environment in without_lane {
            let kept = last_converged(&self.engine, &environment).await?;
            let Some(kept) = kept else { continue };
            let begun = self.begun_after(&kept, &environment).await?;
            let last = match begun {
                Some(begun) => self.desired(&begun, &environment).await?.map(|desired| (begun, desired)),
                None => None,
            };
            let (commit, desired) = match last {
                Some(last) => last,
                None => match self.desired(&kept, &environment).await? {
                    Some(desired) => (
                        kept,
                        Desired { pause: desired.pause.or_else(|| Some(NOBODY_KNOWS.to_owned())), ..desired },
                    ),
                    None => continue,
                },
            };
            info!(environment = %environment, commit = commit.short(), "the last commit that was begun is looked after");
            let begun = self.engine.journal.begun(&environment).await?.into_iter().collect();
            self.converge(&environment, Wanted { commit, desired: Arc::new(desired), begun });
        }
        Ok(())
    }

    /// The commit of an environment's last run, where it does not go back from the last converged one. A journal in which
    /// nothing converged yet does not know what an earlier one held: its runs were those of who only looks.
    async fn begun_after(
        &self,
        kept: &CommitId,
        environment: &EnvironmentName,
    ) -> Result<Option<CommitId>, TakeError> {
        let journal = &self.engine.journal;
        if journal.converged(environment).await?.is_none() {
            return Ok(None);
        }
        let Some(begun) = journal.begun(environment).await? else { return Ok(None) };
        Ok(if self.comes_before(kept, &begun).await? { Some(begun) } else { None })
    }

    /// What a commit that was in order once wants of an environment.
    async fn desired(
        &self,
        commit: &CommitId,
        environment: &EnvironmentName,
    ) -> Result<Option<Desired>, TakeError> {
        let Some(site) = self.read_again(commit).await? else { return Ok(None) };
        Ok(site.environments.into_iter().find(|(name, _)| name == environment).map(|(_, desired)| desired))
    }

    /// The commit that this one would take the environment back from, if so, and what that is to it: the last one
    /// that it converged to, or a later one that was begun.
    pub(crate) async fn goes_back_from(
        &self,
        commit: &CommitId,
        kept: Option<&CommitId>,
        begun: &BTreeSet<CommitId>,
        rewind: &BTreeSet<CommitId>,
    ) -> Result<Option<(CommitId, &'static str)>, TakeError> {
        if let Some(kept) = kept.filter(|kept| !rewind.contains(*kept))
            && !self.comes_before(kept, commit).await?
            && !has(Defect::RewindTaken)
        {
            return Ok(Some((kept.clone(), "the last one converged")));
        }
        for begun in begun.iter().filter(|begun| *begun != commit && !rewind.contains(*begun)) {
            if self.comes_before(commit, begun).await? && !has(Defect::RewindTaken) {
                return Ok(Some((begun.clone(), "a later one that was begun")));
            }
        }
        Ok(None)
    }

    /// All that was begun in an environment and may have changed it: what its lane is at, what waits for its end, the
    /// last run.
    pub(crate) async fn begun_in(
        &self,
        environment: &EnvironmentName,
    ) -> Result<BTreeSet<CommitId>, TakeError> {
        let context = Context::Environment(environment.clone());
        let pending = self.engine.journal.pending().await?;
        let pending = pending.into_iter().filter(|(_, about)| *about == context).map(|(begun, _)| begun);
        let wanted = self.lanes.get(environment).and_then(Lane::wanted);
        let last = self.engine.journal.begun(environment).await?;
        Ok(pending.chain(wanted).chain(last).collect())
    }

    /// Whether the second commit descends from the first. One that the repository does not have any more comes before
    /// nothing.
    pub(crate) async fn comes_before(&self, old: &CommitId, new: &CommitId) -> Result<bool, TakeError> {
        Ok(self.descends(old, new).await?.unwrap_or(false))
    }

    /// Whether the second commit descends from the first; `None` where the repository does not have both.
    pub(crate) async fn descends(&self, old: &CommitId, new: &CommitId) -> Result<Option<bool>, TakeError> {
        match self.engine.repository.descends(old, new).await {
            Ok(descends) => Ok(Some(descends)),
            Err(TargetError::Rejected { .. }) => Ok(None),
            Err(error) => Err(TakeError::Tree(error)),
        }
    }
}

/// The last commit that an environment converged to: the journal's word where it has one, which all processes share, and
/// else the mirror's, which outlives a journal.
pub(crate) async fn last_converged(
    engine: &Engine,
    environment: &EnvironmentName,
) -> Result<Option<CommitId>, TakeError> {
    match engine.journal.converged(environment).await? {
        Some(converged) => Ok(Some(converged)),
        None => engine.repository.kept(environment).await.map_err(TakeError::Tree),
    }
}

/// Why an environment is only looked at after its journal was lost, while the newest commit is not in order.
const NOBODY_KNOWS: &str = "nobody knows which commit was begun last; push one that is in order";
