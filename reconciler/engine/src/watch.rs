//! The watcher: asks the repository for its newest commit, checks it, and hands it to the lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::desired::{Desired, Site};
use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::kind::TargetError;
use holdfast_core::manifest::Tree;
use holdfast_core::planted::{Defect, has};
use holdfast_core::report::{Status, StatusState, count};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::Engine;
use crate::chance::Backoff;
use crate::guard::guarded;
use crate::history::last_converged;
use crate::lane::{Goal, Lane, Wanted, lane};
use crate::ports::{Context, JournalError, Refused};

/// Watches until `shutdown`, then waits for what the lanes have begun. `wake` asks for a look at the
/// repository now.
pub async fn watch(engine: Arc<Engine>, wake: Arc<Notify>, shutdown: CancellationToken) {
    let ending = shutdown.clone();
    let mut watcher = Watcher {
        engine,
        lanes: BTreeMap::new(),
        running: JoinSet::new(),
        head: None,
        missing: BTreeSet::new(),
        outage: None,
        shutdown,
    };
    let limits = watcher.engine.limits.clone();
    // Many that start at once, as after a power cut, do not begin at once.
    let start = limits.start.mul_f64(watcher.engine.chance.fraction());
    tokio::select! {
        biased;
        () = ending.cancelled() => return,
        () = tokio::time::sleep(start) => {}
    }
    let mut backoff = Backoff::new((limits.poll.min(limits.retry.0), limits.retry.1));
    loop {
        let polled = tokio::select! {
            biased;
            // A poll changes nothing in the world, so that it can be broken off.
            () = ending.cancelled() => break,
            polled = watcher.poll() => polled,
        };
        let pause = match polled {
            Ok(()) if has(Defect::NoPoll) => Duration::from_hours(10_000),
            Ok(()) => {
                backoff.reset();
                watcher.engine.chance.around(limits.poll)
            }
            // A repository that is away is asked no more often than one that is there.
            Err(Again::Outage) => watcher.engine.chance.around(limits.poll),
            Err(Again::Journal) => backoff.pause(&watcher.engine.chance).min(limits.poll),
        };
        tokio::select! {
            biased;
            () = ending.cancelled() => break,
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    while watcher.running.join_next().await.is_some() {}
}

pub(crate) struct Watcher {
    pub(crate) engine: Arc<Engine>,
    pub(crate) lanes: BTreeMap<EnvironmentName, Lane>,
    running: JoinSet<()>,
    /// The newest commit that was dealt with.
    head: Option<CommitId>,
    /// What was pending on commits that the repository did not have at the last look.
    missing: BTreeSet<(CommitId, Context)>,
    /// Why the repository could not be read last.
    outage: Option<String>,
    shutdown: CancellationToken,
}

/// So often a commit may end the service while it is read, before it is not read any more.
const DEADLY: u32 = 2;

/// Why a look at the repository is to be repeated.
enum Again {
    /// The repository, or its mirror, could not be read.
    Outage,
    /// The journal failed.
    Journal,
}

impl Watcher {
    /// One look at the repository. `Err` where it has to be repeated.
    async fn poll(&mut self) -> Result<(), Again> {
        let head = match self.engine.repository.fetch().await {
            Ok(head) => head,
            Err(error) => {
                // Once for each cause: an outage may last.
                let error = error.to_string();
                if self.outage.as_ref() != Some(&error) {
                    warn!(error, "the repository could not be read");
                }
                self.outage = Some(error);
                return Err(Again::Outage);
            }
        };
        if self.outage.take().is_some() {
            info!("the repository can be read again");
        }
        let Some(head) = head else {
            debug!("the repository has no commit on the watched branch yet");
            return Ok(());
        };
        let taken = if self.head.as_ref() == Some(&head) {
            // What could not be recorded at its time is not pending for ever.
            self.supersede_older(&head).await
        } else {
            self.take(&head).await
        };
        match taken {
            Ok(()) => {
                self.head = Some(head);
                Ok(())
            }
            Err(error) => {
                warn!(commit = head.short(), error = %error, "the commit could not be taken yet");
                Err(match error {
                    TakeError::Tree(_) => Again::Outage,
                    TakeError::Journal(_) => Again::Journal,
                })
            }
        }
    }

    /// Deals with a new commit: checks it, tells the older ones, hands it to its lanes.
    async fn take(&mut self, commit: &CommitId) -> Result<(), TakeError> {
        info!(commit = commit.short(), "a new commit");
        self.set(commit, &Context::Validate, &Status::new(StatusState::Pending, "reading the commit"))
            .await?;
        let tree = match self.engine.repository.tree(commit).await {
            Ok(tree) => tree,
            Err(error) if error.is_unavailable() => return Err(TakeError::Tree(error)),
            Err(error) => return self.refuse(commit, &error.to_string(), &error.to_string()).await,
        };
        let deaths = self.engine.journal.attempt(commit).await?;
        if deaths >= DEADLY {
            let text = format!(
                "the service ended {deaths} times while it read this commit, and reads it no more; push another one"
            );
            return self.refuse(commit, &text, &text).await;
        }
        let read = self.read(tree).await;
        self.engine.journal.attempt_ended(commit).await?;
        let site = match read {
            Ok(site) => site,
            Err(Refused { headline, whole }) => return self.refuse(commit, &headline, &whole).await,
        };
        let resources: usize = site.environments.iter().map(|(_, desired)| own(desired)).sum();
        let environments: BTreeSet<EnvironmentName> =
            site.environments.iter().map(|(name, _)| name.clone()).collect();
        let valid = format!(
            "valid: {} in {}",
            count(resources, "resource"),
            count(environments.len(), "environment")
        );
        self.set(commit, &Context::Validate, &Status::new(StatusState::Success, valid)).await?;
        for (environment, desired) in site.environments {
            self.hand_over(commit, &environment, desired, &site.rewind).await?;
        }
        for (environment, lane) in &self.lanes {
            if !environments.contains(environment) {
                info!(environment = %environment, "the environment left the repository; it is left as it is");
                lane.goal.send_replace(Goal::Rest(commit.clone()));
            }
        }
        // Those of which this commit was held.
        self.resume(&environments).await?;
        self.supersede_older(commit).await
    }

    /// Reads a commit within its time; one that panics or does not end is a bad commit.
    pub(crate) async fn read(&self, tree: Tree) -> Result<Site, Refused> {
        let reading = guarded("reading the commit", self.engine.manifests.read(tree));
        match tokio::time::timeout(self.engine.limits.reading, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(panicked)) => {
                error!(error = %panicked, "reading the commit broke off");
                Err(Refused::once("internal error: reading this commit broke off; see the service's log"))
            }
            Err(_) => Err(Refused::once(format!(
                "reading this commit did not end within {} s; make it smaller",
                self.engine.limits.reading.as_secs()
            ))),
        }
    }

    /// A commit that is invalid changes nothing: the lanes go on with what they have.
    async fn refuse(&mut self, commit: &CommitId, headline: &str, whole: &str) -> Result<(), TakeError> {
        warn!(commit = commit.short(), problems = %whole, "the commit is invalid");
        self.set(commit, &Context::Validate, &Status::new(StatusState::Failure, headline)).await?;
        // What an earlier life had begun of it ends with it.
        for (pending, context) in self.engine.journal.pending().await? {
            if pending == *commit && context != Context::Validate {
                self.set(commit, &context, &Status::new(StatusState::Failure, headline)).await?;
            }
        }
        if self.lanes.is_empty() {
            self.resume_newest().await?;
        }
        self.supersede_older(commit).await
    }

    /// Hands a commit to its environment's lane, unless it would take the environment back in history.
    async fn hand_over(
        &mut self,
        commit: &CommitId,
        environment: &EnvironmentName,
        mut desired: Desired,
        rewind: &BTreeSet<CommitId>,
    ) -> Result<(), TakeError> {
        let context = Context::Environment(environment.clone());
        let kept = last_converged(&self.engine, environment).await?;
        desired.first = kept.is_none();
        let last = self.engine.journal.begun(environment).await?;
        let begun = self.begun_in(environment).await?;
        let back = self.goes_back_from(commit, kept.as_ref(), &begun, rewind).await?;
        if let Some((from, what)) = back {
            let text = format!(
                "held: it does not descend from {}, {what}; push one that does, or list that one under `rewind:`",
                from.short()
            );
            warn!(environment = %environment, commit = commit.short(), from = from.short(), "the history was rewritten or goes backwards");
            return Ok(self.set(commit, &context, &Status::new(StatusState::Failure, text)).await?);
        }
        let status =
            Status::new(StatusState::Pending, format!("converging {}", count(own(&desired), "resource")));
        self.set(commit, &context, &status).await?;
        let begun = begun.into_iter().filter(|begun| rewind.contains(begun)).chain(last).collect();
        self.converge(environment, Wanted { commit: commit.clone(), desired: Arc::new(desired), begun });
        Ok(())
    }

    pub(crate) fn is_alive(&self, environment: &EnvironmentName) -> bool {
        self.lanes.get(environment).is_some_and(|lane| !lane.goal.is_closed())
    }

    /// Gives an environment's lane its goal; begins the lane where there is none, or where it broke off.
    pub(crate) fn converge(&mut self, environment: &EnvironmentName, wanted: Wanted) {
        let goal = Goal::Converge(wanted);
        if let Some(lane) = self.lanes.get(environment).filter(|lane| !lane.goal.is_closed()) {
            lane.goal.send_replace(goal);
            return;
        }
        let (goal, receiver) = watch::channel(goal);
        let (working, at) = watch::channel(None);
        self.lanes.insert(environment.clone(), Lane { goal, working: at });
        let (engine, shutdown) = (self.engine.clone(), self.shutdown.clone());
        self.running.spawn(lane(engine, environment.clone(), receiver, working, shutdown));
    }

    /// Ends what was left pending: by an earlier life of the service, by a full disk, or because it was never begun.
    /// What a lane works on, the lane itself ends.
    async fn supersede_older(&mut self, newest: &CommitId) -> Result<(), TakeError> {
        let mut missing = BTreeSet::new();
        for (commit, context) in self.engine.journal.pending().await? {
            let in_work = match &context {
                Context::Validate => false,
                Context::Environment(environment) => {
                    self.lanes.get(environment).is_some_and(|lane| lane.has(&commit))
                }
            };
            if commit == *newest || in_work || has(Defect::PendingForgotten) {
                continue;
            }
            // A mirror that is behind, or another process that is ahead: an older commit supersedes nothing. Another
            // process may have fetched what this one did not yet; what is still missing a fetch later is gone.
            let descends = self.descends(newest, &commit).await?;
            let pending = (commit, context);
            let is_older = descends.map_or_else(|| self.missing.contains(&pending), |is_newer| !is_newer);
            if is_older {
                self.set(&pending.0, &pending.1, &Status::superseded(newest)).await?;
            }
            if descends.is_none() {
                missing.insert(pending);
            }
        }
        self.missing = missing;
        Ok(())
    }

    async fn set(&self, commit: &CommitId, context: &Context, status: &Status) -> Result<(), JournalError> {
        self.engine.journal.set_status(commit, context, status).await
    }
}

fn own(desired: &Desired) -> usize {
    desired.resources.values().filter(|resource| !resource.borrowed).count()
}

/// Why a commit is to be taken again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error("{0}")]
    Tree(TargetError),
    #[error("{}", holdfast_core::kind::chain(.0))]
    Journal(#[from] JournalError),
}
