//! Looking at policies: all of them in one request where the server can, else one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use futures_util::stream::{self, StreamExt as _};
use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind as _, Look, Owner, Scope, Seen, TargetError};

use super::state::{State, Stored};
use super::{Spec, VaultPolicy};
use crate::client::{Answer, Ask};

/// So few are cheaper to read one by one.
const FEW: usize = 3;
/// Reads at a time, where there is no bulk listing.
const AT_ONCE: usize = 8;
/// More policies than this are not read one by one to find our marks.
const MANY: usize = 2000;

const LISTING: &str = "listing the policies of vault";

/// What was read, by the policy's name. A name that is not in it is absent.
#[derive(Default)]
struct Reading {
    policies: BTreeMap<String, Result<Stored, TargetError>>,
    incomplete: Option<String>,
}

impl VaultPolicy {
    pub(super) async fn look(&self, scope: Scope, wanted: &BTreeMap<Name, Spec>) -> Look<State> {
        let result = async {
            let own = self.client.own_policies(LISTING).await?;
            Ok((own, self.read(scope, wanted).await?))
        };
        match result.await {
            Ok((own, reading)) => self.sort(scope, wanted, own.as_ref(), reading),
            Err(error) => Look::failed(wanted.keys(), &error),
        }
    }

    async fn read(&self, scope: Scope, wanted: &BTreeMap<Name, Spec>) -> Result<Reading, TargetError> {
        let names = || wanted.keys().map(|name| name.as_str().to_owned()).collect::<BTreeSet<_>>();
        if scope == Scope::Only && wanted.len() <= FEW {
            return Ok(Reading { policies: self.read_each(names()).await?, incomplete: None });
        }
        if let Some(policies) = self.read_at_once().await? {
            return Ok(Reading { policies, incomplete: None });
        }
        let ask = Ask::list("sys/policies/acl", LISTING);
        let answer = self.client.call(&ask).await?;
        let listed: BTreeSet<String> = match answer.status {
            200 => list_of_names(&answer)?,
            403 => {
                let denied = Answer::denied(LISTING, "sys/policies/acl", "list");
                let policies = self.read_each(names()).await?;
                return Ok(Reading { policies, incomplete: Some(denied.to_string()) });
            }
            _ => return Err(TargetError::rejected(LISTING, answer.words())),
        };
        let mut to_read = listed.clone();
        let mut incomplete = None;
        if scope == Scope::Only || listed.len() > MANY {
            to_read.retain(|name| Name::new(name.as_str()).is_ok_and(|name| wanted.contains_key(&name)));
        }
        if scope == Scope::All && listed.len() > MANY {
            incomplete = Some(format!("{} policies are too many to look for marks", listed.len()));
        }
        // It has no text, and nobody can mark it.
        to_read.remove("root");
        Ok(Reading { policies: self.read_each(to_read).await?, incomplete })
    }

    /// `LIST sys/policies/detailed/acl` gives names and texts at once; `None` where the server or the token's
    /// rights do not have it. (`OpenBao` has it, Vault itself does not.)
    async fn read_at_once(
        &self,
    ) -> Result<Option<BTreeMap<String, Result<Stored, TargetError>>>, TargetError> {
        if self.no_bulk.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let answer = self.client.call(&Ask::list("sys/policies/detailed/acl", LISTING)).await?;
        match answer.status {
            200 => {}
            403 => return Ok(None),
            _ => {
                self.no_bulk.store(true, Ordering::Relaxed);
                return Ok(None);
            }
        }
        let Some(policies) = answer.data()["key_info"].as_object() else {
            return Err(TargetError::rejected(LISTING, "the answer has no `key_info`"));
        };
        let read = |(name, data): (&String, &serde_json::Value)| {
            let stored = Stored::read(data)
                .ok_or_else(|| TargetError::rejected(LISTING, format!("policy `{name}` has no text")));
            (name.clone(), stored)
        };
        Ok(Some(policies.iter().map(read).collect()))
    }

    /// Reads policies one by one, a few at a time. What one read says is about that policy alone, but where
    /// Vault is away there is no sense in going on.
    async fn read_each(
        &self,
        names: BTreeSet<String>,
    ) -> Result<BTreeMap<String, Result<Stored, TargetError>>, TargetError> {
        let mut found = BTreeMap::new();
        let mut reads = stream::iter(names)
            .map(|name| async move {
                let result = self.read_one(&name).await;
                (name, result)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((name, result)) = reads.next().await {
            match result {
                Ok(Some(stored)) => drop(found.insert(name, Ok(stored))),
                Ok(None) => {}
                Err(error) if error.is_unavailable() => return Err(error),
                Err(error) => drop(found.insert(name, Err(error))),
            }
        }
        Ok(found)
    }

    pub(super) async fn read_one(&self, name: &str) -> Result<Option<Stored>, TargetError> {
        let doing = format!("reading policy {name}");
        let ask = Ask::get(format!("sys/policies/acl/{name}"), &doing);
        let answer = self.client.call(&ask).await?;
        match answer.status {
            200 => Stored::read(answer.data())
                .map(Some)
                .ok_or_else(|| TargetError::rejected(&doing, "the answer has no text of a policy")),
            404 => Ok(None),
            403 => Err(Answer::denied(&doing, &ask.path, "read")),
            _ => Err(TargetError::rejected(&doing, answer.words())),
        }
    }

    fn sort(
        &self,
        scope: Scope,
        wanted: &BTreeMap<Name, Spec>,
        own: Option<&BTreeSet<String>>,
        reading: Reading,
    ) -> Look<State> {
        let Reading { mut policies, incomplete } = reading;
        let mut look = Look { seen: BTreeMap::new(), incomplete, failed: None, notices: Vec::new() };
        if own.is_none() {
            look.notices.push("the token of Holdfast may not look itself up, so it cannot tell which policies are its own: allow `read` on `auth/token/lookup-self`".to_owned());
        }
        let own = |name: &str| own.is_some_and(|own| own.contains(name));
        for name in wanted.keys() {
            let seen = match policies.remove(name.as_str()) {
                None => Seen::Absent,
                Some(Err(error)) => Seen::Unknown(error),
                Some(Ok(stored)) => self.present(&stored, name.as_str(), own(name.as_str())),
            };
            if let Seen::Present { owner: Owner::Copied, .. } = seen {
                look.notices.push(format!("policy `{name}` carries a mark that was copied from another one"));
            }
            look.seen.insert(name.clone(), seen);
        }
        if scope == Scope::Only {
            return look;
        }
        for (policy, read) in policies {
            let stored = match read {
                Ok(stored) => stored,
                Err(error) => {
                    look.incomplete.get_or_insert_with(|| error.to_string());
                    continue;
                }
            };
            let seen = self.present(&stored, &policy, own(&policy));
            match &seen {
                Seen::Present { owner: Owner::Ours(id), .. }
                    if id.kind == Self::NAME && id.name.as_str() == policy =>
                {
                    look.seen.insert(id.name.clone(), seen);
                }
                Seen::Present { owner: Owner::Ours(id), .. } => {
                    look.notices.push(format!("policy `{policy}` carries the mark of `{}`", id.short()));
                }
                Seen::Present { owner: Owner::Copied, .. } => {
                    look.notices
                        .push(format!("policy `{policy}` carries a mark that was copied from another one"));
                }
                _ => {}
            }
        }
        look
    }

    fn present(&self, stored: &Stored, name: &str, own: bool) -> Seen<State> {
        let (text, owner) = stored.split(&self.realm, name);
        let unmarked = owner == Owner::Nobody;
        let state =
            State { name: name.to_owned(), text: text.to_owned(), version: stored.version, unmarked, own };
        Seen::Present { state, owner }
    }
}

fn list_of_names(answer: &Answer) -> Result<BTreeSet<String>, TargetError> {
    let keys = answer.data()["keys"].as_array();
    let names = keys.into_iter().flatten().map(|name| name.as_str().map(str::to_owned));
    match (keys, names.collect::<Option<BTreeSet<String>>>()) {
        (Some(_), Some(names)) => Ok(names),
        _ => Err(TargetError::rejected(LISTING, "the answer has no list of names")),
    }
}
