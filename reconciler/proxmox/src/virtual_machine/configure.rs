//! Which keys of a guest's configuration differ from what is wanted, and the one write that sets them.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::Name;
use holdfast_core::kind::{Change, Refusal};
use holdfast_core::secret::SecretRef;

use super::cloud_init;
use super::notes::Notes;
use super::spec::{self, Restart, Spec};
use super::state::{AgentAnswer, Power, State};
use super::step::{Configure, Step};
use crate::client::guests::Place;

/// The tag by which a look finds what we manage.
pub(crate) const OUR_TAG: &str = "holdfast";

/// The keys that the cloud-init drive's image is made of.
const CLOUD_INIT: &[&str] = &["ciuser", "cipassword", "sshkeys", "ipconfig0", "nameserver", "searchdomain"];

/// The keys that a running guest takes only when it restarts (with the default `hotplug` option:
/// network, disk, usb; <https://pve.proxmox.com/pve-docs/qm.1.html>).
const RESTART: &[&str] = &["agent", "cores", "memory"];

/// The slot that cloud-init's drive gets where the template brought none.
pub(super) const CLOUD_INIT_SLOT: &str = "ide2";

/// What is to be written.
pub(super) enum Configured {
    AsWanted,
    Refused(Refusal),
    Steps(Vec<Step>),
}

/// Whether a key of the configuration is one that the manifest speaks of. The disk's is not: it grows at once,
/// and what waits for a restart there is somebody else's wish.
pub(super) fn is_declared(want: &Spec, key: &str) -> bool {
    match key {
        "cores" | "memory" => true,
        "net0" => want.network.is_some(),
        "agent" => want.agent.is_some(),
        CLOUD_INIT_SLOT => want.cloud_init.is_some(),
        _ => false,
    }
}

/// A network as a plan shows it.
pub(super) fn plugged(network: &spec::Network) -> String {
    shown(Some(network.bridge.as_str()), network.vlan)
}

fn shown(bridge: Option<&str>, vlan: Option<u16>) -> String {
    let bridge = bridge.unwrap_or("(none)");
    vlan.map_or_else(|| bridge.to_owned(), |vlan| format!("{bridge}, vlan {vlan}"))
}

/// The keys to set and to delete, with the lines that people read of them.
#[derive(Default)]
pub(super) struct Difference {
    set: BTreeMap<String, String>,
    delete: BTreeSet<String>,
    pub(super) password: Option<SecretRef>,
    changes: Vec<Change>,
}

impl Difference {
    /// Sets a key; without a value it is deleted.
    pub(super) fn write(&mut self, key: &str, value: Option<String>, field: &str, from: &str, to: &str) {
        match value {
            Some(value) => drop(self.set.insert(key.to_owned(), value)),
            None => drop(self.delete.insert(key.to_owned())),
        }
        self.change(field, from, to);
    }

    pub(super) fn change(&mut self, field: &str, from: &str, to: &str) {
        let side = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.changes.push(Change { field: field.to_owned(), from: side(from), to: side(to) });
    }

    fn is_none(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty() && self.password.is_none()
    }

    fn touches(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.set.contains_key(*key) || self.delete.contains(*key))
            || (self.password.is_some() && keys.contains(&"cipassword"))
    }
}

/// Compares what is declared, key by key, and gives one write for all that differs. The mark comes with a write, and
/// alone where nothing else is missing: what is wanted and carries none would stay, unseen, once it leaves the
/// repository.
pub(super) fn configure(name: &Name, want: &Spec, seen: &State, at: Place) -> Configured {
    let mut difference = Difference::default();
    machine(&mut difference, want, seen);
    if let Some(wanted) = &want.cloud_init {
        if let Err(refusal) = cloud_init::drive(&mut difference, want, seen) {
            return Configured::Refused(refusal);
        }
        cloud_init::guest(&mut difference, wanted, seen);
    }
    let mut notes = seen.notes.clone();
    if let Err(refusal) = cloud_init::password(&mut difference, &mut notes, want, seen) {
        return Configured::Refused(refusal);
    }
    if let Some(text) = &want.description {
        let text = text.as_str().trim_end();
        if text != notes.text {
            difference.change("description", first_line(&notes.text), first_line(text));
            text.clone_into(&mut notes.text);
        }
    }
    let tags = tags(want, seen);
    let show = |tags: &BTreeSet<String>| {
        tags.iter().filter(|tag| *tag != OUR_TAG).cloned().collect::<Vec<_>>().join(" ")
    };
    let (from, to) = (show(&seen.tags), show(&tags));
    // Our own tag is no change that a person asked for.
    if from != to {
        difference.change("tags", &from, &to);
    }
    let pins = pin(&mut notes, want, seen);
    let (marked, is_final) = match &seen.mark {
        Some(mark) => (true, !mark.half_made && mark.name == *name),
        None => (false, false),
    };
    if marked {
        notes.tags = declared(want);
    }
    let as_wanted = difference.is_none() && notes == seen.notes && tags == seen.tags;
    if as_wanted && is_final {
        return Configured::AsWanted;
    }
    notes.tags = declared(want);
    Configured::Steps(steps(difference, notes, tags, pins, seen, (at, want.restart)))
}

fn steps(
    mut difference: Difference,
    mut notes: Notes,
    mut tags: BTreeSet<String>,
    pins: bool,
    seen: &State,
    (at, restart): (Place, Restart),
) -> Vec<Step> {
    tags.insert(OUR_TAG.to_owned());
    if tags != seen.tags {
        let tags: Vec<String> = tags.into_iter().collect();
        difference.set.insert("tags".to_owned(), tags.join(";"));
    }
    let runs = seen.running == Power::Running;
    // A reboot from inside does not make the image anew, so it is made now; a start makes it by itself.
    let due = (runs && difference.touches(CLOUD_INIT)).then(|| this_write(seen));
    notes.seed_due = notes.seed_due.filter(|_| runs);
    notes.seed_due = due.clone().or(notes.seed_due);
    let disruptive = runs && difference.touches(&["net0"]);
    let waits = RESTART.iter().filter(|key| runs && difference.touches(&[**key]));
    let owes = waits.map(|key| (*key).to_owned()).collect();
    let Difference { set, delete, password, changes } = difference;
    let configure = Step::Configure(Box::new(Configure {
        at: at.clone(),
        uuid: seen.uuid.clone(),
        digest: seen.digest.clone(),
        set,
        delete,
        password,
        notes,
        pins,
        disruptive,
        owes,
        restart,
        changes,
    }));
    std::iter::once(configure).chain(due.into_iter().flat_map(|due| write_seed(&at, due))).collect()
}

/// Makes the cloud-init drive's image anew, and then says that it is done.
pub(super) fn write_seed(at: &Place, due: String) -> [Step; 2] {
    [Step::RegenerateCloudInit { at: at.clone() }, Step::SeedWritten { at: at.clone(), due }]
}

/// The write that is planned from what was seen, told from every other one: by the digest that it names.
fn this_write(seen: &State) -> String {
    let digest: String = seen.digest.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    if digest.is_empty() { "yes".to_owned() } else { digest }
}

fn machine(difference: &mut Difference, want: &Spec, seen: &State) {
    if want.cores != seen.cores {
        let (from, to) = (seen.cores.to_string(), want.cores.to_string());
        difference.write("cores", Some(to.clone()), "cores", &from, &to);
    }
    if want.memory.bytes() != seen.memory {
        let value = want.memory.as_mebibytes().to_string();
        difference.write("memory", Some(value), "memory", &seen.memory.to_string(), &want.memory.to_string());
    }
    if let Some(network) = &want.network {
        card(difference, network, seen);
    }
    if let Some(agent) = want.agent
        && agent != seen.agent
    {
        let options =
            std::iter::once(format!("enabled={}", u8::from(agent))).chain(seen.agent_options.clone());
        let value = options.collect::<Vec<_>>().join(",");
        difference.write("agent", Some(value), "agent", &seen.agent.to_string(), &agent.to_string());
    }
    if let Some(on_boot) = want.on_boot
        && on_boot != seen.on_boot
    {
        let value = Some(u8::from(on_boot).to_string());
        difference.write("onboot", value, "onBoot", &seen.on_boot.to_string(), &on_boot.to_string());
    }
}

/// The card is written with the MAC that it has: without one the API makes up a new one at every write.
fn card(difference: &mut Difference, want: &spec::Network, seen: &State) {
    let there = seen.network.as_ref();
    let from = there.map(|card| (card.bridge.as_deref(), card.vlan));
    if from == Some((Some(want.bridge.as_str()), want.vlan)) {
        return;
    }
    let model = there.map_or("virtio", |card| card.model.as_str());
    let mac = there.and_then(|card| card.mac.as_ref());
    let head = mac.map_or_else(|| format!("model={model}"), |mac| format!("{model}={mac}"));
    let mut value = vec![head, format!("bridge={}", want.bridge)];
    value.extend(want.vlan.map(|vlan| format!("tag={vlan}")));
    value.extend(there.into_iter().flat_map(|card| card.others.clone()));
    let from = from.map_or_else(String::new, |(bridge, vlan)| shown(bridge, vlan));
    difference.write("net0", Some(value.join(",")), "network", &from, &plugged(want));
}

fn declared(want: &Spec) -> BTreeSet<String> {
    want.tags.iter().map(ToString::to_string).collect()
}

/// The tags to have: those that are declared, and those that others gave it. What a clone brought along from
/// its template is nobody's wish for this guest.
fn tags(want: &Spec, seen: &State) -> BTreeSet<String> {
    let mut tags = declared(want);
    match &seen.mark {
        Some(mark) if mark.half_made => {}
        _ => tags.extend(seen.tags.difference(&seen.notes.tags).cloned()),
    }
    if seen.mark.is_some() {
        tags.insert(OUR_TAG.to_owned());
    }
    tags
}

/// Pins the host key that the agent read, where none is pinned. One that changed is never pinned by itself.
fn pin(notes: &mut Notes, want: &Spec, seen: &State) -> bool {
    match &seen.agent_host_key {
        Some(AgentAnswer::Key(key)) if want.agent == Some(true) && notes.host_key.is_none() => {
            notes.host_key = Some(key.clone());
            true
        }
        _ => false,
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
