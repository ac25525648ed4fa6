//! Many seeds: over threads, with what happened counted.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::checks::{Breach, Invariant};
use crate::faults::FaultKind;
use crate::oracle::run_and_compare;
use crate::run::Case;

/// What many seeds gave.
#[derive(Debug, Default)]
pub struct Tally {
    pub seeds: u64,
    pub faults: BTreeMap<FaultKind, u64>,
    pub checks: BTreeMap<Invariant, u64>,
    pub failures: BTreeMap<u64, Vec<Breach>>,
    pub writes: u64,
    /// Simulated.
    pub time: Duration,
    pub longest: Duration,
}

/// Runs seeds over so many threads. `progress` hears of each seed that came to its end, and may stop all with `false`.
pub fn run_seeds(seeds: Range<u64>, threads: usize, mut progress: impl FnMut(&Tally) -> bool) -> Tally {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let (done, results) = mpsc::sync_channel(64);
        for _ in 0..threads.max(1) {
            let (done, next, stop, end) = (done.clone(), &next, &stop, seeds.end);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || done.send((seed, run_and_compare(&Case::of_seed(seed)))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for (seed, outcome) in results {
            tally.seeds += 1;
            tally.writes += outcome.writes;
            tally.time += outcome.time;
            tally.longest = tally.longest.max(outcome.converged_in.unwrap_or_default());
            for (kind, count) in outcome.faults {
                *tally.faults.entry(kind).or_default() += count;
            }
            for (invariant, count) in outcome.checks {
                *tally.checks.entry(invariant).or_default() += count;
            }
            if !outcome.breaches.is_empty() {
                tally.failures.insert(seed, outcome.breaches);
            }
            if !progress(&tally) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    tally
}
