//! Forges: the status of a commit, on each of them in its own way, and the rules of the outbox before them.
//!
//! A forge is one module that implements [`dialect::Dialect`] and one line in [`ForgeKind::dialect`]. What all
//! of them have in common (requests, bounds, the meaning of most answers) is in `client` and `answer`.

mod answer;
mod client;
mod dialect;
mod error;
mod gitea;
mod github;
pub mod outbox;
mod settings;

pub use client::Forge;
pub use error::PostError;
pub use settings::{ForgeKind, Settings, SettingsError};
