//! Removals, and what came between a look and what was planned from it.

use super::*;

/// As the planner writes it, whatever finalizers there are.
fn deletion(cluster: &Cluster, app: &str) -> Step {
    let App { uid, resource_version, .. } = &cluster.apps[app];
    Step::Delete { name: app.to_owned(), uid: uid.clone(), resource_version: resource_version.to_string() }
}

#[test]
fn a_crash_between_the_steps_of_a_removal_spares_what_was_deployed() {
    for crashes in [false, true] {
        let mut cluster = Cluster::new();
        let cascading = want("web", |manifest| manifest["metadata"]["finalizers"] = json!([CASCADE]));
        settle(&mut cluster, "web", Some(&cascading));
        assert_eq!(cluster.apps["web"].finalizers, [CASCADE]);
        let deployed = cluster.objects()["web/web"].clone();
        let (end, writes) = drive(&mut cluster, "web", None, HOUR, crashes);
        assert_eq!((end, writes), (Next::Settled, 2));
        assert_eq!(cluster.objects(), BTreeMap::from([("web/web".to_owned(), deployed)]));
    }
}

#[test]
fn a_cascade_destroys_what_was_deployed_and_takes_its_time() {
    let mut cluster = Cluster::new();
    settle(&mut cluster, "web", Some(&plain("web")));
    cluster
        .edit("web", "kubectl-edit", |document| document["metadata"]["finalizers"] = json!([CASCADE, "x/y"]));
    let delete = deletion(&cluster, "web");
    perform(&mut cluster, "web", &delete).unwrap();
    assert!(!cluster.objects().contains_key("web/web"), "it is as good as gone");
    assert!(matches!(next(&cluster, "web", Some(&plain("web"))), Next::Wait(_)));
    cluster.advance(cluster.now + HOUR);
    assert_eq!(cluster.apps["web"].finalizers, ["x/y"], "another finalizer holds it");
    cluster.mend();
    assert!(!cluster.apps.contains_key("web"));
}

#[test]
fn writes_about_what_moved_on_are_refused() {
    let mut cluster = Cluster::new();
    let cascading = want("web", |manifest| manifest["metadata"]["finalizers"] = json!([CASCADE]));
    settle(&mut cluster, "web", Some(&cascading));
    let Next::Do(steps) = next(&cluster, "web", None) else { panic!() };
    cluster.advance(cluster.now + 5 * MINUTE);
    let before = cluster.clone();
    assert!(perform(&mut cluster, "web", &steps[0]).unwrap_err().is_unavailable(), "argo wrote its status");
    let mut other = deletion(&cluster, "web");
    let Step::Delete { uid, .. } = &mut other else { panic!() };
    "uid-other".clone_into(uid);
    assert!(perform(&mut cluster, "web", &other).unwrap_err().is_unavailable());
    let wrong = Step::Apply {
        name: "web".to_owned(),
        uid: None,
        object: json!({ "metadata": {}, "spec": { "project": "x", "destination": {}, "sourec": {} } }),
        changes: Vec::new(),
    };
    let error = perform(&mut cluster, "web", &wrong).unwrap_err();
    assert!(
        !error.is_unavailable() && error.to_string().contains("unknown field \"spec.sourec\""),
        "{error}"
    );
    assert_eq!(cluster, before);
    for step in steps {
        assert!(perform(&mut Cluster::new(), "web", &step).is_ok(), "gone is done");
    }
}

#[test]
fn a_cascade_that_came_since_the_look_is_not_set_off() {
    let mut cluster = Cluster::new();
    settle(&mut cluster, "web", Some(&plain("web")));
    let Next::Do(late) = next(&cluster, "web", None) else { panic!() };
    let cascade = |cluster: &mut Cluster| {
        cluster.edit("web", "kubectl-edit", |document| document["metadata"]["finalizers"] = json!([CASCADE]));
    };
    cascade(&mut cluster);
    assert!(perform(&mut cluster, "web", &late[0]).unwrap_err().is_unavailable());
    let Next::Do(keep) = next(&cluster, "web", None) else { panic!() };
    assert!(matches!(keep[..], [Step::KeepResources { .. }]), "{keep:?}");
    perform(&mut cluster, "web", &keep[0]).unwrap();
    cascade(&mut cluster);
    assert!(
        perform(&mut cluster, "web", &late[0]).unwrap_err().is_unavailable(),
        "nor by one that comes late"
    );
    assert_eq!(settle(&mut cluster, "web", None), 2);
    assert_eq!(cluster.objects().keys().collect::<Vec<_>>(), ["web/web"]);
}

#[test]
fn what_somebody_made_anew_is_not_written_to() {
    let mut cluster = Cluster::new();
    settle(&mut cluster, "web", Some(&plain("web")));
    let other = want("web", |manifest| manifest["metadata"]["labels"]["team"] = json!("shed"));
    let Next::Do(update) = next(&cluster, "web", Some(&other)) else { panic!() };
    cluster.delete("web", None).unwrap();
    assert!(perform(&mut cluster, "web", &update[0]).unwrap_err().is_unavailable());
    cluster.create("web", &plain_spec("web"), &[]);
    let theirs = cluster.objects();
    assert!(perform(&mut cluster, "web", &update[0]).unwrap_err().is_unavailable());
    assert_eq!(cluster.objects(), theirs);
}
