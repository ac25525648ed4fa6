//! Reading, creating, replacing, patching and deleting objects, and who may.

use serde_json::{Value, json};

use super::super::Rule;
use super::{ADMIN_TOKEN, APPS, application, apply, as_user, call, cluster, get, merge};
use crate::testing::send;

#[tokio::test]
async fn who_is_unknown_gets_401_and_who_may_not_gets_403() {
    let cluster = cluster().await;
    let anonymous = send("GET", &format!("{}{APPS}", cluster.url()), &[], None).await.unwrap();
    assert_eq!(anonymous.code, 401);
    assert_eq!(
        (&anonymous.json()["reason"], &anonymous.json()["message"]),
        (&json!("Unauthorized"), &json!("Unauthorized"))
    );
    let user = "system:serviceaccount:argocd:holdfast";
    cluster.allow("t", user, &[Rule::within("argocd", &["get", "list", "patch"], &["applications"])]);
    assert_eq!(as_user(&cluster, "t", "GET", APPS, "", None).await.code, 200);
    let delete = as_user(&cluster, "t", "DELETE", &format!("{APPS}/media"), "", None).await;
    assert_eq!(delete.code, 403);
    assert_eq!(
        delete.json()["message"],
        "applications.argoproj.io \"media\" is forbidden: User \"system:serviceaccount:argocd:holdfast\" cannot delete resource \"applications\" in API group \"argoproj.io\" in the namespace \"argocd\""
    );
    let everywhere = as_user(&cluster, "t", "GET", "/apis/argoproj.io/v1alpha1/applications", "", None).await;
    assert!(everywhere.json()["message"].as_str().unwrap().ends_with("at the cluster scope"));
    let path = format!("{APPS}/media?fieldManager=holdfast");
    let kind = "application/apply-patch+yaml";
    let creating = as_user(&cluster, "t", "PATCH", &path, kind, Some(&application("media"))).await;
    assert_eq!(creating.code, 403, "applying what is not there needs `create` as well");
    cluster.revoke("t");
    assert_eq!(as_user(&cluster, "t", "GET", APPS, "", None).await.code, 401);
}

#[tokio::test]
async fn discovery_lists_the_resources() {
    let cluster = cluster().await;
    assert_eq!(get(&cluster, "/version").await.json()["major"], "1");
    assert_eq!(get(&cluster, "/api").await.json()["versions"], json!(["v1"]));
    assert_eq!(get(&cluster, "/apis").await.json()["groups"][0]["name"], "argoproj.io");
    let list = get(&cluster, "/apis/argoproj.io/v1alpha1").await.json();
    let names: Vec<&str> =
        list["resources"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["applications", "applicationsets", "appprojects"]);
    assert_eq!(get(&cluster, "/api/v1/namespaces/argocd").await.json()["status"]["phase"], "Active");
}

#[tokio::test]
async fn an_absent_object_and_an_absent_resource_are_different_404s() {
    let cluster = cluster().await;
    let object = get(&cluster, &format!("{APPS}/media")).await;
    assert_eq!(object.code, 404);
    assert_eq!(
        object.json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "applications.argoproj.io \"media\" not found",
            "details": { "name": "media", "group": "argoproj.io", "kind": "applications" },
        })
    );
    cluster.set_installed("applications", false);
    let resource = get(&cluster, &format!("{APPS}/media")).await;
    assert_eq!((resource.code, resource.text.as_str()), (404, "404 page not found\n"));
    cluster.set_installed("applications", true);
    let status = get(&cluster, &format!("{APPS}/media/status")).await;
    assert_eq!(status.code, 404, "an Application has no status subresource");
    let mut elsewhere = application("media");
    elsewhere["metadata"]["namespace"] = json!("nowhere");
    let path = APPS.replace("/argocd/", "/nowhere/");
    let lost = call(&cluster, "POST", &path, Some(&elsewhere)).await;
    assert_eq!((lost.code, lost.json()["message"].clone()), (404, json!("namespaces \"nowhere\" not found")));
}

#[tokio::test]
async fn creating_refuses_what_is_there_and_what_is_wrong() {
    let cluster = cluster().await;
    let made = call(&cluster, "POST", APPS, Some(&application("media"))).await;
    assert_eq!(made.code, 201);
    assert_eq!(made.json()["metadata"]["managedFields"][0]["manager"], "test", "the user agent's first word");
    let again = call(&cluster, "POST", APPS, Some(&application("media"))).await;
    assert_eq!((again.code, again.json()["reason"].clone()), (409, json!("AlreadyExists")));
    let mut wrong = application("other");
    wrong["spec"]["source"]["repoURL"] = json!(5);
    wrong["spec"]["revisionHistoryLimit"] = json!("ten");
    let refused = call(&cluster, "POST", APPS, Some(&wrong)).await;
    assert_eq!(refused.code, 422);
    let body = refused.json();
    assert_eq!(
        body["message"],
        "Application.argoproj.io \"other\" is invalid: [spec.revisionHistoryLimit: Invalid value: \"string\": spec.revisionHistoryLimit in body must be of type integer: \"string\", spec.source.repoURL: Invalid value: \"integer\": spec.source.repoURL in body must be of type string: \"integer\"]"
    );
    assert_eq!(body["details"]["causes"][1]["field"], "spec.source.repoURL");
    let bad_name = call(&cluster, "POST", APPS, Some(&application("Bad_Name"))).await;
    assert_eq!(bad_name.code, 422);
    let mut number = application("other");
    number["metadata"]["annotations"] = json!({ "holdfast/mark": 1 });
    assert_eq!(call(&cluster, "POST", APPS, Some(&number)).await.code, 400);
    assert_eq!(cluster.objects("applications").len(), 1);
}

#[tokio::test]
async fn unknown_fields_are_pruned_with_a_warning_or_refused() {
    let cluster = cluster().await;
    let mut body = application("media");
    body["spec"]["sorce"] = json!(1);
    let strict = call(&cluster, "POST", &format!("{APPS}?fieldValidation=Strict"), Some(&body)).await;
    assert_eq!(strict.code, 400);
    assert!(
        strict.json()["message"]
            .as_str()
            .unwrap()
            .ends_with("strict decoding error: unknown field \"spec.sorce\"")
    );
    let made = call(&cluster, "POST", APPS, Some(&body)).await;
    assert_eq!(made.header("warning"), "299 - \"unknown field \\\"spec.sorce\\\"\"");
    assert!(made.json()["spec"].get("sorce").is_none());
}

#[tokio::test]
async fn replacing_needs_the_version_that_was_read() {
    let cluster = cluster().await;
    let made = call(&cluster, "POST", APPS, Some(&application("media"))).await.json();
    let path = format!("{APPS}/media");
    let blind = call(&cluster, "PUT", &path, Some(&application("media"))).await;
    assert_eq!(blind.code, 422);
    let mut body = made.clone();
    body["spec"]["source"]["path"] = json!("elsewhere");
    let put = call(&cluster, "PUT", &path, Some(&body)).await;
    assert_eq!((put.code, put.json()["metadata"]["generation"].clone()), (200, json!(2)));
    let stale = call(&cluster, "PUT", &path, Some(&body)).await;
    assert_eq!(stale.code, 409);
    assert_eq!(
        stale.json()["message"],
        "Operation cannot be fulfilled on applications.argoproj.io \"media\": the object has been modified; please apply your changes to the latest version and try again"
    );
    let labelled =
        merge(&cluster, "media", "x", &json!({ "metadata": { "labels": { "a": "b" } } })).await.json();
    assert_eq!(labelled["metadata"]["generation"], 2, "metadata moves no generation");
    let version =
        |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(version(&labelled) > version(&put.json()));
}

#[tokio::test]
async fn patches_change_single_fields() {
    let cluster = cluster().await;
    call(&cluster, "POST", APPS, Some(&application("media"))).await;
    let merged = merge(&cluster, "media", "x", &json!({ "spec": { "syncPolicy": null } })).await.json();
    assert!(merged["spec"].get("syncPolicy").is_none());
    let path = format!("{APPS}/media");
    let kind = "application/json-patch+json";
    let steps = json!([
        { "op": "test", "path": "/spec/project", "value": "default" },
        { "op": "add", "path": "/metadata/finalizers", "value": ["resources-finalizer.argocd.argoproj.io"] },
        { "op": "replace", "path": "/spec/source/path", "value": "b" },
    ]);
    let patched = as_user(&cluster, ADMIN_TOKEN, "PATCH", &path, kind, Some(&steps)).await.json();
    assert_eq!(patched["spec"]["source"]["path"], "b");
    assert_eq!(patched["metadata"]["finalizers"][0], "resources-finalizer.argocd.argoproj.io");
    let steps = json!([{ "op": "test", "path": "/spec/project", "value": "other" }]);
    let failed = as_user(&cluster, ADMIN_TOKEN, "PATCH", &path, kind, Some(&steps)).await;
    assert_eq!(failed.code, 422);
    let stale = json!({ "metadata": { "resourceVersion": "1" }, "spec": { "project": "x" } });
    assert_eq!(merge(&cluster, "media", "x", &stale).await.code, 409);
    assert_eq!(merge(&cluster, "absent", "x", &json!({})).await.code, 404);
}

#[tokio::test]
async fn deletion_obeys_preconditions_and_waits_for_finalizers() {
    let cluster = cluster().await;
    let path = format!("{APPS}/media");
    let mut body = application("media");
    body["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let made = call(&cluster, "POST", APPS, Some(&body)).await.json();
    let wrong = json!({ "preconditions": { "uid": "11111111-2222-4333-a444-555555555555" } });
    assert_eq!(call(&cluster, "DELETE", &path, Some(&wrong)).await.code, 409);
    let stale = json!({ "preconditions": { "resourceVersion": "1" } });
    assert_eq!(call(&cluster, "DELETE", &path, Some(&stale)).await.code, 409);
    let right = json!({ "preconditions": { "uid": made["metadata"]["uid"] } });
    let marked = call(&cluster, "DELETE", &path, Some(&right)).await;
    assert_eq!(marked.code, 200);
    assert!(marked.json()["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(get(&cluster, &path).await.code, 200, "it stays until its finalizers are gone");
    let more = json!({ "metadata": { "finalizers": ["example.com/hold", "example.com/more"] } });
    assert_eq!(merge(&cluster, "media", "x", &more).await.code, 422);
    let none = json!({ "metadata": { "finalizers": null } });
    assert_eq!(merge(&cluster, "media", "x", &none).await.code, 200);
    assert_eq!(get(&cluster, &path).await.code, 404);
    apply(&cluster, "holdfast", "", &application("media")).await;
    let dry = call(&cluster, "DELETE", &format!("{path}?dryRun=All"), None).await;
    assert_eq!((dry.code, cluster.objects("applications").len()), (200, 1));
    let gone = call(&cluster, "DELETE", &path, None).await;
    assert_eq!((gone.code, gone.json()["status"].clone()), (200, json!("Success")));
    assert!(cluster.objects("applications").is_empty());
    assert_eq!(call(&cluster, "DELETE", &path, None).await.code, 404);
}
