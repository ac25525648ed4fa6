//! The simulated systems, one folder each.

pub mod hosts;
pub mod kubernetes;
pub mod machine;
pub mod proxmox;
pub mod secrets;
pub mod vault;
