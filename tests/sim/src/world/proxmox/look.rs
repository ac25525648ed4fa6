//! Looking: each guest as the kind shows it, and whose it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::ident::{Name, ResourceId};
use holdfast_core::kind::{Kind as _, Look, Owner, Scope, Seen, TargetError};
use holdfast_core::mark::{Mark, Realm};
use holdfast_proxmox::virtual_machine::notes::Notes;
use holdfast_proxmox::virtual_machine::state::{AgentAnswer, CloudInit, Disk, Network, Power, SeenMark};
use holdfast_proxmox::virtual_machine::{Spec, State};
use holdfast_proxmox::{Bytes, HostKey, Mac, VirtualMachine, Vmid};

use super::Proxmox;
use super::config::{Card, Properties, is_slot, ssh_keys};
use super::guest::{Guest, host_key};

/// For so long after a start the kind asks whether the guest has booted.
const YOUNG: Duration = Duration::from_mins(5);

struct Read {
    state: State,
    owner: Owner,
    mark: Option<Mark>,
}

pub(super) fn look(
    world: &Proxmox,
    realm: &Realm,
    scope: Scope,
    wanted: &BTreeMap<Name, Spec>,
) -> Look<State> {
    let mut numbers: BTreeMap<u32, Vec<&Name>> = BTreeMap::new();
    for (name, spec) in wanted {
        numbers.entry(spec.vmid.into()).or_default().push(name);
    }
    let mut read = BTreeMap::new();
    for (vmid, guest) in &world.guests {
        if numbers.contains_key(vmid) || may_be_ours(world, guest, scope, wanted) {
            let spec = numbers.get(vmid).and_then(|names| wanted.get(names[0]));
            read.insert(*vmid, take(world, realm, scope, (*vmid, guest), spec));
        }
    }
    let mut look = Look { seen: BTreeMap::new(), incomplete: None, failed: None, notices: Vec::new() };
    for (name, spec) in wanted {
        let names = &numbers[&spec.vmid.into()];
        let seen = if names.len() == 1 { one(realm, name, spec, &read) } else { twice(spec, names) };
        if let Seen::Present { state, owner: Owner::Copied } = &seen {
            look.notices.push(copied(state.vmid.into()));
        }
        look.seen.insert(name.clone(), seen);
    }
    for (vmid, read) in read.into_iter().filter(|(vmid, _)| !numbers.contains_key(vmid)) {
        unwanted(scope, &mut look, vmid, read);
    }
    look
}

/// A clone of ours gets its tag with its first configuration, before it is first started.
fn may_be_half_made(guest: &Guest) -> bool {
    !guest.is_on() && !guest.template
}

/// Besides those that are wanted by number, those that bear a wanted name; and in a look at all those whose tag says that
/// they may be ours, and those that have none yet.
fn may_be_ours(world: &Proxmox, guest: &Guest, scope: Scope, wanted: &BTreeMap<Name, Spec>) -> bool {
    let tagged = guest.tags().any(|tag| tag == "holdfast");
    let named = || wanted.keys().any(|name| guest.config.get("name").is_some_and(|own| own == name.as_str()));
    let marked = || world.sees_untagged && !guest.notes().1.is_empty();
    named() || (scope == Scope::All && (tagged || may_be_half_made(guest) || marked()))
}

/// A guest that has the name's mark is it, even where the manifest has come to declare another number.
fn one(realm: &Realm, name: &Name, spec: &Spec, read: &BTreeMap<u32, Read>) -> Seen<State> {
    let (environment, kind) = (realm.environment.clone(), VirtualMachine::NAME);
    let ours = Owner::Ours(ResourceId { environment, kind, name: name.clone() });
    let there = read.get(&spec.vmid.into());
    let marked =
        there.filter(|read| read.owner == ours).or_else(|| read.values().find(|read| read.owner == ours));
    match marked.or(there) {
        Some(read) => Seen::Present { state: read.state.clone(), owner: read.owner.clone() },
        None => Seen::Absent,
    }
}

fn twice(spec: &Spec, names: &[&Name]) -> Seen<State> {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    Seen::Unknown(TargetError::rejected(
        format!("looking at vm {}", spec.vmid),
        format!("it is declared by {}: a guest has one name", names.join(" and ")),
    ))
}

fn unwanted(scope: Scope, look: &mut Look<State>, vmid: u32, read: Read) {
    let Read { state, owner, mark } = read;
    match &owner {
        Owner::Copied => look.notices.push(copied(vmid)),
        Owner::Ours(id) if id.kind == VirtualMachine::NAME && scope == Scope::All => {
            match look.seen.get(&id.name) {
                None => drop(look.seen.insert(id.name.clone(), Seen::Present { state, owner })),
                Some(Seen::Present { state: other, .. }) if u32::from(other.vmid) == vmid => {}
                Some(_) => look.notices.push(format!("vm {vmid} is marked as `{}` too", id.name)),
            }
        }
        Owner::Nobody if mark.is_none() && scope == Scope::All && state.tags.contains("holdfast") => {
            look.notices
                .push(format!("vm {vmid} has the tag `holdfast`, and no mark of Holdfast in its notes"));
        }
        Owner::Ours(_) | Owner::Other(_) | Owner::Nobody => {}
    }
}

fn copied(vmid: u32) -> String {
    format!(
        "vm {vmid} carries a mark that was copied from another guest: remove the line `holdfast: …` from its notes"
    )
}

/// Of several marks the one that names this very guest counts; a new clone's names the number alone.
pub(super) fn whose(realm: &Realm, marks: &[Mark], vmid: u32, uuid: &str) -> (Owner, Option<Mark>) {
    let objects = [format!("{vmid}/{uuid}"), format!("{vmid}/new")];
    let own = marks.iter().find(|mark| objects.contains(&mark.object));
    let mark = own.or(marks.first());
    let object = own.map_or(objects[0].as_str(), |mark| mark.object.as_str());
    (realm.owner(mark, object), mark.cloned())
}

fn take(
    world: &Proxmox,
    realm: &Realm,
    scope: Scope,
    (vmid, guest): (u32, &Guest),
    spec: Option<&Spec>,
) -> Read {
    let mut state = guest.shown(|| state(vmid, guest));
    let (_, marks) = guest.notes();
    let (owner, mark) = whose(realm, marks, vmid, &guest.uuid);
    match (&owner, &mark) {
        (Owner::Ours(id), Some(mark)) => {
            let half_made = mark.object == format!("{vmid}/new");
            state.mark = Some(SeenMark { name: id.name.clone(), half_made });
        }
        // Lines that were copied together with a mark say nothing about this guest.
        _ => state.notes = Notes { text: std::mem::take(&mut state.notes.text), ..Notes::default() },
    }
    if scope == Scope::Only {
        state.task = world.works_on(vmid).map(ToOwned::to_owned);
    }
    if let Some(spec) = spec {
        ask_agent(world, vmid, guest, spec, &mut state);
    }
    Read { state, owner, mark }
}

/// The agent answers once the guest has booted, if it was switched on when it did.
fn ask_agent(world: &Proxmox, vmid: u32, guest: &Guest, spec: &Spec, state: &mut State) {
    if !state.agent || state.running != Power::Running {
        return;
    }
    let booted = guest.up_since(world.times.boot).is_some_and(|since| since <= world.now);
    let answers = booted && guest.config.get("agent").is_some_and(|text| agent_is_on(text));
    if spec.agent == Some(true) && state.notes.host_key.is_none() {
        let key = guest.boot_disk().and_then(|disk| HostKey::new(host_key(disk.image)).ok());
        state.agent_host_key = Some(match key.filter(|_| answers) {
            Some(key) => AgentAnswer::Key(key),
            None => AgentAnswer::Silent("QEMU guest agent is not running".to_owned()),
        });
    }
    let since = guest.up_since(Duration::ZERO).unwrap_or_default();
    if spec.agent == Some(true) && !answers && !state.pending.contains("agent") && world.now < since + YOUNG {
        state.boots = Some("QEMU guest agent is not running".to_owned());
    }
    if answers && state.cloud_init.address.as_deref() == Some("dhcp") {
        state.agent_address = guest.address(vmid).parse().ok();
    }
}

fn agent_is_on(text: &str) -> bool {
    Properties::parse(text, "enabled").get("enabled") == Some("1")
}

/// A guest as the kind shows it, but for what depends on who looks.
pub(super) fn state(vmid: u32, guest: &Guest) -> State {
    let number = |key: &str, default| guest.value(key).and_then(|text| text.parse().ok()).unwrap_or(default);
    let agent = Properties::parse(guest.value("agent").unwrap_or_default(), "enabled");
    let running = match guest.lock {
        Some("clone") => Power::Unknown,
        _ if guest.is_on() => Power::Running,
        _ => Power::Stopped,
    };
    let pending: BTreeSet<String> = guest.pending.keys().cloned().collect();
    State {
        vmid: Vmid::new(vmid).expect("numbers here are from 100 on"),
        name: guest.value("name").map(ToOwned::to_owned),
        node: guest.node.clone(),
        template: guest.template,
        running,
        lock: guest.lock.map(ToOwned::to_owned),
        task: None,
        ha: guest.ha.map(ToOwned::to_owned),
        protection: guest.value("protection") == Some("1"),
        cores: u32::try_from(number("cores", 1)).unwrap_or(1),
        memory: Bytes(number("memory", 512) << 20),
        disks: disks(guest),
        network: guest.value("net0").map(network),
        cloud_init: cloud_init(guest),
        agent: agent.get("enabled") == Some("1"),
        agent_options: agent.others(&["enabled"]),
        on_boot: guest.value("onboot") == Some("1"),
        tags: guest.tags().collect(),
        notes: guest.notes().0.clone(),
        mark: None,
        uuid: (!guest.uuid.is_empty()).then(|| guest.uuid.clone()),
        pending,
        digest: guest.digest().to_owned(),
        agent_host_key: None,
        agent_address: None,
        boots: None,
    }
}

fn disks(guest: &Guest) -> BTreeMap<String, Disk> {
    let drives = guest.disks.iter().filter(|(slot, _)| is_slot(slot));
    drives
        .map(|(slot, disk)| {
            (slot.clone(), Disk { volume: disk.volume.clone(), size: Some(Bytes(disk.mebibytes << 20)) })
        })
        .collect()
}

fn network(text: &str) -> Network {
    let card = Card::parse(text);
    Network {
        model: card.model.to_owned(),
        mac: card.mac.and_then(|mac| Mac::new(mac).ok()),
        bridge: card.properties.get("bridge").map(ToOwned::to_owned),
        vlan: card.properties.get("tag").and_then(|tag| tag.parse().ok()),
        others: card.properties.others(&[card.model, "model", "macaddr", "bridge", "tag"]),
    }
}

fn cloud_init(guest: &Guest) -> CloudInit {
    let text = |key: &str| guest.value(key).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let ip = Properties::parse(guest.value("ipconfig0").unwrap_or_default(), "ip");
    let drive = guest.disks.iter().find(|(_, disk)| disk.is_cloud_init());
    CloudInit {
        drive: drive.map(|(slot, _)| slot.clone()),
        user: text("ciuser"),
        ssh_keys: guest.value("sshkeys").map(ssh_keys).unwrap_or_default(),
        address: ip.get("ip").map(ToOwned::to_owned),
        gateway: ip.get("gw").map(ToOwned::to_owned),
        others: ip.others(&["ip", "gw"]),
        nameservers: text("nameserver")
            .map(|servers| servers.split_whitespace().map(ToOwned::to_owned).collect())
            .unwrap_or_default(),
        search_domain: text("searchdomain"),
    }
}
