//! Forges: the status of a commit, on each of them in its own way, and the rules of the outbox before them.
//!
//! A forge is one module that implements [`dialect::Dialect`] and one line in [`ForgeKind::dialect`]. What all
//! of them have in common (requests, bounds, the meaning of most answers) is in `client` and `answer`.
//!
//! The worker that posts ([`worker::post_all`]) and what tidies up after a lost journal know only [`ports`], so that
//! the simulation runs them as they are.

pub mod aftermath;
mod answer;
mod client;
mod dialect;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gitea;
mod github;
pub mod outbox;
pub mod ports;
mod settings;
pub mod worker;

pub use client::Forge;
pub use error::PostError;
pub use settings::{ForgeKind, Settings, SettingsError};
