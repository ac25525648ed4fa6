//! Shrinking: commits, events and faults are taken out of a failing world, one after the other, while it still fails.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::checks::Invariant;
use crate::events::Event;
use crate::faults::{Faults, Strike};
use crate::oracle::run_and_compare;
use crate::run::{Case, Outcome};

/// A smaller case that breaks the same invariant; `None` where the given one breaks none.
pub fn shrink(case: &Case) -> Option<(Case, Outcome)> {
    let first = run_and_compare(case);
    let broken = first.breaches.first()?.invariant;
    let mut strikes: BTreeSet<Strike> = first.strikes.clone();
    let mut smallest = (case.clone(), first);
    // From what was drawn to what struck: nothing else differs.
    let listed = Case { faults: Faults::listed(case.seed, strikes.clone()), ..case.clone() };
    if let Some(outcome) = still(&listed, broken) {
        smallest = (listed, outcome);
    } else {
        return Some(smallest);
    }
    loop {
        let before = (smallest.0.events.len(), strikes.len(), smallest.0.workload.pushes.len());
        drop_events(&mut smallest, broken);
        drop_strikes(&mut smallest, &mut strikes, broken);
        drop_last_pushes(&mut smallest, broken);
        if (smallest.0.events.len(), strikes.len(), smallest.0.workload.pushes.len()) == before {
            return Some(smallest);
        }
    }
}

fn still(case: &Case, broken: Invariant) -> Option<Outcome> {
    let outcome = run_and_compare(case);
    outcome.breaches.iter().any(|breach| breach.invariant == broken).then_some(outcome)
}

/// Takes out spans of items, from halves down to single ones.
fn spans(count: usize) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut size = count.div_ceil(2);
    while size > 0 {
        spans.extend((0..count).step_by(size).map(|at| (at, (at + size).min(count))));
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    spans
}

fn drop_events(smallest: &mut (Case, Outcome), broken: Invariant) {
    for (from, to) in spans(smallest.0.events.len()) {
        let is_first_push = |event: &Event| matches!(event, Event::Push { at: 0, .. });
        let mut events = smallest.0.events.clone();
        if to > events.len() {
            continue;
        }
        let gone: Vec<_> = events.drain(from..to).collect();
        if gone.is_empty() || gone.iter().any(|(_, event)| is_first_push(event)) {
            continue;
        }
        let case = Case { events, ..smallest.0.clone() };
        if let Some(outcome) = still(&case, broken) {
            *smallest = (case, outcome);
        }
    }
}

fn drop_strikes(smallest: &mut (Case, Outcome), strikes: &mut BTreeSet<Strike>, broken: Invariant) {
    for (from, to) in spans(strikes.len()) {
        let left: BTreeSet<Strike> = strikes
            .iter()
            .enumerate()
            .filter(|(at, _)| *at < from || *at >= to)
            .map(|(_, strike)| *strike)
            .collect();
        if left.len() == strikes.len() {
            continue;
        }
        let case = Case { faults: Faults::listed(smallest.0.seed, left.clone()), ..smallest.0.clone() };
        if let Some(outcome) = still(&case, broken) {
            *smallest = (case, outcome);
            *strikes = left;
        }
    }
}

/// Commits that are pushed no more are not drawn any more either.
fn drop_last_pushes(smallest: &mut (Case, Outcome), broken: Invariant) {
    let last = smallest.0.events.iter().filter_map(|(_, event)| match event {
        Event::Push { at, .. } => Some(*at),
        _ => None,
    });
    let keep = last.max().map_or(0, |last| last + 1);
    if keep < smallest.0.workload.pushes.len() {
        let mut case = smallest.0.clone();
        case.workload.pushes.truncate(keep);
        if let Some(outcome) = still(&case, broken) {
            *smallest = (case, outcome);
        }
    }
}

/// What a case is made of, for people.
pub fn describe(case: &Case) -> String {
    let mut text = format!("seed {}, faults until {} s\n", case.seed, case.end.as_secs());
    for (at, event) in &case.events {
        let told = match event {
            Event::Push { at, .. } => {
                let label = case.workload.pushes.get(*at).map_or("", |push| push.label.as_str());
                format!("push {at}: {label}")
            }
            event => format!("{event:?}"),
        };
        writeln!(text, "{:>6} s  {told}", at.as_secs()).expect("a text takes everything");
    }
    writeln!(text, "faults: {}", case.faults).expect("a text takes everything");
    text
}
