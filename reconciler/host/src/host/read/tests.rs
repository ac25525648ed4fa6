//! Whole, cut, hostile and contradictory answers.

use proptest::prelude::*;

use super::lines::unix_time;
use super::*;
use crate::host::names::{PackageName, UnitName};
use crate::host::state::NodeType;

const ID: &str = "0123456789abcdef0123456789abcdef";
const SHA: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn query() -> Query {
    let path = |path: &str| AbsolutePath::new(path).unwrap();
    Query {
        directories: vec![path("/srv/web")],
        files: vec![path("/etc/a"), path("/etc/b")],
        packages: vec![PackageName::new("curl").unwrap(), PackageName::new("jq").unwrap()],
        units: vec![UnitName::new("web.service").unwrap()],
    }
}

fn answer() -> String {
    format!(
        "holdfast look 1\nmachine {ID}\nhost nas\n\
         L holdfast ledger 1\nL mark home/core/Host/nas@{ID}\n\
         L file /etc/a\tcreated\t{SHA}\t{SHA}\t-\t-\nL file /etc/old\tcreated\t{SHA}\t{SHA}\t-\t-\n\
         L directory /srv/old\tcreated\t-\t-\t-\t-\nL service old.service\texisted\t-\t-\t-\t-\n\
         S 0\nN 41ed 0 0 4096 1700000000 root root\n\
         A 2\nS 1\nN 81a4 33 33 0 1700000000 www-data www-data\nF 1\n{SHA}  /etc/a\n\
         S 100001\nN 81a4 0 0 0 1700000000 root root\nF 100001\n\\{SHA}  /etc/o\\\\ld\n\
         S 100002\nN 41ed 0 0 4096 1700000000 root root\nD 100002      3\n\
         P curl ii  7.88.1-10\nK 1\n\
         U 0 100003\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n\
         NeedDaemonReload=no\nActiveEnterTimestamp=Mon 2026-11-23 10:11:12 UTC\nId=web.service\n\n\
         LoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\nNeedDaemonReload=no\n\
         ActiveEnterTimestamp=\nId=old.service\nV 0\nend 5\n"
    )
}

fn why(answer: &str) -> String {
    read(&query(), answer.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_whole_answer_is_read() {
    let Found { state, mark } = read(&query(), answer().as_bytes()).unwrap();
    assert_eq!(mark.unwrap().to_string(), format!("home/core/Host/nas@{ID}"));
    assert_eq!((state.machine_id.as_str(), state.hostname.as_str()), (ID, "nas"));
    let at = |path: &str| state.paths[&AbsolutePath::new(path).unwrap()].clone();
    assert_eq!(at("/etc/b"), None);
    let a = at("/etc/a").unwrap();
    assert_eq!((a.kind, a.owner.as_str(), a.sha256.as_deref()), (NodeType::File, "www-data", Some(SHA)));
    assert_eq!(at("/etc/old").unwrap().sha256.as_deref(), Some(SHA));
    assert_eq!(at("/srv/old").unwrap().entries, Some(3));
    assert!(state.packages[&PackageName::new("curl").unwrap()].as_ref().unwrap().is_installed());
    assert_eq!(state.packages[&PackageName::new("jq").unwrap()], None);
    let web = &state.services[&UnitName::new("web.service").unwrap()];
    assert_eq!((web.active.as_str(), web.since), ("active", Some(1_795_428_672)));
    assert_eq!(state.services[&UnitName::new("old.service").unwrap()].load, "not-found");
    assert_eq!(state.ledger.len(), 4);
}

#[test]
fn an_answer_that_was_cut_off_anywhere_is_none() {
    let answer = answer();
    for end in 0..answer.len() {
        let error = read(&query(), &answer.as_bytes()[..end]);
        assert!(error.is_err(), "the first {end} bytes were taken for all");
    }
}

#[test]
fn what_was_not_answered_is_unknown_and_not_absent() {
    assert_eq!(why(&answer().replace("A 2\n", "").replace("end 5", "end 4")), LookError::Moving.to_string());
    assert_eq!(why(&answer().replace("end 5", "end 6")), LookError::Moving.to_string());
    assert_eq!(why(&answer().replace("K 1\n", "")), LookError::CutOff.to_string());
    assert_eq!(why(&answer().replace("K 1", "K 2")), "dpkg-query ended with status 2");
    let no_hash = answer().replace(&format!("F 1\n{SHA}  /etc/a\n"), "");
    assert_eq!(why(&no_hash), LookError::Moving.to_string());
    assert_eq!(
        why(&answer().replace("V 0", "V 1")),
        "systemctl ended with status 1: does systemd run there?"
    );
    assert_eq!(why(&answer().replace(&format!("machine {ID}"), "machine ")), "it has no machine-id yet");
}

#[test]
fn what_was_not_asked_or_comes_twice_is_refused() {
    assert!(why(&answer().replace("A 2\n", "A 2\nA 2\n")).contains("answered twice"));
    let more = answer().replace("A 2\n", "A 2\nA 7\n").replace("end 5", "end 6");
    assert!(why(&more).contains("number 7 was not asked for"));
    assert!(why(&format!("{}A 3\n", answer())).contains("something changed"));
    assert!(why(&answer().replace("A 2\n", "A 2\nZ \u{1b}[2J\n")).contains("`Z \u{fffd}[2J`"));
}

#[test]
fn what_the_script_cannot_tell_is_said_with_who_must_act() {
    let target = |line: &str| {
        let answer = format!("holdfast look 1\n{line}\n");
        read(&query(), answer.as_bytes()).unwrap_err().into_target("looking at nas")
    };
    assert!(target("X busy").is_unavailable());
    assert!(target("X path 1 stat: cannot stat: Input/output error").to_string().contains("`/etc/a`"));
    let rejected = [
        ("X tools stat flock", "it lacks stat flock"),
        ("X root 1000", "that of user 1000"),
        ("X ledger it is larger than 1 MiB", "its ledger is not usable"),
    ];
    for (line, text) in rejected {
        let error = target(line);
        assert!(!error.is_unavailable() && error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_ledger_of_another_machine_marks_nothing() {
    let copied = answer().replace(&format!("nas@{ID}"), "nas@ffffffffffffffffffffffffffffffff");
    let Found { state, mark } = read(&query(), copied.as_bytes()).unwrap();
    assert!(mark.is_some() && state.ledger.is_empty());
    let broken = answer().replace("\tcreated", "\tmine");
    assert!(why(&broken).starts_with("its ledger is not usable: line 3"));
}

#[test]
fn systemds_times_are_understood() {
    assert_eq!(unix_time("Thu 2024-02-29 00:00:00 UTC"), Some(1_709_164_800));
    assert_eq!(unix_time("Thu 1970-01-01 00:00:00 UTC"), Some(0));
    assert_eq!(unix_time(""), None);
    assert_eq!(unix_time("Thu 2024-13-29 00:00:00 UTC"), None);
    assert_eq!(unix_time("Thu 2024-02-29 00:00:00 CET"), None);
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(read(&query(), &bytes));
    }

    #[test]
    fn nor_does_a_right_one_with_bytes_changed(at in 0_usize..1400, byte: u8, cut in 0_usize..1500) {
        let mut bytes = answer().into_bytes();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(cut.min(length));
        drop(read(&query(), &bytes));
    }

    #[test]
    fn nor_do_lines_in_any_order(order in proptest::collection::vec(0_usize..40, 0..60)) {
        let answer = answer();
        let lines: Vec<&str> = answer.lines().collect();
        let mixed: Vec<&str> = order.iter().filter_map(|at| lines.get(*at).copied()).collect();
        drop(read(&query(), format!("holdfast look 1\n{}\n", mixed.join("\n")).as_bytes()));
    }
}
