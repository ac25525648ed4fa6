//! GitHub, and GitHub Enterprise at an address of its own.

use crate::answer::Answer;
use crate::dialect::{Dialect, Verdict};
use crate::error::PostError;

/// <https://docs.github.com/en/rest/commits/statuses>.
pub(crate) struct GitHub;

impl Dialect for GitHub {
    fn prefix(&self) -> &'static str {
        ""
    }

    fn authorization(&self, token: &str) -> String {
        format!("Bearer {token}")
    }

    fn accept(&self) -> &'static str {
        "application/vnd.github+json"
    }

    fn page(&self) -> (&'static str, u32) {
        ("per_page", 100)
    }

    fn commits(&self) -> &'static str {
        "commits"
    }

    fn scope(&self) -> &'static str {
        "`Commit statuses: write`, or `repo:status` for a classic token"
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        Verdict::Is(match answer.status {
            422 if answer.says("no commit found for sha") => PostError::NoSuchCommit,
            422 if answer.says("description is too long") => PostError::TooLong,
            // The ceiling of 1,000 statuses a commit and context, or something else: never guessed.
            422 => PostError::Unclear { why: answer.classes() },
            _ => answer.usual(self.scope()),
        })
    }
}
