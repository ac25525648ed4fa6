//! The model against the real planner, and what it refuses.

use holdfast_core::ident::{EnvironmentName, SiteName};
use holdfast_core::kind::Next;
use rand::SeedableRng as _;
use serde_json::json;

use super::*;

fn realm() -> Realm {
    Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new("core").unwrap() }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn spec(path: &str) -> Spec {
    serde_json::from_value(json!({ "rules": [{ "path": path, "capabilities": ["read"] }] })).unwrap()
}

fn wanted(names: &[&str]) -> BTreeMap<Name, Spec> {
    names.iter().map(|text| (name(text), spec(&format!("kv/data/{text}/*")))).collect()
}

fn perform(vault: &mut Vault, policy: &str, step: &Step) -> Result<(), TargetError> {
    vault.perform(&realm(), &name(policy), step, &Secrets::default()).map(drop)
}

/// What the planner wants next, as far as the mark lets it.
fn next(vault: &Vault, policy: &str, want: Option<&Spec>) -> Next<Step> {
    let wanted = want.map(|spec| (name(policy), spec.clone())).into_iter().collect();
    let look = vault.look(&realm(), Scope::All, &wanted);
    match look.seen.get(&name(policy)) {
        None | Some(Seen::Absent) => VaultPolicy::plan(&name(policy), want, None),
        Some(Seen::Present { state, owner }) => match owner {
            Owner::Ours(id) if id.name == name(policy) => VaultPolicy::plan(&name(policy), want, Some(state)),
            Owner::Nobody if want.is_some() => VaultPolicy::plan(&name(policy), want, Some(state)),
            _ => Next::Wait("it is somebody else's".to_owned()),
        },
        Some(Seen::Unknown(why)) => Next::Wait(why.to_string()),
    }
}

/// Converges, and says how many steps it took; what is refused or waited for ends it as well.
fn converge(vault: &mut Vault, policy: &str, want: Option<&Spec>) -> usize {
    for count in 0..5 {
        let Next::Do(steps) = next(vault, policy, want) else { return count };
        for step in steps {
            perform(vault, policy, &step).unwrap();
        }
    }
    panic!("{policy} does not settle");
}

#[test]
fn from_nothing_through_an_update_to_nothing() {
    let mut vault = Vault::new(Flavour::OpenBao);
    let empty = vault.objects();
    assert_eq!(converge(&mut vault, "web", Some(&spec("kv/a"))), 1);
    let object = vault.objects()["web"].clone();
    assert_eq!(object.mark.as_deref(), Some("home/core/VaultPolicy/web@web"));
    assert_eq!(converge(&mut vault, "web", Some(&spec("kv/a"))), 0, "the second run writes nothing");
    assert_eq!(converge(&mut vault, "web", Some(&spec("kv/b"))), 1);
    assert_eq!(vault.objects()["web"].birth, object.birth, "the same policy");
    assert_eq!(converge(&mut vault, "web", None), 1);
    assert_eq!(vault.objects(), empty);
    assert!(perform(&mut vault, "web", &Step::Delete { name: "web".to_owned() }).is_ok(), "gone is done");
}

#[test]
fn a_write_about_another_version_ends_with_a_new_look() {
    let mut vault = Vault::new(Flavour::OpenBao);
    converge(&mut vault, "web", Some(&spec("kv/a")));
    let Next::Do(steps) = next(&vault, "web", Some(&spec("kv/b"))) else { panic!() };
    vault.put("web", "path \"theirs\" {}");
    assert!(perform(&mut vault, "web", &steps[0]).unwrap_err().is_unavailable());
    let create = Step::Create { name: "web".to_owned(), text: spec("kv/c").render() };
    assert!(perform(&mut vault, "web", &create).unwrap_err().is_unavailable());
    assert_eq!(vault.text("web"), Some("path \"theirs\" {}"), "nothing was written over");
    vault.remove("web");
    assert!(perform(&mut vault, "web", &steps[0]).unwrap_err().is_unavailable());
    assert_eq!(vault.text("web"), None);
}

#[test]
fn without_check_and_set_the_read_before_the_write_refuses() {
    let mut vault = Vault::new(Flavour::Vault);
    let Next::Do(create) = next(&vault, "web", Some(&spec("kv/a"))) else { panic!() };
    converge(&mut vault, "web", Some(&spec("kv/a")));
    let Next::Do(update) = next(&vault, "web", Some(&spec("kv/b"))) else { panic!() };
    vault.put("web", "path \"theirs\" {}");
    for step in [&create[0], &update[0]] {
        assert!(perform(&mut vault, "web", step).unwrap_err().is_unavailable());
    }
    assert_eq!(vault.text("web"), Some("path \"theirs\" {}"));
}

#[test]
fn what_a_stranger_made_anew_is_not_written_over_or_deleted() {
    for flavour in [Flavour::OpenBao, Flavour::Vault] {
        let mut vault = Vault::new(flavour);
        converge(&mut vault, "web", Some(&spec("kv/a")));
        let Next::Do(update) = next(&vault, "web", Some(&spec("kv/b"))) else { panic!() };
        let Next::Do(delete) = next(&vault, "web", None) else { panic!() };
        let text = spec("kv/a").render();
        let cabin = format!("{MARK_LINE}cabin/core/VaultPolicy/web@web\n{text}");
        for theirs in [cabin.as_str(), "path \"theirs\" {}"] {
            vault.remove("web");
            vault.put("web", theirs);
            for step in [&update[0], &delete[0]] {
                assert!(perform(&mut vault, "web", step).unwrap_err().is_unavailable(), "{step:?}");
            }
            assert_eq!(vault.text("web"), Some(theirs));
        }
    }
}

#[test]
fn what_the_server_refuses_changes_nothing() {
    let mut vault = Vault::new(Flavour::OpenBao);
    let before = vault.clone();
    let text = spec("kv/a").render();
    for step in [
        Step::Create { name: "holdfast".to_owned(), text: text.clone() },
        Step::Create { name: "web".to_owned(), text: "path {".to_owned() },
    ] {
        assert!(!perform(&mut vault, "web", &step).unwrap_err().is_unavailable(), "{step:?}");
        assert_eq!(vault, before);
    }
    for step in [Step::Create { name: "root".to_owned(), text }, Step::Delete { name: "default".to_owned() }]
    {
        assert!(perform(&mut vault, "web", &step).unwrap_err().is_unavailable(), "it is there, and not ours");
        assert_eq!(vault, before);
    }
    assert!(!vault.delete("default").unwrap_err().is_unavailable());
    assert!(!vault.write("root", "path \"a\" {}", None).unwrap_err().is_unavailable());
    vault.seal(true);
    let step = Step::Create { name: "web".to_owned(), text: "path \"a\" {}".to_owned() };
    assert!(perform(&mut vault, "web", &step).unwrap_err().is_unavailable());
    let look = vault.look(&realm(), Scope::All, &wanted(&["web"]));
    assert!(look.incomplete.is_some() && matches!(look.seen[&name("web")], Seen::Unknown(_)));
}

#[test]
fn a_look_tells_whose_each_policy_is() {
    let mut vault = Vault::new(Flavour::OpenBao);
    converge(&mut vault, "web", Some(&spec("kv/a")));
    converge(&mut vault, "old", Some(&spec("kv/old")));
    let text = vault.text("web").unwrap().to_owned();
    vault.put("copy", &text);
    vault.put("cabin", "# holdfast: cabin/core/VaultPolicy/cabin@cabin\npath \"a\" {}");
    vault.put("plain", "path \"a\" {}");
    let look = vault.look(&realm(), Scope::All, &wanted(&["web", "copy", "cabin", "plain", "none"]));
    let owner = |policy: &str| match &look.seen[&name(policy)] {
        Seen::Present { owner, .. } => format!("{owner:?}").split('(').next().unwrap().to_owned(),
        other => format!("{other:?}"),
    };
    let owners: Vec<String> = ["web", "old", "copy", "cabin", "plain", "none"].map(owner).into();
    assert_eq!(owners, ["Ours", "Ours", "Copied", "Other", "Nobody", "Absent"]);
    assert_eq!(look.notices, ["policy `copy` carries a mark that was copied from another one"]);
    let only = vault.look(&realm(), Scope::Only, &wanted(&["web"]));
    assert_eq!(only.seen.len(), 1);
    vault.own("web");
    assert!(matches!(next(&vault, "web", Some(&spec("kv/b"))), Next::Refuse(_)));
    assert!(matches!(next(&vault, "web", None), Next::Refuse(_)));
}

#[test]
fn whatever_people_do_it_converges_once_a_person_has_put_marks_right() {
    for seed in 0..300 {
        let mut chance = SmallRng::seed_from_u64(seed);
        let flavour = if seed % 2 == 0 { Flavour::OpenBao } else { Flavour::Vault };
        let mut vault = Vault::new(flavour);
        let all = wanted(&["web", "api", "db"]);
        for _ in 0..12 {
            for (policy, spec) in &all {
                converge(&mut vault, policy.as_str(), Some(spec));
            }
            if let Some(meddling) = vault.meddle(&mut chance).filter(|meddling| !meddling.needs_a_person) {
                for (policy, spec) in &all {
                    converge(&mut vault, policy.as_str(), Some(spec));
                    let next = next(&vault, policy.as_str(), Some(spec));
                    let was_copied_before = matches!(next, Next::Wait(_));
                    assert!(next == Next::Settled || was_copied_before, "{seed}: {meddling:?}: {next:?}");
                }
            }
        }
        vault.mend();
        for (policy, spec) in &all {
            converge(&mut vault, policy.as_str(), Some(spec));
            assert_eq!(next(&vault, policy.as_str(), Some(spec)), Next::Settled, "{seed}");
        }
    }
}
