//! Cases in which something could not be read, or was read wrong, and was taken for gone.

use super::Incident;
use crate::events::Event;
use crate::faults::FaultKind;
use crate::scenarios::home::{applications, core, is_there, policies, policy};
use crate::scenarios::script::Scenario;
use crate::wire::Port;
use crate::workload::Room;
use crate::workload::sketch::name;

pub(super) fn all() -> Vec<Incident> {
    vec![argo_cd_3473(), argo_cd_18480(), argo_cd_9227(), argo_cd_14090(), shared_overlay()]
}

/// argo-cd#3473 (2020), <https://github.com/argoproj/argo-cd/issues/3473>: the forge was degraded and charts could not be
/// read; all Applications of staging and production were deleted. Here: a commit arrives while the repository breaks off
/// every answer and the cluster answers nothing; then the repository alone comes back.
fn argo_cd_3473() -> Incident {
    Incident {
        name: "argo-cd#3473",
        link: "https://github.com/argoproj/argo-cd/issues/3473",
        there: "the forge was degraded, and all applications were deleted",
        scenario: Scenario::of("argo-cd#3473", applications(6))
            .happens(Event::Truncated(true))
            .happens(Event::Down(Port::Kubernetes))
            .commit("a1 gets another path", |home| {
                let one = core(home).applications.get_mut(&name("a1")).expect("it is there");
                "apps/other".clone_into(&mut one.path);
            })
            .waits(3_600)
            .all_stands()
            .happens(Event::Truncated(false))
            .waits(3_600)
            .tells("connection refused")
            .all_stands()
            .happens(Event::Up(Port::Kubernetes))
            .converges()
            .all_stands(),
    }
}

/// argo-cd#18480 (2024), <https://github.com/argoproj/argo-cd/issues/18480>: an error while clusters were listed, and every
/// generated Application was deleted. Here: the list of Applications fails while a commit drops one of them.
fn argo_cd_18480() -> Incident {
    Incident {
        name: "argo-cd#18480",
        link: "https://github.com/argoproj/argo-cd/issues/18480",
        there: "a list failed, and every generated application was deleted",
        scenario: Scenario::of("argo-cd#18480", applications(6))
            .happens(Event::Down(Port::Kubernetes))
            .commit("a6 goes", |home| drop(core(home).applications.remove(&name("a6"))))
            .waits(7_200)
            .all_stands()
            .happens(Event::Up(Port::Kubernetes))
            .converges()
            .all_stands_but(&[(Port::Kubernetes, "a6")]),
    }
}

/// argo-cd#9227 (2022), <https://github.com/argoproj/argo-cd/issues/9227>: a small edit of an `ApplicationSet`, "deleting most
/// of our production clusters". Here: a commit that drops nine of ten policies.
fn argo_cd_9227() -> Incident {
    Incident {
        name: "argo-cd#9227",
        link: "https://github.com/argoproj/argo-cd/issues/9227",
        there: "a small edit deleted most production clusters",
        scenario: Scenario::of("argo-cd#9227", policies(10))
            .commit("a filter is wrong", |home| core(home).policies.retain(|one, _| one.as_str() == "p1"))
            .holds("core", "in one commit")
            .tells("in one commit")
            .waits(86_400)
            .all_stands(),
    }
}

/// argo-cd#14090 and #15058, <https://github.com/argoproj/argo-cd/issues/14090>: a race of caches; automatic pruning removed
/// objects that were still in git. Here: while a commit is converged to, lists are empty, older than the last write, or
/// miss one entry.
fn argo_cd_14090() -> Incident {
    let others = |home: &mut crate::workload::Sketch, path: &str| {
        for one in core(home).applications.values_mut() {
            path.clone_into(&mut one.path);
        }
    };
    Incident {
        name: "argo-cd#14090",
        link: "https://github.com/argoproj/argo-cd/issues/14090",
        there: "a race of caches pruned what was still in git",
        scenario: Scenario::of("argo-cd#14090", applications(6))
            .strikes(Port::Kubernetes, FaultKind::Empty, 6)
            .commit("other paths", move |home| others(home, "apps/one"))
            .waits(3_600)
            .strikes(Port::Kubernetes, FaultKind::Stale, 12)
            .commit("other paths again", move |home| others(home, "apps/two"))
            .waits(3_600)
            .strikes(Port::Kubernetes, FaultKind::Short, 12)
            .commit("and again", move |home| others(home, "apps/three"))
            .converges()
            .all_stands()
            .asks("the first stands", |home| is_there(home, Port::Kubernetes, "a1")),
    }
}

/// A company's shared `GitOps` repository (2024): a bad overlay rendered to nothing, member Applications were deleted, and
/// there was an outage. Here: an environment that declares nothing at all, and one that declares hardly anything.
fn shared_overlay() -> Incident {
    Incident {
        name: "shared-overlay-2024",
        link: "",
        there: "a bad overlay deleted member applications",
        scenario: Scenario::of("shared-overlay-2024", applications(8))
            .commit("the overlay renders to nothing", |home| *core(home) = Room::default())
            .holds("core", "declares nothing at all")
            .waits(86_400)
            .all_stands()
            .commit("the overlay renders to one policy", |home| {
                let with_one = policies(1);
                *home = with_one;
                policy(home, "p1").writes = true;
            })
            .holds("core", "in one commit")
            .waits(86_400)
            .all_stands(),
    }
}
