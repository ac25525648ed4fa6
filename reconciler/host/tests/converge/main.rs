//! Convergence of a host behind a real sshd: real shells and tools in a tree of their own, stand-ins for apt
//! and systemd. Needs root for `chroot`; elsewhere it says that it skips.

#[cfg(test)]
mod broken;
#[cfg(test)]
mod convergence;
#[cfg(test)]
mod tree;
#[cfg(test)]
mod world;
