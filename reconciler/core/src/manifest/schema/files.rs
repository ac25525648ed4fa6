//! The JSON Schemas of whole manifests, for editors: one file a kind.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::kind::HOLDFAST_V1;
use crate::manifest::policy::{self, written::EnvironmentSpec};
use crate::manifest::site::{self, SiteSpec};
use crate::plan::Kinds;

/// The files of `schema/`: one for the site, one for environments, one for every kind of `holdfast/v1`. A
/// manifest names its own with `# yaml-language-server: $schema=`. The same kinds give the same bytes.
pub fn schema_files(kinds: &Kinds) -> BTreeMap<String, String> {
    let ours = kinds.values().filter(|kind| kind.is_ours());
    let mut files: BTreeMap<String, String> =
        ours.map(|kind| whole(kind.name.as_str(), (kind.schema)().to_value(), true)).collect();
    files.extend([
        whole(site::KIND, schema_of::<SiteSpec>(), false),
        whole(policy::KIND, schema_of::<EnvironmentSpec>(), false),
    ]);
    files
}

/// The schema of a type, as the schemas of kinds are made.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// The file of one kind: the schema of its spec within that of the whole manifest.
fn whole(kind: &str, mut spec: Value, resource: bool) -> (String, String) {
    let mut take = |field: &str| spec.as_object_mut().and_then(|spec| spec.remove(field));
    let definitions = take("$defs");
    let description = take("description");
    take("$schema");
    take("title");
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:holdfast:schema:v1:{kind}"),
        "title": kind,
        "description": description.unwrap_or_else(|| json!(format!("A manifest of kind {kind}."))),
        "type": "object",
        "properties": {
            "apiVersion": { "const": HOLDFAST_V1 },
            "kind": { "const": kind },
            "metadata": metadata(resource),
            "spec": spec,
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
    });
    if let (Some(definitions), Some(object)) = (definitions, schema.as_object_mut()) {
        object.insert("$defs".to_owned(), definitions);
    }
    move_root(&mut schema);
    let mut text = serde_json::to_string_pretty(&sorted(schema)).expect("a schema is plain data");
    text.push('\n');
    (format!("{kind}.json"), text)
}

fn metadata(resource: bool) -> Value {
    let name = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 253,
        "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        "description": "The name, unique within its kind and environment.",
    });
    let mut fields = json!({ "name": name });
    if resource {
        fields["dependsOn"] = json!({
            "type": "array",
            "items": { "type": "string", "minLength": 3 },
            "description": "What must be converged and healthy first: `Kind/name`, or `environment/Kind/name`.",
        });
    }
    json!({ "type": "object", "properties": fields, "required": ["name"], "additionalProperties": false })
}

/// A spec that refers to itself as the root stands elsewhere now.
fn move_root(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("$ref").is_some_and(|target| target == "#") {
                object.insert("$ref".to_owned(), json!("#/properties/spec"));
            }
            object.values_mut().for_each(move_root);
        }
        Value::Array(items) => items.iter_mut().for_each(move_root),
        _ => {}
    }
}

/// Keys in order, whichever map `serde_json` was built with.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let ordered: BTreeMap<String, Value> =
                object.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
