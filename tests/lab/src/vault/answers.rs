//! The shapes of Vault's answers.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An answer before it is put on the wire.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) body: Option<Value>,
}

impl Reply {
    /// A 404 whose body is no error but a warning.
    pub(super) fn warning(text: &str) -> Self {
        let mut body = envelope(Value::Null);
        body["warnings"] = json!([text]);
        Self { code: 404, body: Some(body) }
    }

    /// Also puts the data at the top level, as the older endpoints of `sys/` do.
    pub(super) fn flattened(mut self) -> Self {
        if let Some(body) = &mut self.body
            && let Some(data) = body["data"].as_object().cloned()
            && let Some(entries) = body.as_object_mut()
        {
            entries.extend(data);
        }
        self
    }
}

fn envelope(data: Value) -> Value {
    let mut body = json!({
        "request_id": "00000000-0000-4000-a000-000000000000", "lease_id": "", "renewable": false,
        "lease_duration": 0, "wrap_info": null, "warnings": null, "auth": null,
    });
    body["data"] = data;
    body
}

pub(super) fn ok(data: Value) -> Reply {
    Reply { code: 200, body: Some(envelope(data)) }
}

pub(super) fn authenticated(auth: Value) -> Reply {
    let mut body = envelope(Value::Null);
    body["auth"] = auth;
    Reply { code: 200, body: Some(body) }
}

pub(super) fn no_content() -> Reply {
    Reply { code: 204, body: None }
}

pub(super) fn plain(code: u16, body: Value) -> Reply {
    Reply { code, body: Some(body) }
}

pub(super) fn errors(code: u16, text: &str) -> Reply {
    Reply { code, body: Some(json!({ "errors": [text] })) }
}

pub(super) fn bad_request(text: &str) -> Reply {
    errors(400, text)
}

/// Nothing is there, and nothing is wrong.
pub(super) fn empty_404() -> Reply {
    Reply { code: 404, body: Some(json!({ "errors": [] })) }
}

/// Something was there: a deleted or destroyed version, with its metadata.
pub(super) fn wrapped_404(data: Value) -> Reply {
    Reply { code: 404, body: Some(envelope(data)) }
}

pub(super) fn no_route(path: &str) -> Reply {
    errors(404, &format!("no handler for route {path:?}. route entry not found."))
}

pub(super) fn unsupported() -> Reply {
    errors(405, "1 error occurred:\n\t* unsupported operation\n\n")
}

/// The token is good, its policies do not allow this.
pub(super) fn denied() -> Reply {
    errors(403, "1 error occurred:\n\t* permission denied\n\n")
}

/// The token is not good.
pub(super) fn bad_token() -> Reply {
    errors(403, "permission denied")
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
        match self.body {
            Some(body) => (code, headers, format!("{body}\n")).into_response(),
            None => (code, headers).into_response(),
        }
    }
}
