//! What the history says: which commit an environment goes on with after a start, and which ones would take it back.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_core::desired::{Desired, Site};
use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::kind::TargetError;
use holdfast_core::planted::{Defect, has};
use tracing::{info, warn};

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
            let kept = self.engine.repository.kept(&environment).await.map_err(TakeError::Tree)?;
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
            self.converge(&environment, Wanted { commit, desired: Arc::new(desired) });
        }
        Ok(())
    }

    /// The commit of an environment's last run, where it does not go back from the last converged one.
    async fn begun_after(
        &self,
        kept: &CommitId,
        environment: &EnvironmentName,
    ) -> Result<Option<CommitId>, TakeError> {
        let Some(begun) = self.engine.journal.begun(environment).await? else { return Ok(None) };
        match self.engine.repository.descends(kept, &begun).await {
            Ok(descends) => Ok(Some(begun).filter(|_| descends)),
            Err(TargetError::Rejected { .. }) => Ok(None),
            Err(error) => Err(TakeError::Tree(error)),
        }
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
        environment: &EnvironmentName,
        kept: Option<&CommitId>,
        rewind: &BTreeSet<CommitId>,
    ) -> Result<Option<(CommitId, &'static str)>, TakeError> {
        let repository = &self.engine.repository;
        if let Some(kept) = kept.filter(|kept| !rewind.contains(*kept))
            && !repository.descends(kept, commit).await.map_err(TakeError::Tree)?
            && !has(Defect::RewindTaken)
        {
            return Ok(Some((kept.clone(), "the last one converged")));
        }
        let context = Context::Environment(environment.clone());
        let pending = self.engine.journal.pending().await?;
        let begun = pending.into_iter().filter(|(_, about)| *about == context).map(|(begun, _)| begun);
        let wanted = self.lanes.get(environment).and_then(Lane::wanted);
        let last = self.engine.journal.begun(environment).await?;
        for begun in
            begun.chain(wanted).chain(last).filter(|begun| begun != commit && !rewind.contains(begun))
        {
            match repository.descends(commit, &begun).await {
                Ok(true) if !has(Defect::RewindTaken) => {
                    return Ok(Some((begun, "a later one that was begun")));
                }
                // One that nobody has any more is no successor.
                Ok(_) | Err(TargetError::Rejected { .. }) => {}
                Err(error) => return Err(TakeError::Tree(error)),
            }
        }
        Ok(None)
    }
}

/// Why an environment is only looked at after its journal was lost, while the newest commit is not in order.
const NOBODY_KNOWS: &str = "nobody knows which commit was begun last; push one that is in order";
