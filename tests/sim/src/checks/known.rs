//! Breaches that are known and reported, and are not told again, so that other things are found. Each is taken out once
//! its cause is.

use holdfast_core::ident::KindName;

/// 25 November 2026: after the journal was lost, what is pending is posted over a failure that stands.
pub(super) const FAILURES_FORGOTTEN: bool = true;
/// 25 November 2026: of two processes each posts what it read, in whichever order.
pub(super) const TWO_POST: bool = true;
/// 25 November 2026: an Application is looked for in a list alone.
const APPLICATIONS_BY_LIST: bool = true;

/// Whether objects of a kind are looked for in lists alone.
pub(super) fn by_list(kind: &KindName) -> bool {
    APPLICATIONS_BY_LIST && kind.as_str() == "Application"
}
