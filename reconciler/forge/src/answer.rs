//! An answer of a forge that is no success, and what it means on all of them.

use std::time::Duration;

use holdfast_core::report::cut;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::Url;
use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};
use serde_json::Value;

use crate::error::PostError;

/// What is read of an answer. The body is only searched, never shown: it may repeat what we sent.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) url: Url,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The meaning that an answer has on every forge. `scope` names what the token must be allowed to do.
    pub(crate) fn usual(&self, scope: &str) -> PostError {
        let status = self.status;
        match status {
            300..=399 => PostError::Refused { why: self.redirect() },
            429 => PostError::Limited { after: self.pause() },
            403 if self.is_limit() => PostError::Limited { after: self.pause() },
            401 => {
                PostError::Refused { why: "401: it does not take the token; check `credential`".to_owned() }
            }
            403 => PostError::Refused { why: format!("403: the token must be allowed {scope}") },
            404 => PostError::Refused {
                why: format!(
                    "404: there is no such repository, or the token may not see it; it needs {scope}"
                ),
            },
            500..=599 => PostError::TryAgain { after: self.pause(), why: status.to_string() },
            _ => PostError::Unclear { why: self.classes() },
        }
    }

    /// Whether the body holds these words; they are in lower case.
    pub(crate) fn says(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.body).to_lowercase().contains(words)
    }

    /// The status, and which fields are complained of in which way: never a text that may repeat ours.
    pub(crate) fn classes(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let word = |error: &Value, name: &str| error[name].as_str().unwrap_or("?").to_owned();
        let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let errors: Vec<String> =
            errors.iter().map(|error| format!("{}: {}", word(error, "field"), word(error, "code"))).collect();
        let errors = if errors.is_empty() { String::new() } else { format!(" ({})", errors.join(", ")) };
        cut(&format!("{}{errors}", self.status), 140)
    }

    fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn redirect(&self) -> String {
        let to = self.header(LOCATION).and_then(|to| self.url.join(to).ok());
        let to = to.map_or_else(
            || "elsewhere".to_owned(),
            |to| format!("to {}", cut(&to.origin().ascii_serialization(), 100)),
        );
        let status = self.status;
        format!(
            "{status}: it redirects {to}, and the token is not sent there; the repository was renamed, or `url` is old"
        )
    }

    /// A 403 that is about how often, not about what.
    fn is_limit(&self) -> bool {
        self.header(RETRY_AFTER).is_some()
            || self.header("x-ratelimit-remaining") == Some("0")
            || self.says("rate limit")
    }

    /// How long we are asked to wait. Moments are compared with the forge's own clock, from its answer.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let now = self.header(DATE).and_then(moment);
        let until = |then: Timestamp| {
            let seconds = then.as_second().saturating_sub(now?.as_second());
            Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        };
        if let Some(text) = self.header(RETRY_AFTER) {
            let seconds = text.parse().ok().map(Duration::from_secs);
            return seconds.or_else(|| until(moment(text)?));
        }
        if self.header("x-ratelimit-remaining") != Some("0") {
            return None;
        }
        let reset = self.header("x-ratelimit-reset")?.parse().ok()?;
        until(Timestamp::from_second(reset).ok()?)
    }
}

/// `Tue, 24 Nov 2026 21:00:00 GMT`.
fn moment(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let url = Url::parse("https://git.lan/api/v1/x").unwrap();
        Answer { status, headers: headers.collect(), url, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn pauses_are_read_in_every_form() {
        let date = ("date", "Tue, 24 Nov 2026 21:00:00 GMT");
        let at_nine = "1795554000";
        for (headers, expected) in [
            (vec![("retry-after", "7")], Some(7)),
            (vec![date, ("retry-after", "Tue, 24 Nov 2026 21:01:30 GMT")], Some(90)),
            (vec![("retry-after", "Tue, 24 Nov 2026 21:01:30 GMT")], None),
            (vec![date, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", at_nine)], Some(0)),
            (vec![date, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795554100")], Some(100)),
            (vec![date, ("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "1795554100")], None),
            (vec![date, ("retry-after", "soon")], None),
            (vec![], None),
        ] {
            let pause = answer(429, &headers, "").pause();
            assert_eq!(pause, expected.map(Duration::from_secs), "{headers:?}");
        }
    }

    #[test]
    fn the_usual_answers() {
        let usual = |status, headers: &[(&'static str, &'static str)], body| {
            answer(status, headers, body).usual("`x`").to_string()
        };
        assert_eq!(
            usual(401, &[], ""),
            "the forge refuses: 401: it does not take the token; check `credential`"
        );
        assert_eq!(usual(403, &[], ""), "the forge refuses: 403: the token must be allowed `x`");
        assert_eq!(usual(403, &[("retry-after", "7")], ""), "the forge asked for a pause");
        assert_eq!(
            usual(403, &[], r#"{"message":"You have exceeded a secondary rate limit"}"#),
            "the forge asked for a pause"
        );
        assert_eq!(usual(502, &[], "<html>"), "the forge did not answer well: 502");
        assert_eq!(
            usual(301, &[("location", "https://new.lan/a?b=c")], ""),
            "the forge refuses: 301: it redirects to https://new.lan, and the token is not sent there; \
             the repository was renamed, or `url` is old"
        );
        let long = ["https://", &"long.".repeat(500), "lan"].concat();
        let long: &'static str = long.leak();
        let text = usual(301, &[("location", long)], "");
        assert!(text.chars().count() < 300, "a host of any length is told in short: {text}");
        let body =
            r#"{"message":"secret","errors":[{"field":"context","code":"custom","message":"secret"}]}"#;
        assert_eq!(usual(400, &[], body), "the forge refuses for a reason of its own: 400 (context: custom)");
    }
}
