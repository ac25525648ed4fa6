//! The lab: simulated Proxmox, Kubernetes, Vault and forges over real HTTP on loopback, and hosts over real SSH.
//!
//! The simulators follow the documented behaviour of the real systems, share no code with the clients, and
//! refuse what the real ones refuse.

pub mod clock;
pub mod demo;
pub mod echo;
pub mod forge;
pub mod git;
pub mod guests;
pub mod home;
pub mod hosts;
pub mod http;
pub mod keys;
pub mod kubernetes;
pub mod proxmox;
pub mod service;
#[cfg(test)]
mod testing;
pub mod vault;
