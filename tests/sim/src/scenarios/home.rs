//! The small homes that scenarios begin with, and short ways to say what of them changes.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::EnvironmentName;

use crate::home::Home;
use crate::model::Object;
use crate::wire::Port;
use crate::workload::sketch::{Application, GUEST, HOST, Host, Policy, TEMPLATE, name};
use crate::workload::{Guest, Room, Sketch};

pub(super) fn environment(name: &str) -> EnvironmentName {
    EnvironmentName::new(name).expect("scenarios have valid names")
}

/// A guest with the number 100 and something.
pub(super) fn new_guest(at: u32) -> Guest {
    Guest {
        vmid: 100 + at,
        template: TEMPLATE,
        cores: 1,
        memory: 1024,
        disk: 16,
        address: (1, 10 + at),
        description: format!("guest {at}"),
        tags: BTreeSet::new(),
        password: false,
        reboots: true,
    }
}

pub(super) fn new_host(guest: &str) -> Host {
    Host {
        guest: name(guest),
        files: BTreeMap::from([
            ("/etc/motd".to_owned(), "welcome\n".to_owned()),
            ("/etc/app/app.conf".to_owned(), "mode = 1\n".to_owned()),
        ]),
        secret: false,
        packages: BTreeSet::from(["curl".to_owned()]),
        service: true,
    }
}

pub(super) fn new_policy(what: &str) -> Policy {
    Policy { path: format!("kv/data/{what}/*"), writes: false, needs: BTreeSet::new() }
}

pub(super) fn new_application(what: &str) -> Application {
    Application { path: format!("apps/{what}"), revision: "main".to_owned(), needs: BTreeSet::new() }
}

fn of_core(room: Room) -> Sketch {
    Sketch { rooms: BTreeMap::from([(environment("core"), room)]), ..Sketch::default() }
}

/// One of each: the guest `g1`, which is the host `g1`, the policies `p1` and `p2`, and the applications `a1`, which
/// needs the host, and `a2`.
pub(super) fn small() -> Sketch {
    let mut room = Room::default();
    room.guests.insert(name("g1"), new_guest(1));
    room.hosts.insert(name("g1"), new_host("g1"));
    room.policies.extend(["p1", "p2"].map(|one| (name(one), new_policy(one))));
    room.applications.extend(["a1", "a2"].map(|one| (name(one), new_application(one))));
    if let Some(first) = room.applications.get_mut(&name("a1")) {
        first.needs.insert(name("g1"));
    }
    of_core(room)
}

/// Three guests that are a group.
pub(super) fn workers() -> Sketch {
    let mut room = Room::default();
    room.guests.extend((1..=3).map(|at| (name(&format!("g{at}")), new_guest(at))));
    room.groups.insert(name("workers"), (GUEST, room.guests.keys().cloned().collect()));
    room.policies.insert(name("p1"), new_policy("p1"));
    of_core(room)
}

/// Two guests that are hosts, and a group as those.
pub(super) fn servers() -> Sketch {
    let mut room = Room::default();
    room.guests.extend((1..=2).map(|at| (name(&format!("g{at}")), new_guest(at))));
    room.hosts.extend(["g1", "g2"].map(|one| (name(one), new_host(one))));
    room.groups.insert(name("servers"), (HOST, room.hosts.keys().cloned().collect()));
    of_core(room)
}

/// Policies alone, so many.
pub(super) fn policies(count: usize) -> Sketch {
    let mut room = Room::default();
    room.policies.extend((1..=count).map(|at| {
        let one = format!("p{at}");
        (name(&one), new_policy(&one))
    }));
    of_core(room)
}

/// Applications alone, so many.
pub(super) fn applications(count: usize) -> Sketch {
    let mut room = Room::default();
    room.applications.extend((1..=count).map(|at| {
        let one = format!("a{at}");
        (name(&one), new_application(&one))
    }));
    of_core(room)
}

/// `small`, and beside it `lab` with a guest and a policy that needs the guest of `core`.
pub(super) fn two_rooms() -> Sketch {
    let mut sketch = small();
    let mut room = Room::default();
    room.guests.insert(name("g9"), Guest { address: (2, 19), ..new_guest(9) });
    let needs = BTreeSet::from([(Some(environment("core")), GUEST, name("g1"))]);
    room.policies.insert(name("p9"), Policy { needs, ..new_policy("p9") });
    sketch.rooms.insert(environment("lab"), room);
    sketch
}

pub(super) fn core(sketch: &mut Sketch) -> &mut Room {
    sketch.rooms.entry(environment("core")).or_default()
}

pub(super) fn guest<'a>(sketch: &'a mut Sketch, one: &str) -> &'a mut Guest {
    core(sketch).guests.get_mut(&name(one)).expect("the home has that guest")
}

pub(super) fn host<'a>(sketch: &'a mut Sketch, one: &str) -> &'a mut Host {
    core(sketch).hosts.get_mut(&name(one)).expect("the home has that host")
}

pub(super) fn policy<'a>(sketch: &'a mut Sketch, one: &str) -> &'a mut Policy {
    core(sketch).policies.get_mut(&name(one)).expect("the home has that policy")
}

/// What stands under a key of a system.
pub(super) fn object(home: &Home, port: Port, key: &str) -> Option<Object> {
    let stand = home.stands().into_iter().find(|one| one.port() == port)?;
    stand.objects().get(key).cloned()
}

/// Says so where something does not stand.
pub(super) fn is_there(home: &Home, port: Port, key: &str) -> Option<String> {
    object(home, port, key).is_none().then(|| format!("{port:?} {key} is gone"))
}

/// Says so where something stands.
pub(super) fn is_gone(home: &Home, port: Port, key: &str) -> Option<String> {
    object(home, port, key).map(|_| format!("{port:?} {key} is there"))
}
