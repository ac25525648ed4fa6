//! The simulated Vault as far as ACL policies go: texts, versions with check-and-set, and what it refuses.

mod hcl;
mod meddle;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind, Look, Owner, Scope, Seen, TargetError};
use holdfast_core::mark::{Mark, Realm};
use holdfast_core::secret::Secrets;
use holdfast_vault::policy::{Spec, State, Step, VaultPolicy};
use rand::rngs::SmallRng;

use crate::model::{Meddling, Model, Object, Time};

/// What the first line of a marked policy starts with.
const MARK_LINE: &str = "# holdfast: ";
/// There from the beginning. `root` has no text, and nobody can change it.
const DEFAULT: &str = "path \"auth/token/lookup-self\" {\n  capabilities = [\"read\"]\n}\n";

/// Which server it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flavour {
    /// Counts versions, and checks them.
    #[default]
    OpenBao,
    /// `HashiCorp`'s: the last write wins.
    Vault,
}

/// One stored policy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Policy {
    /// With the line of the mark.
    text: String,
    /// Counts its writes from 1, equal text or not. It starts anew when a policy of the same name is made again.
    version: u64,
    birth: u64,
}

/// The policies of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    flavour: Flavour,
    policies: BTreeMap<String, Policy>,
    /// The policies of Holdfast's own token.
    own: BTreeSet<String>,
    births: u64,
    now: Time,
    sealed: bool,
}

impl Vault {
    /// A server with `default`, and with `holdfast` as the policy of the service's token.
    pub fn new(flavour: Flavour) -> Self {
        let mut vault = Self {
            flavour,
            policies: BTreeMap::new(),
            own: BTreeSet::from(["default".to_owned(), "holdfast".to_owned()]),
            births: 0,
            now: Time::ZERO,
            sealed: false,
        };
        vault.put("default", DEFAULT);
        vault.put("holdfast", "path \"sys/policies/acl/*\" {\n  capabilities = [\"create\", \"read\"]\n}\n");
        vault
    }

    /// Somebody writes a policy.
    pub fn put(&mut self, name: &str, text: &str) {
        if let Some(known) = self.policies.get_mut(name) {
            text.clone_into(&mut known.text);
            known.version += 1;
            return;
        }
        // With time too, so that a world that was set back to an older state gives none out twice.
        let now = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX);
        self.births = (self.births + 1).max(now);
        let policy = Policy { text: text.to_owned(), version: 1, birth: self.births };
        self.policies.insert(name.to_owned(), policy);
    }

    /// Somebody deletes a policy, in use or not.
    pub fn remove(&mut self, name: &str) {
        self.policies.remove(name);
    }

    /// The token of the service gets this policy, whether there is one of that name or not.
    pub fn own(&mut self, name: &str) {
        self.own.insert(name.to_owned());
    }

    /// The whole text, with the line of the mark.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.policies.get(name).map(|policy| policy.text.as_str())
    }

    /// While it is sealed it answers nothing but that.
    pub fn seal(&mut self, sealed: bool) {
        self.sealed = sealed;
    }

    /// A person takes copied marks off again.
    pub fn mend(&mut self) {
        let is_copied = |(name, policy): (&String, &Policy)| {
            let (mark, text) = split_mark(&policy.text);
            let mark = mark.and_then(Mark::parse)?;
            (mark.object != *name).then(|| (name.clone(), text.to_owned()))
        };
        let copied: Vec<(String, String)> = self.policies.iter().filter_map(is_copied).collect();
        for (name, text) in copied {
            self.put(&name, &text);
        }
    }

    fn answers(&self, doing: &str) -> Result<(), TargetError> {
        if self.sealed { Err(sealed(doing)) } else { Ok(()) }
    }

    /// What a read of one gives.
    fn seen(&self, realm: &Realm, name: &str) -> Seen<State> {
        let present = |text: &str, version: u64| {
            let (mark, text) = split_mark(text);
            let owner = realm.owner(mark.and_then(Mark::parse).as_ref(), name);
            let version = (self.flavour == Flavour::OpenBao).then_some(version);
            let (unmarked, own) = (owner == Owner::Nobody, self.own.contains(name));
            let state = State { name: name.to_owned(), text: text.to_owned(), version, unmarked, own };
            Seen::Present { state, owner }
        };
        match self.policies.get(name) {
            Some(policy) => present(&policy.text, policy.version),
            None if name == "root" => present("", 0),
            None => Seen::Absent,
        }
    }

    /// A write with check-and-set: `cas` is the version that must be there, 0 for none.
    fn write(&mut self, name: &str, text: &str, cas: Option<u64>) -> Result<(), TargetError> {
        let doing = format!("writing policy {name}");
        let refused = |why: &str| TargetError::rejected(&doing, format!("vault answered 400: {why}"));
        if name == "root" {
            return Err(refused("cannot update \"root\" policy"));
        }
        hcl::check(text).map_err(|why| refused(&format!("failed to parse policy: {why}")))?;
        let version = self.policies.get(name).map_or(0, |policy| policy.version);
        if self.flavour == Flavour::OpenBao && cas.is_some_and(|cas| cas != version) {
            return Err(TargetError::unavailable(&doing, "somebody changed it since it was looked at"));
        }
        self.put(name, text);
        Ok(())
    }

    /// The client reads right before it writes, and does to nothing else what was planned. Here no time passes in
    /// between, so that a write that lands late is checked as it lands, which no real server does.
    fn is_as_planned(&self, realm: &Realm, name: &Name, step: &Step) -> Result<(), TargetError> {
        let id = realm.mark(VaultPolicy::NAME, name, name.as_str()).id;
        let (doing, policy) = match step {
            Step::Create { name, .. } | Step::Update { name, .. } => ("writing", name),
            Step::Delete { name } => ("deleting", name),
        };
        let fits = match (step, self.seen(realm, policy)) {
            (Step::Create { .. } | Step::Delete { .. }, Seen::Absent) => true,
            (Step::Update { from, version, .. }, Seen::Present { state, owner }) => {
                let free = owner == Owner::Nobody || owner == Owner::Ours(id);
                free && state.text == *from && state.version == *version
            }
            (Step::Delete { .. }, Seen::Present { owner, .. }) => owner == Owner::Ours(id),
            _ => false,
        };
        let moved_on = "somebody changed it since it was looked at";
        if fits {
            Ok(())
        } else {
            Err(TargetError::unavailable(format!("{doing} policy {policy}"), moved_on))
        }
    }

    fn delete(&mut self, name: &str) -> Result<(), TargetError> {
        if matches!(name, "root" | "default") {
            let why = format!("vault answered 400: cannot delete {name} policy");
            return Err(TargetError::rejected(format!("deleting policy {name}"), why));
        }
        self.policies.remove(name);
        Ok(())
    }
}

impl Model for Vault {
    type Kind = VaultPolicy;

    /// Nothing here goes on by itself.
    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    fn look(&self, realm: &Realm, scope: Scope, wanted: &BTreeMap<Name, Spec>) -> Look<State> {
        if let Err(error) = self.answers("listing the policies of vault") {
            return Look::failed(wanted.keys(), &error);
        }
        let mut look = Look { seen: BTreeMap::new(), incomplete: None, failed: None, notices: Vec::new() };
        for name in wanted.keys() {
            look.seen.insert(name.clone(), self.seen(realm, name.as_str()));
        }
        for policy in self.policies.keys() {
            let name = Name::new(policy.as_str()).ok();
            let is_wanted = name.as_ref().is_some_and(|name| wanted.contains_key(name));
            if scope == Scope::Only && !is_wanted {
                continue;
            }
            let seen = self.seen(realm, policy);
            let Seen::Present { owner, .. } = &seen else { continue };
            match owner {
                Owner::Copied => look
                    .notices
                    .push(format!("policy `{policy}` carries a mark that was copied from another one")),
                _ if is_wanted => {}
                Owner::Ours(id) if id.kind == VaultPolicy::NAME && Some(&id.name) == name.as_ref() => {
                    look.seen.insert(id.name.clone(), seen);
                }
                Owner::Ours(id) => {
                    look.notices.push(format!("policy `{policy}` carries the mark of `{}`", id.short()));
                }
                Owner::Nobody | Owner::Other(_) => {}
            }
        }
        look
    }

    fn perform(
        &mut self,
        realm: &Realm,
        name: &Name,
        step: &Step,
        _secrets: &Secrets,
    ) -> Result<Option<String>, TargetError> {
        let marked = |policy: &str, text: &str| {
            format!("{MARK_LINE}{}\n{text}", realm.mark(VaultPolicy::NAME, name, policy))
        };
        self.answers(&step.to_string())?;
        match step {
            Step::Create { name: policy, text } => {
                // Asked of the token before anything is read.
                if self.own.contains(policy) {
                    let why = format!(
                        "`{policy}` is a policy of Holdfast's own token, and Holdfast does not give itself rights"
                    );
                    return Err(TargetError::rejected(format!("writing policy {policy}"), why));
                }
                self.is_as_planned(realm, name, step)?;
                self.write(policy, &marked(policy, text), Some(0))?;
            }
            Step::Update { name: policy, text, version, .. } => {
                self.is_as_planned(realm, name, step)?;
                self.write(policy, &marked(policy, text), *version)?;
            }
            Step::Delete { name: policy } => {
                self.is_as_planned(realm, name, step)?;
                self.delete(policy)?;
            }
        }
        Ok(None)
    }

    fn objects(&self) -> BTreeMap<String, Object> {
        let object = |(name, policy): (&String, &Policy)| {
            let object = Object {
                mark: split_mark(&policy.text).0.map(str::to_owned),
                identity: name.clone(),
                birth: policy.birth,
                data: BTreeMap::new(),
                protected: false,
                healthy: true,
                content: policy.text.clone(),
                secrets: BTreeSet::new(),
            };
            (name.clone(), object)
        };
        self.policies.iter().map(object).collect()
    }

    fn meddle(&mut self, chance: &mut SmallRng) -> Option<Meddling> {
        self.meddle_with(chance)
    }
}

/// What a sealed server says to everything.
pub(super) fn sealed(doing: &str) -> TargetError {
    TargetError::unavailable(doing, "vault is sealed; once it is unsealed this goes on by itself")
}

/// The mark in the first line, and the rest; a first line that holds none belongs to the text.
fn split_mark(text: &str) -> (Option<&str>, &str) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    match line.strip_prefix(MARK_LINE).filter(|mark| Mark::parse(mark).is_some()) {
        Some(mark) => (Some(mark), rest),
        None => (None, text),
    }
}
