//! Reading a commit: files become a checked and linked [`Site`](crate::desired::Site), or all of its problems.

pub mod tree;

pub use tree::Tree;
