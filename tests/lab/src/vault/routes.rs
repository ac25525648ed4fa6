//! From a request to an answer: seal, token, policies, then the path.

use std::sync::Arc;

use axum::extract::{Request, State as Handle};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::acl::Acl;
use super::answers::{
    Reply, bad_request, bad_token, denied, errors, no_content, no_route, ok, plain, unsupported,
};
use super::kv::{self, Ask};
use super::{Flavour, Shared, State};

const MAX_BODY: usize = 32 * 1024 * 1024;

pub(super) async fn serve(Handle(shared): Handle<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let query = query.map(|axum::extract::Query(pairs)| pairs).unwrap_or_default();
    let Some(path) = parts.uri.path().strip_prefix("/v1/") else {
        return plain(404, json!({ "errors": [] })).into_response();
    };
    let Ok(bytes) = axum::body::to_bytes(body, MAX_BODY).await else {
        return errors(413, "error reading request body").into_response();
    };
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let bearer = header("authorization").and_then(|text| text.strip_prefix("Bearer ").map(str::to_owned));
    let call = Call {
        operation: operation(&parts.method, &query),
        path: percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned(),
        query,
        // What is no JSON counts as no parameters.
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        content_type: header("content-type"),
        token: header("x-vault-token").or(bearer).unwrap_or_default(),
    };
    call.answer(&mut shared.lock()).into_response()
}

fn operation(method: &Method, query: &[(String, String)]) -> Option<&'static str> {
    let lists = query.iter().any(|(name, value)| name == "list" && value == "true");
    match method.as_str() {
        "GET" | "HEAD" if lists => Some("list"),
        "GET" | "HEAD" => Some("read"),
        "LIST" => Some("list"),
        "POST" | "PUT" => Some("write"),
        "DELETE" => Some("delete"),
        "PATCH" => Some("patch"),
        _ => None,
    }
}

struct Call {
    operation: Option<&'static str>,
    path: String,
    query: Vec<(String, String)>,
    body: Value,
    content_type: Option<String>,
    token: String,
}

impl Call {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn answer(&self, state: &mut State) -> Reply {
        let Some(operation) = self.operation else { return unsupported() };
        if operation == "patch" {
            match self.content_type.as_deref() {
                None => return bad_request("mime: no media type"),
                Some("application/merge-patch+json") => {}
                Some(other) => {
                    let why = "PATCH requires Content-Type of application/merge-patch+json, provided";
                    return errors(415, &format!("{why} {other}"));
                }
            }
        }
        match (self.path.as_str(), operation) {
            ("sys/health", "read") => return self.health(state),
            ("sys/seal-status", "read") => return seal_status(state),
            ("sys/init", "read") => return plain(200, json!({ "initialized": true })),
            _ if state.sealed => return errors(503, "Vault is sealed"),
            ("auth/approle/login", "write" | "read") => {
                let now = state.clock.now();
                return state.tokens.login(&self.body, now);
            }
            _ => {}
        }
        let now = state.clock.now();
        let Some(token) = state.tokens.get(&self.token, now) else { return bad_token() };
        let acl = state.policies.acl(token);
        if let Some(mount) = self.path.strip_prefix("sys/internal/ui/mounts/") {
            return ui_mount(state, &acl, mount);
        }
        let capability = match operation {
            "write" if self.creates(state) => "create",
            "write" => "update",
            other => other,
        };
        if !acl.allows(capability, &self.path) {
            return denied();
        }
        self.route(operation, state, &acl)
    }

    /// Whether a write makes something new: only KV knows; everything else is an update.
    fn creates(&self, state: &State) -> bool {
        state.mount_of(&self.path).is_some_and(|(_, engine, rest)| !engine.exists(rest))
    }

    fn route(&self, operation: &str, state: &mut State, acl: &Acl) -> Reply {
        let (now, stamp) = (state.clock.now(), state.clock.now().to_string());
        if let Some(reply) = self.policies(operation, state, &stamp) {
            return reply;
        }
        match (self.path.as_str(), operation) {
            ("auth/token/lookup-self", "read" | "write") => state.tokens.lookup(&self.token, now),
            ("auth/token/renew-self", "write") => state.tokens.renew(&self.token, &self.body, now),
            ("auth/token/revoke-self", "write") => state.tokens.revoke_self(&self.token),
            ("sys/capabilities-self", "write") => self.capabilities(acl),
            ("sys/mounts", "read") => mounts(state),
            ("sys/seal", "write") => {
                state.sealed = true;
                no_content()
            }
            (path, _) if path.starts_with("sys/mounts/") => self.mount(operation, state),
            (path, _) if path.starts_with("sys/") => {
                errors(404, "1 error occurred:\n\t* unsupported path\n\n")
            }
            _ => self.engine(operation, state, &stamp),
        }
    }

    fn policies(&self, operation: &str, state: &mut State, now: &str) -> Option<Reply> {
        let policies = &mut state.policies;
        let path = self.path.trim_end_matches('/');
        if path == "sys/policies/detailed/acl" && state.flavour == Flavour::OpenBao {
            return Some(if operation == "list" { policies.detailed() } else { unsupported() });
        }
        if path == "sys/policies/acl" {
            return Some(match operation {
                "list" => ok(json!({ "keys": policies.names() })),
                _ => unsupported(),
            });
        }
        if path == "sys/policy" {
            return Some(match operation {
                "list" | "read" => {
                    ok(json!({ "keys": policies.names(), "policies": policies.names() })).flattened()
                }
                _ => unsupported(),
            });
        }
        let (name, field) = match path.strip_prefix("sys/policies/acl/") {
            Some(name) => (name, "policy"),
            None => (path.strip_prefix("sys/policy/")?, "rules"),
        };
        Some(match operation {
            "read" if field == "rules" => policies.read(name, field).flattened(),
            "read" => policies.read(name, field),
            "write" => policies.write(name, &self.body, now),
            "patch" if field == "policy" => policies.patch(name, &self.body, now),
            "delete" => policies.delete(name),
            _ => unsupported(),
        })
    }

    fn capabilities(&self, acl: &Acl) -> Reply {
        let mut data = serde_json::Map::new();
        for path in self.body["paths"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let set = json!(acl.capabilities(path));
            data.entry("capabilities").or_insert_with(|| set.clone());
            data.insert(path.to_owned(), set);
        }
        ok(Value::Object(data)).flattened()
    }

    fn mount(&self, operation: &str, state: &mut State) -> Reply {
        let name = self.path.trim_start_matches("sys/mounts/").trim_matches('/');
        let path = format!("{name}/");
        match operation {
            "read" => match state.mounts.get(&path) {
                Some(mount) => ok(mount.shown.clone()).flattened(),
                None => bad_request(&format!("No secret engine mount at {path}")),
            },
            "write" => {
                let is_kv2 = self.body["type"] == "kv-v2"
                    || (self.body["type"] == "kv" && self.body["options"]["version"] == "2");
                if !is_kv2 {
                    let kind = self.body["type"].as_str().unwrap_or_default();
                    return bad_request(&format!("plugin not found in the catalog: {kind}"));
                }
                if state.mounts.contains_key(&path) {
                    return bad_request(&format!("path is already in use at {path}"));
                }
                state.add_kv(name);
                no_content()
            }
            "delete" => {
                state.mounts.remove(&path);
                no_content()
            }
            _ => unsupported(),
        }
    }

    fn engine(&self, operation: &str, state: &mut State, now: &str) -> Reply {
        let version = self.parameter("version").and_then(|text| text.parse().ok()).unwrap_or(0);
        let ask = Ask { operation, version, body: &self.body, now };
        match state.mount_mut(&self.path) {
            Some((engine, rest)) => kv::Engine::answer(engine, &rest, &ask),
            None => no_route(&self.path),
        }
    }

    fn health(&self, state: &State) -> Reply {
        let time = state.clock.now().as_second();
        if state.sealed {
            let code = self.parameter("sealedcode").and_then(|code| code.parse().ok()).unwrap_or(503);
            return plain(
                code,
                json!({
                    "initialized": true, "sealed": true, "standby": true,
                    "replication_performance_mode": "unknown", "replication_dr_mode": "unknown",
                    "server_time_utc": time, "version": state.flavour.version(),
                }),
            );
        }
        let mut body = json!({
            "initialized": true, "sealed": false, "standby": false, "replication_performance_mode": "disabled",
            "replication_dr_mode": "disabled", "server_time_utc": time, "version": state.flavour.version(),
            "cluster_name": "vault-cluster-lab", "cluster_id": "4f7053d5-c8d7-954b-b0df-fe23ba090428",
        });
        if state.flavour == Flavour::HashiCorp {
            body["performance_standby"] = json!(false);
            body["enterprise"] = json!(false);
        }
        plain(200, body)
    }
}

fn seal_status(state: &State) -> Reply {
    let mut body = json!({
        "type": "shamir", "initialized": true, "sealed": state.sealed, "t": 1, "n": 1, "progress": 0, "nonce": "",
        "recovery_seal": false, "version": state.flavour.version(), "migration": false, "storage_type": "inmem",
    });
    if !state.sealed {
        body["cluster_name"] = json!("vault-cluster-lab");
        body["cluster_id"] = json!("4f7053d5-c8d7-954b-b0df-fe23ba090428");
    }
    plain(200, body)
}

fn mounts(state: &State) -> Reply {
    let shown: serde_json::Map<String, Value> =
        state.mounts.iter().map(|(path, mount)| (path.clone(), mount.shown.clone())).collect();
    ok(Value::Object(shown)).flattened()
}

/// What the interface asks before it shows a path. Whether a mount is absent or hidden cannot be told apart.
fn ui_mount(state: &State, acl: &Acl, path: &str) -> Reply {
    let path = format!("{}/", path.trim_matches('/'));
    match state.mount_of(&path).filter(|(mount, _, _)| acl.reaches(mount)) {
        Some((mount, _, _)) => {
            let mut shown = state.mounts.get(mount).map_or(Value::Null, |known| known.shown.clone());
            shown["path"] = json!(mount);
            ok(shown)
        }
        None => errors(
            403,
            &format!(
                "preflight capability check returned 403, please ensure client's policies grant access to path {path:?}"
            ),
        ),
    }
}
