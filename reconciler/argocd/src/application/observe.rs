//! Looking at Applications: one request lists them all, and each is read by itself.
//!
//! A wanted one that the list lacks costs one request more: only what is asked for by its name, and is not there, is
//! absent. A list of 200 that is short would else have something made over what is there, whoever's it is.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind as _, Look, Owner, Scope, Seen, TargetError};
use holdfast_core::mark::Mark;
use serde_json::Value;

use super::settled::pending;
use super::{Application, MARK, Spec, State};
use crate::client::one_line;

/// Applications that deploy Applications are followed so deep.
const DEPTH: usize = 8;
/// Applications that are asked for by name at a time.
const AT_ONCE: usize = 8;

type Found = BTreeMap<String, Result<State, &'static str>>;

impl Application {
    pub(super) async fn look(&self, scope: Scope, wanted: &BTreeMap<Name, Spec>) -> Look<State> {
        let doing = format!("listing the applications in namespace {}", self.client.namespace());
        let mut items = match self.client.list(&doing).await {
            Ok(items) => items,
            Err(error) => return Look::failed(wanted.keys(), &error),
        };
        let mut unlisted: Vec<String> = Vec::new();
        let mut unknown = Vec::new();
        for (name, answer) in self.ask_for_the_missing(wanted, &items).await {
            match answer {
                Ok(None) => {}
                Ok(Some(item)) => {
                    unlisted.push(format!("`{name}`"));
                    items.push(item);
                }
                Err(error) => unknown.push((name, error)),
            }
        }
        let mut look = self.sort(scope, wanted, &items);
        look.seen.extend(unknown.into_iter().map(|(name, error)| (name, Seen::Unknown(error))));
        if !unlisted.is_empty() {
            // What else of ours it lacks, nobody can tell.
            look.incomplete = Some(format!(
                "{doing}: the list lacks {}, though asking by name finds it",
                unlisted.join(", ")
            ));
        }
        look
    }

    /// Asks for the wanted ones that are not in the list, each by its name. Where the API is away there is no sense in
    /// going on.
    async fn ask_for_the_missing(
        &self,
        wanted: &BTreeMap<Name, Spec>,
        items: &[Value],
    ) -> Vec<(Name, Result<Option<Value>, TargetError>)> {
        let listed: BTreeSet<&str> =
            items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect();
        let is_missing = |(name, spec): &(&Name, &Spec)| {
            !listed.contains(name.as_str()) && self.foreign_namespace(name, spec).is_none()
        };
        let missing: Vec<Name> = wanted.iter().filter(is_missing).map(|(name, _)| name.clone()).collect();
        let mut answers = Vec::with_capacity(missing.len());
        let mut away = None;
        for some in missing.chunks(AT_ONCE) {
            let ask = |name: &Name| {
                let (name, away) = (name.clone(), away.clone());
                async move {
                    let doing = format!("looking for application {name}");
                    let answer = match away {
                        None => self.client.get(name.as_str(), &doing).await,
                        Some(error) => Err(error),
                    };
                    (name, answer)
                }
            };
            answers.extend(join_all(some.iter().map(ask)).await);
            let is_away = |error: &&TargetError| error.is_unavailable();
            away = answers.iter().filter_map(|(_, answer)| answer.as_ref().err()).find(is_away).cloned();
        }
        answers
    }

    fn sort(&self, scope: Scope, wanted: &BTreeMap<Name, Spec>, items: &[Value]) -> Look<State> {
        let mut marks = BTreeMap::new();
        let mut found = Found::new();
        for item in items {
            let Some(name) = item["metadata"]["name"].as_str() else { continue };
            let mark = item["metadata"]["annotations"][MARK].as_str();
            marks.insert(name.to_owned(), mark.map(str::to_owned));
            found.insert(name.to_owned(), State::read(item));
        }
        let waiting: BTreeMap<String, Vec<String>> =
            found.keys().map(|name| (name.clone(), unsettled_children(&found, name))).collect();
        let mut look = Look { seen: BTreeMap::new(), incomplete: None, failed: None, notices: Vec::new() };
        for (name, spec) in wanted {
            let seen = self.foreign_namespace(name, spec).map_or_else(|| Seen::Absent, Seen::Unknown);
            look.seen.insert(name.clone(), seen);
        }
        for (object, read) in found {
            let Ok(name) = Name::new(object.as_str()) else { continue };
            let owner = self.owner(&object, marks[&object].as_deref());
            if owner == Owner::Copied {
                look.notices
                    .push(format!("application `{object}` carries a mark that was copied from another one"));
            }
            let ours = matches!(&owner, Owner::Ours(id) if id.kind == Self::NAME && id.name == name);
            match look.seen.get(&name) {
                // A manifest of another namespace says nothing about the one that is here.
                Some(Seen::Unknown(_)) => continue,
                None if scope == Scope::Only || !ours => continue,
                _ => {}
            }
            let seen = match read {
                Ok(mut state) => {
                    state.unsettled_children = waiting.get(&object).cloned().unwrap_or_default();
                    Seen::Present { state, owner }
                }
                Err(why) => {
                    Seen::Unknown(TargetError::rejected(format!("reading application {object}"), why))
                }
            };
            look.seen.insert(name, seen);
        }
        look
    }

    /// One connection serves one namespace, and the manifest must not pretend otherwise.
    fn foreign_namespace(&self, name: &Name, spec: &Spec) -> Option<TargetError> {
        let ours = self.client.namespace();
        let other = spec.metadata.namespace.as_deref().filter(|namespace| *namespace != ours)?;
        let why = format!(
            "its manifest names the namespace `{other}`, and Holdfast is configured for `{ours}`; leave `metadata.namespace` out, or write `{ours}`"
        );
        Some(TargetError::rejected(format!("looking for application {name}"), why))
    }

    fn owner(&self, object: &str, mark: Option<&str>) -> Owner {
        match mark.map(|text| (Mark::parse(text), text)) {
            None => Owner::Nobody,
            Some((Some(mark), _)) => self.realm.owner(Some(&mark), &self.object(object)),
            Some((None, text)) => Owner::Other(one_line(text)),
        }
    }
}

/// What the Applications below one are waiting for. Argo CD leaves their health out of their parent's.
fn unsettled_children(found: &Found, parent: &str) -> Vec<String> {
    let mut unsettled = Vec::new();
    let mut visited = BTreeSet::from([parent.to_owned()]);
    let mut level = vec![parent.to_owned()];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for name in level {
            let Some(Ok(state)) = found.get(&name) else { continue };
            for child in &state.children {
                if !visited.insert(child.clone()) {
                    continue;
                }
                match found.get(child) {
                    Some(Ok(state)) => {
                        let what = pending(state);
                        unsettled.extend(what.map(|what| format!("{child}: {}", what.text())));
                    }
                    Some(Err(why)) => unsettled.push(format!("{child}: {why}")),
                    None => unsettled.push(format!("{child}: it is not there")),
                }
                next.push(child.clone());
            }
        }
        level = next;
    }
    unsettled.truncate(5);
    unsettled
}
