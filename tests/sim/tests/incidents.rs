//! The destruction cases of the field, replayed: none of them is reproduced.

use holdfast_sim::faults::Faults;
use holdfast_sim::scenarios::{incidents, play};

fn is_not_reproduced(name: &str) {
    let incident = incidents::named(name).expect("there is such a case");
    let end = play(&incident.scenario, Faults::none(0), true);
    let shown = &end.trace[end.trace.len().saturating_sub(60)..];
    assert!(end.breaches.is_empty(), "{name}: {:?}\n{}", end.breaches, shown.join("\n"));
}

macro_rules! cases {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            is_not_reproduced($name);
        })*

        #[test]
        fn every_case_has_its_test() {
            let tested = [$($name),*];
            let all: Vec<&str> = incidents::all().iter().map(|incident| incident.name).collect();
            assert_eq!(all, tested);
        }
    };
}

cases! {
    an_unreadable_repository_deletes_nothing: "argo-cd#3473",
    a_list_that_fails_deletes_nothing: "argo-cd#18480",
    a_small_edit_does_not_delete_most: "argo-cd#9227",
    old_and_empty_lists_delete_nothing: "argo-cd#14090",
    an_overlay_that_renders_to_nothing_deletes_nothing: "shared-overlay-2024",
    a_rename_deletes_nothing: "flux2#3316",
    a_copied_mark_marks_nothing: "kustomize-controller#315",
    what_cannot_change_is_not_made_anew: "bpg#1636",
    a_disk_is_not_made_anew: "bpg#103",
    a_half_made_guest_is_continued: "bpg#734",
    guests_that_leave_the_repository_stay: "spotify-2019",
    lost_state_destroys_nothing: "DataTalks-2026",
    a_blank_field_is_refused_and_age_deletes_nothing: "UniSuper-2024",
    what_an_application_deployed_stays: "posit-dev/ptd#90",
    an_old_plan_is_not_carried_out: "aws-dynamodb-2025",
    an_old_plan_is_not_carried_out_long_after: "aws-dynamodb-2025, long after",
    a_poison_commit_ends_nothing: "google-cloud-2025",
}
