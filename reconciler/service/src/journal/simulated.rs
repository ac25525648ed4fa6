//! The simulation's journal has the same rules as this one: both get the same calls, and give the same answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use holdfast_core::plan::{Action, Item};
use holdfast_core::report::{Outcome, StatusState};
use holdfast_forge::PostError;
use holdfast_forge::ports::Rows;
use holdfast_sim::ports::clock::{BEGIN, SimClock};
use holdfast_sim::ports::journal::{SimJournal, Store};
use holdfast_sim::wire::Wire;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

fn pick<T: Clone>(chance: &mut SmallRng, of: &[T]) -> T {
    of[chance.random_range(0..of.len())].clone()
}

fn commit(chance: &mut SmallRng) -> CommitId {
    CommitId::new(pick(chance, &["a", "b", "c", "d"]).repeat(40)).unwrap()
}

fn environment(chance: &mut SmallRng) -> EnvironmentName {
    EnvironmentName::new(pick(chance, &["core", "kubernetes"])).unwrap()
}

fn status(chance: &mut SmallRng) -> Status {
    let texts = [
        (StatusState::Pending, "converging"),
        (StatusState::Pending, "waiting"),
        (StatusState::Failure, "held"),
        (StatusState::Error, "out of reach"),
        (StatusState::Error, "superseded by 4f2c91b"),
        (StatusState::Success, "converged"),
    ];
    let (state, text) = pick(chance, &texts);
    Status::new(state, text)
}

fn answer(chance: &mut SmallRng) -> Result<(), PostError> {
    let why = || "x".to_owned();
    let answers = [
        Ok(()),
        Err(PostError::TryAgain { after: None, why: why() }),
        Err(PostError::Limited { after: None }),
        Err(PostError::NoSuchCommit),
        Err(PostError::Refused { why: why() }),
        Err(PostError::TooLong),
        Err(PostError::Unclear { why: why() }),
    ];
    pick(chance, &answers)
}

fn report(chance: &mut SmallRng) -> Report {
    let environment = environment(chance);
    let outcomes = [
        Outcome::Unchanged,
        Outcome::Applied(Vec::new()),
        Outcome::Removed(Vec::new()),
        Outcome::Waiting("a boot".to_owned()),
    ];
    let outcomes = (0..2).map(|number| {
        let id = ResourceId::parse_in(&environment, &format!("Host/n{number}")).unwrap();
        (id, pick(chance, &outcomes))
    });
    let outcomes: BTreeMap<ResourceId, Outcome> = outcomes.collect();
    let maybe_there = outcomes.keys().take(chance.random_range(0..2)).cloned().collect();
    let commit = commit(chance);
    Report { environment, commit, outcomes, unseen: BTreeMap::new(), notices: BTreeSet::new(), maybe_there }
}

/// The first epoch of each environment.
type Firsts = BTreeMap<EnvironmentName, Option<u64>>;

/// One call, drawn by chance, and everything that it says; times are left out.
async fn one(journal: &(impl Journal + Rows), chance: &mut SmallRng, firsts: &mut Firsts) -> String {
    let (commit, environment) = (commit(chance), environment(chance));
    let context = pick(chance, &[Context::Validate, Context::Environment(environment.clone())]);
    match chance.random_range(0..11) {
        0 | 1 => format!("{:?}", journal.set_status(&commit, &context, &status(chance)).await.is_ok()),
        2 => format!("{:?}", journal.status(&commit, &context).await.unwrap()),
        3 => format!("{:?}", journal.pending().await.unwrap().into_iter().collect::<BTreeSet<_>>()),
        4 => {
            let lasts = Duration::from_secs(pick(chance, &[0, 0, 5_000]));
            let holder = pick(chance, &["one", "two"]);
            let lease = journal.lease(&environment, holder, lasts).await.unwrap();
            let epoch = journal.epoch(&environment).await.unwrap().map(|Epoch(epoch)| epoch);
            // Epochs begin where time is, so that only how they grow can be compared.
            let first = *firsts.entry(environment.clone()).or_insert(epoch);
            let grown = |epoch: Option<u64>| Some(epoch?.saturating_sub(first?));
            match lease {
                Lease::Held(Epoch(held)) => format!("held {:?} of {:?}", grown(Some(held)), grown(epoch)),
                Lease::Taken { by } => format!("{by} has {:?}", grown(epoch)),
            }
        }
        5 => format!("{}", journal.attempt(&commit).await.unwrap()),
        6 => format!("{:?}", journal.attempt_ended(&commit).await.is_ok()),
        7 => {
            let report = report(chance);
            let id = format!("Host/n{}", chance.random_range(0..4));
            let id = ResourceId::parse_in(&report.environment, &id).unwrap();
            let plan = Plan {
                environment: report.environment.clone(),
                items: vec![Item { id, action: Action::Keep }],
                notices: BTreeSet::new(),
                unseen: BTreeMap::new(),
            };
            let run = journal.run_started(&report.commit, &plan).await.unwrap();
            if chance.random_bool(0.7) {
                journal.run_finished(run, &report, &report.status()).await.unwrap();
            }
            let known = journal.known(&report.environment).await.unwrap();
            format!("{run:?} {known:?} {:?}", journal.begun(&environment).await.unwrap())
        }
        8 => {
            let due = journal.due().await.unwrap();
            if let Some(last) = due.last() {
                journal.stands(last, &status(chance), now()).await.unwrap();
            }
            journal.close(&commit, &context, &status(chance)).await.unwrap();
            format!("{}", due.len())
        }
        9 => {
            let id = ResourceId::parse_in(&environment, &format!("Host/n{}", chance.random_range(0..2)));
            journal.removing(&commit, &id.unwrap()).await.unwrap();
            let other = pick(chance, &["a", "b", "c", "d"]).repeat(40);
            let removed = journal.removed(&environment, &CommitId::new(other).unwrap()).await.unwrap();
            let known = journal.known(&environment).await.unwrap();
            format!("{removed:?} {known:?} {:?}", journal.converged(&environment).await.unwrap())
        }
        _ => posts(journal, chance).await,
    }
}

/// A worker claims the first status, perhaps hears what becomes of it, and everything that is due is told.
async fn posts(journal: &(impl Journal + Rows), chance: &mut SmallRng) -> String {
    let due = journal.due().await.unwrap();
    let by = pick(chance, &["one", "two"]);
    let claimed = match due.first() {
        Some(first) => journal.claim(first, by, now()).await.unwrap(),
        None => None,
    };
    // Who has claimed it may die, and who has not may come late.
    if let Some(first) = claimed.as_ref().or(due.first())
        && chance.random_bool(0.7)
    {
        journal.answered(first, &answer(chance), now(), 0.5).await.unwrap();
    }
    let told = due.iter().fold(String::new(), |mut told, due| {
        let row = &due.row;
        let counts = (row.number, row.acknowledged, row.posts, row.failures);
        let claim = row.claim.as_ref().map(|claim| &claim.by);
        let unclear = (row.unclear_at.is_some(), row.confirm_at.is_some());
        let _ = write!(
            told,
            "{} {:?} {:?} {counts:?} {claim:?} {unclear:?}; ",
            due.commit.short(),
            due.context,
            row.wanted
        );
        told
    });
    journal.take_up(now()).await.unwrap();
    told
}

async fn all(journal: &(impl Journal + Rows), seed: u64) -> Vec<String> {
    let mut chance = SmallRng::seed_from_u64(seed);
    let mut firsts = Firsts::new();
    let mut told = Vec::new();
    for number in 0..150 {
        told.push(format!("{number}: {}", one(journal, &mut chance, &mut firsts).await));
    }
    told
}

/// The simulation's answers, on a clock that nobody waits for.
fn simulated(seed: u64) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let wire = Wire::default();
        wire.begin();
        let clock = SimClock::new(&wire);
        clock.jump(now() - BEGIN);
        all(&SimJournal::open(&Store::default(), &wire, std::sync::Arc::new(clock), 0), seed).await
    })
}

#[tokio::test]
async fn the_simulation_s_journal_answers_as_this_one() {
    for seed in 0..30 {
        let journal = Sqlite::in_memory().await.unwrap();
        let here = all(&journal, seed).await;
        let there = tokio::task::spawn_blocking(move || simulated(seed)).await.unwrap();
        for (here, there) in here.iter().zip(&there) {
            assert_eq!(here, there, "seed {seed}");
        }
        assert_eq!(here.len(), there.len());
    }
}
