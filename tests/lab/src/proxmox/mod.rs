//! A simulated Proxmox VE 9 cluster behind its HTTP API.
//!
//! It follows what the real one was seen or read to do: it checks in the same order, refuses with the same words, works in
//! tasks that take time, keeps what is pending apart from what is in force, and evaluates rights as Proxmox does. What a
//! test wants to go wrong it orders at the [`Proxmox`] handle.

mod access;
mod agent;
mod call;
mod change;
mod clone;
mod cloudinit;
mod cluster;
mod config;
mod create;
mod drive;
mod error;
mod format;
mod furniture;
mod guest;
mod host;
mod hotplug;
mod keys;
mod knobs;
mod net;
mod params;
mod power;
mod props;
mod read;
mod routes;
mod schema;
mod seeding;
mod size;
mod storage;
mod takes;
mod tasklist;
mod tasks;
mod values;
mod view;
mod volumes;
mod wire;
mod world;

pub use access::{CONVERGE_GUESTS, PRIVILEGES};
pub use cloudinit::Seed;
pub use furniture::{MachineSeed, StorageSeed};
pub use host::{Boot, GuestHost, Interface, NoHost, Ran, Running};
pub use knobs::Proxmox;
pub use seeding::Builder;
pub use tasks::TaskMode;
pub use view::{DiskView, GuestView, TaskView, WorldView};
pub use world::Event;

/// For tests of this crate that compare the schema: every method with its parameters' names, types and limits.
pub use view::{MethodView, ParamView, methods};
