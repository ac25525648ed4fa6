//! The parameters of a request.

use axum::http::Uri;

use super::status::{Answer, Failure, FieldError};

/// Parameters by name; the first of several counts.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        Self(query.map(|axum::extract::Query(pairs)| pairs).unwrap_or_default())
    }

    /// A parameter, or `""`.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }

    pub(super) fn number(&self, name: &str) -> Answer<Option<u64>> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                let error = FieldError::invalid(name, &format!("{text:?}"), "must be a number");
                Failure::invalid("ListOptions", "meta.k8s.io", "", &[error])
            }),
        }
    }

    /// Whether this is a dry run. There is one way to ask for it.
    pub(super) fn dry_run(&self, options: &str) -> Answer<bool> {
        match self.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => {
                let error = FieldError {
                    field: "dryRun".to_owned(),
                    reason: "FieldValueNotSupported",
                    message: format!("Unsupported value: {other:?}: supported values: \"All\""),
                };
                Err(Failure::invalid(options, "meta.k8s.io", "", &[error]))
            }
        }
    }
}
