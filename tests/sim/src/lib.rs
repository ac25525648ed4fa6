//! The deterministic simulation: the real engine and the real planners of all kinds over worlds in memory, on a
//! clock that only moves when nothing else does, with every fault that a seed draws.
//!
//! ```text
//! seed --draws--> commits and faults
//!                 engine (shipped) --ports--> wire (faults, crashes, trace) --> models (one a system), stores
//!                 checks at every effect, and at the end against a run of the same commits without faults
//! ```

/// A world is built of small texts and maps, and freeing them is a third of the time with the system's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod campaign;
pub mod checks;
pub mod events;
pub mod faults;
pub mod home;
pub mod life;
pub mod model;
mod noted;
pub mod oracle;
mod phases;
pub mod place;
#[cfg(feature = "planted")]
pub mod planting;
pub mod ports;
mod remembered;
mod rest;
pub mod run;
pub mod scenarios;
pub mod shrink;
pub mod simulated;
mod stage;
pub mod trace;
pub mod truth;
pub mod wire;
pub mod workload;
pub mod world;
