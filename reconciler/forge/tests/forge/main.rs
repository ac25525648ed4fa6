//! The client against a server that answers as told: each class of answer, on each kind of forge.
#![expect(clippy::unwrap_used, reason = "what a test cannot set up ends it")]

mod post;
mod read_back;
mod support;
