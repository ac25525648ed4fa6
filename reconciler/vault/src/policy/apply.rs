//! Acting on a policy: one read and one write a step.
//!
//! What was planned is done only to what it was planned from. No server has a precondition for all of it: a deletion
//! has none, `HashiCorp`'s Vault has none at all, and the versions of `OpenBao` start anew with a policy that is made
//! anew. So each step reads right before it writes, which leaves one round trip in which somebody can come between.

use holdfast_core::ident::{Name, ResourceId};
use holdfast_core::kind::{Kind as _, Owner, TargetError};
use reqwest::Method;
use serde_json::json;

use super::state::{Stored, marked};
use super::{Step, VaultPolicy};
use crate::client::{Answer, Ask};

impl VaultPolicy {
    /// Performs one step. What it gives is what the server warned of.
    pub(super) async fn perform(&self, name: &Name, step: &Step) -> Result<Option<String>, TargetError> {
        match step {
            Step::Create { name: policy, text } => self.create(name, policy, text).await,
            Step::Update { name: policy, text, from, version, .. } => {
                self.update(name, policy, text, from, *version).await
            }
            Step::Delete { name: policy } => self.delete(name, policy).await,
        }
    }

    /// Writes over what was seen, which may be ours or nobody's.
    async fn update(
        &self,
        name: &Name,
        policy: &str,
        text: &str,
        from: &str,
        version: Option<u64>,
    ) -> Result<Option<String>, TargetError> {
        let is_as_seen = |stored: &Stored| {
            let (text, owner) = stored.split(&self.realm, policy);
            let free = owner == Owner::Nobody || self.is_ours(&owner, name);
            free && text == from && stored.version == version
        };
        if !self.read_one(policy).await?.as_ref().is_some_and(is_as_seen) {
            return Err(moved_on(&writing(policy)));
        }
        let marked = self.marked(name, policy, text);
        if let Some(version) = version {
            // A merge keeps what others set beside the text: an expiration, `cas_required`.
            self.merge(policy, json!({ "policy": marked, "cas": version })).await
        } else {
            self.write(policy, json!({ "policy": marked }), "update").await
        }
    }

    /// A policy that does not exist can be one of our token's already, and writing it would give us rights.
    async fn create(&self, name: &Name, policy: &str, text: &str) -> Result<Option<String>, TargetError> {
        let doing = writing(policy);
        let own = self.client.own_policies(&doing).await?;
        if own.is_some_and(|own| own.contains(policy)) {
            let why = format!(
                "`{policy}` is a policy of Holdfast's own token, and Holdfast does not give itself rights; write it by hand, or choose another name"
            );
            return Err(TargetError::rejected(doing, why));
        }
        if self.read_one(policy).await?.is_some() {
            return Err(moved_on(&doing));
        }
        // Must not exist yet. A server without check-and-set ignores it.
        let body = json!({ "policy": self.marked(name, policy, text), "cas": -1 });
        self.write(policy, body, "create").await
    }

    /// Writes the text alone, or all of the policy where the server knows no PATCH.
    async fn merge(&self, policy: &str, body: serde_json::Value) -> Result<Option<String>, TargetError> {
        let doing = writing(policy);
        let ask = Ask::with_body(Method::PATCH, api_path(policy), body.clone(), &doing);
        let answer = self.client.call(&ask).await?;
        if answer.status == 405 {
            self.write(policy, body, "update").await
        } else {
            written(&answer, policy, "patch")
        }
    }

    async fn write(
        &self,
        policy: &str,
        body: serde_json::Value,
        capability: &str,
    ) -> Result<Option<String>, TargetError> {
        let doing = writing(policy);
        let answer = self.client.call(&Ask::with_body(Method::POST, api_path(policy), body, &doing)).await?;
        written(&answer, policy, capability)
    }

    /// What a stranger made under its name since is not ours to delete. What is gone is done.
    async fn delete(&self, name: &Name, policy: &str) -> Result<Option<String>, TargetError> {
        let doing = format!("deleting policy {policy}");
        let Some(stored) = self.read_one(policy).await? else { return Ok(None) };
        if !self.is_ours(&stored.split(&self.realm, policy).1, name) {
            return Err(moved_on(&doing));
        }
        let mut ask = Ask::get(api_path(policy), &doing);
        ask.method = Method::DELETE;
        let answer = self.client.call(&ask).await?;
        match answer.status {
            _ if answer.is_success() => Ok(warning(&answer)),
            404 => Ok(None),
            403 => Err(Answer::denied(&doing, &ask.path, "delete")),
            _ => Err(TargetError::rejected(&doing, answer.words())),
        }
    }

    /// The mark names this very resource.
    fn is_ours(&self, owner: &Owner, name: &Name) -> bool {
        let environment = self.realm.environment.clone();
        *owner == Owner::Ours(ResourceId { environment, kind: Self::NAME, name: name.clone() })
    }

    fn marked(&self, name: &Name, policy: &str, text: &str) -> String {
        marked(&self.realm.mark(Self::NAME, name, policy), text)
    }
}

fn api_path(policy: &str) -> String {
    format!("sys/policies/acl/{policy}")
}

fn writing(policy: &str) -> String {
    format!("writing policy {policy}")
}

/// What became of a write. A version that moved on ends with a new look.
fn written(answer: &Answer, policy: &str, capability: &str) -> Result<Option<String>, TargetError> {
    let doing = writing(policy);
    let changed = |text: &&str| text.contains("check-and-set") || text.contains("policy not found");
    match answer.status {
        _ if answer.is_success() => Ok(warning(answer)),
        403 => Err(Answer::denied(&doing, &api_path(policy), capability)),
        400 if answer.errors().iter().any(changed) => Err(moved_on(&doing)),
        _ => Err(TargetError::rejected(&doing, answer.words())),
    }
}

/// It is not what the step was planned from: a new look helps.
fn moved_on(doing: &str) -> TargetError {
    TargetError::unavailable(doing, "somebody changed it since it was looked at")
}

/// What Vault warned of while it did it.
fn warning(answer: &Answer) -> Option<String> {
    let warnings = answer.body["warnings"].as_array()?;
    let texts: Vec<&str> = warnings.iter().filter_map(serde_json::Value::as_str).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}
