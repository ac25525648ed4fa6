//! The names of a commit: which resources there are, which are gone, and what somebody may have meant.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Diagnostic, Findings};
use super::document::Declaration;
use super::policy::Named;
use super::words;
use crate::ident::{EnvironmentName, KindName, ResourceId};
use crate::plan::Kinds;

/// The most unknown names for which something similar is looked for.
const GUESSES: usize = 100;

/// Every name that a commit knows, and where to say what is wrong with another.
pub(crate) struct Names<'l, 't> {
    pub(crate) environments: &'l [EnvironmentName],
    pub(crate) declared: &'l BTreeMap<ResourceId, Declaration<'t>>,
    pub(crate) kinds: &'l Kinds,
    /// Environments with a document whose identity could not be read: what seems undeclared may be it.
    pub(crate) unclear: BTreeSet<EnvironmentName>,
    /// What is retired, and where.
    pub(crate) retired: BTreeMap<ResourceId, Named<'t>>,
    /// What is renamed: the new name, and where the old one stands.
    pub(crate) moved: BTreeMap<ResourceId, (ResourceId, Named<'t>)>,
    pub(crate) findings: &'l mut Findings,
    guesses: usize,
}

impl<'l, 't> Names<'l, 't> {
    pub(crate) fn new(
        environments: &'l [EnvironmentName],
        declared: &'l BTreeMap<ResourceId, Declaration<'t>>,
        kinds: &'l Kinds,
        unclear: BTreeSet<EnvironmentName>,
        findings: &'l mut Findings,
    ) -> Self {
        let (retired, moved) = (BTreeMap::new(), BTreeMap::new());
        Self { environments, declared, kinds, unclear, retired, moved, findings, guesses: 0 }
    }

    /// Whether something that could not be read may declare it.
    pub(crate) fn is_unclear(&self, id: &ResourceId) -> bool {
        self.unclear.contains(&id.environment)
    }

    /// Says which kinds there are.
    pub(crate) fn no_kind(&self, diagnostic: Diagnostic, kind: &KindName) -> Diagnostic {
        let names: Vec<&str> = self.kinds.keys().map(KindName::as_str).collect();
        let near = words::did_you_mean(kind.as_str(), names.iter().copied());
        let help = near.unwrap_or_else(|| format!("the kinds are {}", words::list(&names, "and")));
        diagnostic.label("not a kind").help(help)
    }

    /// Says what may have been meant by a name that nothing declares. It is written in the environment `home`.
    pub(crate) fn undeclared(
        &mut self,
        diagnostic: Diagnostic,
        home: &EnvironmentName,
        id: &ResourceId,
    ) -> Diagnostic {
        let diagnostic = diagnostic.label("nothing declares this");
        if let Some(retired) = self.retired.get(id) {
            return retired
                .beside(diagnostic, "it is retired here")
                .help("what is retired is gone: refer to something else");
        }
        if let Some((new, moved)) = self.moved.get(id) {
            return moved
                .beside(diagnostic, "it is moved here")
                .help(format!("write its new name: {}", words::tick(&new.seen_from(home))));
        }
        self.guesses += 1;
        if self.guesses > GUESSES {
            return diagnostic;
        }
        if let Some(there) = self.elsewhere(id) {
            return diagnostic.help(format!("did you mean {}?", words::tick(&there.seen_from(home))));
        }
        let alike = self
            .declared
            .keys()
            .filter(|known| known.environment == id.environment && known.kind == id.kind)
            .map(|known| known.name.as_str());
        match words::closest(id.name.as_str(), alike) {
            Some(name) => {
                let meant = if id.environment == *home {
                    format!("{}/{name}", id.kind)
                } else {
                    format!("{}/{}/{name}", id.environment, id.kind)
                };
                diagnostic.help(format!("did you mean {}?", words::tick(&meant)))
            }
            None => {
                diagnostic.help(format!("declare it in `environments/{}/`, or leave it out", id.environment))
            }
        }
    }

    /// The same kind and name in another environment.
    fn elsewhere(&self, id: &ResourceId) -> Option<ResourceId> {
        let others = self.environments.iter().filter(|environment| **environment != id.environment);
        others
            .map(|environment| ResourceId { environment: environment.clone(), ..id.clone() })
            .find(|there| self.declared.contains_key(there))
    }
}

pub(crate) fn no_kind_title(kind: &KindName) -> String {
    format!("there is no kind {}", words::tick(kind.as_str()))
}
