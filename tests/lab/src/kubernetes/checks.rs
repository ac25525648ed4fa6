//! What the API asks of an object before it stores it: shape, names, labels.

use axum::http::HeaderValue;
use serde_json::{Value, json};

use super::resources::Resource;
use super::schema::{Schema, any, list, map, object};
use super::status::{Answer, Failure, FieldError};

const MAX_ANNOTATIONS: usize = 256 * 1024;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// What to do with fields that the schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Ignore,
    Warn,
    Strict,
}

/// The whole object: the resource's own schema, and what every object has.
pub(super) fn whole(resource: &Resource) -> Schema {
    let metadata = object([
        ("annotations", map(Schema::Text)),
        ("creationTimestamp", any()),
        ("deletionGracePeriodSeconds", Schema::Int),
        ("deletionTimestamp", any()),
        ("finalizers", list(Schema::Text)),
        ("generateName", Schema::Text),
        ("generation", Schema::Int),
        ("labels", map(Schema::Text)),
        ("managedFields", any()),
        ("name", Schema::Text),
        ("namespace", Schema::Text),
        ("ownerReferences", list(Schema::Open)),
        ("resourceVersion", Schema::Text),
        ("selfLink", Schema::Text),
        ("uid", Schema::Text),
    ]);
    let mut schema = resource.schema.clone();
    if let Schema::Object { fields, .. } = &mut schema {
        fields.insert("apiVersion", Schema::Text);
        fields.insert("kind", Schema::Text);
        fields.insert("metadata", metadata);
    }
    schema
}

/// A configuration that is applied must fit the schema entirely. It is read before anything else is done.
pub(super) fn configuration(resource: &Resource, namespace: &str, name: &str, body: &Value) -> Answer<()> {
    let errors = whole(resource).apply_errors(body, "");
    let list = match errors.as_slice() {
        [] => return Ok(()),
        [only] => only.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let gvk = format!("{}, Kind={}", resource.api_version(), resource.kind);
    Err(Failure::internal(format!("failed to create typed patch object ({namespace}/{name}; {gvk}): {list}")))
}

/// Decodes `metadata`, which is checked before the rest, and in other words.
pub(super) fn metadata(resource: &Resource, body: &Value) -> Answer<()> {
    let cannot = |why: &str| {
        let (kind, version) = (resource.kind, resource.version);
        Failure::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
    };
    if !body["metadata"].is_object() {
        return Err(cannot("json: cannot unmarshal into Go value of type v1.ObjectMeta"));
    }
    for field in ["annotations", "labels"] {
        let values = body["metadata"][field].as_object();
        if let Some(wrong) = values.and_then(|all| all.values().find(|value| !value.is_string())) {
            let found = match wrong {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::Array(_) => "array",
                _ => "object",
            };
            return Err(cannot(&format!(
                "json: cannot unmarshal {found} into Go struct field ObjectMeta.metadata.{field} of type string"
            )));
        }
    }
    Ok(())
}

/// Unknown fields, in the words of the decoder.
pub(super) fn unknown_fields(resource: &Resource, body: &Value) -> Vec<String> {
    whole(resource).unknown(body, "").into_iter().map(|field| format!("unknown field {field:?}")).collect()
}

/// Warnings as a header shows them.
pub(super) fn warning(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("299 - {}", json!(text))).ok()
}

/// Drops what the schema does not know.
pub(super) fn prune(resource: &Resource, object: &mut Value) {
    whole(resource).prune(object);
}

/// Refuses what is wrong in an object that is about to be stored.
pub(super) fn admit(resource: &Resource, object: &mut Value) -> Answer<()> {
    prune(resource, object);
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut errors = names(object);
    errors.extend(resource.schema.errors(object, ""));
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::invalid(resource.kind, resource.group, &name, &errors))
    }
}

fn names(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata = &object["metadata"];
    match metadata["name"].as_str() {
        None | Some("") => {
            errors.push(FieldError::required("metadata.name", "name or generateName is required"));
        }
        Some(name) if !is_subdomain(name) => {
            errors.push(FieldError::invalid("metadata.name", &format!("{name:?}"), SUBDOMAIN));
        }
        Some(_) => {}
    }
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        if !is_qualified(key) {
            errors.push(FieldError::invalid("metadata.labels", &format!("{key:?}"), QUALIFIED));
        }
        let text = value.as_str().unwrap_or_default();
        if !(text.is_empty() || is_name_part(text)) {
            errors.push(FieldError::invalid("metadata.labels", &format!("{text:?}"), LABEL_VALUE));
        }
    }
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        size += key.len() + value.as_str().unwrap_or_default().len();
        if !is_qualified(&key.to_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", &format!("{key:?}"), QUALIFIED));
        }
    }
    if size > MAX_ANNOTATIONS {
        errors.push(FieldError {
            field: "metadata.annotations".to_owned(),
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {MAX_ANNOTATIONS} bytes"),
        });
    }
    errors
}

fn is_subdomain(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 253
        && name.split('.').all(|part| {
            !part.is_empty() && part.chars().all(inner) && !part.starts_with('-') && !part.ends_with('-')
        })
}

fn is_name_part(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name_part(name),
        None => is_name_part(key),
    }
}
