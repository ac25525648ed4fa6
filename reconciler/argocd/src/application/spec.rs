//! What a manifest asks for: Argo CD's own object, of which only `metadata` and `spec` are ours to write.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{MARK, normal};

/// Set by servers and clients. An exported object has them; they are no part of what is wanted.
const SET_BY_OTHERS: [&str; 6] =
    ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];
/// Annotations that say something to a tool, and are not kept on the object.
const NOT_KEPT: [&str; 2] = ["holdfast/depends-on", "kubectl.kubernetes.io/last-applied-configuration"];
/// A request to Argo CD, which takes it away again.
const REFRESH: &str = "argocd.argoproj.io/refresh";

/// An Application of Argo CD as it stands in the repository, without `apiVersion` and `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written", title = "Application")]
pub struct Spec {
    pub metadata: Metadata,
    /// Normalised: see [`normal::spec`].
    pub spec: Map<String, Value>,
}

/// An Application of Argo CD, as it stands in the repository.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Application")]
struct Written {
    #[serde(default)]
    metadata: Metadata,
    /// `ApplicationSpec` of Argo CD.
    #[schemars(schema_with = "spec_schema")]
    spec: Map<String, Value>,
    /// Argo CD's own; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
}

/// The metadata that is applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub name: Option<String>,
    /// That of the service's configuration, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Everything else, of which some is known to be of no meaning here.
    #[serde(flatten)]
    #[schemars(skip)]
    other: BTreeMap<String, Value>,
}

/// What Argo CD's own schema requires. The rest is checked by the API server.
fn spec_schema(_: &mut SchemaGenerator) -> Schema {
    let source = json!({ "type": "object", "properties": { "repoURL": { "type": "string" } }, "required": ["repoURL"] });
    json_schema!({
        "description": "`ApplicationSpec` of Argo CD.",
        "type": "object",
        "properties": {
            "project": { "type": "string" },
            "destination": {
                "type": "object",
                "properties": {
                    "server": { "type": "string" },
                    "name": { "type": "string" },
                    "namespace": { "type": "string" }
                }
            },
            "source": source,
            "sources": { "type": "array", "items": source },
            "sourceHydrator": { "type": "object" },
            "syncPolicy": { "type": "object" },
            "ignoreDifferences": { "type": "array" }
        },
        "required": ["project", "destination"]
    })
}

impl TryFrom<Written> for Spec {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { mut metadata, spec, status: _ } = written;
        let other = std::mem::take(&mut metadata.other);
        if let Some(field) = other.keys().find(|field| !SET_BY_OTHERS.contains(&field.as_str())) {
            return Err(format!(
                "`metadata.{field}` is not applied; known are name, namespace, labels, annotations and finalizers"
            ));
        }
        if metadata.annotations.contains_key(MARK) {
            return Err(format!("the annotation `{MARK}` is Holdfast's own; leave it out"));
        }
        if metadata.annotations.contains_key(REFRESH) {
            return Err(format!("the annotation `{REFRESH}` is a request, not a state; leave it out"));
        }
        metadata.annotations.retain(|key, _| !NOT_KEPT.contains(&key.as_str()));
        check(&spec)?;
        Ok(Self { metadata, spec: normal::spec(&spec) })
    }
}

impl From<Spec> for Written {
    fn from(spec: Spec) -> Self {
        Self { metadata: spec.metadata, spec: spec.spec, status: None }
    }
}

fn check(spec: &Map<String, Value>) -> Result<(), String> {
    if !spec.get("project").is_some_and(Value::is_string) {
        return Err("`spec.project` is missing; write `project: default`".to_owned());
    }
    if !spec.get("destination").is_some_and(Value::is_object) {
        return Err("`spec.destination` is missing; it names the cluster and the namespace".to_owned());
    }
    let objects = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_object));
    let has_source = spec.get("source").is_some_and(Value::is_object)
        || spec.get("sources").is_some_and(objects)
        || spec.get("sourceHydrator").is_some_and(Value::is_object);
    if has_source { Ok(()) } else { Err("`spec.source` or `spec.sources` is missing".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut value: Value) -> Result<Spec, String> {
        if value["spec"].is_null() {
            value["spec"] = json!({ "project": "default", "destination": {}, "source": { "repoURL": "x" } });
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn an_exported_object_is_read_without_what_others_set() {
        let spec = read(json!({
            "metadata": {
                "name": "media", "uid": "u", "resourceVersion": "7", "managedFields": [],
                "annotations": { "holdfast/depends-on": "Host/a", "keep": "me" },
            },
            "status": { "sync": {} },
        }))
        .unwrap();
        assert_eq!(spec.metadata.annotations.keys().collect::<Vec<_>>(), ["keep"]);
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(json["metadata"], json!({ "name": "media", "annotations": { "keep": "me" } }));
        assert_eq!(serde_json::from_value::<Spec>(json).unwrap(), spec);
    }

    #[test]
    fn what_is_no_wish_is_refused() {
        for (value, why) in [
            (json!({ "metadata": { "generateName": "x-" } }), "`metadata.generateName` is not applied"),
            (json!({ "metadata": { "annotations": { "holdfast/mark": "x" } } }), "Holdfast's own"),
            (json!({ "metadata": { "annotations": { (REFRESH): "hard" } } }), "a request, not a state"),
            (json!({ "operation": { "sync": {} } }), "unknown field `operation`"),
            (json!({ "spec": { "destination": {}, "source": {} } }), "`project: default`"),
            (json!({ "spec": { "project": "x", "source": {} } }), "`spec.destination` is missing"),
            (json!({ "spec": { "project": "x", "destination": {} } }), "`spec.sources` is missing"),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
