//! What stands above every kind: the moment's restraint, the brake across passes, renames.

use super::*;

/// A plan of one removal beside something that stays, with the moment's restraint.
fn removal_under(restraint: Restraint) -> Action {
    let desired = desired(&[("keep", json!({ "size": 1 }), &[])]);
    let mut observed = observed(vec![
        ("keep", present("keep", json!({ "size": 1, "label": "k" }))),
        ("gone", present("gone", json!({ "size": 1, "empty": true }))),
    ]);
    observed.restraint = restraint;
    plan(&home(), &kinds(), &desired, &observed).items[1].action.clone()
}

#[test]
fn what_the_moment_forbids_is_held_with_what_would_be_done() {
    let forbidden = |restraint| match removal_under(restraint) {
        Action::Hold(Hold::NotNow(why)) => why,
        other => format!("{other:?}"),
    };
    let why = || Some("the site is paused: flood".to_owned());
    assert_eq!(
        forbidden(Restraint { everything: why(), ..Restraint::default() }),
        "the site is paused: flood; would burn the crate"
    );
    let shut = || Some("it waits for the maintenance window (0 3 * * SUN)".to_owned());
    assert_eq!(
        forbidden(Restraint { disruptive: shut(), ..Restraint::default() }),
        "it waits for the maintenance window (0 3 * * SUN); would burn the crate"
    );
    let quiet = desired(&[("new", json!({ "size": 1 }), &[])]);
    let mut observed = observed(vec![("new", Seen::Absent)]);
    observed.restraint.disruptive = shut();
    let plan = plan(&home(), &kinds(), &quiet, &observed);
    assert!(matches!(plan.items[0].action, Action::Create(_)), "nobody notices what is quiet");
}

#[test]
fn what_went_before_in_the_same_commit_counts_for_the_brake() {
    let removed = |count: usize| (0..count).map(|n| id(&format!("before{n}"))).collect();
    assert!(matches!(removal_under(Restraint::default()), Action::Delete(_)));
    let few = Restraint { removed: removed(2), ..Restraint::default() };
    assert!(matches!(removal_under(few), Action::Delete(_)), "the third");
    let many = Restraint { removed: removed(3), ..Restraint::default() };
    assert!(matches!(removal_under(many), Action::Hold(Hold::TooRisky(_))), "the fourth");
    let mut itself: BTreeSet<ResourceId> = removed(2);
    itself.insert(id("gone"));
    let itself = Restraint { removed: itself, ..Restraint::default() };
    assert!(matches!(removal_under(itself), Action::Delete(_)), "what goes in several steps counts once");
}

#[test]
fn what_the_commit_names_does_not_count_for_the_brake() {
    let mut desired = desired(&[("keep", json!({ "size": 1 }), &[])]);
    let mut observed = observed(vec![
        ("keep", present("keep", json!({ "size": 1, "label": "k" }))),
        ("gone", present("gone", json!({ "size": 1, "empty": true }))),
    ]);
    observed.restraint.removed = ["x", "y", "z"].map(id).into();
    let gone = |desired: &Desired| plan(&home(), &kinds(), desired, &observed).items[1].action.clone();
    assert!(matches!(gone(&desired), Action::Hold(Hold::TooRisky(_))));
    desired.retire.extend(["x", "y", "z"].map(id));
    assert!(matches!(gone(&desired), Action::Delete(_)));
}

#[test]
fn what_was_there_is_not_gone_while_its_kind_cannot_be_seen() {
    let desired = desired(&[("keep", json!({ "size": 1 }), &[])]);
    let keep = || ("keep", present("keep", json!({ "size": 1, "label": "k" })));
    let mut observed = observed(vec![keep()]);
    observed.known = ["keep", "left"].map(id).into();
    let items = |observed: &Observed| plan(&home(), &kinds(), &desired, observed).items.len();
    assert_eq!(items(&observed), 1, "seen whole: it is gone");
    observed.incomplete.insert(Crate::NAME, "connection refused".to_owned());
    let items = plan(&home(), &kinds(), &desired, &observed).items;
    assert_eq!((items.len(), &items[1].id), (2, &id("left")));
    assert!(matches!(items[1].action, Action::Hold(Hold::Unseen(_))));
}

#[test]
fn a_renamed_object_is_ours_by_its_new_name_and_no_orphan_by_its_old() {
    let mut desired = desired(&[("new", json!({ "size": 1 }), &[])]);
    desired.moved.insert(id("old"), id("middle"));
    desired.moved.insert(id("middle"), id("new"));
    let settled = json!({ "size": 1, "label": "l", "empty": true });
    let seen = |name: &str| hand_over(&desired, present(name, settled.clone()));
    let ours = observed(vec![("new", seen("old")), ("old", seen("old"))]);
    let plan = |observed: &Observed| plan(&home(), &kinds(), &desired, observed).items;
    let items = plan(&ours);
    assert_eq!((items.len(), &items[0].action), (1, &Action::Keep));
    let elsewhere = observed(vec![("new", Seen::Absent), ("old", seen("old"))]);
    let items = plan(&elsewhere);
    assert!(matches!(&items[0].action, Action::Hold(Hold::Refused(_))), "{items:?}");
    assert_eq!(items.len(), 1, "and what it was stays");
    let mut unclear = observed(vec![("new", Seen::Absent)]);
    unclear.incomplete.insert(Crate::NAME, "a page was missing".to_owned());
    assert!(matches!(&plan(&unclear)[0].action, Action::Hold(Hold::Unseen(_))));
    let gone = observed(vec![("new", Seen::Absent)]);
    assert!(matches!(&plan(&gone)[0].action, Action::Create(_)));
}
