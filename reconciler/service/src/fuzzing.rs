//! Fuzz targets of the whole: a commit with all kinds, plans over anything that was seen, and the journal. `tests/fuzz`
//! runs them for long, the test below for a second.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use holdfast_core::desired::{Farewell, Site};
use holdfast_core::ident::{EnvironmentName, KindName, Name, ResourceId};
use holdfast_core::kind::{Owner, Risk, Seen, TargetError};
use holdfast_core::manifest::{Manifest, Problems, Tree, Validators, read};
use holdfast_core::plan::{Action, Hold, Kinds, Plan, decide};
use holdfast_core::report::{Report, history};
use serde_json::Value;

use crate::kinds;

static KINDS: LazyLock<Kinds> = LazyLock::new(kinds::all);
static VALIDATORS: LazyLock<Validators> = LazyLock::new(kinds::validators);

/// Before each file of a commit, followed by its path on the same line.
const FILE: &str = "%% ";

/// Files, each after a line `%% <path>`: the commit is in order, or its problems are said.
pub fn manifest(data: &[u8]) {
    let tree = tree(data);
    let first = read(&tree, &KINDS, &VALIDATORS);
    match &first {
        Ok(Manifest { site, warnings, .. }) => {
            in_order(site);
            assert!(warnings.iter().all(|warning| tree.files.contains_key(&warning.path)));
        }
        Err(problems) => said(problems, &tree),
    }
    let text = |read: &Result<Manifest, Problems>| match read {
        Ok(manifest) => format!("{manifest:?}"),
        Err(problems) => problems.render(&tree),
    };
    assert_eq!(text(&first), text(&read(&tree, &KINDS, &VALIDATORS)), "the same again");
}

/// The files of an input. What stands before the first path is the site's file.
fn tree(data: &[u8]) -> Tree {
    let mut tree = Tree::default();
    let mut path = "holdfast.yaml".to_owned();
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(FILE.as_bytes()) {
            Some(next) => path = String::from_utf8_lossy(next.trim_ascii()).into_owned(),
            None => tree.files.entry(path.clone()).or_default().extend_from_slice(line),
        }
    }
    tree
}

/// Each resource comes once, after what it needs, and is what its kind takes.
fn in_order(site: &Site) {
    for (environment, desired) in &site.environments {
        let mut before = BTreeSet::new();
        for id in &desired.order {
            let resource = &desired.resources[id];
            assert!(resource.borrowed || id.environment == *environment, "{id} is of {environment}");
            assert!(resource.needs.is_subset(&before), "{id} comes after what it needs");
            assert!(before.insert(id.clone()), "{id} comes once");
            let check = (KINDS[&id.kind].check)(&resource.spec);
            assert!(check.is_ok(), "{id}: {check:?}");
        }
        assert_eq!(before.len(), desired.resources.len());
    }
}

fn said(problems: &Problems, tree: &Tree) {
    assert!(problems.count() > 0 && !problems.diagnostics().is_empty());
    let headline = problems.headline();
    assert!(headline.chars().count() <= 140 && !headline.contains(char::is_control), "{headline:?}");
    let shown = problems.render(tree);
    assert!(!shown.contains(|c: char| c != '\n' && c.is_control()), "{shown:?}");
    assert!(shown.len() < 2_000_000, "{} bytes", shown.len());
    for diagnostic in problems.diagnostics() {
        let Some(span) = &diagnostic.span else { continue };
        let bytes = tree.files.get(&diagnostic.path).expect("a problem is of a file that was read");
        assert!(span.start <= span.end && span.end <= bytes.len(), "{span:?} of {}", diagnostic.path);
    }
}

/// `{ kind, name, want, seen, owner, farewell }` as JSON: whatever was seen, planning ends without a fault, what is
/// wanted is never destroyed, and what is not known to be ours is never touched.
pub fn plan(data: &[u8]) {
    let Ok(input) = serde_json::from_slice::<Value>(data) else { return };
    let text = |key: &str| input[key].as_str().unwrap_or_default();
    let Some(kind) = KindName::new(text("kind")).ok().and_then(|name| KINDS.get(&name)) else { return };
    let part = |key: &str| input.get(key).filter(|value| !value.is_null());
    let (want, state) = (part("want"), part("seen"));
    let farewell = match text("farewell") {
        "named" => Farewell::Named,
        "protected" => Farewell::Protected,
        _ => Farewell::AsKind,
    };
    let id = ResourceId {
        environment: EnvironmentName::new("core").expect("`core` is a name"),
        kind: kind.name.clone(),
        name: Name::new(text("name")).unwrap_or_else(|_| Name::new("a").expect("`a` is a name")),
    };
    if let Some(state) = state {
        (kind.health)(state);
        (kind.protected)(state);
        let known = (kind.outputs_of)(state);
        assert!(known.keys().all(|output| kind.outputs.contains(&output.as_str())), "{known:?}");
    }
    let seen = match (state, text("owner")) {
        (None, "unknown") => Seen::Unknown(TargetError::unavailable("looking", "no answer")),
        (None, _) => Seen::Absent,
        (Some(state), owner) => {
            let owner = match owner {
                "ours" => Owner::Ours(id.clone()),
                "copied" => Owner::Copied,
                "other" => Owner::Other("cabin/core".to_owned()),
                _ => Owner::Nobody,
            };
            Seen::Present { state: state.clone(), owner }
        }
    };
    let action = decide(kind, &id, want, &seen, farewell);
    assert_eq!(decide(kind, &id, want, &seen, farewell), action, "the same again");
    if let Action::Hold(Hold::Refused(refusal) | Hold::TooRisky(refusal)) = &action {
        assert!(!refusal.why.starts_with("internal error"), "planning panicked");
        assert!(!refusal.why.is_empty());
    }
    let ours = matches!(&seen, Seen::Present { owner: Owner::Ours(_), .. });
    let free = matches!(&seen, Seen::Present { owner: Owner::Nobody, .. });
    match &action {
        Action::Create(steps) | Action::Adopt(steps) | Action::Update(steps) => {
            assert!(want.is_some() && !steps.is_empty());
            assert!(steps.iter().all(|step| step.risk != Risk::Destructive), "{steps:?}");
            assert!(ours || free || seen == Seen::Absent, "only what is ours or nobody's is changed");
        }
        Action::Delete(steps) => {
            assert!(want.is_none() && ours && !steps.is_empty(), "only what is ours and unwanted goes");
            let holds_data = farewell == Farewell::Protected || state.is_none_or(kind.protected);
            assert!(farewell == Farewell::Named || !holds_data, "what holds data goes by name alone");
        }
        Action::Keep | Action::Wait(_) | Action::Later { .. } | Action::Hold(_) => {}
    }
}

/// A plan, then a report, as JSON on lines of their own, as an older version may have stored them: what is kept and
/// told of them is bounded.
pub fn journal(data: &[u8]) {
    const MOST: usize = 1 << 20;
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(plan) = serde_json::from_slice::<Plan>(line) {
            let kept = history::of_plan(&plan);
            assert!(kept.len() <= MOST);
            assert!(serde_json::from_str::<Plan>(&kept).is_ok(), "what is kept reads back");
            assert!(!holdfast_core::plan::render(&plan, None).is_empty());
        }
        if let Ok(report) = serde_json::from_slice::<Report>(line) {
            let status = report.status();
            assert!(status.description.chars().count() <= 140, "{status:?}");
            assert!(!status.description.contains(['\n', '\r']), "{status:?}");
            assert_eq!(status.state == holdfast_core::report::StatusState::Success, report.converged());
            report.problems();
            let kept = history::of_report(&report);
            let again = serde_json::from_str::<Report>(&kept).expect("what is kept reads back");
            assert!(kept.len() <= MOST && again.converged() == report.converged());
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_cases::fuzz::briefly;

    #[test]
    fn manifest() {
        briefly("manifest", 600, super::manifest);
    }

    #[test]
    fn plan() {
        briefly("plan", 5_000, super::plan);
    }

    #[test]
    fn journal() {
        briefly("journal", 5_000, super::journal);
    }
}
