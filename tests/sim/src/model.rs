//! What a simulated system is: a pure state machine that is looked at, written to, and left alone to go on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind, Look, Scope, StepResult, TargetError};
use holdfast_core::mark::Realm;
use holdfast_core::secret::Secrets;
use rand::rngs::SmallRng;

/// Time in the world, since it began.
pub type Time = Duration;

/// How long a client follows what it started.
pub const PATIENCE: Duration = Duration::from_mins(10);

/// One kind's objects in memory. It follows the documented behaviour of the real system, shares no code with the
/// client, and refuses what the real one refuses. It knows no faults: those are the wire's.
///
/// It is pure and deterministic: `BTreeMap`s, no clock but `now`, no chance but what it is given.
pub trait Model: Clone + Send + 'static {
    type Kind: Kind;

    /// All steps of one `apply` reach the system in one piece, as a host's script does: one question to the fence,
    /// one write on the wire, and [`Model::perform_all`] instead of [`Model::perform`].
    const IN_ONE: bool = false;

    /// Lets everything go on that goes on by itself until `now`: tasks end, guests boot, services come up, an
    /// application syncs. Called before anything else is asked; `now` never goes back.
    fn advance(&mut self, now: Time);

    /// A whole and truthful look, with the owner of each object by its mark ([`Realm::owner`]).
    fn look(
        &self,
        realm: &Realm,
        scope: Scope,
        wanted: &BTreeMap<Name, <Self::Kind as Kind>::Spec>,
    ) -> Look<<Self::Kind as Kind>::State>;

    /// The effect of one write, which also writes the mark where the real client's would. Repeating it is as
    /// harmless, or as harmful, as with the real system. What the real system refuses is an error and changes
    /// nothing. A write that starts something long (a clone, a boot, a sync) only starts it.
    ///
    /// # Errors
    /// As the real client would give it: what may pass is `Unavailable`, what a person must mend is `Rejected`.
    fn perform(
        &mut self,
        realm: &Realm,
        name: &Name,
        step: &<Self::Kind as Kind>::Step,
        secrets: &Secrets,
    ) -> Result<Option<String>, TargetError>;

    /// Whether what a step has started goes on, where the real client follows it to its end before it takes the next
    /// step (a task of Proxmox): `None` while it does, then what came of it. Asked after [`Model::perform`] said yes,
    /// again and again with time and [`Model::advance`] in between; a client gives up after [`PATIENCE`].
    fn followed(
        &self,
        name: &Name,
        step: &<Self::Kind as Kind>::Step,
    ) -> Option<Result<Option<String>, TargetError>> {
        let _ = (name, step);
        Some(Ok(None))
    }

    /// The effect of all steps of one `apply`, in order, up to the first that fails. With `cut`, whatever performs them
    /// dies once so many have been done: it is a failure of the next, and those after it are not run.
    fn perform_all(
        &mut self,
        realm: &Realm,
        name: &Name,
        steps: &[<Self::Kind as Kind>::Step],
        secrets: &Secrets,
        cut: Option<usize>,
    ) -> Vec<StepResult> {
        let mut results = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let result = if cut == Some(index) {
                Err(TargetError::unavailable(step.to_string(), "the connection broke before it was done"))
            } else {
                self.perform(realm, name, step, secrets)
            };
            match result {
                Ok(warning) => results.push(StepResult::Done { warning }),
                Err(error) => {
                    results.push(StepResult::Failed(error));
                    break;
                }
            }
        }
        results.resize(steps.len(), StepResult::NotRun);
        results
    }

    /// Everything that exists, by a key that stays the same for its life here (a VMID, a machine's address, a
    /// policy's name). What the checks compare before and after each effect.
    fn objects(&self) -> BTreeMap<String, Object>;

    /// Somebody else does something: changes a field, stops a guest, deletes an object, copies one together with
    /// its mark, makes one of their own. Says what, or `None` where there is nothing to do it to.
    fn meddle(&mut self, chance: &mut SmallRng) -> Option<Meddling>;
}

/// One thing that exists, as the checks see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The mark that stands on it, word for word, whether it is valid here or copied.
    pub mark: Option<String>,
    /// What the mark has to name to be valid: this very object.
    pub identity: String,
    /// Counts up with every object ever made: another number under the same key is another object.
    pub birth: u64,
    /// The same for what holds data in it: disks by slot, a file's content that is not ours.
    pub data: BTreeMap<String, u64>,
    /// Holds data, by the kind's own word.
    pub protected: bool,
    /// Up and well, as somebody who uses it would say.
    pub healthy: bool,
    /// Everything about it that a write of ours can change, in one text: equal texts, nothing changed. No times, no
    /// counters, no health.
    pub content: String,
    /// Secrets' values that it holds, for the checks that they went nowhere else.
    pub secrets: BTreeSet<String>,
}

/// What somebody else did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meddling {
    /// For the trace: `somebody stops vm 101`.
    pub what: String,
    /// The key of the object that was touched.
    pub key: String,
    /// It can be put right only by a person (a deleted disk, a mark that was copied onto a stranger's object), so that a
    /// run after it may stay held.
    pub needs_a_person: bool,
}
