//! What is kept of plans and reports: what people ask for afterwards, within bounds.

use crate::any_kind::PlannedStep;
use crate::plan::{Action, Item, Plan};
use crate::report::{Outcome, Report};
use serde_json::{Value, json};

/// The most that is kept of one plan or report, in bytes.
const MAX: usize = 1 << 20;

/// A plan without what stays as it is, and without the steps' own data: whole files would be in it.
pub fn of_plan(plan: &Plan) -> String {
    let items = plan.items.iter().filter(|item| item.action != Action::Keep).map(told).collect();
    let told = Plan { items, ..plan.clone() };
    let json = serde_json::to_string(&told).expect("a plan is plain data");
    if json.len() <= MAX {
        return json;
    }
    json!({ "environment": plan.environment, "tooLong": told.items.len() }).to_string()
}

fn told(item: &Item) -> Item {
    let action = match &item.action {
        Action::Create(steps) => Action::Create(lines(steps)),
        Action::Adopt(steps) => Action::Adopt(lines(steps)),
        Action::Update(steps) => Action::Update(lines(steps)),
        Action::Delete(steps) => Action::Delete(lines(steps)),
        other @ (Action::Keep | Action::Wait(_) | Action::Later { .. } | Action::Hold(_)) => other.clone(),
    };
    Item { id: item.id.clone(), action }
}

fn lines(steps: &[PlannedStep]) -> Vec<PlannedStep> {
    steps.iter().map(|step| PlannedStep { step: Value::Null, ..step.clone() }).collect()
}

/// A report without what stayed as it was.
pub fn of_report(report: &Report) -> String {
    let mut told = report.clone();
    told.outcomes.retain(|_, outcome| *outcome != Outcome::Unchanged);
    let json = serde_json::to_string(&told).expect("a report is plain data");
    if json.len() <= MAX {
        return json;
    }
    // What went well first, then the end of the alphabet: what is left still says what is wrong.
    told.outcomes.retain(|_, outcome| {
        !matches!(outcome, Outcome::Applied(_) | Outcome::Removed(_) | Outcome::Skipped(_))
    });
    while serde_json::to_vec(&told).expect("a report is plain data").len() > MAX {
        let half = told.outcomes.len() / 2;
        told.outcomes = told.outcomes.into_iter().take(half).collect();
    }
    serde_json::to_string(&told).expect("a report is plain data")
}
