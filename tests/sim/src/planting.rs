//! Planted bugs: which check sees a deliberate defect, and how many seeds that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use holdfast_core::planted::{Defect, asked, plant};

use crate::checks::{Breach, Invariant};
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

/// The invariants that may see a defect. A breach of any other is a coincidence: every defect changes what happens when.
fn seers(defect: Defect) -> &'static [Invariant] {
    use Invariant::{
        Brake, Budget, Converges, Data, Groups, Lease, Looks, Marks, Order, Poison, Same, Secrets, Statuses,
    };
    match defect {
        Defect::UnknownIsAbsent | Defect::UnreadRemoves | Defect::NoDoubt | Defect::ErrorIsEmpty => {
            &[Looks, Brake]
        }
        Defect::CopiedMarkIsOurs => &[Marks, Data],
        Defect::NoBrake | Defect::EmptyRemoves => &[Brake],
        Defect::RetireByPrefix | Defect::NoProtection => &[Data],
        Defect::RenameReplaces => &[Data, Marks, Same, Converges],
        Defect::SettledBeforeHealthy => &[Statuses, Groups, Same],
        Defect::PanicEndsRun => &[Poison, Statuses, Converges],
        Defect::NoSecondLook => &[Marks, Data, Brake, Looks],
        Defect::GroupFromMemory | Defect::NoGroups => &[Groups],
        Defect::SuccessUnseen => &[Statuses, Same],
        Defect::OlderRunGoesOn | Defect::RewindTaken | Defect::PauseIgnored => &[Order],
        Defect::NoFence => &[Lease, Order],
        Defect::NoBudget => &[Budget],
        Defect::PendingForgotten => &[Statuses],
        Defect::NeverAgain | Defect::NoDrift | Defect::NoPoll => &[Converges, Same],
        Defect::FinalsOverwritten => &[Statuses, Converges],
        Defect::SecretsTold => &[Secrets],
        Defect::CloneUnmarked => &[Marks, Data, Converges, Same],
        Defect::TaskForgotten => &[Groups, Statuses, Converges, Same],
    }
}

/// What one seed's world shows of a defect, or of none.
struct Shown {
    breaches: Vec<Breach>,
    /// The simulation itself fell over.
    fell: bool,
    asked: BTreeSet<Defect>,
}

impl Shown {
    fn of(defect: Option<Defect>, seed: u64) -> Self {
        plant(defect);
        let outcome = catch_unwind(AssertUnwindSafe(|| run_and_compare(&Case::of_seed(seed))));
        let asked = asked();
        plant(None);
        let fell = outcome.is_err();
        Self { breaches: outcome.map(|outcome| outcome.breaches).unwrap_or_default(), fell, asked }
    }

    /// The first breach that may be a defect's doing.
    fn breach(&self, defect: Defect) -> Option<(String, String)> {
        if self.fell {
            return Some(("a panic".to_owned(), "the engine panicked".to_owned()));
        }
        let breach = self.breaches.iter().find(|breach| seers(defect).contains(&breach.invariant))?;
        Some((breach.invariant.to_string(), breach.to_string()))
    }
}

/// Runs one seed without a defect, and with each that it asks for, as long as that is `open`. Gives what showed only
/// with the defect.
fn try_seed(seed: u64, defects: &[Defect], open: impl Fn(Defect) -> bool, mut caught: impl FnMut(Catch)) {
    if !defects.iter().any(|defect| open(*defect)) {
        return;
    }
    let plain = Shown::of(None, seed);
    for defect in defects.iter().copied().filter(|defect| plain.asked.contains(defect)) {
        if !open(defect) || plain.breach(defect).is_some() {
            continue;
        }
        if let Some((by, what)) = Shown::of(Some(defect), seed).breach(defect) {
            caught(Catch { defect, seed: Some(seed), by, what });
        }
    }
}

/// Plants each of some defects in seed after seed, until each is seen once. `heard` hears of each that is.
pub fn search(defects: &[Defect], seeds: u64, threads: usize, heard: impl Fn(&Catch) + Sync) -> Vec<Catch> {
    let next = AtomicU64::new(0);
    let found: Mutex<BTreeMap<Defect, Catch>> = Mutex::default();
    let all = || found.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    // One that a later seed showed already may be shown by this one as well.
                    let open = |defect: Defect| all().get(&defect).is_none_or(|one| one.seed > Some(seed));
                    try_seed(seed, defects, open, |one| {
                        heard(&one);
                        all().insert(one.defect, one);
                    });
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    defects.iter().map(|defect| found.remove(defect).unwrap_or_else(|| Catch::none(*defect))).collect()
}

/// Plants each of some defects in the seed that showed it when the table was made, and in some more where that shows it
/// no longer.
pub fn see_again(defects: &[Defect], more: u64, threads: usize) -> Vec<Catch> {
    let known = known_seeds();
    let next = AtomicUsize::new(0);
    let found: Mutex<BTreeMap<Defect, Catch>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(defect) = defects.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let Some(first) = known.get(&format!("{defect:?}")).copied() else { continue };
                    let mut seen = None;
                    for seed in std::iter::once(first).chain(0..more) {
                        try_seed(seed, &[defect], |_| true, |one| seen = Some(one));
                        if seen.is_some() {
                            break;
                        }
                    }
                    if let Some(one) = seen {
                        found.lock().unwrap_or_else(PoisonError::into_inner).insert(defect, one);
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    defects.iter().map(|defect| found.remove(defect).unwrap_or_else(|| Catch::none(*defect))).collect()
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
