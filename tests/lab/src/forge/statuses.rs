//! Commit statuses: an append-only log, and what is checked before something is appended.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::flavour::Flavour;

/// A commit has at most this many statuses of one context on GitHub.
const MAX_PER_CONTEXT: usize = 1000;

/// One status as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// 1, 2, 3, … over the whole forge.
    pub id: u64,
    /// `owner/name`.
    pub repository: String,
    /// The full id of the commit.
    pub commit: String,
    pub context: String,
    pub state: String,
    pub description: String,
    pub target_url: String,
    /// When it was accepted: `2026-11-24T20:57:45Z`.
    pub created_at: String,
}

/// A refusal: status code and body.
pub(super) type Refusal = (u16, Value);

impl Post {
    /// Reads a request's body, with the checks of the flavour. `held` counts the commit's statuses by context.
    pub(super) fn read(
        flavour: Flavour,
        body: &Value,
        held: impl Fn(&str) -> usize,
    ) -> Result<(String, String, String, String), Refusal> {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let or_default = |context: String| if context.is_empty() { "default".to_owned() } else { context };
        let (state, target_url, description) = (text("state"), text("target_url"), text("description"));
        if !flavour.is_github() {
            let trimmed = |text: String| text.trim().to_owned();
            let state = trimmed(state);
            // The column holds seven characters, and nothing else is checked.
            if state.chars().count() > 7 {
                let message = "pq: value too long for type character varying(7)";
                return Err((500, json!({ "message": message, "url": "http://127.0.0.1/api/swagger" })));
            }
            return Ok((
                state,
                trimmed(target_url),
                trimmed(description),
                or_default(trimmed(text("context"))),
            ));
        }
        let context = or_default(text("context"));
        let mut errors = Vec::new();
        let mut refuse = |field: &str, message: &str| {
            errors
                .push(json!({ "resource": "Status", "code": "custom", "field": field, "message": message }));
        };
        if !matches!(state.as_str(), "error" | "failure" | "pending" | "success") {
            refuse("state", "state is not included in the list");
        }
        if description.chars().count() > 140 {
            refuse("description", "description is too long (maximum is 140 characters)");
        }
        if context.chars().count() > 255 {
            refuse("context", "context is too long (maximum is 255 characters)");
        }
        if !(target_url.is_empty() || target_url.starts_with("http://") || target_url.starts_with("https://"))
        {
            refuse("target_url", "target_url must use http(s) scheme");
        }
        if held(&context.to_lowercase()) >= MAX_PER_CONTEXT {
            let message = "This SHA and context has reached the maximum number of statuses.";
            refuse("context", message);
        }
        if errors.is_empty() {
            return Ok((state, target_url, description, context));
        }
        Err((
            422,
            json!({
                "message": "Validation Failed", "errors": errors, "status": "422",
                "documentation_url": "https://docs.github.com/rest/commits/statuses#create-a-commit-status",
            }),
        ))
    }

    pub(super) fn shown(&self, flavour: Flavour, base: &str) -> Value {
        let prefix = flavour.prefix();
        let url = format!("{base}{prefix}/repos/{}/statuses/{}", self.repository, self.commit);
        let creator = json!({ "id": 1, "login": "holdfast" });
        let mut shown = json!({
            "id": self.id, "url": url, "context": self.context, "description": self.description,
            "target_url": self.target_url, "created_at": self.created_at, "updated_at": self.created_at,
            "creator": creator,
        });
        // The one word in which the two differ.
        shown[if flavour.is_github() { "state" } else { "status" }] = json!(self.state);
        shown
    }
}

/// The newest status of each context, newest first.
pub(super) fn newest<'a>(posts: impl Iterator<Item = &'a Post>, flavour: Flavour) -> Vec<&'a Post> {
    let mut by_context = BTreeMap::new();
    for post in posts {
        // GitHub compares contexts without case.
        let key = if flavour.is_github() { post.context.to_lowercase() } else { post.context.clone() };
        by_context.insert(key, post);
    }
    let mut newest: Vec<&Post> = by_context.into_values().collect();
    newest.sort_by_key(|post| std::cmp::Reverse(post.id));
    newest
}
