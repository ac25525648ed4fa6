//! Deliberate defects are seen: the simulation finds what it is made to find.
#![cfg(feature = "planted")]

use holdfast_core::planted::Defect;
use holdfast_sim::planting::{Table, see_again};

/// How many seeds are tried where the one of the table shows a defect no more.
const MORE: u64 = 100;

#[test]
fn at_least_twenty_planted_bugs_are_seen() {
    let caught = see_again(&Defect::ALL, MORE, 2);
    let count = caught.iter().filter(|one| one.seed.is_some()).count();
    assert!(count >= 20, "\n{}", Table(&caught));
}
