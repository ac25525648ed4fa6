//! Scenarios of policies and applications: prunes, brakes, references, and environments side by side.

use super::home::{
    core, environment, guest, is_gone, is_there, new_policy, policies, policy, small, two_rooms,
};
use super::script::Scenario;
use crate::wire::Port;
use crate::workload::Sketch;
use crate::workload::sketch::{POLICY, name};

pub(super) fn all() -> Vec<Scenario> {
    [prunes(), brakes(), side_by_side()].concat()
}

fn without_application(home: &mut Sketch) {
    core(home).applications.remove(&name("a2"));
}

fn prunes() -> Vec<Scenario> {
    vec![
        Scenario::of("a policy changes", small())
            .commit("p1 writes", |home| policy(home, "p1").writes = true)
            .converges()
            .all_stands(),
        Scenario::of("a policy is pruned", small())
            .commit("p2 goes", |home| drop(core(home).policies.remove(&name("p2"))))
            .converges()
            .all_stands_but(&[(Port::Vault, "p2")]),
        Scenario::of("a policy leaves that is protected", small())
            .commit("p2 is left out", |home| {
                core(home).policies.remove(&name("p2"));
                core(home).protect.insert((POLICY, name("p2")));
            })
            .holds("core", "`protect:` keeps it")
            .all_stands(),
        Scenario::of("an application is pruned", small())
            .commit("a2 goes", without_application)
            .converges()
            .all_stands_but(&[(Port::Kubernetes, "a2")]),
        Scenario::of("an application with a cascade is pruned", small())
            .somebody("adds the cascade to a2", |home| home.kubernetes.with(|one| one.add_cascade("a2")))
            .commit("a2 goes", without_application)
            .converges()
            .all_stands_but(&[(Port::Kubernetes, "a2")]),
        Scenario::of("an application gets another revision", small())
            .commit("v2", |home| {
                if let Some(one) = core(home).applications.get_mut(&name("a2")) {
                    "v2".clone_into(&mut one.revision);
                }
            })
            .converges()
            .all_stands(),
    ]
}

fn brakes() -> Vec<Scenario> {
    let most_go = |home: &mut Sketch| core(home).policies.retain(|one, _| one.as_str() == "p1");
    vec![
        Scenario::of("the brake holds, and what goes is named", policies(6))
            .commit("all but one policy go", most_go)
            .holds("core", "in one commit")
            .all_stands()
            .commit("and are named", |home| {
                let gone = (2..=6).map(|at| (POLICY, name(&format!("p{at}"))));
                core(home).retire.extend(gone);
            })
            .converges()
            .asks("they are gone", |home| is_gone(home, Port::Vault, "p2")),
        Scenario::of("an environment declares nothing", policies(2))
            .commit("nothing at all", |home| *core(home) = crate::workload::Room::default())
            .holds("core", "declares nothing at all")
            .all_stands()
            .revert()
            .converges()
            .all_stands(),
        Scenario::of("somebody deletes a policy", policies(3))
            .somebody("deletes p2", |home| home.vault.with(|vault| vault.remove("p2")))
            .converges()
            .asks("it is back", |home| is_there(home, Port::Vault, "p2")),
        Scenario::of("a stranger has the name of a new policy", policies(2))
            .somebody("writes a policy p3", |home| {
                home.vault.with(|one| one.put("p3", "path \"theirs\" {\n  capabilities = [\"read\"]\n}\n"));
            })
            .commit("p3 comes", |home| drop(core(home).policies.insert(name("p3"), new_policy("p3"))))
            .converges()
            .all_stands(),
    ]
}

fn side_by_side() -> Vec<Scenario> {
    let lab = |home: &mut Sketch| {
        let room = home.rooms.entry(environment("lab")).or_default();
        room.guests.values_mut().for_each(|guest| guest.cores = 2);
    };
    vec![
        Scenario::of_nothing("two environments, one needs the other")
            .commit("the home", |home| *home = two_rooms())
            .converges(),
        Scenario::of("two environments change at once", two_rooms())
            .commit("two cores each", move |home| {
                guest(home, "g1").cores = 2;
                lab(home);
            })
            .converges()
            .all_stands(),
        Scenario::of("one environment is held, the other goes on", two_rooms())
            .commit("a disk is to shrink, and cores in the lab", move |home| {
                guest(home, "g1").disk = 8;
                lab(home);
            })
            .holds("core", "would shrink")
            .revert()
            .converges()
            .all_stands(),
    ]
}
