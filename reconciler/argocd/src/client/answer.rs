//! What the Kubernetes API answered, and which answers mean that trying again helps.

use std::time::Duration;

use holdfast_core::kind::TargetError;
use serde_json::Value;

/// An answer that says something about what was asked.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// What the server warned of while it did it (RFC 9111's `Warning`).
    warning: Option<String>,
}

impl Answer {
    /// Sorts out the answers that are about the server's own state.
    pub(crate) fn read(
        doing: &str,
        status: u16,
        retry_after: Option<Duration>,
        warning: Option<String>,
        body: &[u8],
    ) -> Result<Self, TargetError> {
        let unavailable =
            |why: String| TargetError::Unavailable { doing: doing.to_owned(), why, retry_after };
        let parsed = serde_json::from_slice::<Value>(body);
        let unreadable = parsed.is_err();
        // A proxy or a missing path answers in plain text.
        let text = || Value::String(String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned());
        let body = parsed.unwrap_or_else(|_| serde_json::json!({ "message": text() }));
        let answer = Self { status, body, warning };
        match status {
            200..300 if unreadable => Err(unavailable("the answer is not JSON".to_owned())),
            300..400 => Err(unavailable("it answered with a redirect, which is not followed".to_owned())),
            408 | 429 | 500.. => Err(unavailable(answer.words())),
            _ => Ok(answer),
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn warning(&self) -> Option<String> {
        let text = self.warning.as_deref()?.trim_start_matches("299 ").trim_start_matches("- ");
        Some(one_line(text.trim_matches('"')))
    }

    /// The error that a refusal is. A conflict of owners is for a person; one with a version that moved on
    /// ends with a new look.
    pub(crate) fn error(&self, doing: &str) -> TargetError {
        match self.status {
            409 => match self.conflicts() {
                Some(conflicts) => TargetError::rejected(doing, conflicts),
                None => TargetError::unavailable(
                    doing,
                    format!("it changed since it was looked at: {}", self.words()),
                ),
            },
            // The uid that was applied is not that of what is there (kubernetes#127625).
            422 if self.causes().any(|cause| cause["field"] == "metadata.uid") => TargetError::unavailable(
                doing,
                format!("another one of its name was made since it was looked at: {}", self.words()),
            ),
            410 => TargetError::unavailable(doing, self.words()),
            401 => TargetError::rejected(
                doing,
                "the kubernetes api does not know the token (401); give Holdfast a new one",
            ),
            _ => TargetError::rejected(doing, self.words()),
        }
    }

    /// `kubectl-edit manages .spec.project`, for all fields that others own.
    fn conflicts(&self) -> Option<String> {
        let fields: Vec<String> = self
            .causes()
            .filter(|cause| cause["reason"] == "FieldManagerConflict")
            .map(|cause| {
                let message = cause["message"].as_str().unwrap_or_default();
                // conflict with "kubectl-edit" using argoproj.io/v1alpha1
                let manager = message.split('"').nth(1).unwrap_or(message);
                let field = cause["field"].as_str().unwrap_or("a field");
                format!("`{}` manages {}", one_line(manager), one_line(field))
            })
            .collect();
        (!fields.is_empty()).then(|| {
            format!(
                "{}; take the field out of the manifest, or let that manager give it up",
                fields.join(", ")
            )
        })
    }

    fn causes(&self) -> impl Iterator<Item = &Value> {
        self.body["details"]["causes"].as_array().into_iter().flatten()
    }

    fn words(&self) -> String {
        match self.body["message"].as_str().map(one_line).filter(|text| !text.is_empty()) {
            Some(message) => format!("the kubernetes api answered {}: {message}", self.status),
            None => format!("the kubernetes api answered {}", self.status),
        }
    }
}

/// Somebody else's text, on one line and bounded.
pub(crate) fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(400).collect();
    if short.len() < text.len() {
        short.push_str(" ...");
    }
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(status: u16, body: &Value) -> TargetError {
        match Answer::read("asking", status, Some(Duration::from_secs(3)), None, body.to_string().as_bytes())
        {
            Ok(answer) => answer.error("asking"),
            Err(error) => error,
        }
    }

    #[test]
    fn a_conflict_names_the_manager_and_its_fields() {
        let cause = |manager: &str, field: &str| {
            let message = format!("conflict with \"{manager}\" using argoproj.io/v1alpha1");
            json!({ "reason": "FieldManagerConflict", "message": message, "field": field })
        };
        let causes = [cause("kubectl-edit", ".spec.project"), cause("argocd-server", ".spec.source.path")];
        let status = json!({ "kind": "Status", "reason": "Conflict", "details": { "causes": causes } });
        let error = error(409, &status);
        assert!(!error.is_unavailable());
        assert_eq!(
            error.to_string(),
            "asking: `kubectl-edit` manages .spec.project, `argocd-server` manages .spec.source.path; take the field out of the manifest, or let that manager give it up"
        );
    }

    #[test]
    fn what_passes_is_told_from_what_a_person_must_mend() {
        let status = |message: &str| json!({ "kind": "Status", "message": message });
        for code in [408, 409, 410, 429, 500, 503] {
            assert!(error(code, &status("x")).is_unavailable(), "{code}");
        }
        for code in [400, 401, 403, 404, 415, 422] {
            assert!(!error(code, &status("x")).is_unavailable(), "{code}");
        }
        let TargetError::Unavailable { retry_after, .. } = error(429, &status("slow")) else { panic!() };
        assert_eq!(retry_after, Some(Duration::from_secs(3)));
        let forbidden = "applications.argoproj.io is forbidden: User \"x\" cannot list resource";
        assert_eq!(
            error(403, &status(forbidden)).to_string(),
            format!("asking: the kubernetes api answered 403: {forbidden}")
        );
        let plain = Answer::read("asking", 404, None, None, b"404 page not found\n").unwrap();
        assert_eq!(plain.words(), "the kubernetes api answered 404: 404 page not found");
    }
}
