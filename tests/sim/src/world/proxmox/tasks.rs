//! Tasks: what a write has started and time ends.

use std::time::Duration;

use holdfast_core::kind::TargetError;

use super::guest::{Disk, Guest};
use super::{Proxmox, config};
use crate::model::Time;

/// Something that ends by itself.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) vmid: u32,
    /// The type by which the API shows it. What the HA manager does by itself is no task.
    pub(super) kind: Option<&'static str>,
    ends: Time,
    /// It leaves nothing changed.
    fails: bool,
    /// What its error says was being done.
    doing: String,
    work: Work,
}

impl Task {
    pub(super) fn name(&self) -> &'static str {
        self.kind.unwrap_or("ha")
    }
}

/// What is done when a task ends.
#[derive(Debug, Clone)]
pub(super) enum Work {
    Clone(Box<Order>),
    Start,
    Stop,
    /// The node starts the guest again in a task of its own.
    Reboot,
    Destroy,
    /// The HA manager was asked.
    Ask(&'static str),
}

/// What a clone is to be.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) template: u32,
    pub(super) storage: Option<String>,
    pub(super) name: String,
    pub(super) description: String,
}

impl Proxmox {
    /// The task that works on a guest.
    pub(super) fn works_on(&self, vmid: u32) -> Option<&'static str> {
        self.tasks.values().find(|task| task.vmid == vmid && task.kind.is_some()).and_then(|task| task.kind)
    }

    /// Starts a task. It is the next one that fails, if one was to.
    pub(super) fn begin(&mut self, doing: &str, kind: &'static str, vmid: u32, work: Work) {
        let length = if matches!(work, Work::Clone(_)) { self.times.clone } else { self.times.task };
        self.ends.remove(&vmid);
        let fails = std::mem::take(&mut self.fails_next);
        self.put(vmid, Some(kind), length, fails, doing, work);
    }

    fn put(
        &mut self,
        vmid: u32,
        kind: Option<&'static str>,
        length: Duration,
        fails: bool,
        doing: &str,
        work: Work,
    ) {
        let (ends, doing) = (self.now + length, doing.to_owned());
        let number = self.count();
        self.tasks.insert(number, Task { vmid, kind, ends, fails, doing, work });
    }

    /// Ends every task whose time has come, each at its own time, so that one leap is as good as many.
    pub(super) fn advance_to(&mut self, now: Time) {
        while let Some(number) = self.next_to_end(now)
            && let Some(task) = self.tasks.remove(&number)
        {
            self.now = self.now.max(task.ends);
            let (vmid, kind) = (task.vmid, task.kind);
            let end = self.end(task);
            self.note(vmid);
            if kind.is_some() {
                self.ends.insert(vmid, end);
            }
        }
        self.now = self.now.max(now);
    }

    fn next_to_end(&self, now: Time) -> Option<u64> {
        let due = self.tasks.iter().filter(|(_, task)| task.ends <= now);
        due.min_by_key(|(number, task)| (task.ends, **number)).map(|(number, _)| *number)
    }

    fn end(&mut self, task: Task) -> Result<(), TargetError> {
        let Task { vmid, kind: _, ends: _, fails, doing, work } = task;
        if fails {
            if let Work::Clone(_) = work {
                self.guests.remove(&vmid);
            }
            return Err(TargetError::unavailable(doing, "the task failed: received interrupt"));
        }
        let now = self.now;
        match work {
            Work::Clone(order) => return self.finish_clone(vmid, &doing, &order),
            Work::Destroy => drop(self.guests.remove(&vmid)),
            Work::Ask(state) => self.ask(vmid, state),
            Work::Start => {
                if let Some(guest) = self.guests.get_mut(&vmid).filter(|guest| !guest.is_on()) {
                    guest.switch_on(vmid, now);
                }
            }
            Work::Stop => {
                if let Some(guest) = self.guests.get_mut(&vmid).filter(|guest| guest.is_on()) {
                    guest.switch_off();
                }
            }
            Work::Reboot => {
                if let Some(guest) = self.guests.get_mut(&vmid) {
                    guest.switch_off();
                    self.put(vmid, Some("qmstart"), self.times.task, false, &doing, Work::Start);
                }
            }
        }
        Ok(())
    }

    /// The task only files the request; the manager takes its time.
    fn ask(&mut self, vmid: u32, state: &'static str) {
        let Some(guest) = self.guests.get_mut(&vmid) else { return };
        guest.ha = Some(state);
        let work = if state == "started" { Work::Start } else { Work::Stop };
        self.put(vmid, None, self.times.ha, false, "", work);
    }

    /// Everything is copied but what identifies a guest. What is pending in the template is not.
    fn finish_clone(&mut self, vmid: u32, doing: &str, order: &Order) -> Result<(), TargetError> {
        let template = self.guests.get(&order.template).cloned();
        let place = self.guests.remove(&vmid);
        let (Some(template), Some(place)) = (template, place) else {
            return Err(TargetError::rejected(doing, "clone failed: its template or its place is gone"));
        };
        let mut guest = self.copy(&template, &place.node, vmid, order.storage.as_deref());
        guest.birth = place.birth;
        for disk in guest.disks.values_mut() {
            // Nothing is on a template that a machine is known by: its first boot makes that.
            disk.image = disk.birth;
            disk.copy_of = None;
        }
        guest.config.insert("name".to_owned(), order.name.clone());
        guest.config.insert("description".to_owned(), order.description.clone());
        self.guests.insert(vmid, guest);
        Ok(())
    }

    /// A full copy of a guest, with another uuid and other MAC addresses, off.
    pub(super) fn copy(&mut self, of: &Guest, node: &str, vmid: u32, storage: Option<&str>) -> Guest {
        let mut guest = Guest::new(self.count(), node, self.uuid());
        guest.config = of.config.clone();
        guest.password.clone_from(&of.password);
        if let Some(card) = guest.config.get_mut("net0") {
            let mac = self.mac();
            *card = config::Card::parse(card).print(&mac);
        }
        for (number, (slot, disk)) in of.disks.iter().enumerate() {
            let storage = storage.unwrap_or_else(|| disk.volume.split(':').next().unwrap_or_default());
            let birth = self.count();
            let copy = if disk.is_cloud_init() {
                Disk::cloud_init(storage, vmid, birth)
            } else {
                let volume = format!("{storage}:vm-{vmid}-disk-{number}");
                let (mebibytes, image, copy_of) = (disk.mebibytes, disk.image, Some(disk.birth));
                Disk { volume, mebibytes, birth, image, copy_of }
            };
            guest.disks.insert(slot.clone(), copy);
        }
        guest
    }
}
