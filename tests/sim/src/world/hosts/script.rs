//! The script that all steps of an `apply` become: what it checks, the ledger around them, and where it may die.

use std::collections::BTreeSet;

use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind as _, StepResult, TargetError};
use holdfast_core::mark::Realm;
use holdfast_core::secret::Secrets;
use holdfast_host::ledger::{Content, Entry, Origin, Part};
use holdfast_host::spec::File;
use holdfast_host::step::Act;
use holdfast_host::{Host, HostStep};
use secrecy::ExposeSecret as _;

use super::Hosts;
use super::look::reach;
use super::machine::{Ledger, sha256};
use super::steps::{Fault, Hand};

/// A step with everything filled in that the script holds.
pub(super) struct Ready<'a> {
    pub(super) act: &'a Act,
    /// Of a file to be written: its text, and the secrets in it.
    pub(super) text: String,
    pub(super) secrets: BTreeSet<String>,
    /// The parts that it touches: how the ledger's line is before it, and after it worked; no line at all.
    pub(super) lines: Vec<(Part, Entry, Option<Entry>)>,
}

/// One result a step.
pub(super) fn run(
    world: &mut Hosts,
    realm: &Realm,
    name: &Name,
    steps: &[HostStep],
    secrets: &Secrets,
    cut: Option<usize>,
) -> Vec<StepResult> {
    let failed_at = |at: usize, error: TargetError| {
        let mut results = vec![StepResult::NotRun; steps.len()];
        if let Some(result) = results.get_mut(at) {
            *result = StepResult::Failed(error);
        }
        results
    };
    let Some(first) = steps.first() else { return Vec::new() };
    if let Some(at) = steps.iter().position(|step| step.at != first.at) {
        return failed_at(at, TargetError::rejected(steps[at].to_string(), "it is of another plan"));
    }
    let mut ready = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        match prepare(step, secrets) {
            Ok(step) => ready.push(step),
            Err(error) => return failed_at(at, error),
        }
    }
    let doing = first.to_string();
    if let Err(error) = begin(world, &doing, first) {
        return failed_at(0, error);
    }
    let mark = realm.mark(Host::NAME, name, first.at.machine_id.as_str()).to_string();
    let Some(address) = first.at.connection.address.value().cloned() else {
        return failed_at(0, lost(&doing));
    };
    let (now, unknown, locked) = (world.now, world.unknown.clone(), world.apt_is_locked);
    let Some(computer) = world.computer_mut(&address) else { return failed_at(0, lost(&doing)) };
    let old = computer.ledger.as_ref().map(|ledger| ledger.lines.clone()).unwrap_or_default();
    let touched: BTreeSet<&Part> = ready.iter().flat_map(|step| &step.lines).map(|(part, ..)| part).collect();
    let rest: Vec<(Part, Entry)> = old.into_iter().filter(|(part, _)| !touched.contains(part)).collect();
    let intents =
        ready.iter().flat_map(|step| &step.lines).map(|(part, before, _)| (part.clone(), before.clone()));
    computer.ledger = Some(Ledger::new(mark.clone(), rest.iter().cloned().chain(intents).collect()));
    let hand = Hand { computer, now, unknown, apt_is_locked: locked, installed: false };
    carry_out(hand, mark, rest, (steps, &ready), cut)
}

/// Does the steps, and writes the ledger at the end, if it comes to that.
fn carry_out(
    mut hand: Hand<'_>,
    mark: String,
    mut lines: Vec<(Part, Entry)>,
    (steps, ready): (&[HostStep], &[Ready<'_>]),
    cut: Option<usize>,
) -> Vec<StepResult> {
    let mut results = Vec::with_capacity(steps.len());
    let mut died = false;
    for (at, (step, ready)) in steps.iter().zip(ready).enumerate() {
        if cut == Some(at) {
            hand.dies_in(ready);
            results.push(StepResult::Failed(lost(&step.to_string())));
            died = true;
            break;
        }
        match hand.perform(ready) {
            Ok(origin) => {
                results.push(StepResult::Done { warning: hand.warning(ready) });
                let after = ready.lines.iter().filter_map(|(part, before, after)| {
                    let mut after = after.clone()?;
                    if before.origin == Origin::Intended && !matches!(part, Part::Package(_)) {
                        after.origin = origin;
                    }
                    Some((part.clone(), after))
                });
                lines.extend(after);
            }
            Err(fault) => {
                results.push(StepResult::Failed(told(step, fault)));
                break;
            }
        }
    }
    // What was not done stays as it was announced.
    let done = results.iter().filter(|result| matches!(result, StepResult::Done { .. })).count();
    let undone = ready.iter().skip(done).flat_map(|step| &step.lines);
    lines.extend(undone.map(|(part, before, _)| (part.clone(), before.clone())));
    if !died {
        hand.computer.ledger = Some(Ledger::new(mark, lines));
    }
    hand.computer.note();
    results.resize(steps.len(), StepResult::NotRun);
    results
}

/// The host must be the one, and in the state, that was looked at.
fn begin(world: &Hosts, doing: &str, step: &HostStep) -> Result<(), TargetError> {
    let computer = reach(world, doing, &step.at.connection)?;
    if computer.machine_id != step.at.machine_id {
        let why = format!(
            "another machine answers now: its machine-id is `{}`, and that of the one that was looked at `{}`",
            computer.machine_id, step.at.machine_id
        );
        return Err(TargetError::unavailable(doing, why));
    }
    if computer.ledger.as_ref().map(|ledger| &ledger.sha256) != step.at.ledger_sha256.as_ref() {
        return Err(TargetError::unavailable(doing, "the host's ledger changed since it was looked at"));
    }
    Ok(())
}

fn lost(doing: &str) -> TargetError {
    TargetError::unavailable(doing, "the connection broke while the script ran")
}

fn told(step: &HostStep, fault: Fault) -> TargetError {
    match fault {
        Fault::Changed(why) | Fault::Passing(why) => TargetError::unavailable(step.to_string(), why),
        Fault::Failed(why) => TargetError::rejected(step.to_string(), why),
    }
}

/// Fills in what the script holds, and what the ledger shall say.
fn prepare<'a>(step: &'a HostStep, secrets: &Secrets) -> Result<Ready<'a>, TargetError> {
    let mut ready =
        Ready { act: &step.act, text: String::new(), secrets: BTreeSet::new(), lines: Vec::new() };
    let kept = |part: Part, entry: &Entry| (part, entry.clone(), Some(entry.clone()));
    let gone = |part: Part, entry: &Entry| (part, entry.clone(), None);
    match &step.act {
        Act::InstallPackages { packages } => {
            let line = |package: &holdfast_host::names::PackageName| {
                let (before, after) = (Entry::new(Origin::Intended), Entry::new(Origin::Created));
                (Part::Package(package.clone()), before, Some(after))
            };
            ready.lines = packages.iter().map(line).collect();
        }
        Act::MakeDirectory { directory, entry } => {
            ready.lines.push(kept(Part::Directory(directory.path.clone()), entry));
        }
        Act::WriteFile { file, seen: _, entry } => write(&mut ready, step, file, entry, secrets)?,
        Act::SetMode { part, entry, .. } => {
            if !matches!(part, Part::File(_) | Part::Directory(_)) {
                let why = "only files and directories have a mode";
                return Err(TargetError::rejected(step.to_string(), why));
            }
            ready.lines.push(kept(part.clone(), entry));
        }
        Act::Enable { unit, entry: Some(entry) } => {
            ready.lines.push(kept(Part::Service(unit.clone()), entry));
        }
        Act::Start { unit, inputs } | Act::Restart { unit, inputs, why: _ } => {
            let after = Entry::service(Some(inputs.digest.clone()));
            ready.lines.push((Part::Service(unit.clone()), Entry::service(None), Some(after)));
        }
        Act::RemoveFile { path, sha256: _, entry } => ready.lines.push(gone(Part::File(path.clone()), entry)),
        Act::RemoveDirectory { path, entry } => ready.lines.push(gone(Part::Directory(path.clone()), entry)),
        Act::Adopt { entries } => {
            ready.lines = entries.iter().map(|(part, entry)| kept(part.clone(), entry)).collect();
        }
        Act::Forget { entries } => {
            ready.lines = entries.iter().map(|(part, entry)| gone(part.clone(), entry)).collect();
        }
        Act::ReloadSystemd | Act::Enable { entry: None, .. } | Act::Disable { .. } | Act::Stop { .. } => {}
    }
    Ok(ready)
}

fn write(
    ready: &mut Ready<'_>,
    step: &HostStep,
    file: &File,
    entry: &Entry,
    secrets: &Secrets,
) -> Result<(), TargetError> {
    let text = file.content.reveal(secrets)?;
    text.expose_secret().clone_into(&mut ready.text);
    if ready.text.contains('\0') {
        return Err(TargetError::rejected(step.to_string(), "a secret in it holds a NUL character"));
    }
    for reference in file.content.secrets() {
        ready.secrets.insert(secrets.get(&reference)?.expose_secret().to_owned());
    }
    let new = Content { digest: file.content.digest(), sha256: sha256(&ready.text) };
    let before = Entry { pending: Some(new.clone()), ..entry.clone() };
    let after = Entry { content: Some(new), pending: None, ..entry.clone() };
    ready.lines.push((Part::File(file.path.clone()), before, Some(after)));
    Ok(())
}
