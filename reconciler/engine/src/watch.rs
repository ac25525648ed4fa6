//! The watcher: asks the repository for its newest commit, checks it, and hands it to the lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_core::desired::Site;
use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::manifest::{self, Tree, Validators};
use holdfast_core::report::{Status, StatusState, count};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::Engine;
use crate::chance::Backoff;
use crate::lane::{Goal, Wanted, lane};
use crate::ports::{Context, JournalError};

/// Watches until `shutdown`, then waits for what the lanes have begun. `wake` asks for a look at the
/// repository now.
pub async fn watch(
    engine: Arc<Engine>,
    validators: Arc<Validators>,
    wake: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let mut watcher =
        Watcher { engine, validators, lanes: BTreeMap::new(), running: JoinSet::new(), head: None, shutdown };
    let limits = watcher.engine.limits.clone();
    let mut backoff = Backoff::new((limits.poll.min(limits.retry.0), limits.retry.1));
    loop {
        let pause = match watcher.poll().await {
            Ok(()) => {
                backoff.reset();
                watcher.engine.chance.around(limits.poll)
            }
            Err(()) => backoff.pause(&watcher.engine.chance).min(limits.poll),
        };
        tokio::select! {
            biased;
            () = watcher.shutdown.cancelled() => break,
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    while watcher.running.join_next().await.is_some() {}
}

struct Watcher {
    engine: Arc<Engine>,
    validators: Arc<Validators>,
    lanes: BTreeMap<EnvironmentName, watch::Sender<Goal>>,
    running: JoinSet<()>,
    /// The newest commit that was dealt with.
    head: Option<CommitId>,
    shutdown: CancellationToken,
}

/// What reading a commit gave.
enum Read {
    Site(Site),
    /// One line for the commit, and the whole for the log.
    Invalid(String, String),
}

impl Watcher {
    /// One look at the repository. `Err` where it has to be repeated soon.
    async fn poll(&mut self) -> Result<(), ()> {
        let head = match self.engine.repository.fetch().await {
            Ok(head) => head,
            Err(error) => {
                warn!(error = %error, "the repository could not be read");
                return Err(());
            }
        };
        let Some(head) = head else {
            info!("the repository has no commit on the watched branch yet");
            return Ok(());
        };
        if self.head.as_ref() == Some(&head) {
            return Ok(());
        }
        match self.take(&head).await {
            Ok(()) => {
                self.head = Some(head);
                Ok(())
            }
            Err(error) => {
                warn!(commit = head.short(), error = %error, "the commit could not be taken yet");
                Err(())
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
        let site = match self.read(tree).await {
            Read::Site(site) => site,
            Read::Invalid(headline, whole) => return self.refuse(commit, &headline, &whole).await,
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
            self.hand_over(commit, &environment, desired).await?;
        }
        for (environment, sender) in &self.lanes {
            if !environments.contains(environment) {
                info!(environment = %environment, "the environment left the repository; it is left as it is");
                sender.send_replace(Goal::Rest(commit.clone()));
            }
        }
        self.supersede_older(commit).await
    }

    async fn read(&self, tree: Tree) -> Read {
        let (engine, validators) = (self.engine.clone(), self.validators.clone());
        // On a thread of its own: a commit may be large, and one that makes the reader panic is a bad commit.
        let read = tokio::task::spawn_blocking(move || read(&engine, &validators, &tree));
        read.await.unwrap_or_else(|panicked| {
            error!(error = %panicked, "reading the commit broke off");
            let text = "internal error: reading this commit broke off; see the service's log";
            Read::Invalid(text.to_owned(), text.to_owned())
        })
    }

    /// A commit that is invalid changes nothing: the lanes go on with what they have.
    async fn refuse(&self, commit: &CommitId, headline: &str, whole: &str) -> Result<(), TakeError> {
        warn!(commit = commit.short(), problems = %whole, "the commit is invalid");
        self.set(commit, &Context::Validate, &Status::new(StatusState::Failure, headline)).await?;
        self.supersede_older(commit).await
    }

    /// Hands a commit to its environment's lane, unless it would take the environment back in history.
    async fn hand_over(
        &mut self,
        commit: &CommitId,
        environment: &EnvironmentName,
        desired: holdfast_core::desired::Desired,
    ) -> Result<(), TakeError> {
        let context = Context::Environment(environment.clone());
        if let Some(kept) = self.engine.repository.kept(environment).await.map_err(TakeError::Tree)?
            && !self.engine.repository.descends(&kept, commit).await.map_err(TakeError::Tree)?
        {
            let text = format!(
                "held: this commit does not descend from {}, the last one converged; push one that does (git revert)",
                kept.short()
            );
            warn!(environment = %environment, commit = commit.short(), kept = kept.short(), "the history was rewritten or goes backwards");
            return Ok(self.set(commit, &context, &Status::new(StatusState::Failure, text)).await?);
        }
        let status =
            Status::new(StatusState::Pending, format!("converging {}", count(own(&desired), "resource")));
        self.set(commit, &context, &status).await?;
        let wanted = Wanted { commit: commit.clone(), desired: Arc::new(desired) };
        if let Some(sender) = self.lanes.get(environment) {
            sender.send_replace(Goal::Converge(wanted));
            return Ok(());
        }
        let (sender, receiver) = watch::channel(Goal::Converge(wanted));
        self.lanes.insert(environment.clone(), sender);
        self.running.spawn(lane(self.engine.clone(), environment.clone(), receiver, self.shutdown.clone()));
        Ok(())
    }

    /// Ends what an earlier life of the service, or a commit that was never begun, left pending. What a lane works
    /// on, or was working on until just now, the lane itself ends.
    async fn supersede_older(&self, newest: &CommitId) -> Result<(), TakeError> {
        for (commit, context) in self.engine.journal.pending().await? {
            let in_work = match &context {
                Context::Validate => false,
                Context::Environment(environment) => self.lanes.get(environment).is_some_and(|lane| {
                    let wanted = matches!(&*lane.borrow(), Goal::Converge(wanted) if wanted.commit == commit);
                    wanted || self.head.as_ref() == Some(&commit)
                }),
            };
            if commit != *newest && !in_work {
                self.set(&commit, &context, &Status::superseded(newest)).await?;
            }
        }
        Ok(())
    }

    async fn set(&self, commit: &CommitId, context: &Context, status: &Status) -> Result<(), JournalError> {
        self.engine.journal.set_status(commit, context, status).await
    }
}

/// Reads and checks a commit, for this service's site.
fn read(engine: &Engine, validators: &Validators, tree: &Tree) -> Read {
    let checked = manifest::read(tree, &engine.kinds, validators)
        .and_then(|manifest| manifest.expect_site(&engine.site, tree).map(|()| manifest));
    match checked {
        Ok(manifest) => {
            for warning in &manifest.warnings {
                warn!(warning = %warning.title, path = warning.path, "the commit is valid, but");
            }
            Read::Site(manifest.site)
        }
        Err(problems) => Read::Invalid(problems.headline().to_owned(), problems.render(tree)),
    }
}

fn own(desired: &holdfast_core::desired::Desired) -> usize {
    desired.resources.values().filter(|resource| !resource.borrowed).count()
}

/// Why a commit is to be taken again later.
#[derive(Debug, thiserror::Error)]
enum TakeError {
    #[error("{0}")]
    Tree(holdfast_core::kind::TargetError),
    #[error("{}", holdfast_core::kind::chain(.0))]
    Journal(#[from] JournalError),
}
