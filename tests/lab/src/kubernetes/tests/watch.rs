//! Lists in pages, selectors, and watches.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ADMIN_TOKEN, APPS, application, apply, cluster, get};
use crate::kubernetes::Cluster;
use crate::testing::client;

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_show_the_collection_as_it_was_at_the_first() {
    let cluster = cluster().await;
    for name in ["a", "b", "c", "d", "e"] {
        apply(&cluster, "holdfast", "", &application(name)).await;
    }
    let first = get(&cluster, &format!("{APPS}?limit=2")).await.json();
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["a".into(), "b".into()], &json!(3))
    );
    assert_eq!(first["kind"], "ApplicationList");
    cluster.delete("applications", "argocd", "c").unwrap();
    apply(&cluster, "holdfast", "", &application("cc")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = get(&cluster, &format!("{APPS}?limit=2&continue={token}")).await.json();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    cluster.compact();
    let late = get(&cluster, &format!("{APPS}?limit=2&continue={token}")).await;
    assert_eq!((late.code, late.json()["reason"].clone()), (410, json!("Expired")));
    assert_eq!(names(&get(&cluster, APPS).await.json()), ["a", "b", "cc", "d", "e"]);
}

#[tokio::test]
async fn selectors_choose() {
    let cluster = cluster().await;
    for (name, tier) in [("a", "front"), ("b", "back"), ("c", "")] {
        let mut app = application(name);
        if !tier.is_empty() {
            app["metadata"]["labels"] = json!({ "tier": tier });
        }
        apply(&cluster, "holdfast", "", &app).await;
    }
    for (query, expected) in [
        ("labelSelector=tier%3Dfront", vec!["a"]),
        ("labelSelector=tier%21%3Dfront", vec!["b", "c"]),
        ("labelSelector=tier%20in%20(front,back)", vec!["a", "b"]),
        ("labelSelector=%21tier", vec!["c"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
    ] {
        assert_eq!(names(&get(&cluster, &format!("{APPS}?{query}")).await.json()), expected, "{query}");
    }
    assert_eq!(get(&cluster, &format!("{APPS}?fieldSelector=spec.project%3Dx")).await.code, 400);
    let future = get(&cluster, &format!("{APPS}?resourceVersion=999999")).await;
    assert_eq!(future.code, 504);
}

/// Reads events until there are as many as wanted, or the stream ends.
async fn events(cluster: &Cluster, query: &str, wanted: usize) -> Vec<Value> {
    let url = format!("{}{APPS}?watch=true&{query}", cluster.url());
    let mut response = client().get(url).bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let (mut buffer, mut events) = (String::new(), Vec::new());
    while events.len() < wanted {
        let Some(chunk) = response.chunk().await.unwrap() else { break };
        buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((line, rest)) = buffer.split_once('\n') {
            events.push(serde_json::from_str(line).unwrap());
            buffer = rest.to_owned();
        }
    }
    events
}

fn kinds(events: &[Value]) -> Vec<String> {
    let shown = |event: &Value| {
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", event["type"].as_str().unwrap()).trim_end().to_owned()
    };
    events.iter().map(shown).collect()
}

#[tokio::test]
async fn a_watch_tells_what_happened_since_and_what_happens() {
    let cluster = cluster().await;
    let list = get(&cluster, APPS).await.json();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    apply(&cluster, "holdfast", "", &application("a")).await;
    let query = format!("resourceVersion={version}");
    let watching = events(&cluster, &query, 3);
    let acting = async {
        let mut changed = application("a");
        changed["spec"]["source"]["path"] = json!("b");
        apply(&cluster, "holdfast", "", &changed).await;
        cluster.delete("applications", "argocd", "a").unwrap();
    };
    let (events, ()) = tokio::join!(watching, acting);
    assert_eq!(kinds(&events), ["ADDED a", "MODIFIED a", "DELETED a"]);
}

#[tokio::test]
async fn an_object_leaves_a_watch_when_it_stops_to_fit() {
    let cluster = cluster().await;
    let mut app = application("a");
    app["metadata"]["labels"] = json!({ "tier": "front" });
    apply(&cluster, "holdfast", "", &app).await;
    app["metadata"]["labels"] = json!({ "tier": "back" });
    apply(&cluster, "holdfast", "", &app).await;
    let events =
        events(&cluster, "resourceVersion=1002&labelSelector=tier%3Dfront&timeoutSeconds=1", 9).await;
    assert_eq!(kinds(&events).last().unwrap(), "DELETED a");
}

#[tokio::test]
async fn a_watch_from_a_forgotten_revision_is_told_410() {
    let cluster = cluster().await;
    apply(&cluster, "holdfast", "", &application("a")).await;
    cluster.compact();
    let events = events(&cluster, "resourceVersion=1001", 9).await;
    assert_eq!(kinds(&events), ["ERROR"]);
    assert_eq!(
        (&events[0]["object"]["code"], &events[0]["object"]["reason"]),
        (&json!(410), &json!("Expired"))
    );
}

#[tokio::test]
async fn a_watch_ends_with_a_bookmark_when_its_time_is_over() {
    let cluster = cluster().await;
    apply(&cluster, "holdfast", "", &application("a")).await;
    let query =
        "allowWatchBookmarks=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let events = events(&cluster, query, 9).await;
    assert_eq!(kinds(&events), ["ADDED a", "BOOKMARK", "BOOKMARK"]);
    assert_eq!(events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_watch_breaks_with_the_server() {
    let cluster = cluster().await;
    let url = format!("{}{APPS}?watch=true&resourceVersion=0", cluster.url());
    let mut response = client().get(url).bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    drop(cluster);
    let end = tokio::time::timeout(Duration::from_secs(5), response.chunk()).await.unwrap();
    assert!(end.is_err(), "{end:?}");
}
