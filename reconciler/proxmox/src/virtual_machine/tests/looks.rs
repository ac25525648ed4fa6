//! What a look costs, and what it makes of rights, nodes, marks and numbers.

use std::collections::BTreeMap;

use holdfast_core::kind::{Kind as _, Look, Owner, Scope, Seen};
use serde_json::json;

use super::super::{Spec, State, VirtualMachine};
use super::cluster::{Guest, converged, guest, name, serve, spec, world};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEp1c3RBbkV4YW1wbGVLZXlOb3RBUmVhbE9uZUF0QWxs";

fn wanted(
    specs: impl IntoIterator<Item = (&'static str, Spec)>,
) -> BTreeMap<holdfast_core::ident::Name, Spec> {
    specs.into_iter().map(|(text, spec)| (name(text), spec)).collect()
}

fn why(look: &Look<State>, of: &str) -> String {
    match &look.seen[&name(of)] {
        Seen::Unknown(error) => error.to_string(),
        other => panic!("{of} is known: {other:?}"),
    }
}

fn state<'a>(look: &'a Look<State>, of: &str) -> (&'a State, &'a Owner) {
    match &look.seen[&name(of)] {
        Seen::Present { state, owner } => (state, owner),
        other => panic!("{of} is not there: {other:?}"),
    }
}

async fn all(kind: &VirtualMachine, wanted: &BTreeMap<holdfast_core::ident::Name, Spec>) -> Look<State> {
    kind.observe(Scope::All, wanted).await
}

#[tokio::test]
async fn a_look_at_n_guests_costs_n_and_three_requests() {
    let world = world();
    let names = ["a", "b", "c", "d", "e"];
    for (number, text) in (101..).zip(names) {
        let mut there = converged(number, text);
        let pinned = format!("{}holdfast-host-key: {KEY}\n", there.config["description"]);
        there.config.insert("description".to_owned(), pinned);
        there.config.insert("agent".to_owned(), "1".to_owned());
        world.lock().unwrap().guests.insert(number, there);
    }
    let (fake, kind) = serve(&world).await;
    let specs =
        wanted((101..).zip(names).map(|(number, text)| (text, spec(number, &json!({ "agent": true })))));
    let look = all(&kind, &specs).await;
    let lines = fake.take_lines();
    assert_eq!(lines.len(), names.len() + 3, "{lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with("GET ")));
    assert_eq!((look.incomplete, look.notices), (None, Vec::new()));
    for (text, seen) in &look.seen {
        let Seen::Present { state, owner: Owner::Ours(id) } = seen else { panic!("{seen:?}") };
        assert_eq!(id.name, *text);
        assert_eq!(
            VirtualMachine::plan(text, Some(&specs[text]), Some(state)),
            holdfast_core::kind::Next::Settled
        );
    }
}

#[tokio::test]
async fn a_look_at_one_guest_costs_five_requests_and_three_where_it_is_not_there() {
    let world = world();
    world.lock().unwrap().guests.insert(101, converged(101, "a"));
    let (fake, kind) = serve(&world).await;
    let look = kind.observe(Scope::Only, &wanted([("a", spec(101, &json!({})))])).await;
    assert!(matches!(state(&look, "a").1, Owner::Ours(_)));
    assert_eq!(fake.take_lines().len(), 5);
    let look = kind.observe(Scope::Only, &wanted([("b", spec(102, &json!({})))])).await;
    assert_eq!(look.seen[&name("b")], Seen::Absent);
    let lines = fake.take_lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2], "GET /cluster/nextid?vmid=102");
}

#[tokio::test]
async fn without_the_right_to_see_it_absent_is_unknown() {
    let world = world();
    world.lock().unwrap().rights = json!({ "/vms/101": { "VM.Audit": 1 } });
    let (_fake, kind) = serve(&world).await;
    let specs = wanted([("a", spec(101, &json!({}))), ("b", spec(102, &json!({})))]);
    let look = all(&kind, &specs).await;
    assert_eq!(look.seen[&name("a")], Seen::Absent, "it may see this one");
    assert!(why(&look, "b").contains("lacks `VM.Audit` on `/vms/102`"), "{}", why(&look, "b"));
    assert!(look.incomplete.unwrap().contains("`VM.Audit` on `/vms`"));
}

#[tokio::test]
async fn an_offline_node_hides_its_own_guests_alone() {
    let world = world();
    {
        let mut world = world.lock().unwrap();
        world.guests.insert(101, converged(101, "a"));
        world.guests.insert(102, Guest { node: "pve2", ..converged(102, "b") });
        world.nodes.insert("pve2", "offline");
        world.dark = Some("pve2");
    }
    let (fake, kind) = serve(&world).await;
    let look = all(&kind, &wanted([("a", spec(101, &json!({}))), ("b", spec(102, &json!({})))])).await;
    assert!(matches!(state(&look, "a").1, Owner::Ours(_)));
    assert!(why(&look, "b").contains("node `pve2`, which is offline"));
    assert!(look.incomplete.unwrap().contains("vm 102"));
    assert!(!fake.take_lines().iter().any(|line| line.contains("pve2")), "it is not even asked");
}

#[tokio::test]
async fn a_node_that_went_down_just_now_hides_its_guests_too() {
    let world = world();
    {
        let mut world = world.lock().unwrap();
        world.guests.insert(101, Guest { node: "pve2", ..converged(101, "a") });
        world.guests.insert(102, Guest { node: "pve2", ..converged(102, "b") });
        world.dark = Some("pve2");
    }
    for vmid in 200..240 {
        let there = Guest { node: "pve2", ..converged(vmid, &format!("n{vmid}")) };
        world.lock().unwrap().guests.insert(vmid, there);
    }
    let (fake, kind) = serve(&world).await;
    let look = all(&kind, &wanted([("a", spec(101, &json!({})))])).await;
    assert!(why(&look, "a").contains("595 No route to host"), "{}", why(&look, "a"));
    assert!(look.incomplete.is_some(), "the others may be orphans");
    let asked = fake.take_lines().iter().filter(|line| line.contains("/pve2/")).count();
    assert!(asked <= 8, "each costs half a minute, so that the rest is not asked any more: {asked}");
}

#[tokio::test]
async fn a_wrong_node_is_told_before_anything_is_asked_of_it() {
    let (fake, kind) = serve(&world()).await;
    let specs = wanted([("a", spec(101, &json!({ "node": "pve9" })))]);
    for scope in [Scope::All, Scope::Only] {
        let look = kind.observe(scope, &specs).await;
        assert_eq!(why(&look, "a"), "making vm 101: there is no node `pve9`: declare one of `pve1`, `pve2`");
    }
    assert!(!fake.take_lines().iter().any(|line| line.contains("pve9")));
}

#[tokio::test]
async fn a_number_that_a_container_has_is_told() {
    let world = world();
    world.lock().unwrap().guests.insert(101, Guest { container: true, ..guest(&[("name", "dns")]) });
    let (_fake, kind) = serve(&world).await;
    let look = all(&kind, &wanted([("a", spec(101, &json!({})))])).await;
    assert!(why(&look, "a").contains("101 is a container (dns)"));
}

#[tokio::test]
async fn what_nobody_wants_any_more_appears_under_its_marked_name() {
    let world = world();
    {
        let mut world = world.lock().unwrap();
        world.guests.insert(101, converged(101, "a"));
        world.guests.insert(105, converged(105, "old"));
        // A clone of it that somebody made, and one of another environment.
        world.guests.insert(106, Guest { ..converged(105, "old") });
        let mut other = converged(107, "x");
        let text = other.config["description"].replace("/core/", "/kubernetes/");
        other.config.insert("description".to_owned(), text);
        world.guests.insert(107, other);
        world.guests.insert(108, guest(&[("tags", "holdfast")]));
    }
    let (_fake, kind) = serve(&world).await;
    let look = all(&kind, &wanted([("a", spec(101, &json!({})))])).await;
    assert_eq!(look.seen.keys().map(ToString::to_string).collect::<Vec<_>>(), ["a", "old"]);
    assert_eq!(state(&look, "old").0.vmid.to_string(), "105");
    assert_eq!(look.incomplete, None);
    assert_eq!(look.notices.len(), 2, "{:?}", look.notices);
    assert!(look.notices[0].starts_with("vm 106 carries a mark that was copied"));
    assert!(look.notices[1].starts_with("vm 108 has the tag"));
}

#[tokio::test]
async fn a_clone_at_a_wanted_number_is_a_copy_and_one_of_somebody_else_is_theirs() {
    let world = world();
    {
        let mut world = world.lock().unwrap();
        world.guests.insert(101, converged(100, "a"));
        let mut other = converged(102, "b");
        let text = other.config["description"].replace("home/", "cabin/");
        other.config.insert("description".to_owned(), text);
        world.guests.insert(102, other);
        world.guests.insert(103, guest(&[]));
    }
    let (_fake, kind) = serve(&world).await;
    let specs = ["a", "b", "c"].into_iter().zip(101..).map(|(text, vmid)| (text, spec(vmid, &json!({}))));
    let look = all(&kind, &wanted(specs)).await;
    assert_eq!(*state(&look, "a").1, Owner::Copied);
    assert_eq!(*state(&look, "b").1, Owner::Other("cabin/core/VirtualMachine/b".to_owned()));
    assert_eq!(*state(&look, "c").1, Owner::Nobody);
    assert_eq!(look.notices.len(), 1);
}

#[tokio::test]
async fn another_number_for_a_name_finds_the_guest_that_has_it() {
    let world = world();
    world.lock().unwrap().guests.insert(101, converged(101, "a"));
    world.lock().unwrap().guests.insert(160, guest(&[]));
    let (_fake, kind) = serve(&world).await;
    for scope in [Scope::All, Scope::Only] {
        for number in [150, 160] {
            let look = kind.observe(scope, &wanted([("a", spec(number, &json!({})))])).await;
            assert_eq!(state(&look, "a").0.vmid.to_string(), "101", "no second one is made or adopted");
        }
    }
    world.lock().unwrap().guests.get_mut(&101).unwrap().node = "pve2";
    world.lock().unwrap().nodes.insert("pve2", "offline");
    for scope in [Scope::All, Scope::Only] {
        for number in [150, 160] {
            let look = kind.observe(scope, &wanted([("a", spec(number, &json!({})))])).await;
            assert!(
                why(&look, "a").contains("vm 101 of the same name cannot be read"),
                "{}",
                why(&look, "a")
            );
        }
    }
}

#[tokio::test]
async fn a_clone_without_a_tag_keeps_a_second_one_from_being_made() {
    let world = world();
    let mut there = converged(101, "a");
    there.running = false;
    there.config.remove("tags");
    let mark = "holdfast: home/core/VirtualMachine/a@101/new";
    there.config.insert("description".to_owned(), mark.to_owned());
    world.lock().unwrap().guests.insert(101, there);
    let (_fake, kind) = serve(&world).await;
    let specs = wanted([("a", spec(150, &json!({})))]);
    for scope in [Scope::Only, Scope::All] {
        let look = kind.observe(scope, &specs).await;
        let (state, owner) = state(&look, "a");
        assert!(matches!(owner, Owner::Ours(_)), "{scope:?}: {owner:?}");
        assert_eq!(state.vmid.to_string(), "101", "{scope:?}");
    }
}

#[tokio::test]
async fn a_number_that_two_names_declare_is_nobodys() {
    let (_fake, kind) = serve(&world()).await;
    let look = all(&kind, &wanted([("a", spec(101, &json!({}))), ("b", spec(101, &json!({})))])).await;
    assert!(why(&look, "a").contains("declared by `a` and `b`") && why(&look, "b").contains("`a` and `b`"));
}

#[tokio::test]
async fn a_cluster_that_cannot_be_listed_makes_everything_unknown() {
    let (fake, kind) = serve(&world()).await;
    drop(fake);
    let look = all(&kind, &wanted([("a", spec(101, &json!({})))])).await;
    assert!(matches!(&look.seen[&name("a")], Seen::Unknown(error) if error.is_unavailable()));
    assert!(look.incomplete.is_some());
}

#[tokio::test]
async fn an_address_from_dhcp_is_the_one_of_its_own_card() {
    let world = world();
    let mut there = converged(101, "a");
    there.config.insert("agent".to_owned(), "1".to_owned());
    there.config.insert("ipconfig0".to_owned(), "ip=dhcp".to_owned());
    there.config.insert("net0".to_owned(), "virtio=BC:24:11:00:00:01,bridge=vmbr0".to_owned());
    world.lock().unwrap().guests.insert(101, there);
    let (_fake, kind) = serve(&world).await;
    let look = all(&kind, &wanted([("a", spec(101, &json!({})))])).await;
    assert_eq!(VirtualMachine::outputs(state(&look, "a").0)["address"], "10.0.0.1");
}
