//! What a guest is to whoever reaches it by its address: the one thing that two simulated systems share.

use std::collections::BTreeMap;

use crate::model::Time;

/// The machines behind addresses, as the guests' world tells them to the hosts' world.
pub type Machines = BTreeMap<String, Machine>;

/// A guest as a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What it is called, for the trace: `vm 101`.
    pub what: String,
    /// The disk that it boots from, by birth. Another disk is another machine.
    pub disk: u64,
    /// The disk that this one was copied from with all that was on it; a template has nothing on it.
    pub copy_of: Option<u64>,
    /// Since when it has been up and answers; `None` while it is off or boots.
    pub up: Option<Time>,
    /// `ssh-ed25519 AAAA…`.
    pub host_key: String,
}
