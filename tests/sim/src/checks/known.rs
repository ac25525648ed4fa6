//! Breaches that are known and reported, and are not told again, so that other things are found. Each is taken out once
//! its cause is.

/// 25 November 2026: after the journal was lost, what is pending is posted over a failure that stands.
pub(super) const FAILURES_FORGOTTEN: bool = true;
/// 25 November 2026: of two processes each posts what it read, in whichever order.
pub(super) const TWO_POST: bool = true;
