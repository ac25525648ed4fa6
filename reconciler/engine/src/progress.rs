//! How far one resource has come in a run, and when to give it up.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::any_kind::PlannedStep;
use holdfast_core::report::Outcome;
use tokio::time::Instant;

use crate::Limits;
use crate::chance::Backoff;

/// How often the same steps may succeed and still be wanted, before it is called a failure.
const SAME_STEPS: usize = 3;
/// How often one resource may be changed in a run, whatever the steps.
const CHANGES: usize = 100;

/// How far one resource has come in this run.
pub(crate) struct Progress {
    applied: Vec<String>,
    /// The steps that succeeded, by their lines (what else a step holds differs with each look), and how often.
    done: BTreeMap<Vec<String>, usize>,
    /// What the log was told last.
    told: String,
    settle: Duration,
    pub(crate) deadline: Instant,
    pub(crate) backoff: Backoff,
}

impl Progress {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            applied: Vec::new(),
            done: BTreeMap::new(),
            told: String::new(),
            settle: limits.settle,
            deadline: Instant::now() + limits.settle,
            backoff: Backoff::new(limits.look_again),
        }
    }

    /// Whether the log was told something else last: what stays the same is said once.
    pub(crate) fn is_news(&mut self, what: String) -> bool {
        let is_news = self.told != what;
        self.told = what;
        is_news
    }

    /// It waits for others of its group: that is not its own time.
    pub(crate) fn wait_for_turn(&mut self) {
        self.deadline = Instant::now() + self.settle;
    }

    pub(crate) fn settled(&self) -> Outcome {
        if self.applied.is_empty() { Outcome::Unchanged } else { Outcome::Applied(self.applied.clone()) }
    }

    /// Notes steps that succeeded; the time to settle starts anew, unless they were done before.
    pub(crate) fn moved(&mut self, steps: &[PlannedStep]) {
        let lines = lines(steps);
        self.applied.extend(lines.iter().cloned());
        let times = self.done.entry(lines).or_default();
        *times += 1;
        if *times == 1 {
            self.deadline = Instant::now() + self.settle;
            self.backoff.reset();
        }
    }

    /// Why these steps are not done once more: somebody else undoes them, or nothing comes of them.
    pub(crate) fn is_in_vain(&self, steps: &[PlannedStep]) -> Option<String> {
        let times = self.done.get(&lines(steps)).copied().unwrap_or_default();
        let all: usize = self.done.values().sum();
        if times >= SAME_STEPS {
            let why = "and is still to be done; does somebody else change it back?";
            return Some(format!("it succeeded {times} times, {why}"));
        }
        (all >= CHANGES)
            .then(|| format!("it was changed {all} times in this run, and is still not as wanted"))
    }
}

fn lines(steps: &[PlannedStep]) -> Vec<String> {
    steps.iter().map(|step| step.text.clone()).collect()
}
