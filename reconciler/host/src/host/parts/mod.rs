//! The sorts of parts of a host: one file a sort, each a pure function from what is wanted and seen to acts.

pub(super) mod adoption;
pub(super) mod directory;
pub(super) mod file;
pub(super) mod package;
pub(super) mod removal;
pub(super) mod service;

use super::names::Account;
use super::state::Node;

/// Whether the account is the one that owns, by name or by number.
fn is_account(want: &Account, name: &str, number: u32) -> bool {
    want.as_str() == name || want.as_str().parse() == Ok(number)
}

/// `0644 root:root`, as plans show it.
fn shown_access(node: &Node) -> String {
    format!("{} {}:{}", node.mode, node.owner, node.group)
}
