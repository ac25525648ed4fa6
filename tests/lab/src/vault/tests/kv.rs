//! Secrets, policies and the seal.

use serde_json::{Value, json};

use super::{Flavour, Vault, root, vault};

#[tokio::test]
async fn a_404_has_four_meanings() {
    let vault = vault().await;
    let never = root(&vault, "GET", "secret/data/none", Value::Null).await;
    assert_eq!((never.code, never.json()), (404, json!({ "errors": [] })));
    let empty = root(&vault, "LIST", "secret/metadata/none", Value::Null).await;
    assert_eq!((empty.code, empty.json()), (404, json!({ "errors": [] })));
    vault.put_secret("secret/web", json!({ "a": "b" })).unwrap();
    assert_eq!(root(&vault, "DELETE", "secret/data/web", Value::Null).await.code, 204);
    let deleted = root(&vault, "GET", "secret/data/web", Value::Null).await;
    assert_eq!(deleted.code, 404);
    assert_eq!(deleted.json()["data"]["data"], Value::Null);
    assert_eq!(deleted.json()["data"]["metadata"]["version"], 1);
    assert_ne!(deleted.json()["data"]["metadata"]["deletion_time"], "");
    let nowhere = root(&vault, "GET", "kv/data/x", Value::Null).await;
    let text = "no handler for route \"kv/data/x\". route entry not found.";
    assert_eq!((nowhere.code, nowhere.json()), (404, json!({ "errors": [text] })));
    let mount = root(&vault, "GET", "sys/mounts/kv", Value::Null).await;
    assert_eq!((mount.code, mount.json()), (400, json!({ "errors": ["No secret engine mount at kv/"] })));
}

#[tokio::test]
async fn writing_checks_and_sets() {
    let vault = vault().await;
    let body = |cas: Value| json!({ "data": { "a": "b" }, "options": { "cas": cas } });
    let first = root(&vault, "PUT", "secret/data/web", body(json!(0))).await;
    assert_eq!((first.code, first.json()["data"]["version"].clone()), (200, json!(1)));
    let lost = root(&vault, "POST", "secret/data/web", body(json!(0))).await;
    let text = "check-and-set parameter did not match the current version";
    assert_eq!((lost.code, lost.json()), (400, json!({ "errors": [text] })));
    assert_eq!(root(&vault, "POST", "secret/data/web", body(json!(1))).await.json()["data"]["version"], 2);
    root(&vault, "POST", "secret/metadata/web", json!({ "cas_required": true })).await;
    assert_eq!(root(&vault, "POST", "secret/data/web", json!({ "data": {} })).await.code, 400);
    let old = root(&vault, "GET", "secret/data/web?version=1", Value::Null).await.json();
    assert_eq!(old["data"]["metadata"]["version"], 1);
}

#[tokio::test]
async fn versions_are_deleted_undeleted_and_destroyed() {
    let vault = vault().await;
    vault.put_secret("secret/a/b", json!({ "v": "1" })).unwrap();
    vault.put_secret("secret/a/b", json!({ "v": "2" })).unwrap();
    let one = json!({ "versions": [1] });
    assert_eq!(root(&vault, "POST", "secret/delete/a/b", one.clone()).await.code, 204);
    assert_eq!(root(&vault, "GET", "secret/data/a/b?version=1", Value::Null).await.code, 404);
    assert_eq!(root(&vault, "POST", "secret/undelete/a/b", one.clone()).await.code, 204);
    assert_eq!(root(&vault, "GET", "secret/data/a/b?version=1", Value::Null).await.code, 200);
    root(&vault, "POST", "secret/destroy/a/b", one).await;
    let metadata = root(&vault, "GET", "secret/metadata/a/b", Value::Null).await.json();
    assert_eq!(metadata["data"]["versions"]["1"]["destroyed"], true);
    assert_eq!(metadata["data"]["current_version"], 2);
    for method in ["LIST", "GET"] {
        let path = if method == "GET" { "secret/metadata/?list=true" } else { "secret/metadata" };
        assert_eq!(root(&vault, method, path, Value::Null).await.json()["data"]["keys"], json!(["a/"]));
    }
}

#[tokio::test]
async fn policies_are_kept_verbatim_under_lower_case_names() {
    let vault = vault().await;
    let text = "# holdfast: home/core/VaultPolicy/web@web\npath \"kv/data/web/*\" {\n  capabilities = [\"read\"]\n}\n";
    let put = root(&vault, "PUT", "sys/policies/acl/Web", json!({ "policy": text })).await;
    assert_eq!((put.code, put.text.as_str()), (204, ""));
    let read = root(&vault, "GET", "sys/policies/acl/web", Value::Null).await.json();
    assert_eq!((&read["data"]["policy"], &read["data"]["name"]), (&json!(text), &json!("web")));
    assert_eq!(read["data"]["version"], 1);
    root(&vault, "PUT", "sys/policies/acl/web", json!({ "policy": text })).await;
    let detailed = root(&vault, "LIST", "sys/policies/detailed/acl", Value::Null).await.json();
    assert_eq!(detailed["data"]["key_info"]["web"]["version"], 2, "every write is a version");
    assert_eq!(detailed["data"]["keys"], json!(["default", "web", "root"]));
    let legacy = root(&vault, "GET", "sys/policy/web", Value::Null).await.json();
    assert_eq!((&legacy["rules"], &legacy["data"]["rules"]), (&json!(text), &json!(text)));
    assert_eq!(root(&vault, "DELETE", "sys/policies/acl/web", Value::Null).await.code, 204);
    assert_eq!(root(&vault, "DELETE", "sys/policies/acl/web", Value::Null).await.code, 204);
    assert_eq!(root(&vault, "GET", "sys/policies/acl/web", Value::Null).await.code, 404);
}

#[tokio::test]
async fn only_openbao_lists_policies_with_their_texts() {
    let vault = Vault::start(Flavour::HashiCorp).await.unwrap();
    assert_eq!(root(&vault, "LIST", "sys/policies/detailed/acl", Value::Null).await.code, 404);
    vault.put_policy("web", "path \"a\" { capabilities = [\"read\"] }").unwrap();
    let read = root(&vault, "GET", "sys/policies/acl/web", Value::Null).await.json();
    assert!(read["data"].get("version").is_none());
    assert!(root(&vault, "GET", "sys/health", Value::Null).await.json()["performance_standby"].is_boolean());
}

#[tokio::test]
async fn a_sealed_server_answers_503_to_everything() {
    let vault = vault().await;
    vault.set_sealed(true);
    for path in ["secret/data/web", "sys/policies/acl/web", "auth/token/lookup-self", "sys/mounts"] {
        let answer = root(&vault, "GET", path, Value::Null).await;
        assert_eq!((answer.code, answer.json()), (503, json!({ "errors": ["Vault is sealed"] })), "{path}");
    }
    let health = root(&vault, "GET", "sys/health", Value::Null).await;
    assert_eq!((health.code, health.json()["sealed"].clone()), (503, json!(true)));
    assert_eq!(root(&vault, "GET", "sys/seal-status", Value::Null).await.json()["sealed"], true);
    vault.set_sealed(false);
    assert_eq!(root(&vault, "GET", "sys/health", Value::Null).await.code, 200);
}
