//! Breaches that are known and reported, and are not told again, so that other things are found. Each is taken out once
//! its cause is.

use holdfast_core::ident::KindName;

/// 25 November 2026: where two processes have mirrors of their own, a start with a bad head
/// takes an environment back to the last converged commit, although a newer one was begun.
pub(super) const RESUMES_OLDER: bool = true;
/// 25 November 2026: what was removed for a commit is forgotten by a crash.
pub(super) const BRAKE_FORGETS: bool = true;
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
