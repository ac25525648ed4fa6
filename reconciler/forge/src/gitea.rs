//! Gitea and Forgejo: the same paths, fields and refusals.

use crate::answer::Answer;
use crate::dialect::{Dialect, Verdict};

/// <https://docs.gitea.com/api>, tag `repository`.
pub(crate) struct Gitea;

impl Dialect for Gitea {
    fn prefix(&self) -> &'static str {
        "/api/v1"
    }

    fn authorization(&self, token: &str) -> String {
        format!("token {token}")
    }

    fn accept(&self) -> &'static str {
        "application/json"
    }

    fn page(&self) -> (&'static str, u32) {
        // `MAX_RESPONSE_ITEMS` may make it less.
        ("limit", 50)
    }

    fn commits(&self) -> &'static str {
        "git/commits"
    }

    fn scope(&self) -> &'static str {
        "`write:repository`"
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        // A status for a commit that it does not have is an internal error to it.
        if answer.status == 500 { Verdict::LookForCommit } else { Verdict::Is(answer.usual(self.scope())) }
    }
}
