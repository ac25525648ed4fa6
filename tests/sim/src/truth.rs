//! The truth: how a home compares with a commit, by the shipped planners over whole and true looks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::desired::{Desired, Group};
use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_core::kind::Risk;
use holdfast_core::plan::{Action, Hold, Item, Plan};
use holdfast_core::report::Report;
use holdfast_engine::budget::Budget;
use holdfast_engine::chance::Chance;
use holdfast_engine::run::preview;
use holdfast_engine::{Engine, Limits};

use crate::checks::Invariant;
use crate::home::{Home, kinds, site, stamp_key};
use crate::model::Time;
use crate::noted::is_first;
use crate::ports::clock::SimHalt;
use crate::ports::journal::SimJournal;
use crate::ports::manifests::SimManifests;
use crate::ports::repository::SimRepository;

/// No process: its calls never go out.
const NOBODY: u8 = u8::MAX;

/// How long the first looks of a run may take.
const LOOKING: Duration = Duration::from_mins(6);

/// Looks at a home without any wire between.
#[derive(Clone)]
pub struct Truth {
    home: Home,
    engine: Arc<Engine>,
    runs: Arc<Mutex<Runs>>,
}

/// What is known of the runs that were begun.
#[derive(Default)]
struct Runs {
    /// When each process began its present one.
    began: BTreeMap<(u8, EnvironmentName), Time>,
    /// Whether those of a commit are first ones, which remove nothing.
    first: BTreeMap<(u8, EnvironmentName, CommitId), bool>,
    /// What commits want where it is a first run.
    as_first: BTreeMap<(CommitId, EnvironmentName), Arc<Desired>>,
    /// What matched last, whether as a first run has it, and the changes until then.
    matched: BTreeMap<EnvironmentName, Matched>,
}

/// A commit that was found matched, whether as a first run has it, and the changes until then.
type Matched = (CommitId, bool, (u64, Option<Time>));

/// How an environment compares with what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// As wanted, and well.
    Matches,
    /// Nothing is to be done, since this is held.
    Held(Vec<String>),
    /// Something is to be done, or on its way.
    Moving(Vec<String>),
}

/// What cannot move while something else is held: a host that is out of reach, of a guest that is; a member of a group of
/// which another is held, as far as the group's turn is needed.
fn stuck(plan: &Plan, desired: &Desired) -> BTreeSet<ResourceId> {
    let is_held = |action: &Action| match action {
        Action::Hold(Hold::Unseen(error)) => !error.is_unavailable(),
        other => matches!(other, Action::Hold(_)),
    };
    let held: BTreeSet<&ResourceId> =
        plan.items.iter().filter(|item| is_held(&item.action)).map(|item| &item.id).collect();
    let waits = |item: &&Item| match &item.action {
        Action::Hold(Hold::Unseen(error)) if error.is_unavailable() => desired
            .resources
            .get(&item.id)
            .is_some_and(|one| one.needs.iter().any(|need| held.contains(need))),
        Action::Update(steps) | Action::Adopt(steps)
            if steps.iter().any(|step| step.risk >= Risk::Disruptive) =>
        {
            let others = |group: &Group| group.members.iter().any(|member| held.contains(member));
            desired.groups_of(&item.id).any(others)
        }
        _ => false,
    };
    plan.items.iter().filter(waits).map(|item| item.id.clone()).collect()
}

impl Truth {
    pub fn new(home: &Home) -> Self {
        let machine = &home.machines[0];
        let clock = Arc::new(machine.clock.clone());
        let engine = Engine {
            site: site(),
            kinds: kinds(),
            repository: Arc::new(SimRepository {
                remote: home.remote.clone(),
                mirror: machine.mirror.clone(),
                catalogue: home.catalogue.clone(),
                wire: home.wire.clone(),
                process: NOBODY,
            }),
            manifests: Arc::new(SimManifests {
                catalogue: home.catalogue.clone(),
                checker: None,
                kill: Arc::new(|| {}),
            }),
            targets: Arc::new(home.targets(None)),
            journal: Arc::new(SimJournal::open(&home.journal, &home.wire, clock.clone(), NOBODY)),
            clock,
            halt: Arc::new(SimHalt::default()),
            holder: "nobody".to_owned(),
            budget: Budget::default(),
            stamp_key: stamp_key(),
            limits: Limits::default(),
            chance: Chance::new(0),
        };
        Self { home: home.clone(), engine: Arc::new(engine), runs: Arc::default() }
    }

    pub(crate) fn now(&self) -> Time {
        self.home.wire.now()
    }

    /// What would have to be done.
    pub async fn plan(&self, environment: &EnvironmentName, desired: &Desired) -> Plan {
        preview(&self.engine, environment, desired).await
    }

    pub async fn standing(&self, environment: &EnvironmentName, desired: &Desired) -> Standing {
        let plan = self.plan(environment, desired).await;
        let (mut held, mut to_do) = (Vec::new(), Vec::new());
        let stuck = stuck(&plan, desired);
        for item in &plan.items {
            let line = |text: &str| format!("{}: {text}", item.id.short());
            match &item.action {
                _ if stuck.contains(&item.id) => held.push(line("it waits for what is held")),
                Action::Keep => {}
                // What cannot be reached now may be in a moment.
                Action::Hold(Hold::Unseen(error)) if error.is_unavailable() => {
                    to_do.push(line(&error.to_string()));
                }
                Action::Hold(other) => {
                    let reason = other.reason(environment);
                    held.push(line(&reason));
                }
                Action::Wait(what) => to_do.push(line(what)),
                Action::Later { needs, .. } => {
                    let needs: Vec<_> = needs.iter().map(ResourceId::short).collect();
                    held.push(line(&format!("waits for {}", needs.join(", "))));
                }
                Action::Create(steps)
                | Action::Adopt(steps)
                | Action::Update(steps)
                | Action::Delete(steps) => {
                    to_do.push(line(steps.first().map_or("nothing", |step| &step.text)));
                }
            }
        }
        if !to_do.is_empty() {
            Standing::Moving(to_do)
        } else if held.is_empty() {
            Standing::Matches
        } else {
            Standing::Held(held)
        }
    }

    /// How an environment compares with a commit. What matched and was not touched since matches still.
    pub(crate) async fn standing_at(
        &self,
        commit: &CommitId,
        environment: &EnvironmentName,
        desired: &Desired,
    ) -> Standing {
        let matched = (commit.clone(), desired.first, self.home.checks.changes());
        let known = {
            let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            runs.matched.get(environment) == Some(&matched)
        };
        if known {
            return Standing::Matches;
        }
        let standing = self.standing(environment, desired).await;
        if standing == Standing::Matches {
            let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            runs.matched.insert(environment.clone(), matched);
        }
        standing
    }

    /// A run begins; `first`: it leaves what no manifest declares, and tells of it.
    pub(crate) fn run_started(
        &self,
        process: u8,
        commit: &CommitId,
        environment: &EnvironmentName,
        first: bool,
    ) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.home.wire.now();
        runs.began.insert((process, environment.clone()), now);
        runs.first.insert((process, environment.clone(), commit.clone()), first);
    }

    /// A run says that it was seen to match: it must have, at some moment since the run began. Where nobody else
    /// touched the world meanwhile, that is now.
    pub(crate) async fn success(&self, process: u8, report: &Report) {
        let Report { environment, commit, .. } = report;
        let now = self.home.wire.now();
        let (began, first) = {
            let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            let first = runs.first.entry((process, environment.clone(), commit.clone())).or_default();
            *first |= is_first(&report.notices);
            let first = *first;
            let key = (process, environment.clone());
            (runs.began.get(&key).copied().unwrap_or_default(), first)
        };
        let Some(desired) = self.home.checks.desired(commit, environment) else {
            self.home.checks.find(
                Invariant::Statuses,
                now,
                Some(format!("{} has no such environment", commit.short())),
            );
            return;
        };
        // A first run leaves what it finds too much, and tells of it.
        let desired = if first { self.as_first(commit, environment, &desired) } else { desired };
        let standing = self.standing_at(commit, environment, &desired).await;
        // The run looked before it was recorded.
        let looked = began.saturating_sub(LOOKING);
        let touched = self.home.checks.touched().is_some_and(|touched| touched >= looked);
        let breach = match standing {
            Standing::Matches => None,
            _ if touched => return,
            // What the first run left as it was is told, and no failure.
            Standing::Held(what) | Standing::Moving(what) => Some(format!(
                "{} of {environment} is called a success, and it is not: {}",
                commit.short(),
                what.join("; ")
            )),
        };
        self.home.checks.find(Invariant::Statuses, now, breach);
    }

    /// What a commit wants of an environment, as the process that runs it now has it.
    pub fn desired(&self, commit: &CommitId, environment: &EnvironmentName) -> Option<Arc<Desired>> {
        let desired = self.home.checks.desired(commit, environment)?;
        let first = {
            let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            // Of several processes the last one that began.
            let of = |((_, at, run), _): &(&(u8, EnvironmentName, CommitId), &bool)| {
                at == environment && run == commit
            };
            let began = |process: u8| runs.began.get(&(process, environment.clone()));
            let last = runs.first.iter().filter(of).max_by_key(|((process, _, _), _)| began(*process));
            last.is_some_and(|(_, first)| *first)
        };
        Some(if first { self.as_first(commit, environment, &desired) } else { desired })
    }

    /// What a commit wants, as its first run has it: copied once, since it is asked for again and again.
    fn as_first(
        &self,
        commit: &CommitId,
        environment: &EnvironmentName,
        desired: &Arc<Desired>,
    ) -> Arc<Desired> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = || Arc::new(Desired { first: true, ..Desired::clone(desired) });
        runs.as_first.entry((commit.clone(), environment.clone())).or_insert_with(copy).clone()
    }
}
