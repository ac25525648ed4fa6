//! The simulated systems, one folder each.
