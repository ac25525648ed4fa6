//! Deliberate defects, by which the simulation shows what it can find. Only the feature `planted` compiles them in, and
//! only the simulation's own tests turn that on: a product is built without it.

/// What a defect does wrong. At most one is planted at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// What could not be seen counts as absent.
    UnknownIsAbsent,
    /// A mark counts whatever object it names.
    CopiedMarkIsOurs,
    /// The prune brake is off.
    NoBrake,
    /// An environment that declares nothing removes everything.
    EmptyRemoves,
    /// `retire:` matches by the beginning of a name.
    RetireByPrefix,
    /// Things are removed although something of their system could not be read.
    UnreadRemoves,
    /// What holds data goes like everything else.
    NoProtection,
    /// A rename makes the new and removes the old.
    RenameReplaces,
    /// An answer that everything is gone is believed at once.
    NoDoubt,
    /// A resource is settled before it is healthy.
    SettledBeforeHealthy,
    /// A planner's panic takes the run with it.
    PanicEndsRun,
    /// A removal is decided from the first look alone.
    NoSecondLook,
    /// A group's health is remembered, not looked at.
    GroupFromMemory,
    /// Groups are not looked at at all.
    NoGroups,
    /// Success is said once everything was applied, without a look at the whole.
    SuccessUnseen,
    /// A newer commit does not stop the run of an older one.
    OlderRunGoesOn,
    /// The lease is not asked for before a write.
    NoFence,
    /// A system that is away is asked without end.
    NoBudget,
    /// A commit that goes back is taken.
    RewindTaken,
    /// What was left pending is forgotten.
    PendingForgotten,
    /// What did not converge is not tried again.
    NeverAgain,
    /// Drift is not looked for.
    NoDrift,
    /// A status may always be followed by another.
    FinalsOverwritten,
    /// Secrets stand in errors and nobody takes them out.
    SecretsTold,
    /// A pause holds nothing.
    PauseIgnored,
    /// The repository is looked at when somebody says so, and never else.
    NoPoll,
    /// A client gives an error as an empty list (the simulated ones only).
    ErrorIsEmpty,
    /// A clone gets no mark before it is configured (the simulated one only).
    CloneUnmarked,
    /// A step is done once it was accepted (the simulated clients only).
    TaskForgotten,
}

#[cfg(feature = "planted")]
impl Defect {
    pub const ALL: [Self; 29] = [
        Self::UnknownIsAbsent,
        Self::CopiedMarkIsOurs,
        Self::NoBrake,
        Self::EmptyRemoves,
        Self::RetireByPrefix,
        Self::UnreadRemoves,
        Self::NoProtection,
        Self::RenameReplaces,
        Self::NoDoubt,
        Self::SettledBeforeHealthy,
        Self::PanicEndsRun,
        Self::NoSecondLook,
        Self::GroupFromMemory,
        Self::NoGroups,
        Self::SuccessUnseen,
        Self::OlderRunGoesOn,
        Self::NoFence,
        Self::NoBudget,
        Self::RewindTaken,
        Self::PendingForgotten,
        Self::NeverAgain,
        Self::NoDrift,
        Self::FinalsOverwritten,
        Self::SecretsTold,
        Self::PauseIgnored,
        Self::NoPoll,
        Self::ErrorIsEmpty,
        Self::CloneUnmarked,
        Self::TaskForgotten,
    ];
}

/// Whether a defect is planted.
#[cfg(not(feature = "planted"))]
pub const fn has(_: Defect) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use on::{asked, has, plant};

#[cfg(feature = "planted")]
mod on {
    use std::cell::Cell;
    use std::collections::BTreeSet;

    use super::Defect;

    thread_local! {
        static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
        static ASKED: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether a defect is planted in this thread.
    pub fn has(defect: Defect) -> bool {
        ASKED.set(ASKED.get() | 1 << defect as u8);
        PLANTED.get() == Some(defect)
    }

    /// Plants a defect in this thread, or takes it away. What was asked for is forgotten.
    pub fn plant(defect: Option<Defect>) {
        PLANTED.set(defect);
        ASKED.set(0);
    }

    /// The defects that were asked for in this thread since the last [`plant`]: any other would change nothing.
    pub fn asked() -> BTreeSet<Defect> {
        let asked = ASKED.get();
        Defect::ALL.into_iter().filter(|defect| asked >> (*defect as u8) & 1 == 1).collect()
    }
}
