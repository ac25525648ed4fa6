//! Holdfast, the service: the command line, the config, the journal, and the wiring of everything else.

mod clock;
mod commands;
mod config;
mod directory;
mod journal;
mod kinds;
mod logs;
mod outbox;
mod ports;

pub use commands::main;
