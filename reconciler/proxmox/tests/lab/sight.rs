//! What cannot be seen: rights, nodes that are down, lists that are empty. Unknown is never absent.

use std::time::Duration;

use holdfast_core::kind::{Owner, Scope, Seen, TargetError};
use holdfast_core::plan::Action;
use holdfast_lab::http::Fault;
use holdfast_lab::proxmox::{CONVERGE_GUESTS, MachineSeed};
use serde_json::{Value, json};

use crate::manifests::{small, whole, with};
use crate::world::{Lab, NAME, Rest, SECRET, furnished, name};

#[track_caller]
fn unknown(seen: &Seen<Value>) -> &TargetError {
    match seen {
        Seen::Unknown(error) => error,
        other => panic!("it is known: {other:?}"),
    }
}

/// An answer that is whole, and lists nothing.
const NOTHING: Fault = Fault::Reply {
    status: 200,
    headers: &[("content-type", "application/json;charset=UTF-8")],
    body: r#"{"data":[]}"#,
};

/// As [`NOTHING`], but for the nodes.
const NODES: Fault = Fault::Reply {
    status: 200,
    headers: &[("content-type", "application/json;charset=UTF-8")],
    body: r#"{"data":[{"type":"node","node":"pve1","status":"online"},{"type":"node","node":"pve2","status":"online"}]}"#,
};

#[tokio::test]
async fn a_list_that_is_suddenly_empty_is_no_news_of_any_guest() {
    let lab = Lab::start().await;
    lab.converge(NAME, &whole()).await;
    lab.wire.reset();
    for scope in [Scope::All, Scope::Only] {
        lab.wire.fail_next(|seen| seen.uri.ends_with("/cluster/resources"), NOTHING);
        let look = lab.look(scope, &[(NAME, whole()), ("new", small(102))]).await;
        for (of, seen) in &look.seen {
            assert!(unknown(seen).is_unavailable(), "{of}: {seen:?}");
        }
        assert!(look.incomplete.is_some(), "no orphan is concluded from it either");
    }
    // The nodes are there, and no guest of theirs.
    for scope in [Scope::All, Scope::Only] {
        lab.wire.fail_next(|seen| seen.uri.ends_with("/cluster/resources"), NODES);
        let look = lab.look(scope, &[(NAME, whole())]).await;
        assert!(unknown(&look.seen[&name(NAME)]).is_unavailable(), "{look:?}");
    }
    assert_eq!(lab.wire.writes(), []);
    lab.is_whole();
}

#[tokio::test]
async fn an_empty_list_at_the_moment_of_a_clone_makes_nothing() {
    let lab = Lab::start().await;
    let create = lab.next(NAME, &small(101)).await;
    lab.pve.add(MachineSeed::new(101, "theirs", "pve1", 8));
    lab.wire.reset();
    lab.wire.fail_next(|seen| seen.uri.ends_with("/cluster/resources"), NOTHING);
    let results = lab.apply(NAME, &create).await;
    assert!(matches!(&results[0], holdfast_core::kind::StepResult::Failed(error) if error.is_unavailable()));
    assert_eq!(lab.wire.writes(), []);
}

#[tokio::test]
async fn a_token_that_sees_nothing_makes_nothing() {
    let lab = Lab::with(furnished().bare_token("holdfast@pve!blind", SECRET, true)).await;
    lab.converge(NAME, &whole()).await;
    let blind = lab.through("holdfast@pve!blind");
    lab.wire.reset();
    let look = blind.look(Scope::All, &[(NAME, whole()), ("new", small(102))]).await;
    for (of, number) in [(NAME, 101), ("new", 102)] {
        let error = unknown(&look.seen[&name(of)]);
        assert!(!error.is_unavailable());
        assert!(error.to_string().contains(&format!("lacks `VM.Audit` on `/vms/{number}`")), "{error}");
    }
    assert!(look.incomplete.unwrap().contains("`VM.Audit` on `/vms`"));
    // A look at one tells a guest that is there and hidden from one that is not there.
    let rest = blind.go(NAME, &whole()).await.1;
    assert!(rest.why().contains("lacks `VM.Audit` on `/vms/101`") && !rest.is_tried_again(), "{rest:?}");
    let rest = blind.go("new", &small(102)).await.1;
    assert!(!rest.is_tried_again(), "{rest:?}");
    assert_eq!(lab.guests(), [101]);
    lab.nothing_was_destroyed();
}

#[tokio::test]
async fn a_token_of_a_pool_sees_the_pool_alone() {
    let builder = furnished()
        .machine(MachineSeed::new(101, NAME, "pve1", 16).set("cores", "2").set("memory", "2048"))
        .machine(MachineSeed::new(102, "hidden", "pve1", 16))
        .pool("lab", &[101])
        .bare_token("pool@pve!main", SECRET, false)
        .grant("/pool/lab", "pool@pve", CONVERGE_GUESTS, true)
        .grant("/storage", "pool@pve", CONVERGE_GUESTS, true)
        .grant("/vms/9000", "pool@pve", CONVERGE_GUESTS, true);
    let lab = Lab::with(builder).await.through("pool@pve!main");
    let wanted = [(NAME, small(101)), ("hidden", small(102)), ("new", small(103))];
    let look = lab.look(Scope::All, &wanted).await;
    assert!(matches!(&look.seen[&name(NAME)], Seen::Present { owner: Owner::Nobody, .. }));
    for (of, number) in [("hidden", 102), ("new", 103)] {
        let error = unknown(&look.seen[&name(of)]).to_string();
        assert!(error.contains(&format!("lacks `VM.Audit` on `/vms/{number}`")), "{error}");
    }
    assert!(look.incomplete.is_some());
    let rest = lab.go("hidden", &small(102)).await.1;
    assert!(rest.why().contains("`VM.Audit` on `/vms/102`") && !rest.is_tried_again(), "{rest:?}");
    let rest = lab.go("new", &small(103)).await.1;
    assert!(rest.why().contains("`VM.Allocate` on `/vms/103`") && !rest.is_tried_again(), "{rest:?}");
    assert_eq!(lab.guests(), [101, 102]);
}

#[tokio::test]
async fn each_privilege_that_is_missing_is_named_with_its_path() {
    let cases = [
        ("VM.Clone", "`VM.Clone` on `/vms/9000`"),
        ("Datastore.AllocateSpace", "`Datastore.AllocateSpace` on `/storage/local-lvm`"),
        ("SDN.Use", "`SDN.Use` on `/sdn/zones/localnetwork/vmbr0`"),
        ("VM.Config.CPU", "`VM.Config.CPU`"),
        ("VM.Config.Memory", "`VM.Config.Memory`"),
        ("VM.Config.Options", "`VM.Config.Options`"),
        ("VM.Config.Disk", "`VM.Config.Disk`"),
        ("VM.PowerMgmt", "`VM.PowerMgmt` on `/vms/101`"),
        ("VM.GuestAgent.FileRead", "`VM.GuestAgent.FileRead`"),
    ];
    for (missing, text) in cases {
        let rights: Vec<&str> = CONVERGE_GUESTS.iter().copied().filter(|right| *right != missing).collect();
        let lab =
            Lab::with(furnished().token("less@pve!main", SECRET, &rights)).await.through("less@pve!main");
        let (_, rest) = lab.converge(NAME, &whole()).await;
        assert!(rest.why().contains(text), "{missing}: {rest:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_no_more_is_told_and_waited_out() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    lab.pve.set_secret(crate::world::TOKEN, "another");
    let rest = lab.go(NAME, &small(101)).await.1;
    assert!(rest.why().contains("the token was not accepted") && !rest.is_tried_again(), "{rest:?}");
    assert!(!rest.why().contains(SECRET));
    lab.pve.set_secret(crate::world::TOKEN, SECRET);
    assert_eq!(lab.go(NAME, &small(101)).await.1, Rest::Settled);
}

#[tokio::test]
async fn a_node_that_is_down_hides_its_own_guests_alone() {
    let lab = Lab::start().await;
    for (of, vmid) in [("a", 101), ("b", 102)] {
        assert_eq!(lab.converge(of, &small(vmid)).await.1, Rest::Settled);
    }
    lab.pve.migrate(102, "pve2");
    lab.pve.set_node_online("pve2", false);
    lab.wire.reset();
    let look = lab.look(Scope::All, &[("a", small(101)), ("b", small(102))]).await;
    assert!(matches!(&look.seen[&name("a")], Seen::Present { owner: Owner::Ours(_), .. }));
    let error = unknown(&look.seen[&name("b")]);
    assert!(error.is_unavailable() && error.to_string().contains("node `pve2`, which is offline"), "{error}");
    assert!(look.incomplete.unwrap().contains("vm 102"));
    let (done, rest) = lab.go("b", &with(102, &json!({ "cores": 4 }))).await;
    assert!(done.is_empty() && rest.is_tried_again(), "{rest:?}");
    // A new guest cannot be made there, and not in its place.
    let rest = lab.go("new", &with(103, &json!({ "node": "pve2" }))).await.1;
    assert!(rest.is_tried_again() && rest.why().contains("node `pve2` is offline"), "{rest:?}");
    assert_eq!(lab.wire.writes(), []);
    lab.pve.set_node_online("pve2", true);
    assert_eq!(lab.go("b", &small(102)).await.1, Rest::Settled);
}

#[tokio::test]
async fn a_node_that_goes_down_between_look_and_change_is_tried_again() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    let spec = with(101, &json!({ "onBoot": true }));
    let update = lab.next(NAME, &spec).await;
    lab.pve.set_node_online("pve1", false);
    let results = lab.apply(NAME, &update).await;
    assert!(
        matches!(&results[0], holdfast_core::kind::StepResult::Failed(error) if error.is_unavailable()),
        "{results:?}"
    );
    lab.pve.set_node_online("pve1", true);
    assert_eq!(lab.converge(NAME, &spec).await.1, Rest::Settled);
}

#[tokio::test]
async fn a_list_that_lags_behind_starts_and_stops_nothing_twice() {
    let lab = Lab::start().await;
    lab.pve.set_resources_lag(Duration::from_hours(1));
    let (_, rest) = lab.converge(NAME, &whole()).await;
    assert_eq!(rest, Rest::Settled);
    lab.is_whole();
    assert_eq!(lab.guest(101).boots, 1);
    // The full look believes the list, which still tells of no power at all, and asks the node instead.
    let look = lab.look(Scope::All, &[(NAME, whole())]).await;
    let Seen::Present { state, .. } = &look.seen[&name(NAME)] else { panic!("{look:?}") };
    assert_eq!(state["running"], json!(true));
}

#[tokio::test]
async fn what_a_stale_list_says_of_power_is_put_right_by_the_step() {
    let lab = Lab::start().await;
    lab.converge(NAME, &small(101)).await;
    lab.look(Scope::All, &[]).await;
    lab.pve.set_resources_lag(Duration::from_hours(1));
    // It crashed; the list still says that it runs, and the key that waits for a restart is one of ours.
    let spec = with(101, &json!({ "cores": 4, "restart": "allowed" }));
    let configure = lab.next(NAME, &spec).await;
    lab.apply(NAME, &configure).await;
    let reboot = lab.next(NAME, &spec).await;
    assert!(
        matches!(&reboot, Action::Update(steps) if steps[0].text.starts_with("reboot vm 101")),
        "{reboot:?}"
    );
    lab.pve.power_off(101).unwrap();
    let results = lab.apply(NAME, &reboot).await;
    assert!(
        matches!(&results[0], holdfast_core::kind::StepResult::Failed(error) if error.is_unavailable()),
        "{results:?}"
    );
    assert_eq!(lab.converge(NAME, &spec).await.1, Rest::Settled);
    assert!(lab.guest(101).running);
}
