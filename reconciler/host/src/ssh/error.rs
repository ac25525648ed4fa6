//! What can go wrong between here and a script that ran on a host.

use std::time::Duration;

use holdfast_core::kind::{TargetError, chain};

/// Why a script did not run, or why it is not known how it ended.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error(
        "the host key of {address} changed: pin its new key if the machine was set up anew, else find out who \
         answers there (pinned {pinned}, offered {offered})"
    )]
    HostKeyChanged { address: String, pinned: String, offered: String },
    #[error("{address} offers a host certificate, and only its pinned key counts")]
    Certificate { address: String },
    #[error("the pinned host key cannot be read: {0}")]
    PinnedKey(String),
    #[error("connecting to {address} took longer than {} s", .limit.as_secs())]
    ConnectTimeout { address: String, limit: Duration },
    #[error("connecting to {address}")]
    Connect {
        address: String,
        #[source]
        source: Box<russh::Error>,
    },
    #[error(
        "{address} does not let `{user}` in with the key {key}: add its public half to the user's \
         `authorized_keys`"
    )]
    Authentication { address: String, user: String, key: String },
    #[error("opening a session on {address}")]
    Open {
        address: String,
        #[source]
        source: Box<russh::Error>,
    },
    #[error("the host refused to run a command")]
    Refused,
    #[error("the connection broke while the script ran")]
    Lost,
    #[error("the script said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the script took longer than {} s", .0.as_secs())]
    Deadline(Duration),
    #[error("the script said more than {0} bytes")]
    TooMuch(usize),
    /// A handler's error that is none of ours, on its way through russh.
    #[error("the SSH protocol broke down")]
    Protocol(#[from] russh::Error),
}

impl SshError {
    /// As the engine takes it: what may pass by itself, and what needs a person. A key that is not let in may
    /// be let in once cloud-init is done, so that one is tried again.
    pub fn into_target(self, doing: &str) -> TargetError {
        match self {
            Self::HostKeyChanged { .. }
            | Self::Certificate { .. }
            | Self::PinnedKey(_)
            | Self::TooMuch(_) => TargetError::rejected(doing, chain(&self)),
            _ => TargetError::unavailable(doing, chain(&self)),
        }
    }
}
