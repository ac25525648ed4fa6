//! The client and its kind against a scripted API server on loopback (what goes over the wire), and against the
//! simulated cluster (what comes of it).

#[cfg(test)]
mod applying;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod looking;
#[cfg(test)]
mod server;
