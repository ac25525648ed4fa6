//! What checks speak of: invariants and breaches, who writes what, effects and what is found of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use holdfast_core::ident::{CommitId, ResourceId};
use holdfast_core::kind::Risk;

use crate::model::{Object, Time};
use crate::wire::Port;

/// The invariants, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Once the faults stop the world comes to match, and stays; a quiet hour has no write.
    Converges = 1,
    /// Nothing is written to, or deleted, that does not carry our mark naming that very object.
    Marks,
    /// Nothing that holds data is destroyed or replaced unless a commit names it.
    Data,
    /// At most so many of a group are away because of us.
    Groups,
    /// Deletions of one commit stay below the brake.
    Brake,
    /// A read that failed, was partial or implausibly empty is no absence.
    Looks,
    /// No secret leaves.
    Secrets,
    /// Every commit ends in one final, truthful status.
    Statuses,
    /// Nobody writes who lost the lease.
    Lease,
    /// No older commit is applied after a newer one was begun.
    Order,
    /// A system that is down blocks only what needs it.
    Outage,
    /// A total outage costs at most so many requests as health.
    Budget,
    /// A poison commit gets its status, and ends nothing.
    Poison,
    /// Twice is once; by way of another commit is the same.
    Same,
    /// Without the journal the run still converges, and destroys nothing.
    Journal,
}

impl Invariant {
    pub const ALL: [Self; 15] = [
        Self::Converges,
        Self::Marks,
        Self::Data,
        Self::Groups,
        Self::Brake,
        Self::Looks,
        Self::Secrets,
        Self::Statuses,
        Self::Lease,
        Self::Order,
        Self::Outage,
        Self::Budget,
        Self::Poison,
        Self::Same,
        Self::Journal,
    ];
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{} ({self:?})", *self as u8)
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub invariant: Invariant,
    pub at: Time,
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} s: {}", self.invariant, self.at.as_secs(), self.what)
    }
}

/// How an effect came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By a write whose caller waited for it.
    Write,
    /// By the second delivery of one.
    Again,
    /// By one whose caller had given it up: nobody could hold it back any more.
    Late,
    /// By what goes on by itself.
    Itself,
    /// By somebody else.
    Somebody,
    /// The system came back as it was some time ago.
    Restored,
}

/// Who writes what.
#[derive(Debug, Clone)]
pub struct Actor {
    pub process: u8,
    pub id: ResourceId,
    /// The step's line.
    pub what: String,
    pub risk: Risk,
    /// What was wrong with it when it went out: whose lease it was, which commit was newer.
    pub(crate) wrong: Wrong,
}

/// How a write stands when it goes out, and what is wrong with that. What comes between that and its effect is nobody's to know.
#[derive(Debug, Clone, Default)]
pub struct Wrong {
    pub(crate) lease: Option<String>,
    pub(crate) order: Option<String>,
    /// What it was done for, whichever commit is converged to when it lands.
    pub(crate) of: Option<CommitId>,
}

/// One effect on one system: everything in it before and after.
pub struct Effect<'a> {
    pub port: Port,
    pub at: Time,
    pub how: How,
    pub actor: Option<&'a Actor>,
    pub before: &'a BTreeMap<String, Object>,
    pub after: &'a BTreeMap<String, Object>,
}

impl Effect<'_> {
    /// What is not as before: by key, the object before and after.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (&String, Option<&Object>, Option<&Object>)> {
        let keys: BTreeSet<&String> = self.before.keys().chain(self.after.keys()).collect();
        keys.into_iter()
            .map(|key| (key, self.before.get(key), self.after.get(key)))
            .filter(|(_, before, after)| before != after)
    }

    /// What is not there any more, or is another one under the same key.
    pub(crate) fn gone(&self) -> impl Iterator<Item = (&String, &Object)> {
        self.changed().filter_map(|(key, before, after)| {
            let before = before?;
            (after.map(|after| after.birth) != Some(before.birth)).then_some((key, before))
        })
    }

    /// Whether it is our doing.
    pub(crate) fn is_ours(&self) -> bool {
        !matches!(self.how, How::Somebody | How::Restored)
    }
}

/// What a check says of one occasion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// There was nothing to check.
    Silent,
    /// It holds, and might not have.
    Holds,
    Breach(String),
}

impl Finding {
    pub(crate) fn of(breach: Option<String>) -> Self {
        breach.map_or(Self::Holds, Self::Breach)
    }
}
