//! The deterministic simulation: the real engine and the real planners of all kinds over worlds in memory, on a
//! clock that only moves when nothing else does, with every fault that a seed draws.
//!
//! ```text
//! seed --draws--> commits and faults
//!                 engine (shipped) --ports--> wire (faults, crashes, trace) --> models (one a system), stores
//!                 checks at every effect, and at the end against a run of the same commits without faults
//! ```

pub mod model;
pub mod wire;
pub mod world;
