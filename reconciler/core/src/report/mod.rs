//! The report: what became of a commit, and the one status that says so.

mod context;
pub mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::ident::{CommitId, EnvironmentName, KindName, ResourceId};
use crate::kind::TargetError;
use crate::plan::Hold;

pub use context::Context;

/// What became of one resource in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was as wanted, and healthy.
    Unchanged,
    /// It was changed, and then seen as wanted and healthy. The lines of the steps.
    Applied(Vec<String>),
    /// No manifest declared it any more, and it is gone. The lines of the steps.
    Removed(Vec<String>),
    /// It was still waiting when the time was up: for what.
    Waiting(String),
    /// No manifest declares it any more, and it was not gone when the time was up: what it waits for.
    Leaving(String),
    Held(Hold),
    /// What it needs did not settle.
    Skipped(Vec<ResourceId>),
    Failed {
        /// The line of the step that failed.
        step: String,
        error: TargetError,
    },
}

/// What became of a commit in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub environment: EnvironmentName,
    pub commit: CommitId,
    pub outcomes: BTreeMap<ResourceId, Outcome>,
    /// Kinds that were not seen whole, and why: what left the repository may still stand there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unseen: BTreeMap<KindName, String>,
    /// What a person should know although nothing is done about it: copied marks and the like.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub notices: BTreeSet<String>,
    /// What is there, or may be, although nothing says that it converged: what no manifest declares any more, and all that
    /// a run which did not converge may have made.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub maybe_there: BTreeSet<ResourceId>,
}

/// What is wrong with one resource, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// One phrase that stands alone: `held: VirtualMachine/a: the disk would shrink`.
    pub text: String,
    /// What can be done, the best first.
    pub ways_out: Vec<String>,
}

/// The four states that every forge understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusState {
    Pending,
    Success,
    Failure,
    Error,
}

impl StatusState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }
}

/// The longest description of a status in characters (GitHub).
const LONGEST: usize = 140;

/// A commit status: a state and one line of at most 140 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub state: StatusState,
    pub description: String,
}

impl Status {
    /// Cuts the description where forges do.
    pub fn new(state: StatusState, description: impl AsRef<str>) -> Self {
        Self { state, description: cut(description.as_ref(), LONGEST) }
    }

    /// The commit was overtaken before it converged.
    pub fn superseded(by: &CommitId) -> Self {
        Self::new(StatusState::Error, format!("superseded by {}", by.short()))
    }

    /// Nothing is posted after it: neither success nor supersession is ever taken back.
    pub fn is_terminal(&self) -> bool {
        self.state == StatusState::Success
            || (self.state == StatusState::Error && self.description.starts_with("superseded by "))
    }
}

/// A number of things in words: `1 resource`, `2 resources`.
pub fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// At most `limit` characters on one line, the last one `…` where something was cut.
pub fn cut(text: &str, limit: usize) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= limit {
        return line;
    }
    let mut short: String = line.chars().take(limit - 1).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

impl Report {
    /// Whether the world was seen to match and to be healthy.
    pub fn converged(&self) -> bool {
        self.outcomes.values().all(is_well)
    }

    /// What is there, or is to be: all but what was removed.
    pub fn there(&self) -> impl Iterator<Item = &ResourceId> {
        let removed = |outcome: &Outcome| matches!(outcome, Outcome::Removed(_));
        self.outcomes.iter().filter(move |(_, outcome)| !removed(outcome)).map(|(id, _)| id)
    }

    /// Whether nothing is wrong but that something has to wait for its time.
    pub fn rests(&self) -> bool {
        let bides = |outcome: &Outcome| matches!(outcome, Outcome::Held(Hold::NotNow(_)));
        self.outcomes.values().any(bides)
            && self.outcomes.values().all(|outcome| is_well(outcome) || is_blocked(outcome) || bides(outcome))
    }

    /// Everything that is wrong, worst first, ties in order of name. What merely waits for something else that is
    /// wrong is left out.
    pub fn problems(&self) -> Vec<Problem> {
        self.bad().into_iter().map(|(_, id, outcome)| self.describe(id, outcome)).collect()
    }

    fn bad(&self) -> Vec<(u8, &ResourceId, &Outcome)> {
        let mut bad: Vec<(u8, &ResourceId, &Outcome)> = self
            .outcomes
            .iter()
            .filter_map(|(id, outcome)| severity(outcome).map(|severity| (severity, id, outcome)))
            .collect();
        bad.sort_by_key(|(severity, id, _)| (*severity, *id));
        bad
    }

    /// The final status. Worst first, ties in order of name, no clock times: an unchanged situation gives an
    /// unchanged text.
    pub fn status(&self) -> Status {
        if self.converged() {
            return Status::new(StatusState::Success, self.success());
        }
        let bad = self.bad();
        let Some((_, worst, outcome)) = bad.first() else {
            return Status::new(StatusState::Failure, "blocked: nothing could be done");
        };
        let blocked = self.outcomes.values().filter(|outcome| is_blocked(outcome)).count();
        let counts = match (bad.len() - 1, blocked) {
            (0, 0) => String::new(),
            (0, blocked) => format!(" ({blocked} blocked by it)"),
            (more, 0) => format!(" (+{more})"),
            (more, blocked) => format!(" (+{more}, {blocked} blocked)"),
        };
        // The counts are worth more than the end of a long cause, and a way out only counts whole.
        let room = LONGEST - counts.chars().count();
        let Problem { text, ways_out } = self.describe(worst, outcome);
        let whole = ways_out.first().map(|way_out| format!("{text}; {way_out}"));
        let text = whole.filter(|whole| whole.chars().count() <= room).unwrap_or(text);
        let state = if bad.iter().all(|(_, _, outcome)| undecided(outcome)) {
            StatusState::Error
        } else {
            StatusState::Failure
        };
        Status::new(state, format!("{}{counts}", cut(&text, room)))
    }

    fn success(&self) -> String {
        let how_many =
            |is: fn(&Outcome) -> bool| self.outcomes.values().filter(|outcome| is(outcome)).count();
        let changed = how_many(|outcome| matches!(outcome, Outcome::Applied(_)));
        let removed = how_many(|outcome| matches!(outcome, Outcome::Removed(_)));
        let mut text = format!("converged: {}", count(self.outcomes.len() - removed, "resource"));
        if changed > 0 {
            let _ = write!(text, ", {changed} changed");
        }
        if removed > 0 {
            let _ = write!(text, ", {removed} removed");
        }
        if let Some((kind, why)) = self.unseen.first_key_value() {
            let _ = write!(text, "; not every {kind} could be seen: {why}");
        }
        text
    }

    fn describe(&self, id: &ResourceId, outcome: &Outcome) -> Problem {
        let name = id.seen_from(&self.environment);
        let text = match outcome {
            // The error says what was being done; the line of the step would say it again.
            Outcome::Failed { step: _, error } => format!("failed: {name}: {error}"),
            Outcome::Held(Hold::Unseen(error)) if error.is_unavailable() => {
                format!("out of reach: {name}: {error}")
            }
            Outcome::Held(hold) => format!("held: {name}: {}", hold.reason(&self.environment)),
            Outcome::Waiting(what) => format!("not healthy in time: {name}: {what}"),
            Outcome::Leaving(what) => format!("not gone in time: {name}: {what}"),
            Outcome::Skipped(_) | Outcome::Unchanged | Outcome::Applied(_) | Outcome::Removed(_) => {
                format!("blocked: {name}")
            }
        };
        let ways_out = match outcome {
            Outcome::Held(Hold::Refused(refusal) | Hold::TooRisky(refusal)) => refusal.ways_out.clone(),
            _ => Vec::new(),
        };
        Problem { text, ways_out }
    }
}

/// Lower is worse. `None` for what is well, and for what merely follows from something else.
fn severity(outcome: &Outcome) -> Option<u8> {
    match outcome {
        Outcome::Failed { error, .. } if error.is_unavailable() => Some(3),
        Outcome::Failed { .. } => Some(0),
        Outcome::Held(Hold::Unseen(error)) if error.is_unavailable() => Some(4),
        Outcome::Unchanged
        | Outcome::Applied(_)
        | Outcome::Removed(_)
        | Outcome::Held(Hold::Blocked(_))
        | Outcome::Skipped(_) => None,
        Outcome::Held(Hold::NotNow(_)) => Some(5),
        Outcome::Held(_) => Some(1),
        Outcome::Waiting(_) | Outcome::Leaving(_) => Some(2),
    }
}

fn is_well(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unchanged | Outcome::Applied(_) | Outcome::Removed(_))
}

fn is_blocked(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Skipped(_) | Outcome::Held(Hold::Blocked(_)))
}

/// Not decided: a target was out of reach, so the commit may be right or wrong.
fn undecided(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed { error, .. } | Outcome::Held(Hold::Unseen(error)) => error.is_unavailable(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
