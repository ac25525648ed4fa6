//! Planted bugs: which check sees a deliberate defect, and how many seeds that takes.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use holdfast_core::planted::{Defect, plant};

use crate::checks::Breach;
use crate::oracle::run_and_compare;
use crate::run::Case;

/// What each defect took when the table was last made: the text that `holdfast-sim planted` prints.
const TABLE: &str = include_str!("../planted.txt");

/// How one defect was found.
#[derive(Debug, Clone)]
pub struct Catch {
    pub defect: Defect,
    /// The first seed, from 0, that showed it; nothing where none of those tried did.
    pub seed: Option<u64>,
    /// What was seen: the invariant, or that the simulation itself fell over.
    pub by: String,
    /// The breach as it was told.
    pub what: String,
}

impl Catch {
    fn none(defect: Defect) -> Self {
        Self { defect, seed: None, by: "nothing".to_owned(), what: String::new() }
    }
}

/// The seeds that showed the defects when the table was made.
pub fn known_seeds() -> BTreeMap<String, u64> {
    let rows = TABLE.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, seeds) = (words.next()?, words.next()?);
        // Seeds are counted from 0, so the one that showed it is one less than it took.
        Some((name.to_owned(), seeds.parse::<u64>().ok()?.checked_sub(1)?))
    });
    rows.collect()
}

/// Worlds without a defect, each asked for once.
#[derive(Default)]
pub struct Baseline(Mutex<BTreeMap<u64, bool>>);

impl Baseline {
    /// Whether a seed breaks nothing by itself.
    fn is_clean(&self, seed: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&seed).copied();
        known.unwrap_or_else(|| {
            let clean = breach(None, seed).is_none();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, clean);
            clean
        })
    }
}

/// The first breach of one seed's world with a defect, or without. A defect may bring the simulation down.
fn breach(defect: Option<Defect>, seed: u64) -> Option<(String, String)> {
    plant(defect);
    let outcome = catch_unwind(AssertUnwindSafe(|| run_and_compare(&Case::of_seed(seed))));
    plant(None);
    let seen = |breach: &Breach| (breach.invariant.to_string(), breach.to_string());
    match outcome {
        Ok(outcome) => outcome.breaches.first().map(seen),
        Err(_) => Some(("a panic".to_owned(), "the engine panicked".to_owned())),
    }
}

/// Plants a defect and runs seeds until one shows it that is clean without it.
pub fn catch(defect: Defect, seeds: impl IntoIterator<Item = u64>, baseline: &Baseline) -> Catch {
    for seed in seeds {
        if let Some((by, what)) = breach(Some(defect), seed)
            && baseline.is_clean(seed)
        {
            return Catch { defect, seed: Some(seed), by, what };
        }
    }
    Catch::none(defect)
}

/// Plants each of some defects. `seeds` gives the seeds to try, and `heard` hears of each end.
pub fn catch_all<S: IntoIterator<Item = u64>>(
    defects: &[Defect],
    threads: usize,
    seeds: impl Fn(Defect) -> S + Sync,
    heard: impl Fn(&Catch) + Sync,
) -> Vec<Catch> {
    let (next, baseline) = (AtomicUsize::new(0), Baseline::default());
    let caught = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(defect) = defects.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = catch(*defect, seeds(*defect), &baseline);
                    heard(&one);
                    caught.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                }
            });
        }
    });
    let mut caught = caught.into_inner().unwrap_or_else(PoisonError::into_inner);
    caught.sort_by_key(|one| one.defect);
    caught
}

/// The table: what was planted, how many seeds it took, and what saw it.
pub struct Table<'a>(pub &'a [Catch]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:>5}  seen by", "planted", "seeds")?;
        for Catch { defect, seed, by, .. } in self.0 {
            let seeds = seed.map_or_else(|| "-".to_owned(), |seed| (seed + 1).to_string());
            writeln!(f, "{:<22} {seeds:>5}  {by}", format!("{defect:?}"))?;
        }
        let mut took: Vec<u64> = self.0.iter().filter_map(|one| Some(one.seed? + 1)).collect();
        took.sort_unstable();
        let median = took.get(took.len() / 2).copied().unwrap_or_default();
        write!(f, "{} of {} caught, in {median} seeds in the median", took.len(), self.0.len())
    }
}
