//! The mirror against real git: local, over smart http with TLS and a password, over ssh, and against servers
//! that hang, lie or redirect.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test cannot set up ends it")]
#![expect(clippy::print_stdout, reason = "a skipped test says so")]

mod damage;
mod http;
mod local;
mod ssh;
mod support;
mod tree;
