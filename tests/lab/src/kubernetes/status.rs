//! What the API answers when it refuses: a `Status` object, in the words of a real API server.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::resources::Resource;

/// A refusal.
#[derive(Debug)]
pub(super) enum Failure {
    /// A `Status` object.
    Status { code: u16, reason: &'static str, message: String, details: Value },
    /// What the mux says about a path that nobody serves: plain text, not a `Status`.
    NoSuchPath,
}

pub(super) type Answer<T> = Result<T, Failure>;

impl Failure {
    fn status(code: u16, reason: &'static str, message: String, details: Value) -> Self {
        Self::Status { code, reason, message, details }
    }

    pub(super) fn no_such_path() -> Self {
        Self::NoSuchPath
    }

    pub(super) fn unauthorized() -> Self {
        Self::status(401, "Unauthorized", "Unauthorized".to_owned(), Value::Null)
    }

    pub(super) fn forbidden(
        user: &str,
        verb: &str,
        on: &Resource,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Self {
        let named = name.map_or_else(String::new, |name| format!(" {name:?}"));
        let place = namespace.map_or_else(
            || "at the cluster scope".to_owned(),
            |namespace| format!("in the namespace {namespace:?}"),
        );
        let message = format!(
            "{}{named} is forbidden: User {user:?} cannot {verb} resource {:?} in API group {:?} {place}",
            on.qualified(),
            on.plural,
            on.group
        );
        Self::status(403, "Forbidden", message, details(on, name.unwrap_or_default()))
    }

    pub(super) fn not_found(on: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", on.qualified());
        Self::status(404, "NotFound", message, details(on, name))
    }

    pub(super) fn already_exists(on: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", on.qualified());
        Self::status(409, "AlreadyExists", message, details(on, name))
    }

    /// The object is not as the writer thought: changed since it was read, or another one of the same name.
    pub(super) fn conflict(on: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", on.qualified());
        Self::status(409, "Conflict", message, details(on, name))
    }

    pub(super) fn stale(on: &Resource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(on, name, why)
    }

    /// Server-side apply met fields that others own.
    pub(super) fn apply_conflict(message: String, causes: &[Value]) -> Self {
        Self::status(409, "Conflict", message, json!({ "causes": causes }))
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::status(400, "BadRequest", message.into(), Value::Null)
    }

    /// An error without a `Status` of its own, which the server can only report as its own fault. Apply answers
    /// so to fields that do not fit the schema (kubernetes#139253).
    pub(super) fn internal(message: String) -> Self {
        Self::Status { code: 500, reason: "", message, details: Value::Null }
    }

    pub(super) fn invalid(kind: &str, group: &str, name: &str, errors: &[FieldError]) -> Self {
        let list = match errors {
            [only] => only.to_string(),
            many => format!("[{}]", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({ "reason": error.reason, "message": error.message, "field": error.field }))
            .collect();
        let mut details = json!({ "kind": kind, "causes": causes });
        if !group.is_empty() {
            details["group"] = json!(group);
        }
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        Self::status(422, "Invalid", format!("{qualified} {name:?} is invalid: {list}"), details)
    }

    /// The revision asked for was compacted away.
    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::status(410, "Expired", message.into(), Value::Null)
    }

    pub(super) fn too_large_revision(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let details = json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
            "retryAfterSeconds": 1,
        });
        Self::status(504, "Timeout", message, details)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource".to_owned();
        Self::status(405, "MethodNotAllowed", message, json!({}))
    }

    pub(super) fn unsupported_media(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::status(415, "UnsupportedMediaType", message, json!({}))
    }

    pub(super) fn too_large() -> Self {
        let message = "limit is 3145728".to_owned();
        Self::status(413, "RequestEntityTooLarge", format!("Request entity too large: {message}"), json!({}))
    }

    /// The body of the answer, also what an `ERROR` event of a watch carries.
    pub(super) fn body(&self) -> Value {
        match self {
            Self::NoSuchPath => json!("404 page not found"),
            Self::Status { code, reason, message, details } => {
                let mut body = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": message, "code": code,
                });
                if !reason.is_empty() {
                    body["reason"] = json!(reason);
                }
                if !details.is_null() {
                    body["details"] = details.clone();
                }
                body
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match &self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
            Self::Status { code, .. } => reply(*code, &self.body()),
        }
    }
}

/// A JSON answer.
pub(super) fn reply(code: u16, body: &Value) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

fn details(on: &Resource, name: &str) -> Value {
    let mut details = json!({ "kind": on.plural });
    if !on.group.is_empty() {
        details["group"] = json!(on.group);
    }
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    details
}

/// One field that the API refuses.
#[derive(Debug, Clone)]
pub(super) struct FieldError {
    /// Such as `spec.source.repoURL`.
    pub(super) field: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl FieldError {
    pub(super) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message =
            if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { field: field.into(), reason: "FieldValueRequired", message }
    }

    pub(super) fn invalid(field: impl Into<String>, value: &str, detail: &str) -> Self {
        let message = format!("Invalid value: {value}: {detail}");
        Self { field: field.into(), reason: "FieldValueInvalid", message }
    }

    pub(super) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueForbidden", message: format!("Forbidden: {detail}") }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
