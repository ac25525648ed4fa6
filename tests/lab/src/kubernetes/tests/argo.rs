//! Argo CD's controller, tick by tick.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Behaviour, Cluster, MANAGER, Settings};
use super::{APPS, application, apply, call, cluster, merge};

fn app(cluster: &Cluster, name: &str) -> Value {
    cluster.object("applications", "argocd", name).unwrap()
}

/// Sync, health and phase in one line.
fn shown(cluster: &Cluster, name: &str) -> String {
    let status = &app(cluster, name)["status"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    format!(
        "{} {} {}",
        text(&status["sync"]["status"]),
        text(&status["health"]["status"]),
        text(&status["operationState"]["phase"])
    )
}

fn ticks(cluster: &Cluster, count: usize) {
    (0..count).for_each(|_| cluster.tick());
}

#[tokio::test]
async fn an_automated_application_goes_to_healthy_stage_by_stage() {
    let cluster = cluster().await;
    apply(&cluster, "holdfast", "", &application("media")).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        cluster.tick();
        seen.push(shown(&cluster, "media"));
    }
    assert_eq!(
        seen,
        [
            "OutOfSync Missing -",
            "OutOfSync Missing Running",
            "Synced Progressing Succeeded",
            "Synced Healthy Succeeded",
            "Synced Healthy Succeeded",
        ]
    );
    let object = app(&cluster, "media");
    assert_eq!(object["status"]["sync"]["comparedTo"]["source"], object["spec"]["source"]);
    assert_eq!(object["status"]["sync"]["comparedTo"]["destination"], object["spec"]["destination"]);
    assert_eq!(
        object["status"]["sync"]["revision"],
        object["status"]["operationState"]["syncResult"]["revision"]
    );
    assert!(object["status"]["reconciledAt"].is_string() && object.get("operation").is_none());
    let writers: Vec<&Value> = object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["manager"])
        .collect();
    assert_eq!(writers, ["holdfast", MANAGER]);
    let version = object["metadata"]["resourceVersion"].clone();
    ticks(&cluster, 3);
    assert_eq!(app(&cluster, "media")["metadata"]["resourceVersion"], version, "converged means no writes");
    let again = apply(&cluster, "holdfast", "", &application("media")).await;
    assert_eq!((again.code, again.json()["metadata"]["resourceVersion"].clone()), (200, version));
}

#[tokio::test]
async fn the_controller_rewrites_the_spec() {
    let cluster = cluster().await;
    let mut body = application("media");
    body["spec"]["project"] = json!("");
    body["spec"]["source"]["helm"] = json!({ "releaseName": "" });
    body["spec"]["syncPolicy"] = json!({ "syncOptions": [] });
    apply(&cluster, "holdfast", "", &body).await;
    cluster.tick();
    let spec = app(&cluster, "media")["spec"].clone();
    assert_eq!(spec["project"], "default");
    assert!(spec["source"].get("helm").is_none() && spec.get("syncPolicy").is_none());
    let again = apply(&cluster, "holdfast", "", &body).await;
    assert_eq!(again.code, 409, "what the controller rewrote, it owns: {}", again.text);
}

#[tokio::test]
async fn a_push_is_synced_and_a_write_of_metadata_moves_no_comparison() {
    let cluster = cluster().await;
    cluster.set_revision("https://git.lan/me/infra.git", "main", &"a".repeat(40));
    apply(&cluster, "holdfast", "", &application("media")).await;
    ticks(&cluster, 4);
    assert_eq!(app(&cluster, "media")["status"]["sync"]["revision"], "a".repeat(40));
    cluster.clock().advance(Duration::from_secs(30));
    let before = app(&cluster, "media")["status"]["reconciledAt"].clone();
    merge(&cluster, "media", "x", &json!({ "metadata": { "annotations": { "holdfast/mark": "m" } } })).await;
    cluster.tick();
    assert_eq!(app(&cluster, "media")["status"]["reconciledAt"], before);
    let refresh = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "normal" } } });
    merge(&cluster, "media", "x", &refresh).await;
    cluster.tick();
    let object = app(&cluster, "media");
    assert_ne!(object["status"]["reconciledAt"], before);
    assert_eq!(
        object["metadata"]["annotations"],
        json!({ "holdfast/mark": "m" }),
        "the controller takes it off"
    );
    cluster.set_revision("https://git.lan/me/infra.git", "main", &"b".repeat(40));
    cluster.tick();
    assert_eq!(shown(&cluster, "media"), "OutOfSync Healthy Succeeded");
    ticks(&cluster, 3);
    assert_eq!(shown(&cluster, "media"), "Synced Healthy Succeeded");
    assert_eq!(app(&cluster, "media")["status"]["operationState"]["syncResult"]["revision"], "b".repeat(40));
    let stale = app(&cluster, "media")["status"]["reconciledAt"].clone();
    cluster.tick_after(Duration::from_secs(121));
    assert_ne!(app(&cluster, "media")["status"]["reconciledAt"], stale, "an old comparison is done again");
}

#[tokio::test]
async fn delays_are_kept() {
    let settings = Settings {
        sync_delay: Duration::from_secs(10),
        health_delay: Duration::from_secs(10),
        ..Settings::default()
    };
    let cluster = Cluster::start(settings).await.unwrap();
    apply(&cluster, "holdfast", "", &application("media")).await;
    ticks(&cluster, 6);
    assert_eq!(shown(&cluster, "media"), "OutOfSync Missing Running");
    cluster.tick_after(Duration::from_secs(11));
    ticks(&cluster, 3);
    assert_eq!(shown(&cluster, "media"), "Synced Progressing Succeeded");
    cluster.tick_after(Duration::from_secs(11));
    assert_eq!(shown(&cluster, "media"), "Synced Healthy Succeeded");
}

#[tokio::test]
async fn everything_that_can_go_wrong_can_be_ordered() {
    let cluster = cluster().await;
    cluster.behave("slow", Behaviour::NeverHealthy);
    cluster.behave("broken", Behaviour::Degraded("crash loop".to_owned()));
    cluster.behave("refused", Behaviour::SyncError("admission webhook denied".to_owned()));
    cluster.behave("invalid", Behaviour::SpecInvalid("repository not permitted in project".to_owned()));
    cluster.behave("silent", Behaviour::RepositoryDown("connection refused".to_owned()));
    for name in ["slow", "broken", "refused", "invalid", "silent"] {
        apply(&cluster, "holdfast", "", &application(name)).await;
    }
    ticks(&cluster, 6);
    assert_eq!(shown(&cluster, "slow"), "Synced Progressing Succeeded");
    assert_eq!(shown(&cluster, "broken"), "Synced Degraded Succeeded");
    assert_eq!(app(&cluster, "broken")["status"]["health"]["message"], "crash loop");
    assert_eq!(shown(&cluster, "refused"), "OutOfSync Missing Failed");
    assert_eq!(app(&cluster, "refused")["status"]["conditions"][0]["type"], "SyncError");
    assert_eq!(shown(&cluster, "invalid"), "Unknown Unknown -");
    assert_eq!(app(&cluster, "invalid")["status"]["conditions"][0]["type"], "InvalidSpecError");
    assert!(app(&cluster, "invalid")["status"].get("reconciledAt").is_none());
    assert_eq!(app(&cluster, "silent")["status"]["conditions"][0]["type"], "ComparisonError");
    cluster.behave("invalid", Behaviour::Usual);
    ticks(&cluster, 4);
    assert_eq!(shown(&cluster, "invalid"), "Synced Healthy Succeeded");
    let mut lost = application("lost");
    lost["spec"]["project"] = json!("nowhere");
    apply(&cluster, "holdfast", "", &lost).await;
    cluster.tick();
    assert_eq!(
        app(&cluster, "lost")["status"]["conditions"][0]["message"],
        "Application referencing project nowhere which does not exist"
    );
}

#[tokio::test]
async fn a_repository_error_is_swallowed_while_the_status_grows_stale() {
    let cluster = cluster().await;
    apply(&cluster, "holdfast", "", &application("media")).await;
    ticks(&cluster, 4);
    let before = app(&cluster, "media")["status"].clone();
    cluster.behave("media", Behaviour::RepositoryDown("timeout".to_owned()));
    cluster.tick_after(Duration::from_secs(130));
    assert_eq!(app(&cluster, "media")["status"], before);
    cluster.tick_after(Duration::from_secs(190));
    assert_eq!(shown(&cluster, "media"), "Unknown Healthy Succeeded");
}

#[tokio::test]
async fn a_manual_application_waits_for_an_operation() {
    let cluster = cluster().await;
    let mut body = application("media");
    body["spec"]["syncPolicy"]["automated"]["enabled"] = json!(false);
    apply(&cluster, "holdfast", "", &body).await;
    ticks(&cluster, 4);
    assert_eq!(shown(&cluster, "media"), "OutOfSync Missing -");
    merge(&cluster, "media", "cli", &json!({ "operation": { "sync": { "prune": false } } })).await;
    ticks(&cluster, 3);
    assert_eq!(shown(&cluster, "media"), "Synced Healthy Succeeded");
    assert!(app(&cluster, "media").get("operation").is_none());
}

#[tokio::test]
async fn the_finalizer_makes_a_deletion_cascade() {
    let cluster = cluster().await;
    let mut body = application("media");
    body["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    apply(&cluster, "holdfast", "", &body).await;
    apply(&cluster, "holdfast", "", &application("plain")).await;
    for name in ["media", "plain"] {
        assert_eq!(call(&cluster, "DELETE", &format!("{APPS}/{name}"), None).await.code, 200);
    }
    assert_eq!(cluster.objects("applications").len(), 1);
    cluster.behave("media", Behaviour::DeletionStuck("cluster is gone".to_owned()));
    ticks(&cluster, 2);
    assert_eq!(app(&cluster, "media")["status"]["conditions"][0]["type"], "DeletionError");
    cluster.behave("media", Behaviour::Usual);
    cluster.tick();
    assert!(cluster.objects("applications").is_empty());
    assert_eq!(cluster.cascaded(), ["media"]);
}

#[tokio::test]
async fn several_sources_and_children_are_reported() {
    let cluster = cluster().await;
    let mut body = application("root");
    let source = body["spec"]["source"].clone();
    body["spec"].as_object_mut().unwrap().remove("source");
    body["spec"]["sources"] =
        json!([source, { "repoURL": "https://charts.lan", "chart": "media", "targetRevision": "1.2.3" }]);
    apply(&cluster, "holdfast", "", &body).await;
    cluster.set_children("root", &["media"]);
    ticks(&cluster, 4);
    let status = app(&cluster, "root")["status"].clone();
    assert_eq!(status["sync"]["revisions"][1], "1.2.3");
    assert_eq!(status["sync"]["comparedTo"]["source"], json!({ "repoURL": "" }));
    assert_eq!(status["resources"][1]["kind"], "Application");
    assert_eq!(status["summary"]["isAppOfApps"], true);
}

#[tokio::test]
async fn left_alone_it_ticks_by_itself() {
    let settings = Settings { auto: Some(Duration::from_millis(5)), ..Settings::default() };
    let cluster = Cluster::start(settings).await.unwrap();
    apply(&cluster, "holdfast", "", &application("media")).await;
    let healthy = async {
        while shown(&cluster, "media") != "Synced Healthy Succeeded" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), healthy).await.unwrap();
}
