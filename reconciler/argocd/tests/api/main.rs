//! The client and its kind against a scripted API server on loopback: what goes over the wire.

#[cfg(test)]
mod applying;
#[cfg(test)]
mod looking;
#[cfg(test)]
mod server;
