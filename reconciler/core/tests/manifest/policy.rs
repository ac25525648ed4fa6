//! What an environment's file and the site's file come to, where they are in order.

use std::time::Duration;

use holdfast_core::desired::{Desired, DriftMode};
use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_core::manifest::Manifest;
use holdfast_core::schedule::Moment;

use crate::kinds::{SITE, machine, read_tree, tree};

fn id(text: &str) -> ResourceId {
    let core = EnvironmentName::new("core").expect("a label");
    ResourceId::parse_in(&core, text).expect("a resource")
}

/// Reads a site with three machines in `core` and one in `web`, its own spec, and that of `core`.
fn read(site: &str, core: &str) -> Manifest {
    let machines = ["kube01", "kube02", "kube03"].map(|name| machine(name, "", "")).join("---\n");
    let site = format!("{SITE}spec:\n  environments: [core, web]\n{site}");
    let core =
        format!("apiVersion: holdfast/v1\nkind: Environment\nmetadata: {{ name: core }}\nspec:\n{core}");
    let files = [
        ("holdfast.yaml", site.as_str()),
        ("environments/core/machines.yaml", machines.as_str()),
        ("environments/core/environment.yaml", core.as_str()),
        ("environments/web/www.yaml", &machine("www", "", "")),
    ];
    let tree = tree(&files);
    read_tree(&tree).map_err(|problems| problems.render(&tree)).expect("it is in order")
}

fn desired<'m>(manifest: &'m Manifest, environment: &str) -> &'m Desired {
    let mut all = manifest.site.environments.iter();
    all.find_map(|(name, desired)| (name.as_str() == environment).then_some(desired)).expect("it is listed")
}

#[test]
fn names_become_resources_of_their_environment() {
    let manifest = read(
        "",
        "  retire: [Machine/gone]
  protect: [Machine/kube01, Machine/left]
  moved:
    - { from: Machine/a, to: Machine/b }
    - { from: Machine/b, to: Machine/kube01 }
    - { from: Machine/c, to: core/Machine/kube02 }
",
    );
    let core = desired(&manifest, "core");
    assert_eq!(core.retire, [id("Machine/gone")].into());
    assert_eq!(core.protect, [id("Machine/kube01"), id("Machine/left")].into());
    assert_eq!(core.moved.len(), 3);
    // A chain of renames ends at what is declared.
    assert_eq!(core.known_as(&id("Machine/a")), &id("Machine/kube01"));
    assert_eq!(core.known_as(&id("Machine/c")), &id("Machine/kube02"));
    assert_eq!(core.known_as(&id("Machine/kube03")), &id("Machine/kube03"));
    let web = desired(&manifest, "web");
    assert!(web.retire.is_empty() && web.protect.is_empty() && web.moved.is_empty());
}

#[test]
fn groups_keep_their_order_and_share_members() {
    let manifest = read(
        "",
        "  groups:
    - name: servers
      members: [Machine/kube01, Machine/kube02, Machine/kube03]
      maxUnavailable: 2
      maxFailures: 3
    - { name: pair, members: [Machine/kube01, Machine/kube02] }
",
    );
    let core = desired(&manifest, "core");
    let told: Vec<_> = core
        .groups
        .iter()
        .map(|group| (group.name.as_str(), group.members.len(), group.max_unavailable, group.max_failures))
        .collect();
    assert_eq!(told, [("servers", 3, 2, 3), ("pair", 2, 1, 1)]);
    assert_eq!(core.groups_of(&id("Machine/kube01")).count(), 2);
    assert_eq!(core.groups_of(&id("Machine/kube03")).count(), 1);
}

/// 2026-11-28 22:00 UTC, a Saturday.
const SATURDAY: Moment = Moment(1_795_903_200);

#[test]
fn schedules_and_windows_are_of_the_sites_zone() {
    let manifest = read(
        "  timezone: Europe/Berlin\n",
        "  drift: { schedule: \"30 23 * * *\", mode: report }\n  maintenance: { opens: 0 23 * * SAT, lasts: 2h }\n",
    );
    let core = desired(&manifest, "core");
    let schedule = core.drift.schedule.as_ref().unwrap();
    assert_eq!((core.drift.mode, schedule.zone().name()), (DriftMode::Report, "Europe/Berlin"));
    // 22:00 UTC is 23:00 in Berlin.
    assert_eq!(schedule.next(SATURDAY), Some(Moment(SATURDAY.0 + 1_800)));
    let window = core.maintenance.as_ref().unwrap();
    assert_eq!(window.lasts, Duration::from_hours(2));
    let open = [-1, 0, 7_199, 7_200].map(|after| window.is_open(Moment(SATURDAY.0 + after)));
    assert_eq!(open, [false, true, true, false]);
    let web = desired(&manifest, "web");
    assert_eq!((web.drift.schedule.as_ref(), web.drift.mode), (None, DriftMode::Correct));
    assert_eq!(web.maintenance, None);
}

#[test]
fn without_a_zone_it_is_utc() {
    let manifest = read("", "  drift: { schedule: \"@daily\" }\n");
    let core = desired(&manifest, "core");
    let schedule = core.drift.schedule.as_ref().unwrap();
    assert_eq!(schedule.next(SATURDAY), Some(Moment(SATURDAY.0 + 7_200)));
    assert_eq!((schedule.to_string().as_str(), core.drift.mode), ("@daily", DriftMode::Correct));
}

#[test]
fn a_pause_counts_in_every_environment_and_rewinds_are_of_the_site() {
    let commit = "4F2C91B07A4f2c91b07a4f2c91b07a4f2c91b07a";
    let site = format!("  pause: >\n    the disks\n    are full\n  rewind: [{commit}]\n");
    let manifest = read(&site, "  retire: []\n");
    for environment in ["core", "web"] {
        assert_eq!(desired(&manifest, environment).pause.as_deref(), Some("the disks are full"));
    }
    assert_eq!(manifest.site.rewind, [CommitId::new(commit).unwrap()].into());
    let manifest = read("", "  retire: []\n");
    assert_eq!(desired(&manifest, "core").pause, None);
    assert!(manifest.site.rewind.is_empty());
}
