//! What a journal holds, and the rules by which it changes: those of the service's database, over maps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_core::plan::Plan;
use holdfast_core::report::{Context, Report, Status, StatusState};
use holdfast_engine::ports::{Epoch, Known, Lease, RunId};
use holdfast_forge::PostError;
use holdfast_forge::outbox::{self, Row};
use holdfast_forge::ports::Due;

/// A run, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub environment: EnvironmentName,
    pub commit: CommitId,
    /// Seconds since 1970, by the clock of who wrote it.
    pub started_at: i64,
    /// When, and whether it converged.
    pub finished: Option<(i64, bool)>,
}

#[derive(Debug, Clone)]
struct Stored {
    row: Row,
    /// Grows with every new key: what is newest.
    number: u64,
    changed_at: i64,
}

#[derive(Debug, Clone, Default)]
struct Environment {
    holder: Option<String>,
    epoch: u64,
    expires_at: i64,
    known: Known,
    converged: Option<CommitId>,
}

/// In seconds: attempts longer ago are forgotten.
const DAY: i64 = 24 * 3600;

/// All tables.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    runs: BTreeMap<i64, Run>,
    statuses: BTreeMap<(CommitId, Context), Stored>,
    /// Counts the statuses' keys.
    keys: u64,
    environments: BTreeMap<EnvironmentName, Environment>,
    /// What was removed for the newest commit, or was about to be.
    removals: BTreeMap<EnvironmentName, (CommitId, BTreeSet<ResourceId>)>,
    /// How many, and when the last one began.
    attempts: BTreeMap<CommitId, (u32, i64)>,
    /// What an earlier journal left pending has its end.
    pub(super) closed: bool,
}

impl Tables {
    pub(super) fn is_new(&self) -> bool {
        !self.closed
    }

    pub(super) fn runs(&self) -> Vec<Run> {
        self.runs.values().cloned().collect()
    }

    pub(super) fn want(&mut self, commit: &CommitId, context: &Context, status: &Status, now: i64) {
        let key = (commit.clone(), context.clone());
        let row = self.statuses.get(&key).map(|stored| &stored.row);
        if let Some(row) = outbox::want(row, status, now) {
            self.store(key, row, now);
        }
    }

    fn store(&mut self, key: (CommitId, Context), row: Row, now: i64) {
        if let Some(stored) = self.statuses.get_mut(&key) {
            if stored.row.wanted != row.wanted {
                stored.changed_at = now;
            }
            stored.row = row;
        } else {
            self.keys += 1;
            self.statuses.insert(key, Stored { row, number: self.keys, changed_at: now });
        }
    }

    pub(super) fn status(&self, commit: &CommitId, context: &Context) -> Option<Status> {
        Some(self.statuses.get(&(commit.clone(), context.clone()))?.row.wanted.clone())
    }

    pub(super) fn statuses(&self) -> BTreeMap<(CommitId, Context), Row> {
        self.statuses.iter().map(|(key, stored)| (key.clone(), stored.row.clone())).collect()
    }

    /// All that are pending, the longest unchanged first.
    pub(super) fn pending(&self) -> Vec<(CommitId, Context)> {
        let is_pending = |stored: &Stored| stored.row.wanted.state == StatusState::Pending;
        let mut pending: Vec<_> = self.statuses.iter().filter(|(_, stored)| is_pending(stored)).collect();
        pending.sort_by_key(|(_, stored)| (stored.changed_at, stored.number));
        pending.into_iter().map(|(key, _)| key.clone()).collect()
    }

    /// What is to be posted, the newest first.
    pub(super) fn due(&self) -> Vec<Due> {
        let mut due: Vec<_> =
            self.statuses.iter().filter(|(_, stored)| stored.row.due_at().is_some()).collect();
        due.sort_by_key(|(_, stored)| std::cmp::Reverse(stored.number));
        due.into_iter()
            .map(|((commit, context), stored)| Due {
                commit: commit.clone(),
                context: context.clone(),
                row: stored.row.clone(),
            })
            .collect()
    }

    /// Whether anything is to be posted.
    pub(super) fn owes(&self) -> bool {
        self.statuses.values().any(|stored| stored.row.due_at().is_some())
    }

    pub(super) fn take_up(&mut self, now: i64) {
        for Due { commit, context, row } in self.due() {
            self.store((commit, context), row.at_start(now), now);
        }
    }

    pub(super) fn claim(&mut self, due: &Due, by: &str, now: i64) -> Option<Due> {
        let key = (due.commit.clone(), due.context.clone());
        let row = self.statuses.get(&key)?.row.claimed(&due.row, by, now)?;
        self.store(key, row.clone(), now);
        Some(Due { row, ..due.clone() })
    }

    pub(super) fn close(&mut self, commit: &CommitId, context: &Context, end: &Status, now: i64) {
        if !self.statuses.contains_key(&(commit.clone(), context.clone())) {
            self.want(commit, context, end, now);
        }
    }

    pub(super) fn answered(&mut self, due: &Due, answer: &Result<(), PostError>, now: i64, jitter: f64) {
        let key = (due.commit.clone(), due.context.clone());
        // What is wanted may have changed while the forge was asked.
        if let Some(stored) = self.statuses.get(&key) {
            let row = stored.row.answered(&due.row, answer, now, jitter);
            self.store(key, row, now);
        }
    }

    pub(super) fn stands(&mut self, due: &Due, status: &Status, now: i64) {
        let key = (due.commit.clone(), due.context.clone());
        let row = self.statuses.get(&key).and_then(|stored| stored.row.stands(&due.row, status, now));
        if let Some(row) = row {
            self.store(key, row, now);
        }
    }

    pub(super) fn lease(
        &mut self,
        environment: &EnvironmentName,
        holder: &str,
        lasts: Duration,
        now: i64,
    ) -> Lease {
        let unheld = || Environment { epoch: now.unsigned_abs(), ..Environment::default() };
        let held = self.environments.get(environment).cloned().unwrap_or_else(unheld);
        let lasts = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
        let lives = |until: i64| (1..=lasts.saturating_mul(2)).contains(&until.saturating_sub(now));
        let epoch = match &held.holder {
            Some(by) if by == holder => held.epoch,
            Some(by) if lives(held.expires_at) => return Lease::Taken { by: by.clone() },
            _ => held.epoch + 1,
        };
        let expires_at = now.saturating_add(lasts);
        let taken = Environment { holder: Some(holder.to_owned()), epoch, expires_at, ..held };
        self.environments.insert(environment.clone(), taken);
        Lease::Held(Epoch(epoch))
    }

    pub(super) fn end_leases(&mut self, now: i64) {
        for held in self.environments.values_mut() {
            held.holder = None;
        }
        for Due { commit, context, row } in self.due() {
            if row.claim.is_some() {
                self.store((commit, context), row.let_go(now), now);
            }
        }
    }

    pub(super) fn epoch(&self, environment: &EnvironmentName) -> Option<Epoch> {
        self.environments.get(environment).map(|held| Epoch(held.epoch))
    }

    pub(super) fn known(&self, environment: &EnvironmentName) -> Known {
        self.environments.get(environment).map(|held| held.known.clone()).unwrap_or_default()
    }

    pub(super) fn removing(&mut self, commit: &CommitId, id: &ResourceId) {
        if let Some(held) = self.environments.get_mut(&id.environment) {
            held.known.removes(id);
        }
        let (of, ids) =
            self.removals.entry(id.environment.clone()).or_insert((commit.clone(), BTreeSet::new()));
        if of != commit {
            (*of, *ids) = (commit.clone(), BTreeSet::new());
        }
        ids.insert(id.clone());
    }

    pub(super) fn removed(&self, environment: &EnvironmentName, commit: &CommitId) -> BTreeSet<ResourceId> {
        let removals = self.removals.get(environment);
        removals.filter(|(of, _)| of == commit).map(|(_, ids)| ids.clone()).unwrap_or_default()
    }

    pub(super) fn converged(&self, environment: &EnvironmentName) -> Option<CommitId> {
        self.environments.get(environment)?.converged.clone()
    }

    /// How often it was begun before and never ended.
    pub(super) fn attempt(&mut self, commit: &CommitId, now: i64) -> u32 {
        let of_late = |last: &i64| (0..=DAY).contains(&(now - last));
        let last = self.attempts.get(commit).filter(|(_, last)| of_late(last));
        let before = last.map_or(0, |(count, _)| *count);
        self.attempts.insert(commit.clone(), (before + 1, now));
        before
    }

    pub(super) fn attempt_ended(&mut self, commit: &CommitId) {
        self.attempts.remove(commit);
    }

    pub(super) fn begun(&self, environment: &EnvironmentName) -> Option<CommitId> {
        let runs = self.runs.values().rev();
        runs.filter(|run| run.environment == *environment).map(|run| run.commit.clone()).next()
    }

    pub(super) fn run_started(&mut self, commit: &CommitId, plan: &Plan, now: i64) -> RunId {
        let environment = &plan.environment;
        if let Some(held) = self.environments.get_mut(environment) {
            held.known.begins(plan);
        }
        let id = self.runs.last_key_value().map_or(1, |(id, _)| id + 1);
        let run =
            Run { environment: environment.clone(), commit: commit.clone(), started_at: now, finished: None };
        self.runs.insert(id, run);
        RunId(id)
    }

    /// The end of a run and its status together.
    pub(super) fn run_finished(&mut self, run: RunId, report: &Report, status: &Status, now: i64) {
        let converged = report.converged();
        if let Some(run) = self.runs.get_mut(&run.0) {
            run.finished = Some((now, converged));
        }
        if let Some(held) = self.environments.get_mut(&report.environment) {
            if converged {
                held.converged = Some(report.commit.clone());
            }
            held.known.ends(report);
        }
        self.want(&report.commit, &Context::Environment(report.environment.clone()), status, now);
    }
}
