//! Seeds: commits and faults as they are drawn, and every invariant at every effect. More of them:
//! `cargo run --profile sim -p holdfast-sim -- run 0..100000`.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use holdfast_sim::campaign::{Tally, run_seeds};
use holdfast_sim::checks::Invariant;
use holdfast_sim::faults::{FaultKind, Faults};
use holdfast_sim::oracle::run_and_compare;
use holdfast_sim::run::{Case, run};

/// As many as the checks of a change have time for, and a sample where the code is not optimised.
const SEEDS: u64 = if cfg!(holdfast_many_seeds) { 10_000 } else { 60 };
/// In each so many, everything is at work.
const THOUSAND: u64 = 1_000;
const THREADS: usize = 2;

/// Everything that failed, with the command that shows it.
fn failures(tally: &Tally) -> String {
    let mut text = String::new();
    for (seed, breaches) in &tally.failures {
        for breach in breaches {
            writeln!(text, "seed {seed}: {breach}").expect("a text takes all");
        }
        writeln!(text, "    cargo run --profile sim -p holdfast-sim -- replay {seed}")
            .expect("a text takes all");
    }
    text
}

#[test]
fn no_seed_breaks_an_invariant_and_everything_is_at_work() {
    let began = Instant::now();
    let (mut seeds, mut writes, mut time, mut longest) = (0, 0, Duration::ZERO, Duration::ZERO);
    while seeds < SEEDS {
        let range = seeds..(seeds + THOUSAND).min(SEEDS);
        let tally = run_seeds(range.clone(), THREADS, |tally| tally.failures.len() < 10);
        assert!(tally.failures.is_empty(), "{}", failures(&tally));
        assert_eq!(tally.seeds, range.end - range.start);
        everything_is_at_work(&tally, &range);
        seeds = range.end;
        writes += tally.writes;
        time += tally.time;
        longest = longest.max(tally.longest);
    }
    println!(
        "{seeds} seeds in {} s: {writes} writes, {} hours simulated; at most {} s to converge once the faults had stopped",
        began.elapsed().as_secs(),
        time.as_secs() / 3_600,
        longest.as_secs()
    );
}

fn everything_is_at_work(tally: &Tally, seeds: &Range<u64>) {
    let faults: Vec<FaultKind> =
        FaultKind::ALL.into_iter().filter(|kind| !tally.faults.contains_key(kind)).collect();
    assert_eq!(faults, [], "these never happened in {seeds:?}");
    // Few seeds have these: a sample may be without them.
    let rare = [Invariant::Outage, Invariant::Budget, Invariant::Journal];
    let idle: Vec<Invariant> = Invariant::ALL
        .into_iter()
        .filter(|invariant| !tally.checks.contains_key(invariant))
        .filter(|invariant| cfg!(holdfast_many_seeds) || !rare.contains(invariant))
        .collect();
    assert_eq!(idle, [], "these had nothing to check in {seeds:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [0, 3, 7, 8, 11, 16] {
        let hash = || run(&Case::of_seed(seed)).hash;
        assert_eq!(hash(), hash(), "seed {seed}");
    }
    assert_ne!(run(&Case::of_seed(1)).hash, run(&Case::of_seed(2)).hash);
}

/// What a shrunk seed has left is a world that anybody can follow.
#[test]
fn a_case_of_listed_faults_runs_as_the_drawn_one() {
    for seed in [5, 9, 12] {
        let drawn = Case::of_seed(seed);
        let outcome = run_and_compare(&drawn);
        let faults = Faults::listed(seed, outcome.strikes.clone());
        assert_eq!(run_and_compare(&Case { faults, ..drawn }).hash, outcome.hash, "seed {seed}");
    }
}
