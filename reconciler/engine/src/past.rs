//! The past: what earlier runs of a lane left behind. It may make a run hold or wait, and never act: all that is
//! done is planned from what is seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::desired::Desired;
use holdfast_core::ident::{CommitId, KindName, ResourceId};
use holdfast_core::plan::Plan;
use holdfast_core::report::{Outcome, Report};
use tokio::time::Instant;

use crate::ports::{Epoch, Known};

/// So often a resource may drift back before it is slowed.
const PATIENCE: usize = 3;
/// Corrections longer ago are forgotten, in intervals between two looks at a converged environment.
const REMEMBERED: u32 = 12;
/// The longest pause between two corrections of what drifts back each time.
const LONGEST: Duration = Duration::from_hours(24);

/// What earlier runs left behind.
#[derive(Debug, Default)]
pub struct Past {
    /// What is there, as far as anybody knows.
    known: Known,
    /// For which hold of the lease and which commit all this is remembered.
    pub(crate) of: Option<(Epoch, CommitId)>,
    /// What was removed for the present commit, or was about to be.
    pub(crate) removed: BTreeSet<ResourceId>,
    /// Kinds of which nothing was left, and the commit at which that was found first.
    emptied: BTreeMap<KindName, CommitId>,
    /// When drift of a resource was corrected, the last times.
    corrected: BTreeMap<ResourceId, VecDeque<Instant>>,
}

/// The past of a lane. Held for moments only, never across a wait.
pub(crate) fn past_of(past: &Mutex<Past>) -> MutexGuard<'_, Past> {
    past.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Past {
    /// Where the last converged run is known.
    pub fn new(resources: BTreeSet<ResourceId>) -> Self {
        Self { known: Known { resources, ..Known::default() }, ..Self::default() }
    }

    /// A new commit begins.
    pub(crate) fn new_commit(&mut self) {
        self.corrected.clear();
    }

    /// Takes over what the journal remembers: another process may have had the environment meanwhile.
    pub(crate) fn recall(&mut self, of: (Epoch, CommitId), known: Known, removed: BTreeSet<ResourceId>) {
        (self.of, self.known, self.removed) = (Some(of), known, removed);
    }

    /// Notes what a run may make, whatever becomes of it.
    pub(crate) fn begins(&mut self, plan: &Plan) {
        self.known.begins(plan);
    }

    /// Notes what is about to be removed: it counts for the brake.
    pub(crate) fn removing(&mut self, id: &ResourceId) {
        self.known.removes(id);
        self.removed.insert(id.clone());
    }

    /// What may be there, as far as anybody knows. What may be and is wanted may be missing as well.
    pub(crate) fn known(&self, desired: &Desired) -> BTreeSet<ResourceId> {
        let Known { resources, maybe_there } = &self.known;
        let maybe_there = maybe_there.iter().filter(|id| !desired.resources.contains_key(*id));
        resources.iter().chain(maybe_there).cloned().collect()
    }

    /// Notes of which kinds nothing was left, for the run of a commit.
    pub(crate) fn doubted(&mut self, kinds: BTreeSet<KindName>, commit: &CommitId) {
        let still = |kind: &KindName, at: &CommitId| kinds.contains(kind) || at != commit;
        self.emptied.retain(|kind, at| still(kind, at));
        for kind in kinds {
            self.emptied.entry(kind).or_insert_with(|| commit.clone());
        }
    }

    /// The kinds of which it is believed that nothing is left: it was found for an earlier commit, and a person
    /// pushed another one since.
    pub(crate) fn believed(&self, commit: &CommitId) -> BTreeSet<KindName> {
        self.emptied.iter().filter(|(_, at)| *at != commit).map(|(kind, _)| kind.clone()).collect()
    }

    /// Notes how a run ended. `drift`: the environment had converged to this commit before.
    pub(crate) fn ended(&mut self, report: &Report, drift: bool, interval: Duration, now: Instant) {
        self.known.ends(report);
        if report.converged() {
            self.emptied.clear();
        }
        if !drift {
            return;
        }
        let forget = interval.saturating_mul(REMEMBERED);
        self.corrected.retain(|_, times| {
            let rest = pause(times.len(), interval);
            times.back().is_some_and(|last| now.duration_since(*last) < forget.max(rest * 2))
        });
        for (id, outcome) in &report.outcomes {
            if matches!(outcome, Outcome::Applied(_)) {
                let times = self.corrected.entry(id.clone()).or_default();
                times.push_back(now);
                if times.len() > 64 {
                    times.pop_front();
                }
            }
        }
    }

    /// What drifts back each time and is left alone for now, with the reason.
    pub(crate) fn slowed(&self, interval: Duration, now: Instant) -> BTreeMap<ResourceId, String> {
        let resting = |times: &VecDeque<Instant>| {
            times.len() >= PATIENCE
                && times.back().is_some_and(|last| now.duration_since(*last) < pause(times.len(), interval))
        };
        self.corrected
            .iter()
            .filter(|(_, times)| resting(times))
            .map(|(id, times)| {
                let reason = format!(
                    "it was corrected {} times and drifts back each time: somebody else changes it; it is corrected \
                     less and less often",
                    times.len()
                );
                (id.clone(), reason)
            })
            .collect()
    }
}

/// How long something that was corrected so often rests.
fn pause(times: usize, interval: Duration) -> Duration {
    let doubled = u32::try_from(times.saturating_sub(PATIENCE)).unwrap_or(u32::MAX).min(16);
    interval.saturating_mul(2 << doubled).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use holdfast_core::ident::EnvironmentName;

    use super::*;

    const INTERVAL: Duration = Duration::from_mins(10);

    fn id(name: &str) -> ResourceId {
        ResourceId::parse_in(&EnvironmentName::new("attic").unwrap(), &format!("Thing/{name}")).unwrap()
    }

    fn commit(digit: &str) -> CommitId {
        CommitId::new(digit.repeat(40)).unwrap()
    }

    fn corrected(name: &str) -> Report {
        Report {
            environment: EnvironmentName::new("attic").unwrap(),
            commit: commit("a"),
            outcomes: BTreeMap::from([(id(name), Outcome::Applied(vec!["put 1".to_owned()]))]),
            unseen: BTreeMap::new(),
            notices: BTreeSet::new(),
            maybe_there: BTreeSet::new(),
        }
    }

    #[tokio::test]
    async fn what_drifts_back_each_time_is_corrected_less_and_less_often() {
        let (mut past, start) = (Past::default(), Instant::now());
        let mut corrections = 0_u32;
        for look in 0..1_000 {
            let now = start + INTERVAL * look;
            if past.slowed(INTERVAL, now).is_empty() {
                past.ended(&corrected("a"), true, INTERVAL, now);
                corrections += 1;
            }
        }
        assert!((10..=16).contains(&corrections), "{corrections} corrections in a week");
        past.new_commit();
        assert!(past.slowed(INTERVAL, start).is_empty(), "a new commit is a new beginning");
    }

    #[tokio::test]
    async fn drift_now_and_then_is_corrected_each_time() {
        let (mut past, start) = (Past::default(), Instant::now());
        for day in 0..20 {
            let now = start + Duration::from_hours(24) * day;
            assert!(past.slowed(INTERVAL, now).is_empty());
            past.ended(&corrected("a"), true, INTERVAL, now);
        }
    }

    #[test]
    fn that_nothing_is_left_is_believed_after_another_commit() {
        let mut past = Past::default();
        let kinds = BTreeSet::from([KindName::fixed("Thing")]);
        past.doubted(kinds.clone(), &commit("a"));
        assert!(past.believed(&commit("a")).is_empty());
        past.doubted(kinds.clone(), &commit("a"));
        assert_eq!(past.believed(&commit("b")), kinds);
        past.doubted(BTreeSet::new(), &commit("a"));
        assert!(past.believed(&commit("b")).is_empty(), "it was there again");
    }
}
