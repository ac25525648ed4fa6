//! ACL policies, as `sys/policies/acl`, `sys/policies/detailed/acl` and the old `sys/policy` show them.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};

use super::Flavour;
use super::acl::Acl;
use super::answers::{Reply, bad_request, empty_404, no_content, ok, unsupported};
use super::hcl::{Rule, rules};
use super::tokens::Token;

const DEFAULT: &str = r#"
# Allow tokens to look up their own properties
path "auth/token/lookup-self" {
    capabilities = ["read"]
}

# Allow tokens to renew themselves
path "auth/token/renew-self" {
    capabilities = ["update"]
}

# Allow tokens to revoke themselves
path "auth/token/revoke-self" {
    capabilities = ["update"]
}

# Allow a token to look up its own capabilities on a path
path "sys/capabilities-self" {
    capabilities = ["update"]
}
"#;

#[derive(Debug, Clone)]
struct Policy {
    text: String,
    rules: Vec<Rule>,
    version: u64,
    modified: String,
    cas_required: bool,
}

#[derive(Debug)]
pub(super) struct Policies {
    flavour: Flavour,
    all: BTreeMap<String, Policy>,
}

impl Policies {
    pub(super) fn new(flavour: Flavour, now: &str) -> Self {
        let mut policies = Self { flavour, all: BTreeMap::new() };
        drop(policies.write("default", &json!({ "policy": DEFAULT }), now));
        policies
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.all.get(&name.to_lowercase()).map(|policy| policy.text.clone())
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.all.remove(&name.to_lowercase());
    }

    /// What a token may do.
    pub(super) fn acl(&self, token: &Token) -> Acl {
        let root = token.policies.iter().any(|name| name == "root");
        let known = token.policies.iter().filter_map(|name| self.all.get(name));
        Acl::new(root, known.flat_map(|policy| policy.rules.clone()))
    }

    /// Names in order, `root` last.
    pub(super) fn names(&self) -> Vec<&str> {
        self.all.keys().map(String::as_str).chain(["root"]).collect()
    }

    pub(super) fn read(&self, name: &str, field: &str) -> Reply {
        let name = name.to_lowercase();
        if name == "root" {
            return ok(json!({ "name": "root", field: "" }));
        }
        match self.all.get(&name) {
            Some(policy) => ok(self.shown(&name, policy, field)),
            None => empty_404(),
        }
    }

    fn shown(&self, name: &str, policy: &Policy, field: &str) -> Value {
        let mut shown = json!({ "name": name, field: policy.text });
        if self.flavour == Flavour::OpenBao {
            shown["version"] = json!(policy.version);
            shown["modified"] = json!(policy.modified);
            shown["cas_required"] = json!(policy.cas_required);
            shown["allow_slashes_in_identity_templates"] = json!(false);
            shown["allow_wildcards_in_identity_templates"] = json!(false);
        }
        shown
    }

    /// Names and texts at once; only `OpenBao` has it.
    pub(super) fn detailed(&self) -> Reply {
        let info: BTreeMap<&str, Value> = self
            .all
            .iter()
            .map(|(name, policy)| (name.as_str(), self.shown(name, policy, "policy")))
            .chain([("root", json!({ "name": "root", "policy": "", "version": 0, "cas_required": false }))])
            .collect();
        ok(json!({ "key_info": info, "keys": self.names() }))
    }

    /// Stores a text as it is, if it can be parsed. Every write is a new version, equal text or not.
    pub(super) fn write(&mut self, name: &str, body: &Value, now: &str) -> Reply {
        let name = name.to_lowercase();
        let Some(text) =
            body["policy"].as_str().or_else(|| body["rules"].as_str()).filter(|text| !text.is_empty())
        else {
            return bad_request("'policy' parameter not supplied or empty");
        };
        if name == "root" {
            return bad_request("cannot update \"root\" policy");
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok();
        let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| text.to_owned());
        let rules = match rules(&text) {
            Ok(rules) => rules,
            Err(why) => return bad_request(&format!("failed to parse policy: {why}")),
        };
        let known = self.all.get(&name);
        let version = known.map_or(0, |policy| policy.version);
        if self.flavour == Flavour::OpenBao {
            match body["cas"].as_i64() {
                Some(-1) if known.is_some() => {
                    return bad_request("check-and-set parameter set to -1 on existing entry");
                }
                Some(cas) if cas != -1 && u64::try_from(cas) != Ok(version) => {
                    return bad_request(&format!(
                        "check-and-set parameter {cas} did not match the current version {version}"
                    ));
                }
                None if known.is_some_and(|policy| policy.cas_required) => {
                    return bad_request("check-and-set parameter required for this call");
                }
                _ => {}
            }
        }
        // What is not sent is reset: a PUT replaces the flags as well.
        let cas_required = body["cas_required"].as_bool().unwrap_or_default();
        let policy = Policy { text, rules, version: version + 1, modified: now.to_owned(), cas_required };
        self.all.insert(name, policy);
        no_content()
    }

    /// Merges into what is there: what is not sent stays. Only `OpenBao` has it.
    pub(super) fn patch(&mut self, name: &str, body: &Value, now: &str) -> Reply {
        if self.flavour != Flavour::OpenBao {
            return unsupported();
        }
        let Some(known) = self.all.get(&name.to_lowercase()) else { return bad_request("policy not found") };
        let mut whole = json!({ "policy": known.text, "cas_required": known.cas_required });
        for (key, value) in body.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        let reply = self.write(name, &whole, now);
        if reply.code == 204 { ok(Value::Null) } else { reply }
    }

    /// Deleting what is not there, or what is in use, is like any other deletion.
    pub(super) fn delete(&mut self, name: &str) -> Reply {
        match name.to_lowercase().as_str() {
            "default" => bad_request("cannot delete default policy"),
            "root" => bad_request("cannot delete \"root\" policy"),
            name => {
                self.all.remove(name);
                no_content()
            }
        }
    }
}
