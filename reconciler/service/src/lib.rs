//! Holdfast, the service: the command line, the config, the journal, and the wiring of everything else.

mod clock;
mod commands;
mod config;
mod directory;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod journal;
mod kinds;
mod lock;
mod logs;
mod memory;
mod ports;
mod stamp_key;

pub use commands::main;
