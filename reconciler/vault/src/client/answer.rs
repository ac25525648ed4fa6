//! What Vault answered, and which answers mean that trying again helps.

use std::time::Duration;

use holdfast_core::kind::TargetError;
use serde_json::Value;

/// An answer that says something about what was asked.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `Null` where there was none.
    pub(crate) body: Value,
}

impl Answer {
    /// Sorts out the answers that are about Vault's own state: overload, seal, standby, faults.
    pub(crate) fn read(
        doing: &str,
        status: u16,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Result<Self, TargetError> {
        let unavailable =
            |why: String| TargetError::Unavailable { doing: doing.to_owned(), why, retry_after };
        let parsed = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) };
        let answer = Self { status, body: parsed.as_ref().map_or(Value::Null, Value::clone) };
        match status {
            200..300 if parsed.is_err() => Err(unavailable("the answer is not JSON".to_owned())),
            200..300 | 400 | 403 | 404 | 405 => Ok(answer),
            _ => Err(match by_state(status, &answer.errors()) {
                Some(why) => unavailable(why),
                None => TargetError::rejected(doing, answer.words()),
            }),
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn data(&self) -> &Value {
        &self.body["data"]
    }

    pub(crate) fn errors(&self) -> Vec<&str> {
        self.body["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Vault's own words for what went wrong, on one line and bounded.
    pub(crate) fn words(&self) -> String {
        words(self.status, &self.errors())
    }

    /// Whether the token is unknown to the server, as against one that may not do this: that is
    /// `1 error occurred: * permission denied`. (Seen on `OpenBao` 2.7.2; `invalid token` is what Vault adds.)
    pub(crate) fn says_dead_token(&self) -> bool {
        let errors = self.errors();
        self.status == 403
            && (errors == ["permission denied"] || errors.iter().any(|text| text.contains("invalid token")))
    }

    /// The error for a 403: what the token would need.
    pub(crate) fn denied(doing: &str, path: &str, capability: &str) -> TargetError {
        TargetError::rejected(
            doing,
            format!(
                "permission denied: the token of Holdfast needs the capability `{capability}` on `{path}`"
            ),
        )
    }
}

/// Why an answer with this status is about the server rather than the request, if so.
pub(super) fn by_state(status: u16, errors: &[&str]) -> Option<String> {
    match status {
        503 if errors.iter().any(|text| text.contains("sealed")) => {
            Some("vault is sealed; once it is unsealed this goes on by itself".to_owned())
        }
        300..400 => Some(
            "vault answered with a redirect, which is not followed; give the address of the active node"
                .to_owned(),
        ),
        412 | 429 | 500.. => Some(words(status, errors)),
        _ => None,
    }
}

pub(super) fn words(status: u16, errors: &[&str]) -> String {
    let text = errors.join("; ").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text: String = text.chars().filter(|c| !c.is_control()).take(400).collect();
    if text.is_empty() {
        text.push_str("no reason given");
    }
    format!("vault answered {status}: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Answer, TargetError> {
        Answer::read("asking", status, Some(Duration::from_secs(7)), body.as_bytes())
    }

    #[test]
    fn a_sealed_or_busy_vault_is_unavailable_and_says_when_to_come_back() {
        let sealed = read(503, r#"{"errors":["Vault is sealed"]}"#).err().unwrap();
        assert_eq!(sealed.to_string(), "asking: vault is sealed; once it is unsealed this goes on by itself");
        let busy = read(429, r#"{"errors":["rate limit quota exceeded"]}"#).err().unwrap();
        let TargetError::Unavailable { retry_after, why, .. } = busy else { panic!("{busy}") };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
        assert_eq!(why, "vault answered 429: rate limit quota exceeded");
        assert!(read(307, "").err().unwrap().is_unavailable());
        assert!(read(502, "<html>").err().unwrap().is_unavailable());
        assert!(!read(415, "").err().unwrap().is_unavailable());
    }

    #[test]
    fn a_dead_token_is_told_from_one_without_the_right() {
        assert!(read(403, r#"{"errors":["permission denied"]}"#).unwrap().says_dead_token());
        let vault = r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#;
        assert!(read(403, vault).unwrap().says_dead_token());
        let denied = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
        assert!(!read(403, denied).unwrap().says_dead_token());
    }

    #[test]
    fn words_are_one_bounded_line() {
        let answer = read(400, r#"{"errors":["1 error occurred:\n\t* failed\n\n"]}"#).unwrap();
        assert_eq!(answer.words(), "vault answered 400: 1 error occurred: * failed");
        let long = serde_json::json!({ "errors": ["x".repeat(9000)] }).to_string();
        assert!(read(400, &long).unwrap().words().len() < 500);
    }
}
