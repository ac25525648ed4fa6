//! What to do next about a virtual machine: the pure decision, from what is wanted and what was seen.

use std::collections::BTreeSet;

use holdfast_core::ident::Name;
use holdfast_core::kind::{Change, Next, Refusal};

use super::configure::{self, Configured};
use super::notes::Notes;
use super::spec::{Restart, Spec};
use super::state::{AgentAnswer, Power, State};
use super::step::{Clone, Step, listed};
use crate::client::guests::Place;

/// The next safe steps. A guest comes up in the order clone, configuration, disk, power; each is seen before
/// the next, so that a crash anywhere just continues.
pub(super) fn plan(name: &Name, want: Option<&Spec>, seen: Option<&State>) -> Next<Step> {
    match (want, seen) {
        (None, None) => Next::Settled,
        (Some(want), None) => create(want),
        (None, Some(seen)) => remove(seen),
        (Some(want), Some(seen)) => converge(name, want, seen),
    }
}

fn place(seen: &State) -> Place {
    Place { node: seen.node.clone(), vmid: seen.vmid }
}

fn create(want: &Spec) -> Next<Step> {
    let Some(template) = want.template else {
        return Next::Refuse(Refusal::new(
            format!("there is no vm {}, and no `template` to clone it from", want.vmid),
            "declare the VMID of a template as `template`, or make the guest by hand and let it be adopted",
        ));
    };
    let new = |field: &str, value: String| Change { field: field.to_owned(), from: None, to: Some(value) };
    let mut changes = vec![new("cores", want.cores.to_string()), new("memory", want.memory.to_string())];
    changes.extend(want.disk.iter().map(|disk| new(disk.slot.as_str(), disk.size.to_string())));
    changes.extend(want.network.iter().map(|network| new("network", configure::plugged(network))));
    let notes = Notes {
        text: want.description.as_ref().map_or_else(String::new, |text| text.as_str().trim_end().to_owned()),
        ..Notes::default()
    };
    Next::Do(vec![Step::Clone(Box::new(Clone {
        template,
        vmid: want.vmid,
        node: want.node.clone(),
        storage: want.disk.as_ref().and_then(|disk| disk.storage.clone()),
        disk: want.disk.as_ref().map(|disk| (disk.slot.clone(), disk.size)),
        notes,
        changes,
    }))])
}

fn remove(seen: &State) -> Next<Step> {
    let vmid = seen.vmid;
    if let Some(wait) = busy(seen) {
        return wait;
    }
    if seen.protection {
        return Next::Refuse(Refusal::new(
            format!("vm {vmid} is protected from removal"),
            format!("switch its protection off, in its options or with `qm set {vmid} --protection 0`"),
        ));
    }
    let at = place(seen);
    match (seen.running, &seen.ha) {
        (Power::Stopped, _) => Next::Do(vec![Step::Destroy { at }]),
        (Power::Running, None) => {
            Next::Do(vec![Step::Shutdown { at: at.clone(), force: true }, Step::Destroy { at }])
        }
        // Its manager is only asked to stop it, so that it is seen to be stopped before it goes.
        (Power::Running, Some(_)) => {
            ha_stops(seen).unwrap_or_else(|| Next::Do(vec![Step::Shutdown { at, force: true }]))
        }
        (Power::Unknown, _) => unknown_power(seen),
    }
}

fn converge(name: &Name, want: &Spec, seen: &State) -> Next<Step> {
    // What is locked may be half written, so nothing else is concluded from it.
    if let Some(wait) = busy(seen) {
        return wait;
    }
    if let Some(refusal) = impossible(name, want, seen) {
        return Next::Refuse(refusal);
    }
    if seen.running == Power::Unknown {
        return unknown_power(seen);
    }
    match configure::configure(name, want, seen, place(seen)) {
        Configured::AsWanted => {}
        Configured::Refused(refusal) => return Next::Refuse(refusal),
        Configured::Steps(steps) => return Next::Do(steps),
    }
    if let (Some(due), Power::Running, Some(_)) = (&seen.notes.seed_due, seen.running, &seen.cloud_init.drive)
    {
        return Next::Do(configure::write_seed(&place(seen), due.clone()).into());
    }
    if let Some(step) = resize(want, seen) {
        return Next::Do(vec![step]);
    }
    power(want, seen)
}

/// What no change in place can bring about; told before anything is written.
fn impossible(name: &Name, want: &Spec, seen: &State) -> Option<Refusal> {
    let vmid = seen.vmid;
    if want.vmid != vmid {
        return Some(Refusal::new(
            format!("it is vm {vmid}, which cannot become vm {}", want.vmid),
            format!("keep `vmid: {vmid}`, or declare the new guest under another name and retire this one"),
        ));
    }
    if seen.template {
        return Some(Refusal::new(
            format!("vm {vmid} is a template, which never becomes a guest again"),
            "declare another VMID",
        ));
    }
    if seen.mark.is_none()
        && let Some(refusal) = stranger(name, seen)
    {
        return Some(refusal);
    }
    let disk = want.disk.as_ref()?;
    let slot = &disk.slot;
    let Some(there) = seen.disks.get(slot.as_str()) else {
        let slots = listed(seen.disks.keys().map(String::as_str));
        let has = if slots.is_empty() { "it has none".to_owned() } else { format!("it has {slots}") };
        return Some(Refusal::new(
            format!("vm {vmid} has no disk at {slot}: {has}"),
            "name the slot of the disk that came with the template",
        ));
    };
    let Some(size) = there.size else {
        return Some(Refusal::new(
            format!("{slot} of vm {vmid} has no size: `{}` is no disk", there.volume),
            "name the slot of the disk that came with the template",
        ));
    };
    (size > disk.size.bytes()).then(|| {
        Refusal::new(
            format!("the disk would shrink from {size} to {}", disk.size),
            format!("declare at least {size} for `disk.size`: a disk only grows"),
        )
    })
}

/// Why a guest that nobody manages is not adopted: a wrong number in a manifest, or one that somebody else was
/// faster to take, must not turn another's guest into ours. Its own name says which one is meant.
fn stranger(name: &Name, seen: &State) -> Option<Refusal> {
    let vmid = seen.vmid;
    let called = seen.name.as_deref();
    let host = called.map(|called| called.split_once('.').map_or(called, |(host, _)| host));
    if [called, host].into_iter().flatten().any(|text| text.eq_ignore_ascii_case(name.as_str())) {
        return None;
    }
    let called =
        called.map_or_else(|| "has no name".to_owned(), |called| format!("called `{called}`, not `{name}`"));
    Some(Refusal {
        why: format!("vm {vmid} is nobody's and {called}"),
        ways_out: vec![
            "declare a number that is free, if it is another guest".to_owned(),
            format!("or name it `{name}` to have it adopted, with `qm set {vmid} --name {name}`"),
        ],
    })
}

/// Somebody works on it: a clone, a backup, a task of our own that a crash left behind.
fn busy(seen: &State) -> Option<Next<Step>> {
    let vmid = seen.vmid;
    match (&seen.lock, &seen.task) {
        (Some(lock), _) => Some(Next::Wait(format!("vm {vmid} is locked ({lock})"))),
        (None, Some(task)) => Some(Next::Wait(format!("the task {task} works on vm {vmid}"))),
        (None, None) => None,
    }
}

fn unknown_power(seen: &State) -> Next<Step> {
    Next::Wait(format!("it is not known yet whether vm {} runs", seen.vmid))
}

fn resize(want: &Spec, seen: &State) -> Option<Step> {
    let disk = want.disk.as_ref()?;
    let from = seen.disks.get(disk.slot.as_str())?.size?;
    (from < disk.size.bytes()).then(|| Step::Resize {
        at: place(seen),
        slot: disk.slot.clone(),
        from,
        size: disk.size,
        digest: seen.digest.clone(),
    })
}

fn power(want: &Spec, seen: &State) -> Next<Step> {
    let ha = seen.ha.as_deref().unwrap_or_default();
    let vmid = seen.vmid;
    match (want.running, seen.running) {
        (_, Power::Unknown) => unknown_power(seen),
        // A start of a guest under HA only asks its manager, which takes its time.
        (true, Power::Stopped) if matches!(ha, "started" | "starting" | "request_start") => {
            Next::Wait(format!("the HA manager starts vm {vmid}"))
        }
        (true, Power::Stopped) => Next::Do(vec![Step::Start { at: place(seen) }]),
        (false, Power::Running) => {
            ha_stops(seen).unwrap_or_else(|| Next::Do(vec![Step::Shutdown { at: place(seen), force: false }]))
        }
        (false, Power::Stopped) => Next::Settled,
        (true, Power::Running) => running(want, seen),
    }
}

/// What is waited for where the HA manager was asked to stop a guest that still runs.
fn ha_stops(seen: &State) -> Option<Next<Step>> {
    let ha = seen.ha.as_deref().unwrap_or_default();
    matches!(ha, "stopped" | "stopping" | "request_stop")
        .then(|| Next::Wait(format!("the HA manager stops vm {}", seen.vmid)))
}

/// It runs: what waits for a restart, whether its host key is known, and whether it has booted.
fn running(want: &Spec, seen: &State) -> Next<Step> {
    let vmid = seen.vmid;
    let owed: BTreeSet<String> =
        seen.pending.iter().filter(|key| configure::is_declared(want, key)).cloned().collect();
    if !owed.is_empty() {
        return match want.restart {
            Restart::Allowed => Next::Do(vec![Step::Reboot { at: place(seen), pending: owed }]),
            Restart::Never => {
                let owed: Vec<String> = owed.iter().map(|key| format!("`{key}`")).collect();
                Next::Refuse(Refusal {
                    why: format!(
                        "vm {vmid} needs a restart to apply {}",
                        listed(owed.iter().map(String::as_str))
                    ),
                    ways_out: vec![
                        "declare `restart: allowed` to let it be rebooted".to_owned(),
                        format!("or restart it when it suits you, with `qm reboot {vmid}`"),
                    ],
                })
            }
        };
    }
    match &seen.agent_host_key {
        _ if want.agent != Some(true) => Next::Settled,
        _ if seen.notes.host_key.is_some() => seen.boots.as_ref().map_or(Next::Settled, |why| {
            Next::Wait(format!("vm {vmid} boots: its guest agent does not answer yet ({why})"))
        }),
        Some(AgentAnswer::Refused(why)) => Next::Refuse(Refusal::new(
            why.clone(),
            "or declare `agent: false`, and the guest's host key where a `Host` needs it",
        )),
        Some(AgentAnswer::Silent(why)) => {
            Next::Wait(format!("the guest agent of vm {vmid} does not tell its SSH host key yet ({why})"))
        }
        Some(AgentAnswer::Key(_)) | None => {
            Next::Wait(format!("the guest agent of vm {vmid} was not asked for its SSH host key yet"))
        }
    }
}
