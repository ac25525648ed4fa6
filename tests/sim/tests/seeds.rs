//! Seeds: commits and faults as they are drawn, and every invariant at every effect. More of them:
//! `cargo run --profile sim -p holdfast-sim -- run 0..100000`.

use holdfast_sim::campaign::run_seeds;

/// As many as the checks of a change have time for.
const SEEDS: u64 = 200;

#[test]
fn seeds_are_clean() {
    let tally = run_seeds(0..SEEDS, 2, |_| true);
    for (seed, breaches) in &tally.failures {
        println!("seed {seed}: {breaches:?}");
    }
    assert!(tally.failures.is_empty(), "{} of {} seeds failed", tally.failures.len(), tally.seeds);
    assert_eq!(tally.seeds, SEEDS);
    let fired = tally.faults.values().filter(|count| **count > 0).count();
    assert!(fired >= 18, "{fired} kinds of faults fired");
    assert!(tally.checks.values().all(|count| *count > 0), "{:?}", tally.checks);
}
