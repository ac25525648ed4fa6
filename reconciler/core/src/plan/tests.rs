//! The planner's rules, over one small kind, as the text that people read.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::desired::{Place, Resource};
use crate::ident::Name;
use crate::kind::{Change, Fence, Health, Kind, Look, Next, Risk, Scope, Step, StepResult};
use crate::reference::{OrRef, Outputs};
use crate::secret::Secrets;

mod safeguards;

/// A box of a size, next to another one. It may only grow.
struct Crate;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CrateSpec {
    size: u32,
    next_to: Option<OrRef<String>>,
    secret: Option<SecretRef>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CrateState {
    size: u32,
    #[serde(default)]
    next_to: Option<String>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    empty: bool,
}

#[derive(Clone, Serialize, Deserialize)]
enum CrateStep {
    Build(u32),
    Grow(u32, u32),
    Burn,
    Replace,
}

impl std::fmt::Display for CrateStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Build(size) => write!(f, "build a crate of {size}"),
            Self::Grow(_, to) => write!(f, "grow the crate to {to}"),
            Self::Burn => f.write_str("burn the crate"),
            Self::Replace => f.write_str("replace the crate"),
        }
    }
}

impl Step for CrateStep {
    fn risk(&self) -> Risk {
        match self {
            Self::Build(_) => Risk::Quiet,
            Self::Grow(..) => Risk::Disruptive,
            Self::Burn | Self::Replace => Risk::Destructive,
        }
    }
    fn secrets(&self) -> Vec<SecretRef> {
        Vec::new()
    }
    fn changes(&self) -> Vec<Change> {
        match self {
            Self::Grow(from, to) => vec![Change::new("size", from, to)],
            _ => Vec::new(),
        }
    }
}

impl Kind for Crate {
    const NAME: KindName = KindName::fixed("Crate");
    const OUTPUTS: &'static [&'static str] = &["label"];
    const TARGET: &'static str = "attic";
    type Spec = CrateSpec;
    type State = CrateState;
    type Step = CrateStep;

    fn plan(_: &Name, want: Option<&CrateSpec>, seen: Option<&CrateState>) -> Next<CrateStep> {
        assert!(want.is_none_or(|want| want.size != 666), "what no planner should do");
        match (want, seen) {
            (None, Some(_)) => Next::Do(vec![CrateStep::Burn]),
            (Some(want), None) => Next::Do(vec![CrateStep::Build(want.size)]),
            (Some(want), Some(seen)) if want.size == 13 && seen.size != 13 => {
                Next::Do(vec![CrateStep::Replace])
            }
            (Some(want), Some(seen)) if want.size < seen.size => Next::Refuse(Refusal::new(
                format!("the crate would shrink from {} to {}", seen.size, want.size),
                format!("write `size: {}`", seen.size),
            )),
            (Some(want), Some(seen)) if want.size > seen.size => {
                Next::Do(vec![CrateStep::Grow(seen.size, want.size)])
            }
            (Some(_), Some(seen)) if seen.label.is_none() => Next::Wait("its label dries".to_owned()),
            _ => Next::Settled,
        }
    }
    fn health(_: &CrateState) -> Health {
        Health::Healthy
    }
    fn outputs(seen: &CrateState) -> Outputs {
        seen.label.iter().map(|label| ("label".to_owned(), label.clone())).collect()
    }
    fn protected(seen: &CrateState) -> bool {
        !seen.empty
    }
    async fn observe(&self, _: Scope, _: &BTreeMap<Name, CrateSpec>) -> Look<CrateState> {
        unimplemented!("the planner looks at nothing")
    }
    async fn apply(&self, _: &Name, _: &[CrateStep], _: &Secrets, _: &dyn Fence) -> Vec<StepResult> {
        unimplemented!("the planner changes nothing")
    }
}

fn home() -> EnvironmentName {
    EnvironmentName::new("attic").unwrap()
}

fn id(name: &str) -> ResourceId {
    ResourceId::parse_in(&home(), &format!("Crate/{name}")).unwrap()
}

fn kinds() -> Kinds {
    BTreeMap::from([(Crate::NAME, KindInfo::of::<Crate>())])
}

/// What is wanted: a name, a spec, and what it needs.
fn desired(resources: &[(&str, Value, &[&str])]) -> Desired {
    let mut desired = Desired::default();
    for (name, spec, needs) in resources {
        let needs = needs.iter().map(|need| id(need)).collect();
        let resource =
            Resource { id: id(name), spec: spec.clone(), needs, borrowed: false, declared: Place::default() };
        desired.resources.insert(id(name), resource);
    }
    desired.order = crate::graph::order(&desired.needs()).unwrap();
    desired
}

fn present(name: &str, state: Value) -> Seen<Value> {
    Seen::Present { state, owner: Owner::Ours(id(name)) }
}

fn observed(seen: Vec<(&str, Seen<Value>)>) -> Observed {
    Observed { seen: seen.into_iter().map(|(name, seen)| (id(name), seen)).collect(), ..Observed::default() }
}

fn text(desired: &Desired, observed: &Observed) -> String {
    let commit = crate::ident::CommitId::new("4f2c91b07a4f2c91b07a4f2c91b07a4f2c91b07a").unwrap();
    render(&plan(&home(), &kinds(), desired, observed), Some(&commit))
}

#[test]
fn a_plan_reads_in_the_order_in_which_it_runs() {
    let next_to = json!({ "ref": "Crate/db", "output": "label" });
    let desired = desired(&[
        ("app", json!({ "size": 1, "nextTo": next_to }), &["db"]),
        ("cache", json!({ "size": 16 }), &[]),
        ("db", json!({ "size": 2 }), &[]),
        ("dns", json!({ "size": 1 }), &[]),
        ("fresh", json!({ "size": 1 }), &[]),
        ("kube", json!({ "size": 4 }), &[]),
        ("same", json!({ "size": 1 }), &[]),
        ("web", json!({ "size": 3 }), &["cache"]),
    ]);
    let refused = TargetError::unavailable("listing the attic", "connection refused");
    let mut observed = observed(vec![
        ("cache", present("cache", json!({ "size": 32 }))),
        ("db", Seen::Absent),
        ("dns", Seen::Unknown(refused)),
        ("fresh", present("fresh", json!({ "size": 1 }))),
        ("kube", Seen::Present { state: json!({ "size": 2 }), owner: Owner::Nobody }),
        ("old", present("old", json!({ "size": 1 }))),
        ("packing", present("packing", json!({ "size": 1, "empty": true }))),
        ("same", present("same", json!({ "size": 1, "label": "s" }))),
        ("web", Seen::Absent),
    ]);
    observed.notices.insert("crate 7 carries a copied mark".to_owned());
    insta::assert_snapshot!(text(&desired, &observed), @r"
    plan for commit 4f2c91b07a, environment attic

    + Crate/db
        1. build a crate of 2

    ? Crate/app
        after Crate/db

    ! Crate/cache
        held: the crate would shrink from 32 to 16
        help: write `size: 32`

    ! Crate/dns
        held: could not be seen (listing the attic: connection refused)

    . Crate/fresh
        waiting: its label dries

    ~ Crate/kube  (adopt)
        size: 2 -> 4
        1. grow the crate to 4  (disruptive)

    ! Crate/web
        held: blocked by Crate/cache

    ! Crate/old
        held: it left the repository, and may hold data
        help: list it under `retire:` in environment.yaml to let it go

    ! Crate/packing
        held: could not be seen (removing it: Crate/dns could not be seen, and nothing is removed then)

    note: crate 7 carries a copied mark

    1 to create, 1 to update, 0 to delete, 2 to follow, 5 held, 1 unchanged
    ");
}

#[test]
fn a_resource_that_is_settled_stays_so_while_what_it_needs_changes() {
    let desired = desired(&[("a", json!({ "size": 2 }), &[]), ("b", json!({ "size": 1 }), &["a"])]);
    let observed = observed(vec![
        ("a", present("a", json!({ "size": 1, "label": "a" }))),
        ("b", present("b", json!({ "size": 1, "label": "b" }))),
    ]);
    let plan = plan(&home(), &kinds(), &desired, &observed);
    assert!(matches!(plan.items[0].action, Action::Update(_)));
    assert_eq!(plan.items[1].action, Action::Keep);
}

#[test]
fn a_destructive_step_is_never_part_of_converging() {
    let desired = desired(&[("a", json!({ "size": 13 }), &[])]);
    let observed = observed(vec![("a", present("a", json!({ "size": 1 })))]);
    let plan = plan(&home(), &kinds(), &desired, &observed);
    assert!(
        matches!(&plan.items[0].action, Action::Hold(Hold::TooRisky(refusal)) if refusal.why.contains("replace the crate"))
    );
}

#[test]
fn what_others_own_is_left_alone() {
    let desired = desired(&[("a", json!({ "size": 2 }), &[])]);
    for owner in [Owner::Ours(id("b")), Owner::Other("cabin/attic/Crate/a".to_owned()), Owner::Copied] {
        let observed = observed(vec![("a", Seen::Present { state: json!({ "size": 1 }), owner })]);
        let plan = plan(&home(), &kinds(), &desired, &observed);
        assert!(matches!(plan.items[0].action, Action::Hold(Hold::Refused(_))), "{plan:?}");
    }
}

#[test]
fn only_our_own_orphans_of_a_kind_seen_whole_go() {
    let desired = desired(&[("keep", json!({ "size": 1 }), &[])]);
    let empty = |size: u32| json!({ "size": size, "empty": true });
    let mut observed = observed(vec![
        ("keep", present("keep", json!({ "size": 1, "label": "k" }))),
        ("ours", present("ours", empty(1))),
        ("theirs", Seen::Present { state: empty(1), owner: Owner::Other("x".to_owned()) }),
        ("unmarked", Seen::Present { state: empty(1), owner: Owner::Nobody }),
        ("copied", Seen::Present { state: empty(1), owner: Owner::Copied }),
        ("unknown", Seen::Unknown(TargetError::unavailable("looking", "timeout"))),
    ]);
    let removals = |observed: &Observed| {
        let plan = plan(&home(), &kinds(), &desired, observed);
        plan.items
            .into_iter()
            .filter(|item| item.action != Action::Keep)
            .map(|item| item.id.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(removals(&observed), ["ours"]);
    observed.incomplete.insert(Crate::NAME, "one page was missing".to_owned());
    assert_eq!(removals(&observed), Vec::<String>::new());
    insta::assert_snapshot!(text(&desired, &observed), @r"
    plan for commit 4f2c91b07a, environment attic

    note: not every Crate could be seen, so that none that left goes: one page was missing

    0 to create, 0 to update, 0 to delete, 0 held, 1 unchanged
    ");
}

#[test]
fn a_planner_that_panics_holds_its_resource_and_no_other() {
    let desired = desired(&[("a", json!({ "size": 666 }), &[]), ("b", json!({ "size": 1 }), &[])]);
    let plan = plan(&home(), &kinds(), &desired, &observed(vec![("a", Seen::Absent), ("b", Seen::Absent)]));
    assert!(
        matches!(&plan.items[0].action, Action::Hold(Hold::Refused(refusal)) if refusal.why.contains("internal error"))
    );
    assert!(matches!(plan.items[1].action, Action::Create(_)));
}

#[test]
fn what_other_environments_have_does_not_loosen_the_brake() {
    let desired = desired(&[("keep", json!({ "size": 1 }), &[])]);
    let present_all = |names: &[&str], of: &EnvironmentName| -> Vec<(ResourceId, Seen<Value>)> {
        let id = |name: &str| ResourceId::parse_in(of, &format!("Crate/{name}")).unwrap();
        let state = json!({ "size": 1, "empty": true });
        let seen = |name: &&str| Seen::Present { state: state.clone(), owner: Owner::Ours(id(name)) };
        names.iter().map(|name| (id(name), seen(name))).collect()
    };
    let many: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut observed = Observed::default();
    observed.seen.extend(present_all(&["a", "b", "c", "d"], &home()));
    observed.seen.extend(present_all(&many, &EnvironmentName::new("cellar").unwrap()));
    let plan = plan(&home(), &kinds(), &desired, &observed);
    let deleted = plan.items.iter().filter(|item| matches!(item.action, Action::Delete(_))).count();
    assert_eq!(deleted, 0, "four of four");
}

#[test]
fn many_removals_at_once_are_held_unless_they_are_named() {
    let mut desired = desired(&[("keep", json!({ "size": 1 }), &[])]);
    let names = ["a", "b", "c", "d"];
    let seen = names.iter().map(|name| (*name, present(name, json!({ "size": 1, "empty": true }))));
    let observed =
        observed(seen.chain([("keep", present("keep", json!({ "size": 1, "label": "k" })))]).collect());
    let held = |desired: &Desired| {
        let plan = plan(&home(), &kinds(), desired, &observed);
        plan.items.iter().filter(|item| matches!(item.action, Action::Hold(_))).count()
    };
    assert_eq!(held(&desired), 4);
    desired.retire.insert(id("a"));
    assert_eq!(held(&desired), 0, "three are few enough, and the fourth is named");
}

#[test]
fn an_environment_that_declares_nothing_removes_nothing() {
    let observed = observed(vec![("a", present("a", json!({ "size": 1, "empty": true })))]);
    let plan = plan(&home(), &kinds(), &Desired::default(), &observed);
    assert!(matches!(plan.items[0].action, Action::Hold(Hold::TooRisky(_))));
}

#[test]
fn a_first_run_removes_only_what_is_named() {
    let mut desired = desired(&[("keep", json!({ "size": 1 }), &[])]);
    desired.first = true;
    desired.retire.insert(id("named"));
    let empty = json!({ "size": 1, "empty": true });
    let observed = observed(vec![
        ("data", present("data", json!({ "size": 1 }))),
        ("empty", present("empty", empty.clone())),
        ("keep", present("keep", json!({ "size": 1, "label": "k" }))),
        ("named", present("named", empty)),
    ]);
    insta::assert_snapshot!(text(&desired, &observed), @r"
    plan for commit 4f2c91b07a, environment attic

    ! Crate/data
        held: it left the repository, and may hold data
        help: list it under `retire:` in environment.yaml to let it go

    - Crate/named
        1. burn the crate  (destructive)

    note: `Crate/empty` is managed by Holdfast, and no manifest declares it: a first run removes nothing, the next commit will

    0 to create, 0 to update, 1 to delete, 1 held, 1 unchanged
    ");
}

#[test]
fn a_secret_that_cannot_be_read_holds_what_needs_it() {
    let secret = json!({ "vault": "kv/a", "key": "k" });
    let desired = desired(&[("a", json!({ "size": 1, "secret": secret }), &[])]);
    let mut observed = observed(vec![("a", Seen::Absent)]);
    let reference = SecretRef { vault: "kv/a".to_owned(), key: "k".to_owned(), stamp: None };
    let sealed = TargetError::unavailable("reading the secret kv/a#k", "vault is sealed");
    observed.stamps = BTreeMap::from([(reference.clone(), Err(sealed))]);
    let action = |observed: &Observed| plan(&home(), &kinds(), &desired, observed).items[0].action.clone();
    assert!(matches!(action(&observed), Action::Hold(Hold::Unseen(_))));
    observed.stamps = BTreeMap::from([(reference, Ok(Stamp { version: 1, digest: "d".to_owned() }))]);
    assert!(matches!(action(&observed), Action::Create(_)));
}

#[test]
fn a_plan_survives_json() {
    let desired = desired(&[("a", json!({ "size": 2 }), &[])]);
    let observed = observed(vec![("a", present("a", json!({ "size": 1 })))]);
    let plan = plan(&home(), &kinds(), &desired, &observed);
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    assert_eq!(plan.notices, BTreeSet::new());
}
