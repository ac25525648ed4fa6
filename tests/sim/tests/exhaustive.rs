//! Every written scenario as it is, and with a choice of what may happen to each of its writes. All of them:
//! `cargo run --profile sim -p holdfast-sim -- exhaustive`.

use holdfast_sim::faults::Faults;
use holdfast_sim::scenarios::sweep::sweep;
use holdfast_sim::scenarios::{all, play};

/// One in so many points is run here; which, is the same in every run. Fewer where the code is not optimised.
const THIN: u64 = if cfg!(holdfast_many_seeds) { 8 } else { 80 };

#[test]
fn any_write_may_fail_or_be_the_last() {
    let scenarios = all();
    assert!(scenarios.len() >= 30, "{}", scenarios.len());
    let sweep = sweep(&scenarios, THIN, 2);
    for (point, wrong) in &sweep.failures {
        println!("{point}: {wrong}");
    }
    println!("{} of {} points of {} scenarios", sweep.points, sweep.of, sweep.scenarios);
    assert!(sweep.failures.is_empty());
    assert!(sweep.points * 100 > sweep.of, "{} of {}", sweep.points, sweep.of);
}

#[test]
fn a_scenario_is_the_same_twice() {
    for scenario in all().iter().step_by(5) {
        let hash =
            || play(scenario, Faults::exactly(60, holdfast_sim::faults::FaultKind::CrashAfter), false).hash;
        assert_eq!(hash(), hash(), "{}", scenario.name);
    }
}

#[test]
fn names_are_told_apart() {
    let mut names: Vec<&str> = all().iter().map(|scenario| scenario.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
