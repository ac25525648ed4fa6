//! What keeps the memory of the process, and every secret in it, to the process itself.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Turns core dumps off, for this process and those that it starts; what belongs to it below `/proc` is root's, so that
/// nobody else of the same user reads along (`PR_SET_DUMPABLE(2const)`, `proc(5)`).
pub(crate) fn guard() -> io::Result<()> {
    // Either one alone prevents a dump: a failure of the first does not spare the second.
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(dumpable?)
}
