//! The pure core of Holdfast: what is wanted, what was seen, what to do about it, and how to say so.
//!
//! Nothing here does I/O, reads a clock, or knows an async runtime. The data flows one way:
//!
//! ```text
//! files --manifest--> Desired --+
//!                     Observed --+--plan--> Plan   ...engine executes...   Outcomes --report--> Report
//! ```

pub mod any_kind;
mod checked;
pub mod desired;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod graph;
pub mod ident;
pub mod kind;
pub mod manifest;
pub mod mark;
pub mod plan;
pub mod planted;
pub mod reference;
pub mod report;
pub mod schedule;
pub mod scrub;
pub mod secret;
pub mod text;
