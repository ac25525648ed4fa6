//! Checks values against the JSON Schemas of the kinds, compiled once, and says in words what does not fit.

mod describe;
mod explain;
mod fault;
mod files;
mod limits;

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::Value;

use super::policy::written::EnvironmentSpec;
use super::site::SiteSpec;
use crate::ident::KindName;
use crate::plan::Kinds;

pub(crate) use fault::{At, Fault, name_of};
pub use files::schema_files;

/// The validators of all kinds. Compiling them takes as long as reading hundreds of manifests: do it once.
pub struct Validators {
    pub(super) kinds: BTreeMap<KindName, Compiled>,
    pub(super) site: Compiled,
    pub(super) environment: Compiled,
}

impl Validators {
    /// Compiles the schemas of these kinds. Nothing is ever fetched.
    ///
    /// # Panics
    /// Where a kind's schema is none. Schemas are generated from types, so any test of a kind finds that.
    pub fn new(kinds: &Kinds) -> Self {
        Self {
            kinds: kinds
                .iter()
                .map(|(name, kind)| (name.clone(), Compiled::new((kind.schema)().to_value())))
                .collect(),
            site: Compiled::new(files::schema_of::<SiteSpec>()),
            environment: Compiled::new(files::schema_of::<EnvironmentSpec>()),
        }
    }
}

impl std::fmt::Debug for Validators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Validators").field(&self.kinds.keys()).finish()
    }
}

/// One schema, ready to check with.
pub(super) struct Compiled {
    schema: Value,
    validator: Validator,
}

/// How a value is written in the file.
pub(crate) struct Written<'a> {
    pub(crate) text: &'a str,
    /// Without quotes.
    pub(crate) plain: bool,
}

impl Compiled {
    fn new(schema: Value) -> Self {
        let validator = jsonschema::draft202012::options()
            .offline()
            .build(&schema)
            .expect("a schema that is generated from a type is valid");
        Self { schema, validator }
    }

    /// What does not fit. `written` tells how the value at a pointer stands in the file.
    pub(super) fn faults<'a>(
        &self,
        value: &Value,
        written: &dyn Fn(&str) -> Option<Written<'a>>,
    ) -> Vec<Fault> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        explain::explain(&self.schema, &self.validator, value, written)
    }

    /// Whether a secret, or text that may hold one, is expected at a pointer. What cannot be told counts as yes.
    pub(super) fn may_be_secret(&self, pointer: &str) -> bool {
        describe::may_be_secret(&self.schema, pointer)
    }
}

#[cfg(test)]
mod tests;
