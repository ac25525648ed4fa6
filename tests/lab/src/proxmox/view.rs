//! What a test sees of the simulated cluster, apart from its API.

use std::collections::BTreeMap;

use super::cloudinit::Seed;
use super::guest::Guest;
use super::knobs::Proxmox;
use super::routes;
use super::schema::Type;
use super::world::{Event, World};

/// One disk of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskView {
    pub volume: String,
    pub bytes: u64,
    /// Tells the volume from an earlier one of the same name.
    pub birth: u64,
    /// The birth of the volume that it was copied from.
    pub from: Option<u64>,
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestView {
    pub vmid: u32,
    pub node: String,
    pub container: bool,
    pub template: bool,
    pub name: String,
    /// The configuration in force, without what is pending.
    pub config: BTreeMap<String, String>,
    pub pending: BTreeMap<String, String>,
    /// Keys whose deletion is pending.
    pub deleting: Vec<String>,
    pub lock: Option<String>,
    pub running: bool,
    /// How often it was started, resets included.
    pub boots: u32,
    /// Disks by slot, unused and cloud-init ones included.
    pub disks: BTreeMap<String, DiskView>,
    /// What the cloud-init drive holds since it was last written.
    pub seed: Option<Seed>,
    pub digest: String,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    pub upid: String,
    /// `None` while it runs.
    pub exit: Option<String>,
}

/// The whole cluster at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldView {
    pub guests: BTreeMap<u32, GuestView>,
    /// What changed since the start, in order.
    pub history: Vec<Event>,
    pub tasks: Vec<TaskView>,
    /// Bytes of every volume, by its id, those that no guest names included.
    pub volumes: BTreeMap<String, u64>,
}

impl Proxmox {
    pub fn world(&self) -> WorldView {
        self.shared.with(|world, _| WorldView {
            guests: world.guests.values().map(|guest| (guest.vmid, look(world, guest))).collect(),
            history: world.history.clone(),
            tasks: world
                .tasks
                .all
                .values()
                .map(|it| TaskView { upid: it.upid.clone(), exit: it.exit.clone() })
                .collect(),
            volumes: world.volumes.iter().map(|(id, volume)| (id.clone(), volume.size)).collect(),
        })
    }

    pub fn guest(&self, vmid: u32) -> Option<GuestView> {
        self.shared.with(|world, _| world.guests.get(&vmid).map(|guest| look(world, guest)))
    }
}

fn look(world: &World, guest: &Guest) -> GuestView {
    let disks = guest.drives().into_iter().filter_map(|(slot, drive)| {
        let volume = world.volumes.get(&drive.file)?;
        let disk =
            DiskView { volume: drive.file, bytes: volume.size, birth: volume.birth, from: volume.from };
        Some((slot, disk))
    });
    GuestView {
        vmid: guest.vmid,
        node: guest.node.clone(),
        container: guest.container,
        template: guest.is_template(),
        name: guest.name(),
        config: guest.config.clone(),
        pending: guest.pending.clone(),
        deleting: guest.deleting.keys().cloned().collect(),
        lock: guest.config.get("lock").cloned(),
        running: guest.running.is_some(),
        boots: guest.boots,
        disks: disks.collect(),
        seed: guest.seed.clone(),
        digest: guest.digest(),
    }
}

/// One parameter of a method, as a schema would tell it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamView {
    /// Indexed ones read `net[n]`.
    pub name: String,
    pub kind: &'static str,
    pub optional: bool,
    pub least: Option<f64>,
    pub most: Option<f64>,
    pub longest: Option<usize>,
    pub one_of: &'static [&'static str],
    pub requires: Option<&'static str>,
}

/// One method of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodView {
    pub verb: &'static str,
    pub path: &'static str,
    pub params: Vec<ParamView>,
}

/// Every method that is served.
pub fn methods() -> Vec<MethodView> {
    let whole = |limit: Option<i64>| limit.and_then(|limit| i32::try_from(limit).ok()).map(f64::from);
    let all = routes::all().into_iter().map(|endpoint| {
        let params = endpoint.params().into_iter().map(|param| {
            let (kind, least, most) = match param.kind {
                Type::Text => ("string", None, None),
                Type::Bool => ("boolean", None, None),
                Type::Int(least, most) => ("integer", whole(least), whole(most)),
                Type::Number(least, most) => ("number", least, most),
                Type::List => ("array", None, None),
            };
            ParamView {
                name: if param.last.is_some() { format!("{}[n]", param.name) } else { param.name.to_owned() },
                kind,
                optional: param.optional,
                least,
                most,
                longest: param.longest,
                one_of: param.one_of,
                requires: param.requires,
            }
        });
        MethodView { verb: endpoint.verb, path: endpoint.path, params: params.collect() }
    });
    all.collect()
}
