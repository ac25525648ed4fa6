//! References to what another resource has once it exists: `{ ref: VirtualMachine/kube01, output: address }`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ident::{EnvironmentName, IdentError, ResourceId};

/// A reference to one output of a resource, as a manifest writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputRef {
    /// `Kind/name`, or `environment/Kind/name` for a resource of another environment.
    #[serde(rename = "ref")]
    pub resource: String,
    /// Which of its outputs.
    pub output: String,
}

impl OutputRef {
    /// The resource that is meant when the reference stands in the environment `home`.
    pub fn id(&self, home: &EnvironmentName) -> Result<ResourceId, IdentError> {
        ResourceId::parse_in(home, &self.resource)
    }
}

/// A field that a manifest gives by value or by reference. The engine replaces the reference before the
/// spec is used, so a kind that plans or applies meets values alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OrRef<T> {
    Ref(OutputRef),
    Value(T),
}

impl<T> OrRef<T> {
    /// The value, once it is known.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Ref(_) => None,
        }
    }
}

/// The outputs of a resource by name. Only text: an address, a key, a path.
pub type Outputs = BTreeMap<String, String>;

/// All output references in a spec, with the JSON pointer of each: objects with exactly `ref` and `output`.
pub fn references_in(spec: &Value) -> Vec<(String, OutputRef)> {
    let mut found = Vec::new();
    walk(spec, &mut String::new(), &mut |pointer, object| {
        if let Some(reference) = as_reference(object) {
            found.push((pointer.to_owned(), reference));
        }
    });
    found
}

/// Replaces every reference that `known` answers. Returns those that stay unanswered.
pub fn substitute(spec: &mut Value, known: impl Fn(&OutputRef) -> Option<String>) -> Vec<OutputRef> {
    let mut unresolved = Vec::new();
    replace_objects(spec, &mut |object| {
        let reference = as_reference(object)?;
        let value = known(&reference);
        if value.is_none() {
            unresolved.push(reference);
        }
        value.map(Value::String)
    });
    unresolved
}

fn as_reference(object: &Map<String, Value>) -> Option<OutputRef> {
    if object.len() == 2 && object.contains_key("ref") && object.contains_key("output") {
        serde_json::from_value(Value::Object(object.clone())).ok()
    } else {
        None
    }
}

/// Calls `see` with every object in `value`, outer ones first.
pub(crate) fn visit_objects(value: &Value, see: &mut impl FnMut(&Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            see(object);
            object.values().for_each(|inner| visit_objects(inner, see));
        }
        Value::Array(items) => items.iter().for_each(|inner| visit_objects(inner, see)),
        _ => {}
    }
}

/// Replaces the objects for which `new` gives a value; what it replaced is not entered.
pub(crate) fn replace_objects(value: &mut Value, new: &mut impl FnMut(&Map<String, Value>) -> Option<Value>) {
    match value {
        Value::Object(object) => match new(object) {
            Some(replacement) => *value = replacement,
            None => object.values_mut().for_each(|inner| replace_objects(inner, new)),
        },
        Value::Array(items) => items.iter_mut().for_each(|inner| replace_objects(inner, new)),
        _ => {}
    }
}

fn walk(value: &Value, pointer: &mut String, see: &mut impl FnMut(&str, &Map<String, Value>)) {
    let length = pointer.len();
    match value {
        Value::Object(object) => {
            see(pointer, object);
            for (key, inner) in object {
                pointer.push('/');
                if key.contains(['~', '/']) {
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                } else {
                    pointer.push_str(key);
                }
                walk(inner, pointer, see);
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                pointer.push('/');
                pointer.push_str(&index.to_string());
                walk(inner, pointer, see);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_is_substituted_and_the_rest_is_named() {
        let mut spec = json!({
            "address": { "ref": "VirtualMachine/a", "output": "address" },
            "keys": [{ "ref": "VirtualMachine/a", "output": "hostKey" }],
            "plain": { "ref": "x" },
        });
        let pointers: Vec<String> = references_in(&spec).into_iter().map(|(at, _)| at).collect();
        assert_eq!(pointers, ["/address", "/keys/0"]);
        let left = substitute(&mut spec, |r| (r.output == "address").then(|| "10.0.0.1".to_owned()));
        assert_eq!(spec["address"], "10.0.0.1");
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].output, "hostKey");
    }
}
