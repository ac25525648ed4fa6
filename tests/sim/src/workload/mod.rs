//! What people do: sequences of commits, drawn from a seed, with what is to come of each.

mod draw;
mod edits;
pub mod expect;
pub mod sketch;

use std::time::Duration;

pub use draw::draw;
pub use expect::{Expectation, Follower};
pub use sketch::{Guest, Room, Sketch};

/// What a commit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Site(Box<Sketch>),
    /// Somebody made a mistake.
    Invalid,
    /// Reading it panics.
    Panics,
    /// Reading it does not end.
    Hangs,
    /// Reading it takes the process with it.
    Kills,
    /// The repository cannot give its files.
    Unreadable,
}

impl Body {
    pub fn sketch(&self) -> Option<&Sketch> {
        match self {
            Self::Site(sketch) => Some(sketch),
            _ => None,
        }
    }
}

/// One commit that is pushed, and what its author does beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// What it is about, in the author's words.
    pub label: String,
    pub body: Body,
    /// Secrets that get a new value with it: path and key.
    pub rotates: Vec<(String, String)>,
    /// How long it is until the next one.
    pub rest: Duration,
}

/// The commits of a seed, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workload {
    pub pushes: Vec<Push>,
}

impl Workload {
    /// The sketches of the valid commits before and with the one at `at`.
    pub fn sketches_to(&self, at: usize) -> Vec<&Sketch> {
        self.pushes.iter().take(at + 1).filter_map(|push| push.body.sketch()).collect()
    }
}
