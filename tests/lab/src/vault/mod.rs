//! A simulated Vault or `OpenBao`: the subset of the API that a reconciler of policies and a reader of secrets needs.
//!
//! Answers were compared with a real `OpenBao` 2.7.2, the four meanings of 404 among them.

mod acl;
mod answers;
mod hcl;
mod kv;
mod policies;
mod routes;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::http::{Server, Wire};

/// The token that may do everything.
pub const ROOT_TOKEN: &str = "lab-root-token";

/// Which server it pretends to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavour {
    /// Knows versions of policies, check-and-set on them, and the detailed list.
    #[default]
    OpenBao,
    /// None of these.
    HashiCorp,
}

impl Flavour {
    fn version(self) -> &'static str {
        match self {
            Self::OpenBao => "2.7.2",
            Self::HashiCorp => "1.21.0",
        }
    }
}

struct Mount {
    engine: kv::Engine,
    /// As `sys/mounts` shows it.
    shown: Value,
}

struct State {
    flavour: Flavour,
    sealed: bool,
    mounts: BTreeMap<String, Mount>,
    policies: policies::Policies,
    tokens: tokens::Tokens,
    clock: Clock,
}

impl State {
    fn add_kv(&mut self, name: &str) {
        let number = self.mounts.len();
        let shown = json!({
            "accessor": format!("kv_{number:08x}"), "uuid": format!("00000000-0000-4000-a000-{number:012x}"),
            "config": { "default_lease_ttl": 0, "force_no_cache": false, "max_lease_ttl": 0 },
            "deprecation_status": "supported", "description": "", "external_entropy_access": false,
            "local": false, "options": { "version": "2" }, "plugin_version": "", "running_sha256": "",
            "running_plugin_version": "v2.7.2+builtin.bao", "seal_wrap": false, "type": "kv",
        });
        let mount = Mount { engine: kv::Engine::default(), shown };
        self.mounts.insert(format!("{}/", name.trim_matches('/')), mount);
    }

    /// The mount that a path lies in, and the rest of the path.
    fn mount_of<'a>(&'a self, path: &'a str) -> Option<(&'a str, &'a kv::Engine, &'a str)> {
        let mounts = self.mounts.iter();
        mounts
            .filter_map(|(mount, known)| {
                let whole = mount.trim_end_matches('/');
                let rest = path.strip_prefix(mount.as_str()).or_else(|| (path == whole).then_some(""))?;
                Some((mount.as_str(), &known.engine, rest))
            })
            .max_by_key(|(mount, _, _)| mount.len())
    }

    fn mount_mut(&mut self, path: &str) -> Option<(&mut kv::Engine, String)> {
        let (mount, _, rest) = self.mount_of(path)?;
        let (mount, rest) = (mount.to_owned(), rest.to_owned());
        self.mounts.get_mut(&mount).map(|known| (&mut known.engine, rest))
    }
}

struct Shared(Mutex<State>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server, unsealed, with a KV v2 engine at `secret/`. Dropping it closes its port.
pub struct Vault {
    /// Counts and disturbs the requests.
    pub wire: Wire,
    server: Server,
    shared: Arc<Shared>,
    clock: Clock,
}

impl Vault {
    /// Starts a server on a free port.
    pub async fn start(flavour: Flavour) -> std::io::Result<Self> {
        Self::start_on(flavour, None).await
    }

    /// As [`Vault::start`], on a given port.
    pub async fn start_on(flavour: Flavour, port: Option<u16>) -> std::io::Result<Self> {
        let (wire, clock) = (Wire::default(), Clock::default());
        let mut tokens = tokens::Tokens::default();
        tokens.put(ROOT_TOKEN, &["root".to_owned()], Duration::ZERO, clock.now());
        let mut state = State {
            flavour,
            sealed: false,
            mounts: BTreeMap::new(),
            policies: policies::Policies::new(flavour, &clock.now().to_string()),
            tokens,
            clock: clock.clone(),
        };
        state.add_kv("secret");
        let shared = Arc::new(Shared(Mutex::new(state)));
        let router = Router::new().fallback(routes::serve).with_state(Arc::clone(&shared));
        let server = Server::start(router, &wire, port).await?;
        Ok(Self { wire, server, shared, clock })
    }

    /// The address without `/v1`, such as `http://127.0.0.1:34567`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The clock by which tokens live.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Seals or unseals: a sealed server answers 503 to everything but its health.
    pub fn set_sealed(&self, sealed: bool) {
        self.shared.lock().sealed = sealed;
    }

    /// Mounts a KV v2 engine, such as `kv`.
    pub fn mount_kv(&self, name: &str) {
        self.shared.lock().add_kv(name);
    }

    /// Takes a mount away, with all its data.
    pub fn unmount(&self, name: &str) {
        self.shared.lock().mounts.remove(&format!("{}/", name.trim_matches('/')));
    }

    /// Writes a secret and gives its version. `path` begins with a mount: `kv/guests`. `None` if no mount fits.
    pub fn put_secret(&self, path: &str, data: Value) -> Option<u64> {
        let mut state = self.shared.lock();
        let now = state.clock.now().to_string();
        let (engine, rest) = state.mount_mut(path)?;
        Some(engine.seed(&rest, data, &now))
    }

    /// Writes a policy as somebody else does. The error is what the server says.
    pub fn put_policy(&self, name: &str, text: &str) -> Result<(), String> {
        let mut state = self.shared.lock();
        let now = state.clock.now().to_string();
        let reply = state.policies.write(name, &json!({ "policy": text }), &now);
        match reply.body {
            None => Ok(()),
            Some(body) => Err(body["errors"][0].as_str().unwrap_or_default().to_owned()),
        }
    }

    /// Deletes a policy as somebody else does.
    pub fn remove_policy(&self, name: &str) {
        self.shared.lock().policies.remove(name);
    }

    /// The text of a policy.
    pub fn policy(&self, name: &str) -> Option<String> {
        self.shared.lock().policies.text(name)
    }

    /// The names of all policies, `root` last.
    pub fn policies(&self) -> Vec<String> {
        self.shared.lock().policies.names().into_iter().map(str::to_owned).collect()
    }

    /// Makes a token; zero as lifetime is for ever.
    pub fn put_token(&self, id: &str, policies: &[&str], ttl: Duration) {
        let policies: Vec<String> = policies.iter().map(|name| (*name).to_owned()).collect();
        let mut state = self.shared.lock();
        let now = state.clock.now();
        state.tokens.put(id, &policies, ttl, now);
    }

    /// Revokes a token: whoever uses it gets 403.
    pub fn revoke(&self, id: &str) {
        self.shared.lock().tokens.revoke(id);
    }

    /// Makes an `AppRole` of the same name as its role id; its tokens can be renewed up to three lifetimes.
    pub fn put_approle(&self, role_id: &str, secret_id: &str, policies: &[&str], ttl: Duration) {
        let role = tokens::Role {
            name: role_id.to_owned(),
            id: role_id.to_owned(),
            secret_id: secret_id.to_owned(),
            policies: policies.iter().map(|name| (*name).to_owned()).collect(),
            ttl,
            max_ttl: ttl * 3,
        };
        self.shared.lock().tokens.roles.insert(role_id.to_owned(), role);
    }

    /// How often somebody logged in by `AppRole`.
    pub fn logins(&self) -> u64 {
        self.shared.lock().tokens.logins
    }

    /// How many tokens live, the root token among them.
    pub fn live_tokens(&self) -> usize {
        let state = self.shared.lock();
        state.tokens.count(state.clock.now())
    }
}
