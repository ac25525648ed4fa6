//! Server-side apply: who owns what, and what is refused.

use serde_json::{Value, json};

use super::{ADMIN_TOKEN, APPS, application, apply, as_user, cluster, get, merge};

fn managers(object: &Value) -> Vec<String> {
    let list = object["metadata"]["managedFields"].as_array().unwrap().iter();
    list.map(|entry| {
        format!("{} {}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn applying_creates_and_records_the_fields_of_the_manager() {
    let cluster = cluster().await;
    let made = apply(&cluster, "holdfast", "", &application("media")).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let object = made.json();
    assert_eq!(object["metadata"]["generation"], 1);
    assert!(object["metadata"]["uid"].as_str().is_some_and(|uid| uid.len() == 36));
    assert_eq!(managers(&object), ["holdfast Apply"]);
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(entry["apiVersion"], "argoproj.io/v1alpha1");
    assert_eq!(entry["fieldsType"], "FieldsV1");
    assert_eq!(
        entry["fieldsV1"]["f:spec"]["f:source"],
        json!({ "f:path": {}, "f:repoURL": {}, "f:targetRevision": {} })
    );
}

#[tokio::test]
async fn applying_the_same_again_writes_nothing() {
    let cluster = cluster().await;
    let first = apply(&cluster, "holdfast", "", &application("media")).await.json();
    cluster.clock().advance(std::time::Duration::from_secs(90));
    let again = apply(&cluster, "holdfast", "", &application("media")).await;
    assert_eq!((again.code, again.json()), (200, first));
}

#[tokio::test]
async fn a_field_of_an_updater_is_a_conflict_that_names_it() {
    let cluster = cluster().await;
    apply(&cluster, "holdfast", "", &application("media")).await;
    let change = json!({ "spec": { "source": { "targetRevision": "v2" } } });
    let merged = merge(&cluster, "media", "argocd-controller", &change).await;
    assert_eq!(merged.code, 200, "{}", merged.text);
    let refused = apply(&cluster, "holdfast", "", &application("media")).await;
    assert_eq!(refused.code, 409);
    assert_eq!(
        refused.json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Conflict", "code": 409,
            "message": "Apply failed with 1 conflict: conflict with \"argocd-controller\" using argoproj.io/v1alpha1: .spec.source.targetRevision",
            "details": { "causes": [{
                "reason": "FieldManagerConflict",
                "message": "conflict with \"argocd-controller\" using argoproj.io/v1alpha1",
                "field": ".spec.source.targetRevision",
            }] },
        })
    );
    let forced = apply(&cluster, "holdfast", "&force=true", &application("media")).await;
    assert_eq!(forced.code, 200);
    assert_eq!(forced.json()["spec"]["source"]["targetRevision"], "main");
    assert_eq!(managers(&forced.json()), ["holdfast Apply"]);
}

#[tokio::test]
async fn fields_of_an_applier_are_conflicts_listed_by_manager() {
    let cluster = cluster().await;
    apply(&cluster, "reconciler", "", &application("media")).await;
    let mut wanted = application("media");
    wanted["spec"]["source"]["targetRevision"] = json!("v9");
    let one = apply(&cluster, "holdfast", "", &wanted).await.json();
    assert_eq!(
        one["message"],
        "Apply failed with 1 conflict: conflict with \"reconciler\": .spec.source.targetRevision"
    );
    wanted["spec"]["source"]["path"] = json!("apps/other");
    let two = apply(&cluster, "holdfast", "", &wanted).await.json();
    assert_eq!(
        two["message"],
        "Apply failed with 2 conflicts: conflicts with \"reconciler\":\n- .spec.source.path\n- .spec.source.targetRevision"
    );
    assert_eq!(
        cluster.object("applications", "argocd", "media").unwrap()["spec"]["source"]["path"],
        "apps/media"
    );
}

#[tokio::test]
async fn what_is_no_longer_applied_goes_unless_somebody_else_owns_it() {
    let cluster = cluster().await;
    let mut wanted = application("media");
    wanted["metadata"]["labels"] = json!({ "mine": "1", "shared": "1" });
    wanted["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    apply(&cluster, "holdfast", "", &wanted).await;
    let mut others = application("media");
    others["metadata"]["labels"] = json!({ "shared": "1", "theirs": "1" });
    let shared = apply(&cluster, "other", "", &others).await;
    assert_eq!(shared.code, 200, "{}", shared.text);
    wanted["metadata"] = json!({ "name": "media" });
    wanted["spec"].as_object_mut().unwrap().remove("syncPolicy");
    let object = apply(&cluster, "holdfast", "", &wanted).await.json();
    assert_eq!(object["metadata"]["labels"], json!({ "shared": "1", "theirs": "1" }));
    assert!(object["metadata"].get("finalizers").is_none(), "an emptied list goes");
    assert!(object["spec"]["syncPolicy"].is_object(), "the other manager owns it still");
    others["spec"].as_object_mut().unwrap().remove("syncPolicy");
    let object = apply(&cluster, "other", "", &others).await.json();
    assert!(object["spec"].get("syncPolicy").is_none());
}

#[tokio::test]
async fn a_dry_run_answers_like_the_real_call_and_stores_nothing() {
    let cluster = cluster().await;
    let dry = apply(&cluster, "holdfast", "&dryRun=All", &application("media")).await;
    assert_eq!(dry.code, 201);
    assert!(dry.json()["metadata"]["managedFields"].is_array());
    assert_eq!(get(&cluster, &format!("{APPS}/media")).await.code, 404);
    apply(&cluster, "holdfast", "", &application("media")).await;
    let before = cluster.object("applications", "argocd", "media");
    let mut other = application("media");
    other["spec"]["source"]["path"] = json!("elsewhere");
    let dry = apply(&cluster, "holdfast", "&dryRun=All", &other).await.json();
    assert_eq!(
        (&dry["spec"]["source"]["path"], &dry["metadata"]["generation"]),
        (&json!("elsewhere"), &json!(2))
    );
    assert_eq!(cluster.object("applications", "argocd", "media"), before);
    let wrong = apply(&cluster, "holdfast", "&dryRun=some", &application("media")).await;
    assert_eq!(wrong.code, 422);
}

#[tokio::test]
async fn applying_needs_a_manager_and_a_known_content_type() {
    let cluster = cluster().await;
    let path = format!("{APPS}/media");
    let body = application("media");
    let kind = "application/apply-patch+yaml";
    let without = as_user(&cluster, ADMIN_TOKEN, "PATCH", &path, kind, Some(&body)).await;
    assert_eq!(without.code, 422);
    assert_eq!(
        without.json()["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    let kind = "application/strategic-merge-patch+json";
    let strategic = as_user(&cluster, ADMIN_TOKEN, "PATCH", &path, kind, Some(&body)).await;
    assert_eq!((strategic.code, strategic.json()["reason"].clone()), (415, json!("UnsupportedMediaType")));
}

#[tokio::test]
async fn a_configuration_that_does_not_fit_the_schema_is_a_500_that_no_retry_mends() {
    let cluster = cluster().await;
    let mut wrong = application("media");
    wrong["spec"]["source"]["repoURL"] = json!(5);
    let refused = apply(&cluster, "holdfast", "", &wrong).await;
    assert_eq!(refused.code, 500);
    assert_eq!(
        refused.json()["message"],
        "failed to create typed patch object (argocd/media; argoproj.io/v1alpha1, Kind=Application): .spec.source.repoURL: expected string, got &value.valueUnstructured{Value:5}"
    );
    let mut unknown = application("media");
    unknown["spec"]["sorce"] = json!({});
    let refused = apply(&cluster, "holdfast", "", &unknown).await.json();
    assert!(refused["message"].as_str().unwrap().ends_with(".spec.sorce: field not declared in schema"));
    let mut missing = application("media");
    missing["spec"].as_object_mut().unwrap().remove("destination");
    let refused = apply(&cluster, "holdfast", "", &missing).await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.json()["message"],
        "Application.argoproj.io \"media\" is invalid: spec.destination: Required value"
    );
    assert!(cluster.objects("applications").is_empty());
}

#[tokio::test]
async fn an_applied_uid_must_be_the_object_that_is_there() {
    let cluster = cluster().await;
    let mut body = application("media");
    body["metadata"]["uid"] = json!("11111111-2222-4333-a444-555555555555");
    let absent = apply(&cluster, "holdfast", "", &body).await;
    assert_eq!(absent.code, 409);
    apply(&cluster, "holdfast", "", &application("media")).await;
    let other = apply(&cluster, "holdfast", "", &body).await;
    assert_eq!(other.code, 422);
    assert_eq!(other.json()["details"]["causes"][0]["field"], "metadata.uid");
    assert!(other.json()["message"].as_str().unwrap().ends_with("field is immutable"));
    let mut stale = application("media");
    stale["metadata"]["resourceVersion"] = json!("1");
    assert_eq!(apply(&cluster, "holdfast", "", &stale).await.code, 409);
}

#[tokio::test]
async fn yaml_is_read_too() {
    let cluster = cluster().await;
    let yaml = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: media}\nspec:\n  project: default\n  destination: {name: in-cluster}\n";
    let authorization = format!("Bearer {ADMIN_TOKEN}");
    let headers =
        [("authorization", authorization.as_str()), ("content-type", "application/apply-patch+yaml")];
    let url = format!("{}{APPS}/media?fieldManager=kubectl", cluster.url());
    let made = crate::testing::send("PATCH", &url, &headers, Some(yaml.to_owned())).await.unwrap();
    assert_eq!(made.code, 201, "{}", made.text);
}
