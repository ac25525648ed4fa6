//! What a status is about: the commit itself, or one environment's way to it.

use serde::{Deserialize, Serialize};

use crate::ident::{EnvironmentName, SiteName};

/// What a status is about. A commit has one status a context.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Context {
    /// The repository parses, fits its schemas, links.
    Validate,
    /// The environment converged to the commit, or not.
    Environment(EnvironmentName),
}

impl Context {
    /// Its name within the site, which [`Context::of_key`] reads: `validate` cannot be an environment's name.
    pub fn key(&self) -> &str {
        match self {
            Self::Validate => "validate",
            Self::Environment(environment) => environment.as_str(),
        }
    }

    /// Reads a [`Context::key`].
    pub fn of_key(key: &str) -> Option<Self> {
        match key {
            "validate" => Some(Self::Validate),
            other => EnvironmentName::new(other).ok().map(Self::Environment),
        }
    }

    /// The name under which forges show it: stable, `a-z 0-9 / _ -` only.
    pub fn text(&self, site: &SiteName) -> String {
        format!("{}{}", Self::prefix(site), self.key())
    }

    /// Reads a [`Context::text`] of this site; `None` for one of anybody else.
    pub fn of_text(text: &str, site: &SiteName) -> Option<Self> {
        Self::of_key(text.strip_prefix(&Self::prefix(site))?)
    }

    fn prefix(site: &SiteName) -> String {
        format!("holdfast/{site}/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_read_as_it_is_written() {
        let (site, other) = (SiteName::new("home").unwrap(), SiteName::new("hut").unwrap());
        let core = Context::Environment(EnvironmentName::new("core").unwrap());
        for (context, text) in [(Context::Validate, "holdfast/home/validate"), (core, "holdfast/home/core")] {
            assert_eq!(context.text(&site), text);
            assert_eq!(Context::of_text(text, &other), None);
            assert_eq!(Context::of_text(text, &site), Some(context));
        }
        assert_eq!(Context::of_text("holdfast/home/core/plan", &site), None);
    }
}
