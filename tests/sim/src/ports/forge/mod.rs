//! The forge: a log of statuses that only grows, behind an API that is slow, away, limited and forgetful as the real
//! ones. What posts to it is the shipped worker ([`holdfast_forge::worker::post_all`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_core::ident::CommitId;
use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::report::Status;
use holdfast_engine::chance::Chance;
use holdfast_forge::PostError;
use holdfast_forge::ports::Statuses;
use holdfast_forge::worker::Ways;

use super::clock::SimClock;
use crate::model::Time;
use crate::wire::{Call, Port, Verdict, Wire};

/// The longest description, in characters, and the most statuses of a commit and context (GitHub).
const LONGEST: usize = 140;
const MOST: usize = 1_000;

/// A status that the forge took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    pub at: Time,
    pub commit: CommitId,
    /// Its whole name.
    pub context: String,
    pub status: Status,
}

/// The forge. It outlives everything.
#[derive(Clone, Default)]
pub struct Forge(Arc<Mutex<Server>>);

#[derive(Default)]
struct Server {
    log: Vec<Posted>,
    /// The places in the log, by commit and context.
    places: BTreeMap<(CommitId, String), Vec<usize>>,
    /// Commits that it does not know before a moment, or never again.
    unknown: BTreeMap<CommitId, Option<Time>>,
    refuses_token: bool,
}

impl Forge {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token is not taken any more, or is again.
    pub fn refuse_token(&self, refuses: bool) {
        self.server().refuses_token = refuses;
    }

    /// The API knows a commit only from a moment on (`None`: never, since its history was rewritten away).
    pub fn hide(&self, commit: &CommitId, until: Option<Time>) {
        self.server().unknown.insert(commit.clone(), until);
    }

    /// Somebody else sets a status, of ours or of their own.
    pub fn set_by_hand(&self, at: Time, commit: &CommitId, context: &str, status: Status) {
        self.server().push(at, commit, context, status);
    }

    /// Everything that was ever posted, in its order.
    pub fn log(&self) -> Vec<Posted> {
        self.server().log.clone()
    }

    /// What was posted since an earlier length of the log.
    pub fn log_since(&self, length: usize) -> Vec<Posted> {
        self.server().log.get(length..).unwrap_or_default().to_vec()
    }

    /// What people see: the newest status of each commit and context.
    pub fn shown(&self) -> BTreeMap<(CommitId, String), Status> {
        let server = self.server();
        let newest = |places: &Vec<usize>| Some(server.log[*places.last()?].status.clone());
        server.places.iter().filter_map(|(key, places)| Some((key.clone(), newest(places)?))).collect()
    }
}

impl Server {
    fn push(&mut self, at: Time, commit: &CommitId, context: &str, status: Status) {
        let key = (commit.clone(), context.to_owned());
        self.places.entry(key).or_default().push(self.log.len());
        self.log.push(Posted { at, commit: commit.clone(), context: context.to_owned(), status });
    }

    fn is_unknown(&self, commit: &CommitId, now: Time) -> bool {
        self.unknown.get(commit).is_some_and(|until| until.is_none_or(|until| now < until))
    }

    fn take(
        &mut self,
        now: Time,
        commit: &CommitId,
        context: &str,
        status: &Status,
    ) -> Result<(), PostError> {
        self.allow()?;
        if self.is_unknown(commit, now) {
            return Err(PostError::NoSuchCommit);
        }
        if status.description.chars().count() > LONGEST {
            return Err(PostError::TooLong);
        }
        if self.places.get(&(commit.clone(), context.to_owned())).is_some_and(|places| places.len() >= MOST) {
            return Err(PostError::Unclear { why: "422".to_owned() });
        }
        self.push(now, commit, context, status.clone());
        Ok(())
    }

    /// The newest of each context, or as it was one post before.
    fn list(&self, now: Time, commit: &CommitId, older: bool) -> Result<Vec<(String, Status)>, PostError> {
        self.allow()?;
        if self.is_unknown(commit, now) {
            return Err(PostError::Refused { why: "404: there is no such repository".to_owned() });
        }
        let mut log: Vec<&Posted> = self.log.iter().filter(|posted| posted.commit == *commit).collect();
        if older {
            log.pop();
        }
        let newest: BTreeMap<&String, &Status> =
            log.into_iter().map(|posted| (&posted.context, &posted.status)).collect();
        let ours = newest.into_iter().filter(|(context, _)| context.starts_with("holdfast/"));
        Ok(ours.map(|(context, status)| (context.clone(), status.clone())).collect())
    }

    fn allow(&self) -> Result<(), PostError> {
        if !self.refuses_token {
            return Ok(());
        }
        Err(PostError::Refused { why: "401: it does not take the token; check `credential`".to_owned() })
    }
}

/// One process's client of the forge.
#[derive(Clone)]
pub struct SimForge {
    pub forge: Forge,
    pub wire: Wire,
    pub process: u8,
}

impl SimForge {
    fn call(&self, write: bool, what: String) -> Call {
        Call { port: Port::Forge, process: self.process, write, what }
    }

    async fn post_once(&self, commit: &CommitId, context: &str, status: &Status) -> Result<(), PostError> {
        let what = format!("post {} {context} {}", commit.short(), status.state.as_str());
        let effect = {
            let (forge, wire) = (self.forge.clone(), self.wire.clone());
            let (commit, context, status) = (commit.clone(), context.to_owned(), status.clone());
            move || forge.server().take(wire.now(), &commit, &context, &status)
        };
        match self.wire.decide(&self.call(true, what)).await {
            // No forge says 201 and forgets.
            Verdict::Pass | Verdict::Lie | Verdict::Stale | Verdict::Short | Verdict::Empty => effect(),
            Verdict::Twice => effect().and_then(|()| effect()),
            Verdict::ErrorBefore(error) => Err(answer(error)),
            Verdict::ErrorAfter(error) => {
                drop(effect());
                Err(answer(error))
            }
            Verdict::Zombie { error, after } => {
                self.wire.later(self.wire.now() + after, Box::new(move || drop(effect())));
                Err(answer(error))
            }
            Verdict::CrashBefore => std::future::pending().await,
            Verdict::CrashAfter => {
                drop(effect());
                std::future::pending().await
            }
        }
    }

    async fn list(&self, commit: &CommitId) -> Result<Vec<(String, Status)>, PostError> {
        let list = |older| self.forge.server().list(self.wire.now(), commit, older);
        match self.wire.decide(&self.call(false, format!("statuses {}", commit.short()))).await {
            Verdict::Pass | Verdict::Twice | Verdict::Lie => list(false),
            Verdict::Stale => list(true),
            Verdict::Short => list(false).map(|mut listed| {
                listed.pop();
                listed
            }),
            Verdict::Empty => Ok(Vec::new()),
            Verdict::ErrorBefore(error) | Verdict::ErrorAfter(error) | Verdict::Zombie { error, .. } => {
                Err(answer(error))
            }
            Verdict::CrashBefore | Verdict::CrashAfter => std::future::pending().await,
        }
    }
}

/// What a client of a forge makes of it.
fn answer(error: TargetError) -> PostError {
    match error {
        TargetError::Unavailable { why, retry_after, .. } if why.contains("429") => {
            drop(why);
            PostError::Limited { after: retry_after }
        }
        TargetError::Unavailable { why, retry_after, .. } => PostError::TryAgain { after: retry_after, why },
        TargetError::Rejected { why, .. } => PostError::Refused { why },
    }
}

impl Statuses for SimForge {
    fn post<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a str,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), PostError>> {
        Box::pin(self.post_once(commit, context, status))
    }

    fn statuses<'a>(
        &'a self,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<Vec<(String, Status)>, PostError>> {
        Box::pin(self.list(commit))
    }
}

/// Name, time and chance of a process's worker.
pub fn ways(clock: &SimClock, seed: u64) -> Ways {
    let (clock, chance) = (clock.clone(), Chance::new(seed));
    let name = format!("worker {seed}");
    Ways { name, now: Box::new(move || clock.seconds()), jitter: Box::new(move || chance.fraction()) }
}

/// The contexts that are pending on the forge, for the checks.
pub fn left_pending(forge: &Forge) -> BTreeSet<(CommitId, String)> {
    let shown = forge.shown().into_iter();
    let is_pending = |status: &Status| status.state == holdfast_core::report::StatusState::Pending;
    shown.filter(|(_, status)| is_pending(status)).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests;
