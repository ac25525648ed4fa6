//! What a kind decided, remembered: its planner is a function of values, and is asked the same thing at every look.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;

use holdfast_core::any_kind::{KindInfo, PlannedStep};
use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind, Next};
use holdfast_core::reference::Outputs;
use serde_json::Value;

/// So many answers are kept of one resource, and of the outputs of one kind.
const KEPT: usize = 6;
/// So many names are kept of a kind: more than any world has.
const NAMES: usize = 200;
/// Every so manyeth answer is worked out all the same: a planner that is no function of values is found.
const CHECKED: u64 = 64;

/// The newest answers, each with its question, the newest first.
struct Shelf<Q, A> {
    kept: Vec<(Q, A)>,
    given: u64,
}

impl<Q, A> Default for Shelf<Q, A> {
    fn default() -> Self {
        Self { kept: Vec::with_capacity(KEPT), given: 0 }
    }
}

impl<Q, A: Clone + PartialEq + Debug> Shelf<Q, A> {
    fn answer(
        &mut self,
        is: impl Fn(&Q) -> bool,
        question: impl FnOnce() -> Q,
        work: impl FnOnce() -> A,
    ) -> A {
        let Some(at) = self.kept.iter().position(|(question, _)| is(question)) else {
            let answer = work();
            self.kept.truncate(KEPT - 1);
            self.kept.insert(0, (question(), answer.clone()));
            return answer;
        };
        self.kept[..=at].rotate_right(1);
        let answer = self.kept[0].1.clone();
        self.given += 1;
        if self.given.is_multiple_of(CHECKED) {
            assert_eq!(answer, work(), "the same question has another answer: this kind is not pure");
        }
        answer
    }
}

/// What is wanted, and what was seen.
type Question = (Option<Value>, Option<Value>);
type Plans = BTreeMap<Name, Shelf<Question, Next<PlannedStep>>>;

thread_local! {
    static PLANS: RefCell<BTreeMap<TypeId, Plans>> = const { RefCell::new(BTreeMap::new()) };
    static OUTPUTS: RefCell<BTreeMap<TypeId, Shelf<Value, Outputs>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A kind whose answers are remembered. Where defects are planted they depend on more than their questions, and are
/// worked out each time.
pub(crate) fn info<K: Kind>() -> KindInfo {
    let info = KindInfo::of::<K>();
    if cfg!(feature = "planted") {
        return info;
    }
    KindInfo { plan: plan::<K>, outputs_of: outputs::<K>, ..info }
}

fn plan<K: Kind>(name: &Name, want: Option<&Value>, seen: Option<&Value>) -> Next<PlannedStep> {
    PLANS.with_borrow_mut(|kinds| {
        let names = kinds.entry(TypeId::of::<K>()).or_default();
        if !names.contains_key(name) {
            if names.len() == NAMES {
                names.clear();
            }
            names.insert(name.clone(), Shelf::default());
        }
        let shelf = names.get_mut(name).expect("it was just put there");
        shelf.answer(
            // What was seen differs sooner than what is wanted.
            |(wanted, known)| known.as_ref() == seen && wanted.as_ref() == want,
            || (want.cloned(), seen.cloned()),
            || (KindInfo::of::<K>().plan)(name, want, seen),
        )
    })
}

fn outputs<K: Kind>(state: &Value) -> Outputs {
    OUTPUTS.with_borrow_mut(|kinds| {
        let shelf = kinds.entry(TypeId::of::<K>()).or_default();
        let work = || (KindInfo::of::<K>().outputs_of)(state);
        shelf.answer(|known| known == state, || state.clone(), work)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_answer_is_worked_out_once_and_checked_now_and_then() {
        let mut shelf: Shelf<u64, u64> = Shelf::default();
        let worked = Cell::new(0);
        let mut ask = |asked: u64| {
            let work = || {
                worked.set(worked.get() + 1);
                asked * 2
            };
            shelf.answer(|question| *question == asked, || asked, work)
        };
        for round in 0..CHECKED {
            assert_eq!(ask(round % 2), round % 2 * 2);
        }
        assert_eq!(worked.get(), 2);
        assert_eq!([ask(0), ask(1), ask(0)], [0, 2, 0]);
        assert_eq!(worked.get(), 3, "one of so many is worked out again");
        for other in 10..20 {
            ask(other);
        }
        assert_eq!(worked.get(), 13);
        assert_eq!(ask(0), 0);
        assert_eq!(worked.get(), 14, "what is older than so many is forgotten");
    }

    #[test]
    #[should_panic(expected = "this kind is not pure")]
    fn an_answer_that_changes_is_found() {
        let mut shelf: Shelf<(), u64> = Shelf::default();
        for round in 0..=CHECKED {
            shelf.answer(|()| true, || (), || round);
        }
    }
}
