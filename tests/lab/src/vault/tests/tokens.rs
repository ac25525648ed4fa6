//! Tokens, `AppRole`, and what policies allow.

use std::time::Duration;

use serde_json::{Value, json};

use super::{call, root, vault};
use crate::http::Fault;

const DENIED: &str = "1 error occurred:\n\t* permission denied\n\n";

#[tokio::test]
async fn approle_gives_tokens_that_live_are_renewed_and_end() {
    let vault = vault().await;
    vault.put_approle("holdfast", "sid", &["Web"], Duration::from_mins(20));
    let login = json!({ "role_id": "holdfast", "secret_id": "sid" });
    let auth = call(&vault, "", "PUT", "auth/approle/login", login).await.json()["auth"].clone();
    assert_eq!((&auth["lease_duration"], &auth["renewable"]), (&json!(1200), &json!(true)));
    assert_eq!(auth["policies"], json!(["default", "web"]));
    let token = auth["client_token"].as_str().unwrap();
    let bad = json!({ "role_id": "holdfast", "secret_id": "other" });
    let refused = call(&vault, "", "POST", "auth/approle/login", bad).await;
    assert_eq!((refused.code, refused.json()), (400, json!({ "errors": ["invalid role or secret ID"] })));
    vault.clock().advance(Duration::from_mins(15));
    let look = call(&vault, token, "GET", "auth/token/lookup-self", Value::Null).await.json();
    let left = look["data"]["ttl"].as_i64().unwrap();
    assert!((290..=300).contains(&left), "{left}");
    let renewed = call(&vault, token, "POST", "auth/token/renew-self", json!({})).await.json();
    assert_eq!(renewed["auth"]["lease_duration"], 1200);
    vault.clock().advance(Duration::from_mins(21));
    let dead = call(&vault, token, "GET", "auth/token/lookup-self", Value::Null).await;
    assert_eq!((dead.code, dead.json()), (403, json!({ "errors": ["permission denied"] })));
    assert_eq!((vault.logins(), vault.live_tokens()), (1, 1));
}

#[tokio::test]
async fn a_token_can_revoke_itself() {
    let vault = vault().await;
    vault.put_token("t", &[], Duration::from_mins(1));
    assert_eq!(call(&vault, "t", "POST", "auth/token/revoke-self", Value::Null).await.code, 204);
    assert_eq!(call(&vault, "t", "GET", "auth/token/lookup-self", Value::Null).await.code, 403);
    let root = root(&vault, "POST", "auth/token/renew-self", Value::Null).await;
    assert_eq!((root.code, root.json()), (400, json!({ "errors": ["lease is not renewable"] })));
}

#[tokio::test]
async fn policies_allow_exactly_what_they_say() {
    let vault = vault().await;
    vault.mount_kv("kv");
    let text = r#"
        path "kv/data/web/*"      { capabilities = ["create", "read"] }
        path "kv/data/web/secret" { capabilities = ["deny"] }
        path "kv/+/shared"        { capabilities = ["read"] }
        path "kv/metadata/web"    { capabilities = ["list"] }
        path "sys/policies/acl/home-*" { capabilities = ["create", "update", "read"] }
    "#;
    vault.put_policy("web", text).unwrap();
    vault.put_token("t", &["web"], Duration::ZERO);
    let data = json!({ "data": { "a": "b" } });
    for (method, path, body, code) in [
        ("POST", "kv/data/web/a", data.clone(), 200),
        ("POST", "kv/data/web/a", data.clone(), 403),
        ("GET", "kv/data/web/a", Value::Null, 200),
        ("GET", "kv/data/web/secret", Value::Null, 403),
        ("GET", "kv/data/shared", Value::Null, 404),
        ("GET", "kv/data/shared/more", Value::Null, 403),
        ("LIST", "kv/metadata/web", Value::Null, 200),
        ("LIST", "kv/metadata", Value::Null, 403),
        ("GET", "other/data/x", Value::Null, 403),
        ("GET", "sys/mounts", Value::Null, 403),
        ("GET", "sys/internal/ui/mounts/kv", Value::Null, 200),
        ("GET", "sys/internal/ui/mounts/secret", Value::Null, 403),
        ("PUT", "sys/policies/acl/home-a", json!({ "policy": "path \"a\" {}" }), 204),
        ("DELETE", "sys/policies/acl/home-a", Value::Null, 403),
        ("PUT", "sys/policies/acl/other", json!({ "policy": "path \"a\" {}" }), 403),
    ] {
        let answer = call(&vault, "t", method, path, body).await;
        assert_eq!(answer.code, code, "{method} {path}: {}", answer.text);
    }
    let denied = call(&vault, "t", "GET", "kv/data/web/secret", Value::Null).await;
    assert_eq!(denied.json(), json!({ "errors": [DENIED] }));
    let paths = json!({ "paths": ["kv/data/web/x", "kv/data/web/secret"] });
    let mine = call(&vault, "t", "POST", "sys/capabilities-self", paths).await.json();
    assert_eq!(mine["data"]["kv/data/web/x"], json!(["create", "read"]));
    assert_eq!(mine["data"]["kv/data/web/secret"], json!(["deny"]));
    vault.revoke("t");
    assert_eq!(
        call(&vault, "t", "GET", "kv/data/web/a", Value::Null).await.json()["errors"][0],
        "permission denied"
    );
}

#[tokio::test]
async fn requests_are_counted_and_disturbed() {
    let vault = vault().await;
    root(&vault, "LIST", "sys/policies/acl", Value::Null).await;
    root(&vault, "PUT", "sys/policies/acl/a", json!({ "policy": "path \"a\" {}" })).await;
    assert_eq!((vault.wire.requests().len(), vault.wire.writes().len()), (2, 1));
    let limit = Fault::Reply { status: 429, headers: &[("retry-after", "7")], body: "{\"errors\":[]}" };
    vault.wire.fail_next(|seen| seen.uri.contains("acl"), limit);
    let limited = root(&vault, "LIST", "sys/policies/acl", Value::Null).await;
    assert_eq!((limited.code, limited.header("retry-after")), (429, "7"));
    assert_eq!(root(&vault, "LIST", "sys/policies/acl", Value::Null).await.code, 200);
}
