//! The client and its kinds against a real `OpenBao`, one server a test.

#[cfg(test)]
mod policies;
#[cfg(test)]
mod races;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod session;
#[cfg(test)]
mod support;
