//! The one line that stands on a commit.

use super::*;
use crate::kind::Refusal;

fn id(text: &str) -> ResourceId {
    ResourceId::parse_in(&EnvironmentName::new("core").unwrap(), text).unwrap()
}

fn status(outcomes: Vec<(&str, Outcome)>) -> String {
    let report = Report {
        environment: EnvironmentName::new("core").unwrap(),
        commit: CommitId::new("4f2c91b07a4f2c91b07a4f2c91b07a4f2c91b07a").unwrap(),
        outcomes: outcomes.into_iter().map(|(name, outcome)| (id(name), outcome)).collect(),
        unseen: BTreeMap::new(),
        notices: BTreeSet::new(),
        maybe_there: BTreeSet::new(),
    };
    let status = report.status();
    assert!(status.description.chars().count() <= 140, "{}", status.description);
    format!("{}: {}", status.state.as_str(), status.description)
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed { step: "install restic".to_owned(), error: TargetError::rejected("install restic", why) }
}

fn out_of_reach() -> Outcome {
    Outcome::Held(Hold::Unseen(TargetError::unavailable("connecting to 10.0.0.1:22", "connection refused")))
}

#[test]
fn success_counts_what_was_changed() {
    let applied = || Outcome::Applied(vec!["write /etc/motd".to_owned()]);
    assert_eq!(
        status(vec![("Host/a", applied()), ("Host/b", Outcome::Unchanged)]),
        "success: converged: 2 resources, 1 changed"
    );
    assert_eq!(status(vec![("Host/b", Outcome::Unchanged)]), "success: converged: 1 resource");
    let removed = Outcome::Removed(vec!["delete policy old".to_owned()]);
    assert_eq!(
        status(vec![("Host/b", Outcome::Unchanged), ("VaultPolicy/old", removed)]),
        "success: converged: 1 resource, 1 removed"
    );
    assert_eq!(status(vec![]), "success: converged: 0 resources");
}

#[test]
fn the_worst_stands_first_and_the_rest_is_counted() {
    let held =
        Outcome::Held(Hold::Refused(Refusal::new("the disk would shrink from 32 GiB to 16 GiB", "grow it")));
    assert_eq!(
        status(vec![
            ("Host/a", out_of_reach()),
            ("Host/nas1", failed("dpkg is locked")),
            ("Host/z", Outcome::Skipped(vec![id("Host/nas1")])),
            ("Host/y", Outcome::Held(Hold::Blocked(id("Host/nas1")))),
            ("VirtualMachine/cache", held.clone()),
        ]),
        "failure: failed: Host/nas1: install restic: dpkg is locked (+2, 2 blocked)"
    );
    assert_eq!(
        status(vec![("VirtualMachine/cache", held)]),
        "failure: held: VirtualMachine/cache: the disk would shrink from 32 GiB to 16 GiB; grow it"
    );
    assert_eq!(
        status(vec![("VirtualMachine/a", Outcome::Waiting("the guest agent does not answer".to_owned()))]),
        "failure: not healthy in time: VirtualMachine/a: the guest agent does not answer"
    );
}

#[test]
fn a_target_out_of_reach_is_an_error_and_not_a_failure() {
    assert_eq!(
        status(vec![("Host/a", out_of_reach()), ("Host/b", Outcome::Skipped(vec![id("Host/a")]))]),
        "error: out of reach: Host/a: connecting to 10.0.0.1:22: connection refused (1 blocked by it)"
    );
}

#[test]
fn a_long_cause_is_cut_and_the_counts_stay() {
    let text = status(vec![("Host/a", failed(&"é\n".repeat(300))), ("Host/b", failed("x"))]);
    assert!(text.ends_with("… (+1)"), "{text}");
}

#[test]
fn only_success_and_superseded_are_terminal() {
    let newer = CommitId::new("a".repeat(40)).unwrap();
    assert_eq!(Status::superseded(&newer).description, "superseded by aaaaaaa");
    assert!(Status::superseded(&newer).is_terminal());
    assert!(Status::new(StatusState::Success, "converged").is_terminal());
    assert!(!Status::new(StatusState::Error, "out of reach").is_terminal());
    assert!(!Status::new(StatusState::Failure, "superseded by x").is_terminal());
}

#[test]
fn a_way_out_is_told_where_there_is_room_for_all_of_it() {
    let held = |way_out: &str| {
        let refusal = Refusal::new("it left the repository, and may hold data", way_out);
        status(vec![("VirtualMachine/old", Outcome::Held(Hold::TooRisky(refusal)))])
    };
    assert_eq!(
        held("list it under `retire:` to let it go"),
        "failure: held: VirtualMachine/old: it left the repository, and may hold data; list it under `retire:` to let it go"
    );
    assert_eq!(
        held(&"x".repeat(100)),
        "failure: held: VirtualMachine/old: it left the repository, and may hold data"
    );
}

#[test]
fn success_says_what_was_out_of_sight() {
    let report = Report {
        environment: EnvironmentName::new("core").unwrap(),
        commit: CommitId::new("a".repeat(40)).unwrap(),
        outcomes: BTreeMap::from([(id("Host/a"), Outcome::Unchanged)]),
        unseen: BTreeMap::from([(KindName::fixed("Host"), "one is in the dark".to_owned())]),
        notices: BTreeSet::new(),
        maybe_there: BTreeSet::new(),
    };
    assert_eq!(
        report.status().description,
        "converged: 1 resource; not every Host could be seen: one is in the dark"
    );
}

#[test]
fn every_problem_is_told_worst_first_with_its_ways_out() {
    let held = Outcome::Held(Hold::Refused(Refusal::new("the disk would shrink", "grow it")));
    let report = Report {
        environment: EnvironmentName::new("core").unwrap(),
        commit: CommitId::new("a".repeat(40)).unwrap(),
        outcomes: BTreeMap::from([
            (id("Host/a"), out_of_reach()),
            (id("Host/b"), Outcome::Skipped(vec![id("Host/a")])),
            (id("Host/c"), Outcome::Unchanged),
            (id("VirtualMachine/d"), held),
        ]),
        unseen: BTreeMap::new(),
        notices: BTreeSet::new(),
        maybe_there: BTreeSet::new(),
    };
    let told: Vec<String> = report
        .problems()
        .into_iter()
        .map(|problem| format!("{} [{}]", problem.text, problem.ways_out.join(", ")))
        .collect();
    assert_eq!(
        told,
        [
            "held: VirtualMachine/d: the disk would shrink [grow it]",
            "out of reach: Host/a: connecting to 10.0.0.1:22: connection refused []"
        ]
    );
}
