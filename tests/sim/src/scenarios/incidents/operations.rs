//! Cases in which the tool's own state, an old plan, a blank value or a bad commit did the damage.

use std::time::Duration;

use super::Incident;
use crate::events::Event;
use crate::scenarios::home::{applications, core, guest, is_there, object, policies, policy, small, workers};
use crate::scenarios::script::Scenario;
use crate::wire::Port;
use crate::workload::Body;
use crate::workload::sketch::name;

pub(super) fn all() -> Vec<Incident> {
    vec![
        data_talks(),
        uni_super(),
        posit_ptd_90(),
        aws_dynamo_db(),
        aws_dynamo_db_long_after(),
        google_cloud(),
    ]
}

/// `DataTalks.Club` (February 2026), <https://alexeyondata.substack.com/p/how-i-dropped-our-production-database>: the state file
/// was missing on a new laptop; then destroy: 1,943,200 rows and the automatic snapshots. Here: the service starts on a
/// new disk, without journal and mirror, just as a commit comes that renders to little.
fn data_talks() -> Incident {
    Incident {
        name: "DataTalks-2026",
        link: "https://alexeyondata.substack.com/p/how-i-dropped-our-production-database",
        there: "a state file was missing on a new laptop, and the database was destroyed",
        scenario: Scenario::of("DataTalks-2026", {
            let mut home = workers();
            core(&mut home).policies.extend(core(&mut policies(6)).policies.clone());
            home
        })
        .somebody("moves the service to a new machine", |home| home.machines[0].mirror.lose())
        .happens(Event::JournalLost)
        .commit("one guest, and one policy", |home| {
            let room = core(home);
            room.groups.clear();
            room.guests.retain(|one, _| one.as_str() == "g1");
            room.policies.retain(|one, _| one.as_str() == "p1");
        })
        .holds("core", "may hold data")
        .waits(86_400)
        .all_stands(),
    }
}

/// `UniSuper` on Google Cloud (May 2024),
/// <https://cloud.google.com/blog/products/infrastructure/details-of-google-cloud-gcve-incident>: one blank parameter, and the
/// private cloud was deleted a year later. Here: a commit with a blank field is refused, and then a week passes.
fn uni_super() -> Incident {
    Incident {
        name: "UniSuper-2024",
        link: "https://cloud.google.com/blog/products/infrastructure/details-of-google-cloud-gcve-incident",
        there: "one blank parameter deleted a private cloud a year later",
        scenario: Scenario::of("UniSuper-2024", small())
            .bad("a blank field", Body::Invalid)
            .refuses("`cores` is missing")
            .waits(7 * 86_400)
            .all_stands(),
    }
}

/// posit-dev/ptd#90 (January 2026), <https://github.com/posit-dev/ptd/issues/90>: from kustomize to Helm; CRDs were deleted, and
/// with them their objects. Here: an Application leaves on which somebody put the cascade; what it deployed stays.
fn posit_ptd_90() -> Incident {
    let deployed = |home: &crate::home::Home| {
        let there = home.kubernetes.read(crate::model::Model::objects);
        let stands = there.values().any(|one| one.protected && one.identity.contains("a2"));
        (!stands).then(|| format!("what a2 deployed is gone: {:?}", there.keys().collect::<Vec<_>>()))
    };
    Incident {
        name: "posit-dev/ptd#90",
        link: "https://github.com/posit-dev/ptd/issues/90",
        there: "a change of the tool deleted CRDs, and their objects with them",
        scenario: Scenario::of("posit-dev/ptd#90", applications(3))
            .somebody("adds the cascade to a2", |home| home.kubernetes.with(|one| one.add_cascade("a2")))
            .begins()
            .asks("it deployed something", deployed)
            .commit("a2 goes, for a chart", |home| drop(core(home).applications.remove(&name("a2"))))
            .converges()
            .all_stands_but(&[(Port::Kubernetes, "a2")])
            .asks("what it deployed stands", deployed),
    }
}

/// AWS `DynamoDB` DNS (19 and 20 October 2025), <https://aws.amazon.com/message/101925/>: a late worker wrote an older plan,
/// another's clean-up deleted it; the record was empty, and nothing repaired it. Here: a process stands still in the
/// middle of a commit, another takes over and begins a newer one, and the first wakes with its plan meanwhile.
fn aws_dynamo_db() -> Incident {
    Incident {
        name: "aws-dynamodb-2025",
        link: "https://aws.amazon.com/message/101925/",
        there: "a late worker wrote an older plan, and another deleted it",
        scenario: woken("aws-dynamodb-2025", 1_860),
    }
}

/// The same; it wakes when the other one has long been done, and has given the lease up.
fn aws_dynamo_db_long_after() -> Incident {
    Incident {
        name: "aws-dynamodb-2025, long after",
        scenario: woken("aws-dynamodb-2025, long after", 5_400),
        ..aws_dynamo_db()
    }
}

fn woken(name: &'static str, after: u64) -> Scenario {
    let cores = |home: &mut crate::workload::Sketch, count| {
        core(home).guests.values_mut().for_each(|one| one.cores = count);
    };
    Scenario::of(name, workers())
        .on_two_machines()
        .happens(Event::SecondStarts)
        .commit("two cores each", move |home| cores(home, 2))
        .waits(5)
        .happens(Event::Pause(Duration::from_secs(after)))
        .waits(1_800)
        .commit("three cores each", move |home| cores(home, 3))
        .converges()
        .waits(7_200)
        .converges()
        .all_stands()
        .asks("nobody wrote the older plan", |home| {
            let cores = |vmid: &u32| {
                home.proxmox.read(|cluster| {
                    cluster.guest(*vmid).and_then(|one| one.value("cores").map(str::to_owned))
                })
            };
            let old = (101..=103).find(|vmid| cores(vmid).as_deref() != Some("3"));
            old.map(|vmid| format!("vm {vmid} has not three cores"))
        })
}

/// Google Cloud (12 June 2025), <https://status.cloud.google.com/incidents/ow5i3PPK96RduMcb1SsW>: blank fields of a policy and no
/// handling of the error: a crash loop everywhere, for up to 2 h 40 min. Here: a commit kills whoever reads it; the last
/// good one is kept in force, drift is corrected meanwhile, and a restart changes nothing in that.
fn google_cloud() -> Incident {
    Incident {
        name: "google-cloud-2025",
        link: "https://status.cloud.google.com/incidents/ow5i3PPK96RduMcb1SsW",
        there: "a blank field put everything into a crash loop",
        scenario: Scenario::of("google-cloud-2025", small())
            .bad("poison", Body::Kills)
            .refuses("push another one")
            .happens(Event::Restart)
            .somebody("deletes the policy p2", |home| home.vault.with(|vault| vault.remove("p2")))
            .waits(7_200)
            .asks("the last good commit is in force", |home| is_there(home, Port::Vault, "p2"))
            .asks("the guest runs", |home| {
                let well = object(home, Port::Proxmox, "101").is_some_and(|guest| guest.healthy);
                (!well).then(|| "vm 101 is not well".to_owned())
            })
            .commit("a good one", |home| {
                policy(home, "p1").writes = true;
                "well again".clone_into(&mut guest(home, "g1").description);
            })
            .converges(),
    }
}
