//! Writes: what each step asks of the API, and what the API or the kind refuses.

use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind as _, Owner, TargetError};
use holdfast_core::mark::{Mark, Realm};
use holdfast_core::planted::{Defect, has};
use holdfast_core::secret::Secrets;
use holdfast_proxmox::VirtualMachine;
use holdfast_proxmox::virtual_machine::Step;
use holdfast_proxmox::virtual_machine::step::{Clone as Wish, Configure};
use secrecy::ExposeSecret as _;

use super::guest::{Disk, Guest};
use super::tasks::{Order, Work};
use super::{Proxmox, config, look, notes};

type Done = Result<Option<String>, TargetError>;

/// The guest that a step is about.
pub(super) fn number(step: &Step) -> u32 {
    match step {
        Step::Clone(wish) => wish.vmid.into(),
        Step::Configure(configure) => configure.at.vmid.into(),
        Step::RegenerateCloudInit { at }
        | Step::SeedWritten { at, .. }
        | Step::Resize { at, .. }
        | Step::Start { at }
        | Step::Shutdown { at, .. }
        | Step::Reboot { at, .. }
        | Step::Destroy { at } => at.vmid.into(),
    }
}

impl Proxmox {
    pub(super) fn act(&mut self, realm: &Realm, name: &Name, step: &Step, secrets: &Secrets) -> Done {
        let (doing, vmid) = (doing(step), number(step));
        let doing = doing.as_str();
        match step {
            Step::Clone(wish) => self.clone_template(doing, realm, name, wish),
            Step::Configure(configure) => self.configure(doing, realm, name, configure, secrets),
            Step::RegenerateCloudInit { at } => {
                is_ours(doing, realm, name, vmid, self.reach(doing, vmid, &at.node)?)?;
                self.at_once(doing, vmid, &at.node)?.write_seed();
                Ok(Some(format!("cloud-init takes this at the next boot of vm {vmid}")))
            }
            Step::SeedWritten { at, due } => {
                is_ours(doing, realm, name, vmid, self.reach(doing, vmid, &at.node)?)?;
                let guest = self.at_once(doing, vmid, &at.node)?;
                let mark = realm.mark(VirtualMachine::NAME, name, format!("{vmid}/{}", guest.uuid));
                seed_written(doing, guest, due, &mark)
            }
            Step::Resize { at, slot, from: _, size, digest } => {
                let guest = self.at_once(doing, vmid, &at.node)?;
                same_file(doing, guest, digest)?;
                grow(doing, guest, slot.as_str(), size.as_mebibytes())
            }
            Step::Start { at } => {
                is_ours(doing, realm, name, vmid, self.reach(doing, vmid, &at.node)?)?;
                self.start(doing, vmid, &at.node)
            }
            Step::Shutdown { at, force } => {
                let guest = self.reach(doing, vmid, &at.node)?;
                is_ours(doing, realm, name, vmid, guest)?;
                if *force {
                    is_unprotected(doing, guest)?;
                }
                let (is_on, ha) = (guest.is_on(), guest.ha.is_some());
                self.is_free(doing, vmid)?;
                match (is_on, ha) {
                    (_, true) => self.begin(doing, "hastop", vmid, Work::Ask("request_stop")),
                    (true, false) => self.begin(doing, "qmshutdown", vmid, Work::Stop),
                    (false, false) => {}
                }
                Ok(None)
            }
            Step::Reboot { at, pending: _ } => {
                let guest = self.reach(doing, vmid, &at.node)?;
                is_ours(doing, realm, name, vmid, guest)?;
                if !guest.is_on() {
                    return wait(doing, format!("VM {vmid} not running"));
                }
                self.is_free(doing, vmid)?;
                self.begin(doing, "qmreboot", vmid, Work::Reboot);
                Ok(None)
            }
            Step::Destroy { at } => {
                let guest = self.reach(doing, vmid, &at.node)?;
                is_ours(doing, realm, name, vmid, guest)?;
                is_unprotected(doing, guest)?;
                if guest.is_on() {
                    return wait(doing, format!("VM {vmid} is running - destroy failed"));
                }
                self.is_free(doing, vmid)?;
                self.begin(doing, "qmdestroy", vmid, Work::Destroy);
                Ok(None)
            }
        }
    }

    /// A guest on its node, unlocked.
    fn reach(&self, doing: &str, vmid: u32, node: &str) -> Result<&Guest, TargetError> {
        let Some(guest) = self.guests.get(&vmid).filter(|guest| guest.node == node) else {
            let why = format!("Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist");
            return Err(TargetError::unavailable(doing, why));
        };
        match guest.lock {
            Some(lock) => Err(TargetError::unavailable(doing, format!("VM is locked ({lock})"))),
            None => Ok(guest),
        }
    }

    /// One task at a time holds the lock of a configuration's file.
    fn is_free(&self, doing: &str, vmid: u32) -> Result<(), TargetError> {
        if self.works_on(vmid).is_none() {
            return Ok(());
        }
        let why = format!("can't lock file '/var/lock/qemu-server/lock-{vmid}.conf' - got timeout");
        Err(TargetError::unavailable(doing, why))
    }

    /// A guest for a change whose task ends as soon as it was begun.
    fn at_once(&mut self, doing: &str, vmid: u32, node: &str) -> Result<&mut Guest, TargetError> {
        self.reach(doing, vmid, node)?;
        self.is_free(doing, vmid)?;
        self.ends.remove(&vmid);
        if std::mem::take(&mut self.fails_next) {
            return Err(TargetError::unavailable(doing, "the task failed: received interrupt"));
        }
        Ok(self.guests.get_mut(&vmid).expect("it was reached a moment ago"))
    }

    fn start(&mut self, doing: &str, vmid: u32, node: &str) -> Done {
        let guest = self.reach(doing, vmid, node)?;
        if guest.template {
            return reject(doing, "you can't start a vm if it's a template");
        }
        // Somebody else was faster, or we were before a crash.
        if guest.is_on() || self.works_on(vmid) == Some("qmstart") {
            return Ok(None);
        }
        let ha = guest.ha.is_some();
        self.is_free(doing, vmid)?;
        if ha {
            self.begin(doing, "hastart", vmid, Work::Ask("started"));
        } else {
            self.begin(doing, "qmstart", vmid, Work::Start);
        }
        Ok(None)
    }

    /// Puts a locked, empty guest in place of the one to come.
    fn clone_template(&mut self, doing: &str, realm: &Realm, name: &Name, wish: &Wish) -> Done {
        let vmid = u32::from(wish.vmid);
        if let Some(taken) = self.guests.get(&vmid) {
            return wait(doing, format!("vm {vmid} has appeared on `{}` meanwhile", taken.node));
        }
        if !self.nodes.contains(wish.node.as_str()) {
            return reject(doing, format!("there is no node `{}`", wish.node));
        }
        let number = u32::from(wish.template);
        let Some(template) = self.guests.get(&number).filter(|guest| guest.template) else {
            return reject(doing, format!("there is no template {number}"));
        };
        if let Some(lock) = template.lock {
            return wait(doing, format!("VM is locked ({lock})"));
        }
        if let Some((slot, size)) = &wish.disk {
            match template.disks.get(slot.as_str()) {
                None => return reject(doing, format!("template {number} has no disk at {slot}")),
                Some(disk) if disk.mebibytes > size.as_mebibytes() => {
                    return reject(doing, format!("the disk of template {number} cannot shrink to {size}"));
                }
                Some(_) => {}
            }
        }
        let mut place = Guest::new(self.count(), wish.node.as_str(), String::new());
        place.lock = Some("clone");
        self.guests.insert(vmid, place);
        let mark = realm.mark(VirtualMachine::NAME, name, format!("{vmid}/new"));
        let order = Order {
            template: number,
            storage: wish.storage.as_ref().map(ToString::to_string),
            name: name.to_string(),
            description: if has(Defect::CloneUnmarked) {
                wish.notes.text.clone()
            } else {
                notes::write(&wish.notes, &mark)
            },
        };
        self.begin(doing, "qmclone", vmid, Work::Clone(Box::new(order)));
        Ok(None)
    }

    fn configure(
        &mut self,
        doing: &str,
        realm: &Realm,
        name: &Name,
        wish: &Configure,
        secrets: &Secrets,
    ) -> Done {
        let vmid = u32::from(wish.at.vmid);
        let password = wish.password.as_ref().map(|reference| secrets.get(reference)).transpose()?;
        let password = password.map(|value| value.expose_secret().to_owned());
        let known = |key: &&String| !config::is_known(key) && !config::is_slot(key);
        if let Some(key) = wish.set.keys().chain(&wish.delete).find(known) {
            return reject(doing, format!("Parameter verification failed. `{key}`: property is not defined"));
        }
        let (mac, birth) = (self.mac(), self.count());
        let guest = self.at_once(doing, vmid, &wish.at.node)?;
        same_file(doing, guest, &wish.digest)?;
        for key in &wish.delete {
            match key.as_str() {
                "cipassword" => guest.password = None,
                key => guest.write(key, None),
            }
        }
        for (key, value) in &wish.set {
            match key.as_str() {
                slot if config::is_slot(slot) => drive(doing, vmid, guest, slot, value, birth)?,
                "net0" => {
                    let card = config::Card::parse(value);
                    let card = card.print(card.mac.unwrap_or(&mac));
                    guest.write("net0", Some(&card));
                }
                key => guest.write(key, Some(value)),
            }
        }
        if password.is_some() {
            guest.password = password;
        }
        let object = format!("{vmid}/{}", wish.uuid.as_deref().unwrap_or("-"));
        let mark = realm.mark(VirtualMachine::NAME, name, object);
        let description = notes::write(&wish.notes, &mark);
        guest.write("description", Some(&description));
        Ok(None)
    }
}

/// The only drive that a configuration adds is that of cloud-init.
fn drive(
    doing: &str,
    vmid: u32,
    guest: &mut Guest,
    slot: &str,
    value: &str,
    birth: u64,
) -> Result<(), TargetError> {
    let Some(storage) = value.strip_suffix(":cloudinit") else {
        return reject(doing, format!("{slot}: only a cloud-init drive can be added here")).map(drop);
    };
    if let Some((taken, _)) = guest.disks.iter().find(|(_, disk)| disk.is_cloud_init()) {
        return reject(doing, format!("{slot} - cloud-init drive is already attached at '{taken}'"))
            .map(drop);
    }
    if guest.is_on() || guest.disks.contains_key(slot) {
        return reject(doing, format!("{slot} cannot be plugged into a guest that runs, or is taken"))
            .map(drop);
    }
    guest.disks.insert(slot.to_owned(), Disk::cloud_init(storage, vmid, birth));
    Ok(())
}

/// What the kind looks at itself before whatever names no digest: it is the guest that was seen, and ours.
fn is_ours(doing: &str, realm: &Realm, name: &Name, vmid: u32, guest: &Guest) -> Result<(), TargetError> {
    let (_, marks) = guest.notes();
    let (owner, _) = look::whose(realm, marks, vmid, &guest.uuid);
    if !matches!(owner, Owner::Ours(id) if id.kind == VirtualMachine::NAME && id.name == *name) {
        let why = "it does not carry its mark any more; another guest may have taken its place";
        return Err(TargetError::unavailable(doing, why));
    }
    Ok(())
}

/// And before a removal.
fn is_unprotected(doing: &str, guest: &Guest) -> Result<(), TargetError> {
    if guest.value("protection") == Some("1") {
        return Err(TargetError::unavailable(doing, "somebody protected it from removal meanwhile"));
    }
    Ok(())
}

/// A disk grows, and never shrinks.
fn grow(doing: &str, guest: &mut Guest, slot: &str, wanted: u64) -> Done {
    match guest.disks.get_mut(slot) {
        None => reject(doing, format!("no disk at {slot}")),
        Some(disk) if disk.mebibytes > wanted => reject(doing, "shrinking disks is not supported"),
        Some(disk) => {
            disk.mebibytes = wanted;
            Ok(None)
        }
    }
}

/// Takes the line out of the notes that says that the image is due, if it speaks of that write.
fn seed_written(doing: &str, guest: &mut Guest, due: &str, mark: &Mark) -> Done {
    let mut notes = guest.notes().0.clone();
    match notes.seed_due.take() {
        None => {}
        Some(other) if other != due => return wait(doing, "its settings were written again meanwhile"),
        Some(_) => guest.write("description", Some(&notes::write(&notes, mark))),
    }
    Ok(None)
}

fn same_file(doing: &str, guest: &Guest, digest: &str) -> Result<(), TargetError> {
    if digest.is_empty() || digest == guest.digest() {
        return Ok(());
    }
    Err(TargetError::unavailable(doing, "checksum mismatch (file change by other user?)"))
}

fn reject(doing: &str, why: impl std::fmt::Display) -> Done {
    Err(TargetError::rejected(doing, why))
}

fn wait(doing: &str, why: impl std::fmt::Display) -> Done {
    Err(TargetError::unavailable(doing, why))
}

fn doing(step: &Step) -> String {
    let vmid = number(step);
    match step {
        Step::Clone(wish) => format!("cloning template {} to vm {vmid}", wish.template),
        Step::Configure(_) => format!("configuring vm {vmid}"),
        Step::RegenerateCloudInit { .. } => format!("writing the cloud-init drive of vm {vmid}"),
        Step::SeedWritten { .. } => format!("writing the notes of vm {vmid}"),
        Step::Resize { slot, .. } => format!("growing {slot} of vm {vmid}"),
        Step::Start { .. } => format!("starting vm {vmid}"),
        Step::Shutdown { .. } => format!("shutting down vm {vmid}"),
        Step::Reboot { .. } => format!("rebooting vm {vmid}"),
        Step::Destroy { .. } => format!("destroying vm {vmid}"),
    }
}
