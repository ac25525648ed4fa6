//! Cases in which a name, a mark or a field that cannot change was taken for another object.

use super::Incident;
use crate::faults::FaultKind;
use crate::home::Home;
use crate::scenarios::home::{core, guest, is_there, object, policies, small, workers};
use crate::scenarios::script::Scenario;
use crate::wire::Port;
use crate::workload::sketch::{GUEST, name};

pub(super) fn all() -> Vec<Incident> {
    vec![flux2_3316(), kustomize_controller_315(), bpg_1636(), bpg_103(), bpg_734(), spotify()]
}

/// flux2#3316 and #2421, <https://github.com/fluxcd/flux2/issues/3316>: renaming a Kustomization deletes everything in it, and
/// that is "expected". Here: a guest and the host on it are renamed by `moved:`; and then without it.
fn flux2_3316() -> Incident {
    Incident {
        name: "flux2#3316",
        link: "https://github.com/fluxcd/flux2/issues/3316",
        there: "a rename deleted everything",
        scenario: Scenario::of("flux2#3316", workers())
            .commit("g3 is called web", |home| {
                let room = core(home);
                room.groups.clear();
                let guest = room.guests.remove(&name("g3")).expect("it is there");
                room.guests.insert(name("web"), guest);
                room.moved.insert((GUEST, name("g3")), name("web"));
            })
            .converges()
            .all_stands()
            .commit("g2 is called db, and nobody says so", |home| {
                let guest = core(home).guests.remove(&name("g2")).expect("it is there");
                core(home).guests.insert(name("db"), guest);
            })
            .holds("core", "is managed as")
            .waits(86_400)
            .all_stands(),
    }
}

/// Somebody copies the notes of vm 101, and the mark in them, onto vm 777, which is theirs.
fn copy_mark(home: &Home) {
    home.proxmox.with(|cluster| {
        let notes = cluster.guest(101).and_then(|guest| guest.value("description")).map(str::to_owned);
        cluster.set(777, "description", &notes.unwrap_or_default());
        cluster.set(777, "tags", "holdfast");
    });
}

/// kustomize-controller#315, <https://github.com/fluxcd/kustomize-controller/issues/315>: operators copied the labels of the
/// garbage collection to their children, and a Kafka cluster was deleted. Here: a stranger's guest and a stranger's
/// policy carry our marks, word for word, and what those name is retired.
fn kustomize_controller_315() -> Incident {
    Incident {
        name: "kustomize-controller#315",
        link: "https://github.com/fluxcd/kustomize-controller/issues/315",
        there: "copied labels had a Kafka cluster deleted",
        scenario: Scenario::of("kustomize-controller#315", small())
            .somebody("copies the notes of vm 101 onto vm 777", copy_mark)
            .somebody("copies the policy p1 to kafka", |home| {
                home.vault.with(|vault| {
                    let text = vault.text("p1").unwrap_or_default().to_owned();
                    vault.put("kafka", &text);
                });
            })
            .begins()
            .commit("g1 is retired, and p1 goes", |home| {
                let room = core(home);
                room.applications.clear();
                room.hosts.clear();
                room.guests.clear();
                room.policies.remove(&name("p1"));
                room.retire.insert((GUEST, name("g1")));
            })
            .waits(7_200)
            .asks("the stranger's guest stands", |home| is_there(home, Port::Proxmox, "777"))
            .asks("the stranger's policy stands", |home| is_there(home, Port::Vault, "kafka"))
            .asks("what was deployed stands", |home| is_there(home, Port::Vault, "by-hand")),
    }
}

/// bpg#1636, #1138, #1515, #2071, <https://github.com/bpg/terraform-provider-proxmox/issues/1636>: an edit of cloud-init, a
/// parameter of EFI, another node: the guest is destroyed and made anew. Here: each sort of field that cannot change
/// in place, and one of cloud-init, which can.
fn bpg_1636() -> Incident {
    Incident {
        name: "bpg#1636",
        link: "https://github.com/bpg/terraform-provider-proxmox/issues/1636",
        there: "an edit of cloud-init destroyed the guest, and made another",
        scenario: Scenario::of("bpg#1636", workers())
            .commit("another address", |home| guest(home, "g1").address = (1, 77))
            .converges()
            .all_stands()
            .commit("another template", |home| guest(home, "g1").template = 9_001)
            .converges()
            .all_stands()
            .commit("another number", |home| guest(home, "g1").vmid = 155)
            .holds("core", "cannot become vm")
            .waits(86_400)
            .all_stands(),
    }
}

/// bpg#103, <https://github.com/bpg/terraform-provider-proxmox/issues/103>: a disk was added, or became smaller: destroyed and
/// made anew. Here: a disk is to shrink, and a disk that somebody added by hand stays.
fn bpg_103() -> Incident {
    Incident {
        name: "bpg#103",
        link: "https://github.com/bpg/terraform-provider-proxmox/issues/103",
        there: "another disk destroyed the guest, and made another",
        scenario: Scenario::of("bpg#103", workers())
            .somebody("adds a disk to vm 101", |home| {
                home.proxmox.with(|cluster| cluster.set(101, "scsi1", "local:vm-101-disk-9,size=8G"));
            })
            .begins()
            .commit("two cores", |home| guest(home, "g1").cores = 2)
            .converges()
            .all_stands()
            .commit("the disk is to shrink", |home| guest(home, "g1").disk = 8)
            .holds("core", "would shrink")
            .waits(86_400)
            .all_stands(),
    }
}

/// bpg#734, <https://github.com/bpg/terraform-provider-proxmox/issues/734>: a step failed right after the guest was made; it was
/// "tainted", and made again next time. Here: the service dies right after the clone, and the write after it fails.
fn bpg_734() -> Incident {
    let once = |home: &Home| {
        let lives = home.checks.lives();
        let (made, gone) = lives.get(&(Port::Proxmox, "104".to_owned())).copied().unwrap_or_default();
        ((made, gone) != (1, 0)).then(|| format!("vm 104 came {made} times, and went {gone} times"))
    };
    let another = |home: &mut crate::workload::Sketch| {
        core(home).guests.insert(name("g4"), crate::scenarios::home::new_guest(4));
    };
    Incident {
        name: "bpg#734",
        link: "https://github.com/bpg/terraform-provider-proxmox/issues/734",
        there: "a failure right after the guest was made had it made again",
        scenario: Scenario::of("bpg#734", workers())
            .strikes_write(Port::Proxmox, FaultKind::CrashAfter, 1)
            .commit("another guest", another)
            .waits(120)
            .strikes_write(Port::Proxmox, FaultKind::ErrorBefore, 1)
            .converges()
            .all_stands()
            .asks("it was made once", once)
            .asks("it is marked", |home| {
                let marked = object(home, Port::Proxmox, "104").is_some_and(|guest| guest.mark.is_some());
                (!marked).then(|| "vm 104 has no mark".to_owned())
            }),
    }
}

/// Spotify (`KubeCon` Europe 2019, "How Spotify accidentally deleted all its Kube clusters with no user impact"),
/// <https://www.youtube.com/watch?v=ix0Tw8uinWs>: most production clusters deleted, twice. Here: everything that holds data
/// leaves the repository at once, though something else stays; and the whole environment does.
fn spotify() -> Incident {
    Incident {
        name: "spotify-2019",
        link: "https://www.youtube.com/watch?v=ix0Tw8uinWs",
        there: "most production clusters were deleted, twice",
        scenario: Scenario::of("spotify-2019", workers())
            .commit("no guests", |home| {
                let room = core(home);
                room.guests.clear();
                room.groups.clear();
            })
            .holds("core", "may hold data")
            .waits(86_400)
            .all_stands()
            .commit("another environment only", |home| {
                home.rooms.clear();
                let lab = home.rooms.entry(crate::scenarios::home::environment("lab")).or_default();
                *lab = core(&mut policies(0)).clone();
                lab.policies.insert(name("p9"), crate::scenarios::home::new_policy("p9"));
            })
            .converges()
            .waits(86_400)
            .all_stands(),
    }
}
