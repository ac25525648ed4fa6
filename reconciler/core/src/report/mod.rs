//! The report: what became of a commit, and the one status that says so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ident::{CommitId, EnvironmentName, ResourceId};
use crate::kind::TargetError;
use crate::plan::Hold;

/// What became of one resource in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was as wanted, and healthy.
    Unchanged,
    /// It was changed, and then seen as wanted and healthy. The lines of the steps.
    Applied(Vec<String>),
    /// It was still waiting when the time was up: for what.
    Waiting(String),
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

/// A commit status: a state and one line of at most 140 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub state: StatusState,
    pub description: String,
}

impl Status {
    /// Cuts the description where forges do (GitHub: 140 characters).
    pub fn new(state: StatusState, description: impl AsRef<str>) -> Self {
        Self { state, description: cut(description.as_ref(), 140) }
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
        self.outcomes.values().all(|outcome| matches!(outcome, Outcome::Unchanged | Outcome::Applied(_)))
    }

    /// Whether trying again soon may help: something was out of reach or still on its way.
    pub fn may_still_converge(&self) -> bool {
        self.outcomes.values().any(|outcome| match outcome {
            Outcome::Waiting(_) | Outcome::Held(Hold::Unseen(_)) => true,
            Outcome::Failed { error, .. } => error.is_unavailable(),
            _ => false,
        })
    }

    /// The final status. Worst first, ties in order of name, no clock times: an unchanged situation gives an
    /// unchanged text.
    pub fn status(&self) -> Status {
        if self.converged() {
            let changed =
                self.outcomes.values().filter(|outcome| matches!(outcome, Outcome::Applied(_))).count();
            let all = self.outcomes.len();
            let changed = if changed > 0 { format!(", {changed} changed") } else { String::new() };
            return Status::new(
                StatusState::Success,
                format!("converged: {}{changed}", count(all, "resource")),
            );
        }
        let mut bad: Vec<(u8, &ResourceId, &Outcome)> = self
            .outcomes
            .iter()
            .filter_map(|(id, outcome)| severity(outcome).map(|severity| (severity, id, outcome)))
            .collect();
        bad.sort_by_key(|(severity, id, _)| (*severity, *id));
        let Some((_, worst, outcome)) = bad.first() else {
            return Status::new(StatusState::Failure, "blocked: nothing could be done");
        };
        let blocked = self.outcomes.values().filter(|outcome| is_blocked(outcome)).count();
        let blocked = if blocked > 0 { format!(" ({blocked} blocked by it)") } else { String::new() };
        let more = if bad.len() > 1 { format!(" (+{})", bad.len() - 1) } else { String::new() };
        let text = self.describe(worst, outcome);
        // The counts are worth more than the end of a long cause.
        let room = 140 - more.chars().count() - blocked.chars().count();
        let state = if bad.iter().all(|(_, _, outcome)| undecided(outcome)) {
            StatusState::Error
        } else {
            StatusState::Failure
        };
        Status::new(state, format!("{}{more}{blocked}", cut(&text, room)))
    }

    fn describe(&self, id: &ResourceId, outcome: &Outcome) -> String {
        let name = id.seen_from(&self.environment);
        match outcome {
            Outcome::Failed { step, error } => {
                let error = error.to_string();
                let cause = error.strip_prefix(&format!("{step}: ")).unwrap_or(&error);
                format!("failed: {name}: {step}: {cause}")
            }
            Outcome::Held(Hold::Unseen(error)) => format!("out of reach: {name}: {error}"),
            Outcome::Held(hold) => format!("held: {name}: {}", hold.reason(&self.environment)),
            Outcome::Waiting(what) => format!("not healthy in time: {name}: {what}"),
            Outcome::Skipped(_) | Outcome::Unchanged | Outcome::Applied(_) => format!("blocked: {name}"),
        }
    }
}

/// Lower is worse. `None` for what is well, and for what merely follows from something else.
fn severity(outcome: &Outcome) -> Option<u8> {
    match outcome {
        Outcome::Failed { error, .. } if error.is_unavailable() => Some(3),
        Outcome::Failed { .. } => Some(0),
        Outcome::Held(Hold::Unseen(error)) if error.is_unavailable() => Some(4),
        Outcome::Unchanged | Outcome::Applied(_) | Outcome::Held(Hold::Blocked(_)) | Outcome::Skipped(_) => {
            None
        }
        Outcome::Held(_) => Some(1),
        Outcome::Waiting(_) => Some(2),
    }
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
