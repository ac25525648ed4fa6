//! What a scenario is made of: acts, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::EnvironmentName;

use crate::events::Event;
use crate::faults::{FaultKind, Strike};
use crate::home::Home;
use crate::wire::Port;
use crate::workload::{Body, Sketch};

/// What somebody does with their own hands.
type Hand = Arc<dyn Fn(&Home) + Send + Sync>;
/// What is asked of a home; the answer says what is wrong.
type Question = Arc<dyn Fn(&Home) -> Option<String> + Send + Sync>;

/// What becomes of the newest commit.
#[derive(Debug, Clone)]
pub(super) enum Rest {
    /// Every environment stands as wanted, and is told so.
    Converges,
    /// One environment is held or refused, for a reason in these words; the others converge.
    Holds(EnvironmentName, &'static str),
    /// It is no valid commit, for a reason in these words.
    Refuses(&'static str),
    /// Some status of it has these words, whatever stands.
    Tells(&'static str),
    /// It was told as a success, and does not stand as wanted: that is left as it is.
    Drifts(EnvironmentName),
}

#[derive(Clone)]
pub(super) enum Act {
    Starts,
    Push(&'static str, Body),
    /// A commit beside the history, which says that it may replace the newest one.
    PushAside(&'static str, Box<Sketch>),
    Somebody(&'static str, Hand),
    Happens(Event),
    Waits(Duration),
    Rests(Rest),
    /// The next reads of a system are struck.
    Strikes(Port, FaultKind, u64),
    /// One write of a system, the how manyeth from now, is struck.
    StrikesWrite(Port, FaultKind, u64),
    /// From here on its writes are those that are swept, and what stands here is what may not get lost.
    Begins,
    /// All that stood at the beginning stands, with all its data; but for these keys.
    Stands(Vec<(Port, &'static str)>),
    Asks(&'static str, Question),
}

/// A few commits, what somebody else does, and what is expected of it.
#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub(super) acts: Vec<Act>,
    pub(super) shared: bool,
    /// The newest valid commit, and those before it.
    now: Vec<Sketch>,
}

impl Scenario {
    /// Begins with nothing but an empty home.
    pub(super) fn of_nothing(name: &'static str) -> Self {
        Self { name, acts: vec![Act::Starts, Act::Begins], shared: false, now: vec![Sketch::default()] }
    }

    /// Begins with a home that stands as wanted.
    pub(super) fn of(name: &'static str, home: Sketch) -> Self {
        let first = Act::Push("the home", Body::Site(Box::new(home.clone())));
        let acts = vec![Act::Starts, first, Act::Rests(Rest::Converges), Act::Begins];
        Self { name, acts, shared: false, now: vec![home] }
    }

    /// A second machine may run the service too.
    #[must_use]
    pub(super) fn on_two_machines(self) -> Self {
        Self { shared: true, ..self }
    }

    fn act(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    /// Somebody pushes a commit, which changes this.
    pub(super) fn commit(mut self, label: &'static str, change: impl FnOnce(&mut Sketch)) -> Self {
        let mut next = self.now.last().cloned().unwrap_or_default();
        change(&mut next);
        self.now.push(next.clone());
        self.act(Act::Push(label, Body::Site(Box::new(next))))
    }

    /// Somebody takes the newest commit back.
    pub(super) fn revert(mut self) -> Self {
        let before = self.now[self.now.len().saturating_sub(2)].clone();
        self.now.push(before.clone());
        self.act(Act::Push("revert", Body::Site(Box::new(before))))
    }

    /// Somebody pushes a commit that nobody can read.
    pub(super) fn bad(self, label: &'static str, body: Body) -> Self {
        self.act(Act::Push(label, body))
    }

    /// Somebody pushes, by force, a commit beside the newest one, and says so in it.
    pub(super) fn rewinds(mut self, label: &'static str, change: impl FnOnce(&mut Sketch)) -> Self {
        let mut next = self.now.last().cloned().unwrap_or_default();
        change(&mut next);
        self.now.push(next.clone());
        self.act(Act::PushAside(label, Box::new(next)))
    }

    pub(super) fn somebody(self, what: &'static str, hand: impl Fn(&Home) + Send + Sync + 'static) -> Self {
        self.act(Act::Somebody(what, Arc::new(hand)))
    }

    pub(super) fn happens(self, event: Event) -> Self {
        self.act(Act::Happens(event))
    }

    pub(super) fn waits(self, seconds: u64) -> Self {
        self.act(Act::Waits(Duration::from_secs(seconds)))
    }

    pub(super) fn converges(self) -> Self {
        self.act(Act::Rests(Rest::Converges))
    }

    pub(super) fn holds(self, environment: &str, why: &'static str) -> Self {
        self.act(Act::Rests(Rest::Holds(super::home::environment(environment), why)))
    }

    pub(super) fn refuses(self, why: &'static str) -> Self {
        self.act(Act::Rests(Rest::Refuses(why)))
    }

    pub(super) fn tells(self, words: &'static str) -> Self {
        self.act(Act::Rests(Rest::Tells(words)))
    }

    pub(super) fn drifts(self, environment: &str) -> Self {
        self.act(Act::Rests(Rest::Drifts(super::home::environment(environment))))
    }

    pub(super) fn strikes(self, port: Port, kind: FaultKind, reads: u64) -> Self {
        self.act(Act::Strikes(port, kind, reads))
    }

    pub(super) fn strikes_write(self, port: Port, kind: FaultKind, which: u64) -> Self {
        self.act(Act::StrikesWrite(port, kind, which))
    }

    pub(super) fn begins(self) -> Self {
        self.act(Act::Begins)
    }

    /// Nothing that stood at the beginning was destroyed or made anew.
    pub(super) fn all_stands(self) -> Self {
        self.act(Act::Stands(Vec::new()))
    }

    /// The same, but for these.
    pub(super) fn all_stands_but(self, gone: &[(Port, &'static str)]) -> Self {
        self.act(Act::Stands(gone.to_vec()))
    }

    pub(super) fn asks(
        self,
        what: &'static str,
        question: impl Fn(&Home) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.act(Act::Asks(what, Arc::new(question)))
    }

    /// Whether it brings faults of its own: then it is not swept.
    pub(super) fn strikes_itself(&self) -> bool {
        self.acts.iter().any(|act| matches!(act, Act::Strikes(..) | Act::StrikesWrite(..)))
    }
}

/// The next so many calls of one sort, struck.
pub(super) fn strikes(
    port: Port,
    write: bool,
    kind: FaultKind,
    numbers: std::ops::RangeInclusive<u64>,
) -> Vec<Strike> {
    numbers.map(|number| Strike { port, write, number, kind }).collect()
}

/// What stood at the beginning: births, and those of the data, by system and key.
pub(super) type Stood = BTreeMap<(Port, String), (u64, BTreeMap<String, u64>)>;
