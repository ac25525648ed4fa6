//! Written scenarios: a few commits, what somebody else does meanwhile, and what is to come of it. Each is run as it is,
//! and once more for every write in it and everything that may happen to that write.

pub mod command;
mod guests;
mod history;
mod home;
mod hosts;
pub mod incidents;
mod lives;
mod play;
mod policies;
mod script;
pub mod sweep;

pub use play::{End, play};
pub use script::Scenario;

/// All scenarios of the exhaustive mode.
pub fn all() -> Vec<Scenario> {
    [guests::all(), hosts::all(), policies::all(), history::all(), lives::all()].concat()
}
