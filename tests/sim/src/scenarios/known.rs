//! Findings of the scenarios that are known and reported, and are not told again. Each is taken out once its cause is.

use super::sweep::Point;

/// 25 November 2026: a process that stood still while another one converged to a newer commit, and gave the lease up again,
/// takes the lease when it wakes and carries out the older commit, until its next fetch.
const WAKES_WITH_AN_OLDER_COMMIT: bool = true;

/// Whether what is wrong at a point is a known finding.
pub(super) fn is_known(point: &Point, what: &str) -> bool {
    wakes_older(point.scenario, what)
}

/// Whether what is wrong with a scenario is that.
pub fn wakes_older(scenario: &str, what: &str) -> bool {
    WAKES_WITH_AN_OLDER_COMMIT
        && scenario == "aws-dynamodb-2025, long after"
        && what.starts_with("I10 (Order)")
}
