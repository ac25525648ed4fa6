//! Hosts in memory: machines that stand alone, and those that are guests, each with files, packages, units and a ledger.
//!
//! Follows the real ones in what the planner of `Host` looks at: all steps of an `apply` are one script, which refuses
//! to begin on another machine or with another ledger than were seen, writes the ledger before its first step and
//! after its last one, and stops at the first that fails; where it dies in the middle, what was done is done and the
//! ledger says what was intended. A machine answers only while it is up, and its units start anew with it.
//!
//! Simpler than the real ones: a script takes no time; packages have no dependencies; accounts exist as they are named;
//! a unit reads its own file and those that the file names, and fails if it is to run `/nowhere` or reads `broken`.

mod look;
mod machine;
mod meddle;
mod packages;
mod script;
mod steps;
#[cfg(test)]
mod tests;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::ident::Name;
use holdfast_core::kind::{Look, Scope, StepResult, TargetError};
use holdfast_core::mark::Realm;
use holdfast_core::secret::Secrets;
use holdfast_host::{Host, HostSpec, HostState, HostStep};
use rand::rngs::SmallRng;

pub use machine::{Computer, Ledger, Node};
pub use units::{Active, Service};

use super::machine::Machines;
use crate::model::{Meddling, Model, Object, Time};

/// How long a unit of `Type=notify` takes to start.
pub const SLOW: Duration = Duration::from_secs(40);

/// All machines that can be logged in to.
#[derive(Debug, Clone)]
pub struct Hosts {
    now: Time,
    /// What is on each disk that some guest booted from, by the disk's birth.
    disks: BTreeMap<u64, Computer>,
    /// The guests, as their world tells them.
    guests: Machines,
    /// Machines that are nobody's guests, by address.
    alone: BTreeMap<String, Alone>,
    counter: u64,
    /// Packages that no mirror has.
    unknown: BTreeSet<String>,
    apt_is_locked: bool,
    /// Whether [`Object::data`] names files of others on guests too. They go with the guest's disk, which its own
    /// world tells, and whoever counts them must expect that.
    pub guests_hold_data: bool,
}

/// A machine of its own.
#[derive(Debug, Clone)]
struct Alone {
    computer: Computer,
    host_key: String,
    up: Option<Time>,
}

impl Default for Hosts {
    fn default() -> Self {
        Self::new()
    }
}

impl Hosts {
    pub fn new() -> Self {
        Self {
            now: Time::ZERO,
            disks: BTreeMap::new(),
            guests: Machines::new(),
            alone: BTreeMap::new(),
            counter: 0,
            unknown: BTreeSet::new(),
            apt_is_locked: false,
            guests_hold_data: false,
        }
    }

    /// Tells which guests are there and up. To be called before anything else whenever their world went on.
    pub fn set_machines(&mut self, machines: Machines) {
        for machine in machines.values() {
            if let Some(up) = machine.up
                && !self.disks.contains_key(&machine.disk)
            {
                // The first boot makes what a machine is known by, unless the disk was copied with it.
                let copied = machine.copy_of.and_then(|disk| self.disks.get(&disk)).cloned();
                let mut computer = copied.unwrap_or_else(|| Computer::new(machine.disk, up));
                (computer.birth, computer.booted) = (machine.disk, None);
                self.disks.insert(machine.disk, computer);
            }
            if let Some(computer) = self.disks.get_mut(&machine.disk) {
                computer.power(machine.up);
            }
        }
        self.guests = machines;
    }

    /// Puts a machine in place that is nobody's guest.
    pub fn add_machine(&mut self, address: &str, host_key: &str) {
        // Far from the births of disks.
        let birth = (1 << 48) + self.count();
        let mut computer = Computer::new(birth, self.now);
        computer.power(Some(self.now));
        let alone = Alone { computer, host_key: host_key.to_owned(), up: Some(self.now) };
        self.alone.insert(address.to_owned(), alone);
    }

    /// Switches a machine that is nobody's guest on or off.
    pub fn switch(&mut self, address: &str, on: bool) {
        let now = self.now;
        if let Some(alone) = self.alone.get_mut(address) {
            alone.up = on.then_some(now);
            alone.computer.power(alone.up);
        }
    }

    /// A package that no mirror has: installing it is an error.
    pub fn hide_package(&mut self, name: &str) {
        self.unknown.insert(name.to_owned());
    }

    /// Somebody else holds the lock of the packages, until they let it go.
    pub fn lock_apt(&mut self, locked: bool) {
        self.apt_is_locked = locked;
    }

    /// Puts the ledger of one machine onto another, as who restores the wrong backup does.
    pub fn copy_ledger(&mut self, from: &str, to: &str) {
        let ledger = self.computer(from).and_then(|computer| computer.ledger.clone());
        self.change(to, |computer| computer.ledger = ledger);
    }

    /// The machine that an address leads to, be it up or not.
    pub fn computer(&self, address: &str) -> Option<&Computer> {
        match self.alone.get(address) {
            Some(alone) => Some(&alone.computer),
            None => self.disks.get(&self.guests.get(address)?.disk),
        }
    }

    /// Changes something on a machine by other hands.
    pub fn change(&mut self, address: &str, what: impl FnOnce(&mut Computer)) {
        if let Some(computer) = self.computer_mut(address) {
            what(computer);
            computer.note();
        }
    }

    fn computer_mut(&mut self, address: &str) -> Option<&mut Computer> {
        match self.alone.get_mut(address) {
            Some(alone) => Some(&mut alone.computer),
            None => self.disks.get_mut(&self.guests.get(address)?.disk),
        }
    }

    /// All addresses that lead to a machine that has booted before.
    fn addresses(&self) -> Vec<String> {
        let booted = self.guests.iter().filter(|(_, machine)| self.disks.contains_key(&machine.disk));
        self.alone.keys().chain(booted.map(|(address, _)| address)).cloned().collect()
    }

    /// Whether the machine at an address is up, and the host key that it offers.
    fn offers(&self, address: &str) -> Option<&str> {
        match self.alone.get(address) {
            Some(alone) => alone.up.map(|_| alone.host_key.as_str()),
            None => {
                self.guests.get(address).filter(|machine| machine.up.is_some()).map(|it| it.host_key.as_str())
            }
        }
    }

    fn count(&mut self) -> u64 {
        let now = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX);
        self.counter = (self.counter + 1).max(now);
        self.counter
    }
}

impl Model for Hosts {
    type Kind = Host;

    const IN_ONE: bool = true;

    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        let now = self.now;
        let alone = self.alone.values_mut().map(|alone| &mut alone.computer);
        for computer in self.disks.values_mut().chain(alone) {
            computer.advance(now);
        }
    }

    fn look(&self, realm: &Realm, _: Scope, wanted: &BTreeMap<Name, HostSpec>) -> Look<HostState> {
        look::look(self, realm, wanted)
    }

    fn perform(
        &mut self,
        realm: &Realm,
        name: &Name,
        step: &HostStep,
        secrets: &Secrets,
    ) -> Result<Option<String>, TargetError> {
        let mut results = self.perform_all(realm, name, std::slice::from_ref(step), secrets, None);
        match results.pop() {
            Some(StepResult::Done { warning }) => Ok(warning),
            Some(StepResult::Failed(error)) => Err(error),
            Some(StepResult::NotRun) | None => {
                Err(TargetError::unavailable(step.to_string(), "it was not run"))
            }
        }
    }

    fn perform_all(
        &mut self,
        realm: &Realm,
        name: &Name,
        steps: &[HostStep],
        secrets: &Secrets,
        cut: Option<usize>,
    ) -> Vec<StepResult> {
        script::run(self, realm, name, steps, secrets, cut)
    }

    fn objects(&self) -> BTreeMap<String, Object> {
        let object = |address: String| {
            let is_up = self.offers(&address).is_some();
            let counts = self.guests_hold_data || self.alone.contains_key(&address);
            let computer = self.computer(&address)?;
            Some((address, computer.object(is_up, counts)))
        };
        self.addresses().into_iter().filter_map(object).collect()
    }

    fn meddle(&mut self, chance: &mut SmallRng) -> Option<Meddling> {
        meddle::meddle(self, chance)
    }
}

impl Computer {
    fn object(&self, is_up: bool, counts: bool) -> Object {
        let foreign = self.paths.iter().filter_map(|(path, node)| match node {
            Node::File { foreign: Some(birth), .. } if counts => Some((path.clone(), *birth)),
            _ => None,
        });
        let secrets = self.paths.values().filter_map(|node| match node {
            Node::File { secrets, .. } => Some(secrets.iter().cloned()),
            Node::Directory { .. } | Node::Link => None,
        });
        Object {
            mark: self.ledger.as_ref().map(|ledger| ledger.mark.clone()),
            identity: self.machine_id.clone(),
            birth: self.birth,
            data: foreign.collect(),
            protected: false,
            healthy: is_up && self.units.values().all(Service::is_well),
            content: self.content().to_owned(),
            secrets: secrets.flatten().collect(),
        }
    }
}
