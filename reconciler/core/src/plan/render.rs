//! The plan as people read it: in the terminal, in a comment, on a page.

use std::fmt::Write as _;

use super::{Action, Hold, Plan};
use crate::any_kind::PlannedStep;
use crate::ident::{CommitId, EnvironmentName, ResourceId};
use crate::kind::{Refusal, Risk};

/// Renders the plan for a commit (`None`: for files that are not committed). Unchanged things are counted,
/// not listed.
pub fn render(plan: &Plan, commit: Option<&CommitId>) -> String {
    let what =
        commit.map_or("the working tree".to_owned(), |commit| format!("commit {}", &commit.as_str()[..10]));
    let mut text = format!("plan for {what}, environment {}\n\n", plan.environment);
    for item in plan.items.iter().filter(|item| item.action != Action::Keep) {
        render_item(&mut text, &plan.environment, &item.id, &item.action);
    }
    for notice in &plan.notices {
        let _ = writeln!(text, "note: {notice}");
    }
    for (kind, why) in &plan.unseen {
        let _ = writeln!(text, "note: not every {kind} could be seen, so that none that left goes: {why}");
    }
    if !(plan.notices.is_empty() && plan.unseen.is_empty()) {
        text.push('\n');
    }
    text.push_str(&Counts::of(plan).to_string());
    text.push('\n');
    text
}

fn render_item(text: &mut String, home: &EnvironmentName, id: &ResourceId, action: &Action) {
    let (sign, note) = match action {
        Action::Keep => return,
        Action::Create(_) => ('+', ""),
        Action::Adopt(_) => ('~', "  (adopt)"),
        Action::Update(_) => ('~', ""),
        Action::Delete(_) => ('-', ""),
        Action::Wait(_) => ('.', ""),
        Action::Later { .. } => ('?', ""),
        Action::Hold(_) => ('!', ""),
    };
    let _ = writeln!(text, "{sign} {}{note}", id.short());
    match action {
        Action::Keep => {}
        Action::Create(steps) | Action::Adopt(steps) | Action::Update(steps) | Action::Delete(steps) => {
            render_steps(text, steps);
        }
        Action::Wait(what) => line(text, &format!("waiting: {what}")),
        Action::Later { needs, expected } => {
            let needs: Vec<String> = needs.iter().map(|need| need.seen_from(home)).collect();
            line(text, &format!("after {}", needs.join(", ")));
            for step in expected {
                line(text, &format!("expected: {step}"));
            }
        }
        Action::Hold(hold) => render_hold(text, home, hold),
    }
    text.push('\n');
}

fn render_steps(text: &mut String, steps: &[PlannedStep]) {
    for change in steps.iter().flat_map(|step| &step.changes) {
        line(text, &change.to_string());
    }
    for (index, step) in steps.iter().enumerate() {
        let risk = match step.risk {
            Risk::Quiet => "",
            Risk::Disruptive => "  (disruptive)",
            Risk::Destructive => "  (destructive)",
        };
        line(text, &format!("{}. {}{risk}", index + 1, step.text));
    }
}

fn render_hold(text: &mut String, home: &EnvironmentName, hold: &Hold) {
    line(text, &format!("held: {}", hold.reason(home)));
    if let Hold::Refused(refusal) | Hold::TooRisky(refusal) = hold {
        for way_out in &refusal.ways_out {
            line(text, &format!("help: {way_out}"));
        }
    }
}

fn line(text: &mut String, content: &str) {
    let _ = writeln!(text, "    {content}");
}

impl Hold {
    /// Why, as a phrase that stands after `held: `.
    pub fn reason(&self, home: &EnvironmentName) -> String {
        match self {
            Self::Unseen(error) if error.is_unavailable() => format!("could not be seen ({error})"),
            // A person must act, and the error says on what.
            Self::Unseen(error) => error.to_string(),
            Self::Refused(Refusal { why, .. }) | Self::TooRisky(Refusal { why, .. }) | Self::NotNow(why) => {
                why.clone()
            }
            Self::Blocked(by) => format!("blocked by {}", by.seen_from(home)),
        }
    }
}

/// How many of each, in the words of the plan's last line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    create: usize,
    update: usize,
    delete: usize,
    later: usize,
    held: usize,
    unchanged: usize,
}

impl Counts {
    fn of(plan: &Plan) -> Self {
        let mut counts = Self::default();
        for item in &plan.items {
            match item.action {
                Action::Keep => counts.unchanged += 1,
                Action::Create(_) => counts.create += 1,
                Action::Adopt(_) | Action::Update(_) => counts.update += 1,
                Action::Delete(_) => counts.delete += 1,
                Action::Wait(_) | Action::Later { .. } => counts.later += 1,
                Action::Hold(_) => counts.held += 1,
            }
        }
        counts
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { create, update, delete, later, held, unchanged } = self;
        write!(f, "{create} to create, {update} to update, {delete} to delete, ")?;
        if *later > 0 {
            write!(f, "{later} to follow, ")?;
        }
        write!(f, "{held} held, {unchanged} unchanged")
    }
}
