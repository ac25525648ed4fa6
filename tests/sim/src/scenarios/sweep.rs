//! Exhaustive mode: every write of every scenario, and everything that may happen to it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::play::{End, play};
use super::script::Scenario;
use crate::faults::{FaultKind, Faults, roll};
use crate::oracle::alike;
use crate::wire::Port;

/// What may happen to a write: a crash before it, one after it, an error before it, and an effect whose answer is lost.
pub const KINDS: [FaultKind; 4] =
    [FaultKind::CrashBefore, FaultKind::CrashAfter, FaultKind::ErrorBefore, FaultKind::UnknownResult];

/// One fault at one write of one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub scenario: &'static str,
    /// Over all ports, from 1.
    pub write: u64,
    pub kind: FaultKind,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, {} at write {}", self.scenario, self.kind, self.write)
    }
}

/// What a sweep gave.
#[derive(Debug, Default)]
pub struct Sweep {
    pub scenarios: usize,
    /// Those that were run; and all that there are.
    pub points: usize,
    pub of: usize,
    /// Each with what is wrong there; a scenario that fails without any fault is a point at write 0.
    pub failures: Vec<(Point, String)>,
}

/// Runs scenarios over so many threads: each without faults, and then one in `thin` of its points.
pub fn sweep(scenarios: &[Scenario], thin: u64, threads: usize) -> Sweep {
    let mut sweep = Sweep { scenarios: scenarios.len(), ..Sweep::default() };
    let undisturbed = over(scenarios, threads, |scenario| play(scenario, Faults::none(0), false));
    let mut points = Vec::new();
    for (at, (scenario, end)) in scenarios.iter().zip(&undisturbed).enumerate() {
        let point = |write, kind| Point { scenario: scenario.name, write, kind };
        if let Some(breach) = end.breaches.first() {
            sweep.failures.push((point(0, FaultKind::Slow), breach.to_string()));
            continue;
        }
        if scenario.strikes_itself() {
            continue;
        }
        for write in end.writes.0 + 1..=end.writes.1 {
            points.extend(KINDS.map(|kind| (at, point(write, kind))));
        }
    }
    sweep.of = points.len();
    points.retain(|(_, point)| {
        roll(point.kind as u64, point.scenario, 0, point.write).is_multiple_of(thin.max(1))
    });
    sweep.points = points.len();
    let found = over(&points, threads, |(at, point)| at_point(&scenarios[*at], &undisturbed[*at], *point));
    sweep.failures.extend(
        points.iter().zip(found).filter_map(|((_, point), wrong)| wrong.map(|wrong| (*point, wrong))),
    );
    sweep
}

fn at_point(scenario: &Scenario, undisturbed: &End, point: Point) -> Option<String> {
    let end = play(scenario, Faults::exactly(point.write, point.kind), false);
    if let Some(breach) = end.breaches.first() {
        return Some(breach.to_string());
    }
    difference(undisturbed, &end)
}

/// Plays one point with everything that happens in it.
pub fn replay(scenario: &Scenario, point: Option<Point>) -> End {
    let faults = point.map_or(Faults::none(0), |point| Faults::exactly(point.write, point.kind));
    play(scenario, faults, true)
}

/// Applies work to all items, over threads, in their order.
fn over<I: Sync, O: Send>(items: &[I], threads: usize, work: impl Fn(&I) -> O + Sync) -> Vec<O> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let at = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(item) = items.get(at)
                {
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// How the end of a disturbed play is another one than that of the undisturbed.
fn difference(undisturbed: &End, disturbed: &End) -> Option<String> {
    for port in Port::TARGETS {
        let (Some(here), Some(there)) = (disturbed.objects.get(&port), undisturbed.objects.get(&port)) else {
            continue;
        };
        for (key, object) in here.iter() {
            match there.get(key) {
                None => return Some(format!("{port:?} {key} stands, and would not without the fault")),
                Some(other) if alike(&other.content) != alike(&object.content) => {
                    let (here, there) = (&object.content, &other.content);
                    return Some(format!("{port:?} {key} is `{here}`, and would be `{there}`"));
                }
                Some(_) => {}
            }
        }
        if let Some(key) = there.keys().find(|key| !here.contains_key(*key)) {
            return Some(format!("{port:?} {key} is missing, and would stand without the fault"));
        }
    }
    for (key, lives) in &disturbed.lives {
        let without = undisturbed.lives.get(key).copied().unwrap_or_default();
        if *lives != without {
            return Some(format!("{key:?} came and went {lives:?} times, and {without:?} without the fault"));
        }
    }
    let sorts = |end: &End| -> Vec<_> {
        end.standings.iter().map(|(name, one)| (name.clone(), std::mem::discriminant(one))).collect()
    };
    if sorts(undisturbed) != sorts(disturbed) {
        let (here, there) = (&disturbed.standings, &undisturbed.standings);
        return Some(format!("it stands at {here:?}, and at {there:?} without the fault"));
    }
    let states = |end: &End| -> Vec<_> {
        end.statuses.iter().map(|(context, status)| (context.clone(), status.state)).collect()
    };
    if states(undisturbed) != states(disturbed) {
        let (here, there) = (&disturbed.statuses, &undisturbed.statuses);
        return Some(format!("its statuses are {here:?}, and {there:?} without the fault"));
    }
    None
}
