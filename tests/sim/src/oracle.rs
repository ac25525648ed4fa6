//! The differential oracle: a disturbed world ends as an undisturbed one, and by way of other commits as without them.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::mark::Mark;

use crate::checks::{Breach, Invariant};
use crate::faults::FaultKind;
use crate::model::Object;
use crate::run::{Case, Outcome, run};
use crate::truth::Standing;
use crate::wire::Port;

/// Runs a seed's world, and what it is compared with. Gives the disturbed one with everything that was found.
pub fn run_and_compare(case: &Case) -> Outcome {
    let mut disturbed = run(case);
    if !disturbed.is_clean() || !case.seed.is_multiple_of(3) {
        return disturbed;
    }
    let undisturbed = run(&case.undisturbed());
    for (invariant, count) in &undisturbed.checks {
        *disturbed.checks.entry(*invariant).or_default() += count;
    }
    let mut found: Vec<String> =
        undisturbed.breaches.iter().map(|breach| format!("without any fault: {breach}")).collect();
    if found.is_empty() {
        found = differences(&disturbed, &undisturbed, case);
        // By way of the others, and at once.
        if found.is_empty() && case.seed.is_multiple_of(6) && case.workload.pushes.len() > 1 {
            found = differences_of_declared(&undisturbed, &run(&case.last_alone()), case);
        }
    }
    *disturbed.checks.entry(Invariant::Same).or_default() += 1;
    let at = disturbed.time;
    disturbed.breaches.extend(found.into_iter().map(|what| Breach { invariant: Invariant::Same, at, what }));
    disturbed
}

/// Whether an object is of an environment whose first run leaves what it finds too much.
fn is_first(outcome: &Outcome, object: &Object) -> bool {
    let mark = object.mark.as_deref().and_then(Mark::parse);
    mark.is_some_and(|mark| outcome.first.contains(&mark.id.environment))
}

/// 25 November 2026: whether another object carries the mark of the same resource.
fn is_second(objects: &BTreeMap<String, Object>, object: &Object) -> bool {
    let id = |object: &Object| object.mark.as_deref().and_then(Mark::parse).map(|mark| mark.id);
    objects.values().filter(|other| id(other) == id(object)).count() > 1
}

/// Whether any commit renames anything.
fn renames(case: &Case) -> bool {
    let sketches = case.workload.pushes.iter().filter_map(|push| push.body.sketch());
    sketches.flat_map(|sketch| sketch.rooms.values()).any(|room| !room.moved.is_empty())
}

/// The environments that converged in both.
fn matched<'a>(one: &'a Outcome, other: &'a Outcome) -> impl Fn(&Object) -> bool + 'a {
    move |object| {
        let Some(mark) = object.mark.as_deref().and_then(Mark::parse) else { return false };
        let stands =
            |outcome: &Outcome| outcome.standings.get(&mark.id.environment) == Some(&Standing::Matches);
        stands(one) && stands(other)
    }
}

/// Whether somebody else changed it. What runs on a guest comes and goes with it.
fn is_meddled(outcome: &Outcome, port: Port, key: &str) -> bool {
    outcome
        .meddled
        .iter()
        .any(|(of, touched)| (*of == port && touched == key) || (port == Port::Hosts && *of == Port::Proxmox))
}

fn differences(disturbed: &Outcome, undisturbed: &Outcome, case: &Case) -> Vec<String> {
    let counts = matched(disturbed, undisturbed);
    // A call that says that it is done, and is not, leaves the image of cloud-init as it was: nobody can see that.
    let lied = disturbed.faults.contains_key(&FaultKind::Lie);
    let here_alike = |content: &str| {
        let seed = |line: &&str| !lied || !line.starts_with("seed: ");
        alike(&content.split_inclusive('\n').filter(seed).collect::<String>())
    };
    let mut found = Vec::new();
    let nothing = BTreeMap::new();
    for port in Port::TARGETS {
        let here = disturbed.objects.get(&port).map_or(&nothing, |objects| objects);
        let there = undisturbed.objects.get(&port).map_or(&nothing, |objects| objects);
        let meddled = |key: &String| is_meddled(disturbed, port, key);
        // A guest is made under the name that it has then, and keeps it.
        let renamed = matches!(port, Port::Proxmox | Port::Hosts) && renames(case);
        for (key, object) in here.iter().filter(|(key, object)| counts(object) && !meddled(key)) {
            match there.get(key) {
                None if is_first(disturbed, object) || is_second(here, object) => {}
                None => found.push(format!("{port:?} {key} stands, and would not without faults")),
                Some(other) if !renamed && here_alike(&other.content) != here_alike(&object.content) => {
                    found.push(format!(
                        "{port:?} {key} is `{}`, and would be `{}` without faults",
                        object.content, other.content
                    ));
                }
                Some(_) => {}
            }
        }
        for (key, _) in there.iter().filter(|(key, object)| counts(object) && !meddled(key)) {
            if !here.contains_key(key) && !renamed {
                found.push(format!("{port:?} {key} is missing, and would stand without faults"));
            }
        }
    }
    // What a task made that failed later is made again.
    let late = [FaultKind::Lie, FaultKind::Zombie, FaultKind::Twice];
    let tasks_fail = late.iter().any(|kind| disturbed.faults.contains_key(kind));
    for ((port, key), (made, gone)) in &disturbed.lives {
        // What is retired by its old name goes only where the new one was not written down before.
        let renamed = *port == Port::Proxmox && renames(case);
        // How many go at once is what the brake is about, and that changes with everything that somebody else takes away.
        let meddled = disturbed.meddled.iter().any(|(of, _)| of == port) || is_meddled(disturbed, *port, key);
        // A machine comes and goes with its guest.
        if tasks_fail || renamed || meddled || disturbed.overtaken || *port == Port::Hosts {
            continue;
        }
        let (made_there, gone_there) =
            undisturbed.lives.get(&(*port, key.clone())).copied().unwrap_or_default();
        if *made > made_there.max(1) || *gone > gone_there.max(u64::from(*made > made_there)) {
            found.push(format!(
                "{port:?} {key} came {made} times and went {gone} times; without faults {made_there} and {gone_there}"
            ));
        }
    }
    found
}

/// What the last commit declares is the same whether it came after others or alone.
fn differences_of_declared(after_others: &Outcome, alone: &Outcome, case: &Case) -> Vec<String> {
    if !alone.breaches.is_empty() {
        return alone.breaches.iter().map(|breach| format!("the last commit alone: {breach}")).collect();
    }
    let counts = matched(after_others, alone);
    let renamed = renames(case);
    let mut found = Vec::new();
    for port in Port::TARGETS {
        let Some(alone) = alone.objects.get(&port) else { continue };
        for (key, object) in alone.iter().filter(|(_, object)| counts(object)) {
            let other = after_others.objects.get(&port).and_then(|objects| objects.get(key));
            // A mark keeps the old name until the object changes for another reason.
            if renamed && port == Port::Proxmox && other.is_some() {
                continue;
            }
            if other.map(|other| alike(&other.content)) != Some(alike(&object.content)) {
                found.push(format!(
                    "{port:?} {key} is {:?} after the other commits, and {:?} after the last one alone",
                    other.map(|other| &other.content),
                    object.content
                ));
            }
        }
    }
    found
}

/// A content without what each object is given for itself when it is made: uuids, addresses of cards, keys.
pub(crate) fn alike(content: &str) -> String {
    const LONG: usize = 12;
    // A package that leaves a manifest stays where it is, and whose it is when it comes back depends on that.
    let depends = |line: &str| ["package ", "ledger package "].iter().any(|of| line.starts_with(of));
    let lines = content.split_inclusive('\n').filter(|line| !depends(line));
    let content: String = lines.collect();
    let mut text = String::with_capacity(content.len());
    let mut run = String::new();
    for one in content.chars().chain(['\n']) {
        if one.is_ascii_hexdigit() || matches!(one, ':' | '-') {
            run.push(one);
            continue;
        }
        let is_given = run.len() >= LONG && run.chars().any(|one| one.is_ascii_digit());
        text.push_str(if is_given { "#" } else { &run });
        run.clear();
        text.push(one);
    }
    text
}

/// The longest that any world took to converge once its faults had stopped.
pub fn longest(outcomes: &[Outcome]) -> Duration {
    outcomes.iter().filter_map(|outcome| outcome.converged_in).max().unwrap_or_default()
}
