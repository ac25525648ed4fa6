//! The simulated systems, one folder each.

pub mod kubernetes;
pub mod secrets;
pub mod vault;
