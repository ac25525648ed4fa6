//! GitHub: checks everything.

use serde_json::{Value, json};

use super::{Flavour, SHA, call, forge, status};

const STATUSES: &str = "/repos/me/infra/statuses";

#[tokio::test]
async fn a_status_is_accepted_and_read_back() {
    let forge = forge(Flavour::GitHub).await;
    let path = format!("{STATUSES}/{SHA}");
    let posted = call(&forge, "write", "POST", &path, status("pending", "working")).await;
    assert_eq!((posted.code, posted.json()["state"].clone()), (201, json!("pending")));
    assert_eq!(posted.header("x-ratelimit-limit"), "5000");
    call(&forge, "write", "POST", &path, status("success", "converged")).await;
    let latest = forge.latest(SHA, "holdfast/home/core").unwrap();
    assert_eq!((latest.state.as_str(), latest.description.as_str()), ("success", "converged"));
    assert_eq!(forge.posts().len(), 2);
    let list =
        call(&forge, "read", "GET", &format!("/repos/me/infra/commits/{SHA}/statuses"), Value::Null).await;
    assert_eq!(list.json()[0]["state"], "success", "newest first");
    let all = call(&forge, "read", "GET", &format!("/repos/me/infra/commits/{SHA}/status"), Value::Null)
        .await
        .json();
    assert_eq!((&all["state"], &all["total_count"]), (&json!("success"), &json!(1)));
}

#[tokio::test]
async fn what_is_wrong_is_a_422_with_its_field() {
    let forge = forge(Flavour::GitHub).await;
    let path = format!("{STATUSES}/{SHA}");
    let long = call(&forge, "write", "POST", &path, status("success", &"ü".repeat(141))).await;
    assert_eq!(long.code, 422);
    assert_eq!(
        long.json()["errors"],
        json!([{ "resource": "Status", "code": "custom", "field": "description",
                 "message": "description is too long (maximum is 140 characters)" }])
    );
    assert_eq!(call(&forge, "write", "POST", &path, status("success", &"ü".repeat(140))).await.code, 201);
    assert_eq!(call(&forge, "write", "POST", &path, status("warning", "")).await.code, 422);
    let mut context = status("success", "");
    context["context"] = json!("c".repeat(256));
    assert_eq!(call(&forge, "write", "POST", &path, context).await.code, 422);
    let unknown = "2".repeat(40);
    let lost = call(&forge, "write", "POST", &format!("{STATUSES}/{unknown}"), status("success", "")).await;
    assert_eq!(
        (lost.code, lost.json()["message"].clone()),
        (422, json!(format!("No commit found for SHA: {unknown}")))
    );
    assert_eq!(forge.posts().len(), 1);
}

#[tokio::test]
async fn a_commit_takes_a_thousand_statuses_of_a_context() {
    let forge = forge(Flavour::GitHub).await;
    let path = format!("{STATUSES}/{SHA}");
    forge.fill(SHA, "me/infra", "Holdfast/Home/Core", 1000);
    let refused = call(&forge, "write", "POST", &path, status("success", "")).await;
    assert_eq!(refused.code, 422);
    let message = refused.json()["errors"][0]["message"].clone();
    assert_eq!(message, "This SHA and context has reached the maximum number of statuses.");
    let mut other = status("success", "");
    other["context"] = json!("holdfast/home/other");
    assert_eq!(call(&forge, "write", "POST", &path, other).await.code, 201);
}

#[tokio::test]
async fn a_bad_token_no_right_and_no_access_are_401_403_and_404() {
    let forge = forge(Flavour::GitHub).await;
    let path = format!("{STATUSES}/{SHA}");
    let bad = call(&forge, "nobody", "POST", &path, status("success", "")).await;
    assert_eq!((bad.code, bad.json()["message"].clone()), (401, json!("Bad credentials")));
    assert_eq!(call(&forge, "read", "POST", &path, status("success", "")).await.code, 403);
    forge.add_repository("other/infra");
    let hidden = call(&forge, "write", "GET", "/repos/other/infra", Value::Null).await;
    assert_eq!((hidden.code, hidden.json()["message"].clone()), (404, json!("Not Found")));
    assert_eq!(call(&forge, "", "GET", "/repos/me/infra", Value::Null).await.code, 404);
    let own = call(&forge, "write", "GET", "/repos/me/infra", Value::Null).await.json();
    assert_eq!((&own["full_name"], &own["permissions"]["push"]), (&json!("me/infra"), &json!(true)));
    assert_eq!(call(&forge, "write", "GET", "/api/v1/repos/me/infra", Value::Null).await.code, 404);
    forge.limit(Some(30));
    let limited = call(&forge, "write", "POST", &path, status("success", "")).await;
    assert_eq!((limited.code, limited.header("retry-after")), (403, "30"));
}

#[tokio::test]
async fn combining_follows_the_rules() {
    let forge = forge(Flavour::GitHub).await;
    let path = format!("/repos/me/infra/commits/{SHA}/status");
    let state = async || call(&forge, "read", "GET", &path, Value::Null).await.json()["state"].clone();
    assert_eq!(state().await, "pending");
    for (context, posted, combined) in [
        ("a", "success", "success"),
        ("b", "pending", "pending"),
        ("c", "error", "failure"),
        ("C", "success", "pending"),
        ("b", "success", "success"),
    ] {
        let body = json!({ "state": posted, "context": context });
        call(&forge, "write", "POST", &format!("{STATUSES}/{SHA}"), body).await;
        assert_eq!(state().await, combined, "after {context} {posted}");
    }
}
