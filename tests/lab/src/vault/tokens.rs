//! Tokens with policies and lifetimes, and `AppRole`, which gives them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answers::{Reply, authenticated, bad_request, errors, no_content, ok};

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) id: String,
    accessor: String,
    pub(super) policies: Vec<String>,
    display_name: String,
    path: &'static str,
    metadata: Value,
    created: Timestamp,
    /// The lifetime it was made or last renewed with; zero lives for ever.
    ttl: Duration,
    max_ttl: Duration,
    expires: Option<Timestamp>,
    orphan: bool,
}

/// An `AppRole`: who has the role id and a secret id gets tokens.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub(super) name: String,
    /// The role id.
    pub(super) id: String,
    pub(super) secret_id: String,
    pub(super) policies: Vec<String>,
    pub(super) ttl: Duration,
    pub(super) max_ttl: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    alive: BTreeMap<String, Token>,
    pub(super) roles: BTreeMap<String, Role>,
    made: u64,
    /// How often somebody logged in.
    pub(super) logins: u64,
}

impl Tokens {
    /// A token of a given id; zero as lifetime is for ever.
    pub(super) fn put(&mut self, id: &str, policies: &[String], ttl: Duration, now: Timestamp) {
        let token = self.token(id.to_owned(), policies, ttl, ttl, now);
        self.alive.insert(id.to_owned(), token);
    }

    fn token(
        &mut self,
        id: String,
        policies: &[String],
        ttl: Duration,
        max_ttl: Duration,
        now: Timestamp,
    ) -> Token {
        self.made += 1;
        let mut policies: Vec<String> = policies.iter().map(|name| name.to_lowercase()).collect();
        if policies != ["root"] {
            policies.push("default".to_owned());
        }
        policies.sort();
        policies.dedup();
        Token {
            id,
            accessor: format!("accessor{:016}", self.made),
            policies,
            display_name: "token".to_owned(),
            path: "auth/token/create",
            metadata: Value::Null,
            created: now,
            ttl,
            max_ttl,
            expires: (!ttl.is_zero()).then(|| later(now, ttl)),
            orphan: true,
        }
    }

    /// The token of this id, if it lives.
    pub(super) fn get(&self, id: &str, now: Timestamp) -> Option<&Token> {
        self.alive.get(id).filter(|token| token.expires.is_none_or(|at| now < at))
    }

    pub(super) fn count(&self, now: Timestamp) -> usize {
        self.alive.values().filter(|token| token.expires.is_none_or(|at| now < at)).count()
    }

    pub(super) fn revoke(&mut self, id: &str) {
        self.alive.remove(id);
    }

    pub(super) fn login(&mut self, body: &Value, now: Timestamp) -> Reply {
        let given = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
        let Some(role_id) = given("role_id") else { return errors(500, "missing role_id") };
        let Some(secret_id) = given("secret_id") else { return bad_request("missing secret_id") };
        let role = self.roles.values().find(|role| role.id == role_id && role.secret_id == secret_id);
        let Some(role) = role.cloned() else { return bad_request("invalid role or secret ID") };
        self.logins += 1;
        let id = format!("s.lab{:020}", self.made + 1);
        let mut token = self.token(id.clone(), &role.policies, role.ttl, role.max_ttl, now);
        "approle".clone_into(&mut token.display_name);
        token.path = "auth/approle/login";
        token.metadata = json!({ "role_name": role.name });
        let reply = authenticated(token.auth(now));
        self.alive.insert(id, token);
        reply
    }

    pub(super) fn renew(&mut self, id: &str, body: &Value, now: Timestamp) -> Reply {
        let Some(token) = self.alive.get_mut(id) else { return errors(403, "permission denied") };
        if token.ttl.is_zero() {
            return bad_request("lease is not renewable");
        }
        let asked = seconds(&body["increment"]).filter(|asked| *asked > 0).map(Duration::from_secs);
        let limit = later(token.created, token.max_ttl);
        let expires = later(now, asked.unwrap_or(token.ttl)).min(limit);
        token.expires = Some(expires);
        authenticated(token.auth(now))
    }

    pub(super) fn revoke_self(&mut self, id: &str) -> Reply {
        self.revoke(id);
        no_content()
    }

    pub(super) fn lookup(&self, id: &str, now: Timestamp) -> Reply {
        let Some(token) = self.alive.get(id) else { return errors(403, "permission denied") };
        ok(json!({
            "accessor": token.accessor, "creation_time": token.created.as_second(),
            "creation_ttl": token.ttl.as_secs(), "display_name": token.display_name, "entity_id": "",
            "expire_time": token.expires.map(|at| at.to_string()), "explicit_max_ttl": 0, "id": token.id,
            "issue_time": token.created.to_string(), "meta": token.metadata, "num_uses": 0,
            "orphan": token.orphan, "path": token.path, "policies": token.policies,
            "renewable": !token.ttl.is_zero(), "ttl": token.left(now), "type": "service",
        }))
    }
}

impl Token {
    fn left(&self, now: Timestamp) -> i64 {
        self.expires.map_or(0, |at| at.as_second() - now.as_second())
    }

    fn auth(&self, now: Timestamp) -> Value {
        json!({
            "client_token": self.id, "accessor": self.accessor, "policies": self.policies,
            "token_policies": self.policies, "metadata": self.metadata, "lease_duration": self.left(now),
            "renewable": !self.ttl.is_zero(), "entity_id": "", "token_type": "service", "orphan": self.orphan,
            "mfa_requirement": null, "num_uses": 0,
        })
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// A duration as the API takes it: seconds as number or text, or `20m`.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let text = value.as_str()?;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let factor = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return None,
    };
    text[..text.len() - 1].parse::<u64>().ok().map(|number| number * factor)
}
