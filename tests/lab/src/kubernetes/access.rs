//! Who may do what: bearer tokens, and a little of RBAC.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};

use super::resources::{Resource, Target};
use super::status::{Answer, Failure};

/// Verbs on resources, in one namespace or everywhere. `*` stands for all of them.
#[derive(Debug, Clone)]
pub struct Rule {
    pub verbs: Vec<String>,
    /// Plural names, such as `applications`.
    pub resources: Vec<String>,
    pub namespace: Option<String>,
}

impl Rule {
    /// A rule for one namespace, as a `Role` gives.
    pub fn within(namespace: &str, verbs: &[&str], resources: &[&str]) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::everywhere(verbs, resources) }
    }

    /// A rule for the whole cluster, as a `ClusterRole` gives.
    pub fn everywhere(verbs: &[&str], resources: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self { verbs: owned(verbs), resources: owned(resources), namespace: None }
    }

    fn allows(&self, verb: &str, plural: &str, namespace: Option<&str>) -> bool {
        let has = |list: &[String], name: &str| list.iter().any(|item| item == "*" || item == name);
        has(&self.verbs, verb)
            && has(&self.resources, plural)
            && self.namespace.as_deref().is_none_or(|own| namespace == Some(own))
    }
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    rules: Vec<Rule>,
}

/// All tokens.
#[derive(Debug, Default)]
pub(super) struct Access(BTreeMap<String, User>);

impl Access {
    pub(super) fn allow(&mut self, token: &str, user: &str, rules: &[Rule]) {
        self.0.insert(token.to_owned(), User { name: user.to_owned(), rules: rules.to_vec() });
    }

    pub(super) fn revoke(&mut self, token: &str) {
        self.0.remove(token);
    }

    /// Who sent the request. Anonymous requests are off.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Answer<User> {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        token.and_then(|token| self.0.get(token)).cloned().ok_or_else(Failure::unauthorized)
    }
}

impl User {
    pub(super) fn authorize(&self, verb: &str, target: &Target) -> Answer<()> {
        let Target { resource, namespace, name, subresource } = target;
        let plural = match subresource {
            Some(subresource) => format!("{}/{subresource}", resource.plural),
            None => resource.plural.to_owned(),
        };
        // A rule for one namespace also lets one read that namespace's own object.
        let within = namespace.as_deref().or_else(|| own_namespace(resource, name.as_deref()));
        if self.rules.iter().any(|rule| rule.allows(verb, &plural, within)) {
            return Ok(());
        }
        Err(Failure::forbidden(&self.name, verb, resource, within, name.as_deref()))
    }
}

fn own_namespace<'a>(resource: &Resource, name: Option<&'a str>) -> Option<&'a str> {
    name.filter(|_| resource.plural == "namespaces")
}
