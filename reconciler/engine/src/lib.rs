//! The engine: looks, executes and reports over ports, for kinds that it does not know.

pub mod ports;
