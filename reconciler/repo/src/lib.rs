//! The infra repository: a bare mirror that is fetched, read and never checked out.
//!
//! ```text
//! Settings --Mirror::new--> Mirror --fetch--> newest commit --tree--> the files that can matter
//!                              \--watcher--> wakes the poll when a local repository gets a push
//! ```
//!
//! gix speaks git; the bytes travel over transports of our own (`http`, `process`), so that redirects,
//! credentials, deadlines and the words of an error are ours. Everything that blocks runs on blocking
//! threads, and a panic there is a failed read.

mod call;
mod clone;
mod failure;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod kept;
mod mirror;
mod process;
mod read;
mod remote;
mod settings;
mod store;
mod tree;
mod watch;

pub use mirror::{DEFAULT_DEADLINE, Mirror};
pub use settings::{Settings, SettingsError};
pub use watch::Watcher;
