//! Breaches that are known and reported, and are not told again, so that other things are found. Each is taken out once
//! its cause is.

use holdfast_core::ident::KindName;

use crate::model::Object;
use crate::wire::Port;

/// 25 November 2026: where the journal was lost, or two processes have mirrors of their own, a start with a bad head
/// takes an environment back to the last converged commit, although a newer one was begun.
pub(super) const RESUMES_OLDER: bool = true;
/// 25 November 2026: what was removed for a commit is forgotten by a crash.
pub(super) const BRAKE_FORGETS: bool = true;
/// 25 November 2026: after the journal was lost, what is pending is posted over a failure that stands.
pub(super) const FAILURES_FORGOTTEN: bool = true;
/// 25 November 2026: of two processes each posts what it read, in whichever order.
pub(super) const TWO_POST: bool = true;
/// 25 November 2026: a commit that is not read any more leaves what was pending for its environments.
pub(super) const QUARANTINE_LEAVES: bool = true;
/// 25 November 2026: where the look at a group fails, whoever asks for its turn gets it: it seems to be away itself.
pub(super) const GATE_OPENS_UNSEEN: bool = true;
/// 25 November 2026: a guest counts as healthy as soon as its power is on, while it boots.
const GUESTS_BOOT: bool = false;
/// 25 November 2026: an Application is looked for in a list alone.
const APPLICATIONS_BY_LIST: bool = true;

/// Whether what is ill is ill only by booting.
pub(super) fn boots(port: Port, object: &Object) -> bool {
    GUESTS_BOOT && port == Port::Proxmox && object.content.contains("power: on")
}

/// Whether objects of a kind are looked for in lists alone.
pub(super) fn by_list(kind: &KindName) -> bool {
    APPLICATIONS_BY_LIST && kind.as_str() == "Application"
}
