//! What differs between the forges: paths, checks, words.

use serde_json::{Value, json};

/// Which forge it pretends to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// `/api/v1/…`, trims fields, checks hardly anything, 500 for an unknown commit.
    Gitea,
    /// As Gitea, with headers of its own.
    Forgejo,
    /// Paths at the root, checks everything, limits rates.
    GitHub,
}

impl Flavour {
    pub(super) fn is_github(self) -> bool {
        self == Self::GitHub
    }

    /// What stands before `/repos/…`.
    pub(super) fn prefix(self) -> &'static str {
        if self.is_github() { "" } else { "/api/v1" }
    }

    /// The largest page, and the page if none is asked for.
    pub(super) fn pages(self) -> (usize, usize) {
        if self.is_github() { (100, 30) } else { (50, 30) }
    }

    /// The parameter for a page's size.
    pub(super) fn size_parameter(self) -> &'static str {
        if self.is_github() { "per_page" } else { "limit" }
    }

    pub(super) fn not_found(self) -> Value {
        if self.is_github() {
            json!({
                "message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404",
            })
        } else {
            json!({
                "message": "The target couldn't be found.", "errors": [], "url": "http://127.0.0.1/api/swagger",
            })
        }
    }

    pub(super) fn unauthorized(self) -> Value {
        if self.is_github() {
            json!({
                "message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401",
            })
        } else {
            json!({ "message": "invalid username, password or token", "url": "http://127.0.0.1/api/swagger" })
        }
    }

    pub(super) fn forbidden(self) -> Value {
        if self.is_github() {
            json!({
                "message": "Resource not accessible by personal access token",
                "documentation_url": "https://docs.github.com/rest/commits/statuses#create-a-commit-status",
                "status": "403",
            })
        } else {
            let message = "token does not have at least one of required scope(s): [write:repository]";
            json!({ "message": message, "url": "http://127.0.0.1/api/swagger" })
        }
    }

    /// The one state of several: the newest of each context counts.
    pub(super) fn combine(self, states: &[&str]) -> &'static str {
        if self.is_github() {
            return match states {
                _ if states.iter().any(|state| matches!(*state, "error" | "failure")) => "failure",
                [] => "pending",
                _ if states.contains(&"pending") => "pending",
                _ => "success",
            };
        }
        // Worst first. To Gitea 1.24 and on Forgejo `warning` ranks before `pending`; from 1.25 it is a success.
        let order: &[&str] = match self {
            Self::Forgejo => &["error", "failure", "warning", "pending", "success"],
            _ => &["error", "failure", "pending", "success"],
        };
        for wanted in order {
            if states.contains(wanted) {
                return match *wanted {
                    "error" => "error",
                    "failure" => "failure",
                    "warning" => "warning",
                    "pending" => "pending",
                    _ => "success",
                };
            }
        }
        if states.is_empty() { "pending" } else { "success" }
    }
}
