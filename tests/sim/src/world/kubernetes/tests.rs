//! The model against the real planner, and what it refuses.

use holdfast_core::ident::{EnvironmentName, SiteName};
use holdfast_core::kind::Next;
use rand::SeedableRng as _;
use serde_json::json;

use super::app::CASCADE;
use super::controller::plain_spec;
use super::*;

mod races;

const MINUTE: Time = Time::from_mins(1);
const HOUR: Time = Time::from_hours(1);

fn realm() -> Realm {
    Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new("core").unwrap() }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn want(app: &str, change: impl FnOnce(&mut Value)) -> Spec {
    let mut manifest = json!({ "metadata": { "labels": { "team": "home" } }, "spec": plain_spec(app) });
    change(&mut manifest);
    serde_json::from_value(manifest).unwrap()
}

fn plain(app: &str) -> Spec {
    want(app, |_| {})
}

/// What the planner wants next, as far as the mark lets it.
fn next(cluster: &Cluster, app: &str, want: Option<&Spec>) -> Next<Step> {
    let wanted = want.map(|spec| (name(app), spec.clone())).into_iter().collect();
    let look = cluster.look(&realm(), Scope::All, &wanted);
    match look.seen.get(&name(app)) {
        None | Some(Seen::Absent) => Application::plan(&name(app), want, None),
        Some(Seen::Present { state, owner }) => match owner {
            Owner::Ours(id) if id.name == name(app) => Application::plan(&name(app), want, Some(state)),
            Owner::Nobody if want.is_some() => Application::plan(&name(app), want, Some(state)),
            _ => Next::Wait("it is somebody else's".to_owned()),
        },
        Some(Seen::Unknown(why)) => Next::Wait(why.to_string()),
    }
}

fn perform(cluster: &mut Cluster, app: &str, step: &Step) -> Result<(), TargetError> {
    cluster.perform(&realm(), &name(app), step, &Secrets::default()).map(drop)
}

/// Looks every few seconds and does what is planned, until it settles, is refused, or the time is up. With `crashes`,
/// only the first step of each plan is done. Counts the writes.
fn drive(
    cluster: &mut Cluster,
    app: &str,
    want: Option<&Spec>,
    time: Time,
    crashes: bool,
) -> (Next<Step>, usize) {
    let (end, mut writes) = (cluster.now + time, 0);
    loop {
        match next(cluster, app, want) {
            Next::Do(steps) => {
                for step in steps.iter().take(if crashes { 1 } else { usize::MAX }) {
                    writes += 1;
                    if perform(cluster, app, step).is_err() {
                        break;
                    }
                }
            }
            Next::Wait(_) if cluster.now < end => {}
            other => return (other, writes),
        }
        if cluster.now >= end {
            return (next(cluster, app, want), writes);
        }
        cluster.advance(cluster.now + Time::from_secs(5));
    }
}

fn settle(cluster: &mut Cluster, app: &str, want: Option<&Spec>) -> usize {
    let (end, writes) = drive(cluster, app, want, HOUR, false);
    assert_eq!(end, Next::Settled, "{app}");
    writes
}

#[test]
fn from_nothing_through_an_update_to_nothing_but_what_was_deployed() {
    let mut cluster = Cluster::new();
    assert_eq!(settle(&mut cluster, "web", Some(&plain("web"))), 1);
    let first = cluster.objects();
    assert_eq!(first["web"].mark.as_deref(), Some("home/core/Application/web@argocd/web"));
    assert!(first["web"].healthy && first["web/web"].protected);
    let changed = want("web", |manifest| {
        manifest["metadata"]["labels"] = json!({});
        manifest["spec"]["source"]["path"] = json!("other");
    });
    assert_eq!(settle(&mut cluster, "web", Some(&changed)), 1);
    assert!(cluster.apps["web"].labels.is_empty(), "what we applied and want no more is gone");
    assert_eq!(cluster.objects()["web"].birth, first["web"].birth);
    assert_ne!(cluster.objects()["web/web"].content, first["web/web"].content);
    assert_eq!(settle(&mut cluster, "web", None), 1);
    let left = cluster.objects();
    assert_eq!(left.keys().collect::<Vec<_>>(), ["web/web"]);
    assert_eq!(left["web/web"].data, first["web/web"].data);
    settle(&mut cluster, "web", Some(&changed));
    assert_eq!(cluster.objects()["web/web"], left["web/web"], "made anew, it finds what is there");
}

#[test]
fn a_field_that_somebody_took_is_a_conflict_and_one_that_was_cleared_is_written() {
    let mut cluster = Cluster::new();
    settle(&mut cluster, "web", Some(&plain("web")));
    cluster.edit("web", "kubectl-edit", |document| {
        document["spec"]["source"].as_object_mut().unwrap().remove("path");
    });
    assert_eq!(settle(&mut cluster, "web", Some(&plain("web"))), 1);
    cluster.edit("web", "kubectl-edit", |document| document["spec"]["source"]["path"] = json!("x"));
    let Next::Do(steps) = next(&cluster, "web", Some(&plain("web"))) else { panic!() };
    let error = perform(&mut cluster, "web", &steps[0]).unwrap_err();
    assert!(
        !error.is_unavailable() && error.to_string().contains("`kubectl-edit` manages .spec.source.path")
    );
    cluster.mend();
    assert_eq!(settle(&mut cluster, "web", Some(&plain("web"))), 1);
}

#[test]
fn a_failed_sync_is_tried_again_and_given_up_in_the_end() {
    let mut cluster = Cluster::new();
    cluster.fail_next_sync();
    assert_eq!(settle(&mut cluster, "web", Some(&plain("web"))), 1);
    assert_eq!(cluster.apps["web"].status.operation_state.as_ref().unwrap().retries, 1);

    cluster.spoil_next_sync();
    cluster.push("https://git.lan/web");
    cluster.advance(cluster.now + HOUR);
    assert!(matches!(next(&cluster, "web", Some(&plain("web"))), Next::Refuse(_)));
    let mut mended = cluster.clone();
    cluster.push("https://git.lan/web");
    cluster.advance(cluster.now + HOUR);
    assert_eq!(next(&cluster, "web", Some(&plain("web"))), Next::Settled, "another revision");
    mended.mend();
    mended.advance(mended.now + HOUR);
    assert_eq!(next(&mended, "web", Some(&plain("web"))), Next::Settled, "or by hand");
}

#[test]
fn what_failed_is_over_when_its_cause_is_taken_back() {
    let mut cluster = Cluster::new();
    settle(&mut cluster, "web", Some(&plain("web")));
    let bad = want("web", |manifest| manifest["spec"]["source"]["path"] = json!("bad"));
    cluster.spoil_next_sync();
    let (end, _) = drive(&mut cluster, "web", Some(&bad), HOUR, false);
    assert!(matches!(end, Next::Refuse(_)));
    settle(&mut cluster, "web", Some(&plain("web")));
    let status = &cluster.apps["web"].status;
    assert!(status.errors.is_empty() && cluster.apps["web"].healthy());
    assert_eq!(status.sync.as_ref().unwrap().status, "Synced", "nothing had changed");
    assert_eq!(status.operation_state.as_ref().unwrap().phase, "Failed", "the last sync is the failed one");
}

#[test]
fn what_argo_hides_and_what_does_badly_is_waited_for() {
    let mut cluster = Cluster::new();
    cluster.hide_repositories(10 * MINUTE);
    let (end, _) = drive(&mut cluster, "web", Some(&plain("web")), MINUTE, false);
    assert!(matches!(&end, Next::Wait(what) if what.contains("ComparisonError")), "{end:?}");
    settle(&mut cluster, "web", Some(&plain("web")));
    cluster.hide_repositories(20 * MINUTE);
    let settled_at = cluster.now;
    cluster.advance(settled_at + MINUTE);
    assert_eq!(next(&cluster, "web", Some(&plain("web"))), Next::Settled, "it is hidden");
    cluster.advance(settled_at + 15 * MINUTE);
    assert!(matches!(next(&cluster, "web", Some(&plain("web"))), Next::Wait(_)));
    cluster.advance(settled_at + HOUR);
    assert_eq!(next(&cluster, "web", Some(&plain("web"))), Next::Settled);
    cluster.degrade("web", 5 * MINUTE);
    cluster.advance(cluster.now + MINUTE);
    let waits = next(&cluster, "web", Some(&plain("web")));
    assert!(matches!(&waits, Next::Wait(what) if what.contains("Degraded")), "{waits:?}");
    assert!(!cluster.objects()["web"].healthy);
    settle(&mut cluster, "web", Some(&plain("web")));
}

#[test]
fn what_the_controller_rewrites_is_written_once() {
    let mut cluster = Cluster::new();
    let odd = want("web", |manifest| {
        manifest["spec"]["project"] = json!("");
        manifest["spec"]["source"]["helm"] = json!({});
        manifest["spec"]["source"]["directory"] = json!({ "recurse": false });
    });
    assert_eq!(settle(&mut cluster, "web", Some(&odd)), 1);
    for _ in 0..60 {
        cluster.advance(cluster.now + MINUTE);
        assert_eq!(next(&cluster, "web", Some(&odd)), Next::Settled);
    }
    cluster.edit("web", "kubectl-edit", |document| document["spec"]["source"]["kustomize"] = json!({}));
    cluster.advance(cluster.now + 5 * MINUTE);
    assert_eq!(cluster.apps["web"].spec["source"].get("kustomize"), None);
    assert_eq!(next(&cluster, "web", Some(&odd)), Next::Settled);
    let poison = want("bad", |manifest| manifest["spec"]["destination"] = json!({}));
    let (end, _) = drive(&mut cluster, "bad", Some(&poison), 5 * MINUTE, false);
    assert!(matches!(&end, Next::Wait(what) if what.contains("InvalidSpecError")), "{end:?}");
}

#[test]
fn a_look_tells_whose_each_application_is() {
    let mut cluster = Cluster::new();
    for app in ["web", "old"] {
        settle(&mut cluster, app, Some(&plain(app)));
    }
    let mark = cluster.apps["web"].annotations[MARK].clone();
    cluster.create("copy", &plain_spec("copy"), &[(MARK, &mark)]);
    cluster.create("odd", &plain_spec("odd"), &[(MARK, "by hand")]);
    cluster.create("theirs", &plain_spec("theirs"), &[]);
    cluster.generate("set", "made");
    cluster.advance(cluster.now + 5 * MINUTE);
    let names = ["web", "copy", "odd", "theirs", "made", "none"];
    let wanted = names.iter().map(|app| (name(app), plain(app))).collect();
    let look = cluster.look(&realm(), Scope::All, &wanted);
    let owner = |app: &str| match &look.seen[&name(app)] {
        Seen::Present { owner, .. } => format!("{owner:?}").split('(').next().unwrap().to_owned(),
        other => format!("{other:?}"),
    };
    let owners: Vec<String> = ["old"].iter().chain(&names).map(|app| owner(app)).collect();
    assert_eq!(owners, ["Ours", "Ours", "Copied", "Other", "Nobody", "Nobody", "Absent"]);
    assert_eq!(look.notices, ["application `copy` carries a mark that was copied from another one"]);
    assert!(matches!(next(&cluster, "made", Some(&plain("made"))), Next::Refuse(_)));
    cluster.delete("made", None).unwrap();
    cluster.advance(cluster.now + MINUTE);
    assert!(cluster.apps.contains_key("made"), "the set makes it anew");
    let foreign = want("web", |manifest| manifest["metadata"]["namespace"] = json!("other"));
    let look = cluster.look(&realm(), Scope::Only, &BTreeMap::from([(name("web"), foreign)]));
    assert!(matches!(look.seen[&name("web")], Seen::Unknown(_)));
}

#[test]
fn a_parent_waits_for_its_children() {
    let mut cluster = Cluster::new();
    cluster.deploys("all", &["one", "two"]);
    settle(&mut cluster, "all", Some(&plain("all")));
    assert!(cluster.apps["two"].healthy());
    cluster.degrade("two", HOUR);
    cluster.advance(cluster.now + MINUTE);
    let waits = next(&cluster, "all", Some(&plain("all")));
    assert!(matches!(&waits, Next::Wait(what) if what.starts_with("application two: ")), "{waits:?}");
}

/// A busy life of some applications, looked at every `pace`.
fn life(seed: u64, pace: Time) -> Cluster {
    let mut chance = SmallRng::seed_from_u64(seed);
    let mut cluster = Cluster::new();
    for round in 0..20_u32 {
        for app in ["web", "api", "db"] {
            let spec =
                want(app, |manifest| manifest["spec"]["source"]["path"] = json!(format!("v{}", round / 5)));
            if let Next::Do(steps) = next(&cluster, app, Some(&spec)) {
                for step in steps {
                    drop(perform(&mut cluster, app, &step));
                }
            }
        }
        match round % 5 {
            1 => drop(cluster.meddle(&mut chance)),
            3 => cluster.fail_next_sync(),
            4 => cluster.spoil_next_sync(),
            _ => {}
        }
        let end = 7 * MINUTE * (round + 1);
        while cluster.now < end {
            cluster.advance((cluster.now + pace).min(end));
        }
    }
    cluster
}

#[test]
fn one_leap_and_many_steps_end_the_same() {
    for seed in 0..60 {
        let leap = life(seed, HOUR);
        assert_eq!(leap, life(seed, Time::from_secs(1)), "{seed}");
        assert_eq!(leap, life(seed, Time::from_millis(7777)), "{seed}");
    }
}

#[test]
fn whatever_people_do_it_converges_once_a_person_has_put_right_what_only_they_can() {
    let apps = ["web", "api", "db"];
    for seed in 0..100 {
        let mut chance = SmallRng::seed_from_u64(seed);
        let mut cluster = Cluster::new();
        for _ in 0..8 {
            for app in apps {
                drive(&mut cluster, app, Some(&plain(app)), 10 * MINUTE, false);
            }
            if let Some(meddling) = cluster.meddle(&mut chance).filter(|meddling| meddling.needs_a_person) {
                assert!(apps.contains(&meddling.key.as_str()), "{meddling:?}");
                cluster.mend();
            }
        }
        for app in apps {
            let (end, _) = drive(&mut cluster, app, Some(&plain(app)), HOUR, false);
            assert_eq!(end, Next::Settled, "{seed} {app}");
        }
        for _ in 0..60 {
            cluster.advance(cluster.now + MINUTE);
            for app in apps {
                let next = next(&cluster, app, Some(&plain(app)));
                assert!(!matches!(next, Next::Do(_) | Next::Refuse(_)), "{seed} {app}: {next:?}");
            }
        }
    }
}
