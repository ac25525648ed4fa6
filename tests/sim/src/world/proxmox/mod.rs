//! Proxmox VE in memory: guests, their configurations, and tasks that take their time.
//!
//! Follows the real API in what the planner of `VirtualMachine` looks at: a clone is a locked, empty guest until its
//! task ends; a write names the configuration's digest; what a running guest cannot take waits for a restart; power
//! changes in tasks, and a guest boots before its agent answers; only a stopped guest is destroyed.
//!
//! Simpler than the real one: configuring and growing are done at once; all storage is shared between nodes; a guest
//! always shuts down when it is asked; no containers, snapshots or migrations.

mod config;
mod guest;
mod look;
mod meddle;
mod notes;
mod perform;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::ident::Name;
use holdfast_core::kind::{Look, Scope, TargetError};
use holdfast_core::mark::Realm;
use holdfast_core::secret::Secrets;
use holdfast_proxmox::VirtualMachine;
use holdfast_proxmox::virtual_machine::{Spec, State, Step};
use rand::rngs::SmallRng;

pub use guest::{Disk, Guest, Power};
use tasks::Task;

use super::machine::{Machine, Machines};
use crate::model::{Meddling, Model, Object, Time};

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// A full clone.
    pub clone: Duration,
    /// A task that switches a guest on or off, or removes it.
    pub task: Duration,
    /// From power to an agent and an sshd that answer.
    pub boot: Duration,
    /// Until the HA manager does what it was asked.
    pub ha: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { clone: seconds(20), task: seconds(3), boot: seconds(25), ha: seconds(10) }
    }
}

/// A cluster in memory.
#[derive(Debug, Clone)]
pub struct Proxmox {
    now: Time,
    nodes: BTreeSet<String>,
    guests: BTreeMap<u32, Guest>,
    tasks: BTreeMap<u64, Task>,
    /// How the last task of each guest ended.
    ends: BTreeMap<u32, Result<(), TargetError>>,
    /// Counts births, uuids, MAC addresses and tasks.
    counter: u64,
    fails_next: bool,
    pub times: Times,
    /// A look in scope `All` finds what is marked ours even where our tag is gone. The real one finds what runs by its
    /// tag alone.
    pub sees_untagged: bool,
}

impl Proxmox {
    /// A cluster of nodes with nothing on them.
    pub fn new<'a>(nodes: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            now: Time::ZERO,
            nodes: nodes.into_iter().map(ToOwned::to_owned).collect(),
            guests: BTreeMap::new(),
            tasks: BTreeMap::new(),
            ends: BTreeMap::new(),
            counter: 0,
            fails_next: false,
            times: Times::default(),
            sees_untagged: false,
        }
    }

    /// Puts a template in place, with one disk and a cloud-init drive.
    pub fn add_template(&mut self, vmid: u32, node: &str, slot: &str, mebibytes: u64) {
        self.add_guest(vmid, node, &format!("template-{vmid}"), slot, mebibytes);
        let guest = self.guests.get_mut(&vmid).expect("it was just added");
        guest.template = true;
        guest.note();
    }

    /// Puts a guest of somebody else in place, switched off.
    pub fn add_guest(&mut self, vmid: u32, node: &str, name: &str, slot: &str, mebibytes: u64) {
        self.nodes.insert(node.to_owned());
        let birth = self.count();
        let mut guest = Guest::new(birth, node, self.uuid());
        let image = self.count();
        let volume = format!("local:vm-{vmid}-disk-0");
        guest.disks.insert(slot.to_owned(), Disk { volume, mebibytes, birth: image, image, copy_of: None });
        let seed = self.count();
        guest.disks.insert("ide2".to_owned(), Disk::cloud_init("local", vmid, seed));
        let mac = self.mac();
        for (key, value) in [
            ("name", name.to_owned()),
            ("cores", "1".to_owned()),
            ("memory", "1024".to_owned()),
            ("net0", format!("virtio={mac},bridge=vmbr0,firewall=1")),
            ("agent", "enabled=1".to_owned()),
        ] {
            guest.config.insert(key.to_owned(), value);
        }
        guest.note();
        self.guests.insert(vmid, guest);
    }

    /// The next task that is accepted fails in the end, and leaves nothing changed.
    pub fn fail_next_task(&mut self) {
        self.fails_next = true;
    }

    /// Goes back to an older copy of itself, as somebody does who restores a backup. Time and births go on.
    pub fn restore(&mut self, backup: &Self) {
        let (now, counter) = (self.now, self.counter.max(backup.counter));
        *self = backup.clone();
        self.now = now;
        self.counter = counter;
    }

    /// What somebody else sets by hand: any key of the configuration, in force at once.
    pub fn set(&mut self, vmid: u32, key: &str, value: &str) {
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.config.insert(key.to_owned(), value.to_owned());
            guest.pending.remove(key);
            guest.note();
        }
    }

    /// Locks a guest's configuration as a backup does, or frees it.
    pub fn lock(&mut self, vmid: u32, lock: Option<&'static str>) {
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.lock = lock;
            guest.note();
        }
    }

    /// Gives a guest to the HA manager, which keeps it as it is.
    pub fn put_under_ha(&mut self, vmid: u32) {
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.ha = Some(if guest.is_on() { "started" } else { "stopped" });
            guest.note();
        }
    }

    pub fn guest(&self, vmid: u32) -> Option<&Guest> {
        self.guests.get(&vmid)
    }

    pub fn guests(&self) -> &BTreeMap<u32, Guest> {
        &self.guests
    }

    /// The guests as machines, by their addresses, for the hosts' world. Where two have the same address, the one
    /// that is up counts.
    pub fn machines(&self) -> Machines {
        let mut machines = Machines::new();
        for (vmid, guest) in self.guests.iter().filter(|(_, guest)| !guest.template) {
            let Some(disk) = guest.boot_disk() else { continue };
            let up = guest.up_since(self.times.boot).filter(|since| *since <= self.now);
            let machine = Machine {
                what: format!("vm {vmid}"),
                disk: disk.birth,
                copy_of: disk.copy_of,
                up,
                host_key: guest::host_key(disk.image),
            };
            let address = guest.address(*vmid);
            if machines.get(&address).is_none_or(|other| other.up.is_none() && up.is_some()) {
                machines.insert(address, machine);
            }
        }
        machines
    }

    fn note(&mut self, vmid: u32) {
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.note();
        }
    }

    /// A number that was never given out. It grows with time as well, so that a world that was set back to an older
    /// copy gives none out twice.
    fn count(&mut self) -> u64 {
        let now = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX);
        self.counter = (self.counter + 1).max(now);
        self.counter
    }

    fn uuid(&mut self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.count())
    }

    fn mac(&mut self) -> String {
        let bytes = self.count().to_be_bytes();
        format!("BC:24:11:{:02X}:{:02X}:{:02X}", bytes[5], bytes[6], bytes[7])
    }
}

impl Model for Proxmox {
    type Kind = VirtualMachine;

    fn advance(&mut self, now: Time) {
        self.advance_to(now);
    }

    fn look(&self, realm: &Realm, scope: Scope, wanted: &BTreeMap<Name, Spec>) -> Look<State> {
        look::look(self, realm, scope, wanted)
    }

    fn perform(
        &mut self,
        realm: &Realm,
        name: &Name,
        step: &Step,
        secrets: &Secrets,
    ) -> Result<Option<String>, TargetError> {
        let done = self.act(realm, name, step, secrets);
        self.note(perform::number(step));
        done
    }

    fn followed(&self, _: &Name, step: &Step) -> Option<Result<Option<String>, TargetError>> {
        let vmid = perform::number(step);
        if self.works_on(vmid).is_some() {
            return None;
        }
        Some(self.ends.get(&vmid).cloned().unwrap_or(Ok(())).map(|()| None))
    }

    fn objects(&self) -> BTreeMap<String, Object> {
        self.guests.iter().map(|(vmid, guest)| (vmid.to_string(), self.object(*vmid, guest))).collect()
    }

    fn meddle(&mut self, chance: &mut SmallRng) -> Option<Meddling> {
        meddle::meddle(self, chance)
    }
}

impl Proxmox {
    fn object(&self, vmid: u32, guest: &Guest) -> Object {
        let (_, marks) = guest.notes();
        let own = [format!("{vmid}/{}", guest.uuid), format!("{vmid}/new")];
        let mark = marks.iter().find(|mark| own.contains(&mark.object)).or(marks.first());
        let half_made = mark.is_some_and(|mark| mark.object == own[1]);
        let disks = guest.disks.iter().filter(|(_, disk)| !disk.is_cloud_init());
        let data: BTreeMap<String, u64> = disks.map(|(slot, disk)| (slot.clone(), disk.birth)).collect();
        let tasks: Vec<&str> = self.tasks.values().filter(|task| task.vmid == vmid).map(Task::name).collect();
        let booted = guest.up_since(self.times.boot).is_some_and(|since| since <= self.now);
        Object {
            mark: mark.map(ToString::to_string),
            identity: own[usize::from(half_made)].clone(),
            birth: guest.birth,
            // The place of a clone to come holds nothing yet, and goes with a clone that fails.
            protected: !data.is_empty(),
            data,
            healthy: guest.lock.is_none() && booted,
            content: format!("{}tasks: {}\n", guest.text(), tasks.join(" ")),
            secrets: guest.password.iter().cloned().collect(),
        }
    }
}
