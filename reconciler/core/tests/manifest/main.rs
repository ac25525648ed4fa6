//! Reads whole repositories with a few small kinds: what is right, what is wrong, and what is hostile.

mod hostile;
mod kinds;
mod mistakes;
mod policy;
mod reading;
mod schemas;
