//! In what forges differ.

use crate::answer::Answer;
use crate::error::PostError;

/// One kind of forge. All of them take `POST …/repos/{owner}/{name}/statuses/{commit}` with the same body, and
/// list the statuses of a commit as an array of objects with `id`, `context` and `description`.
pub(crate) trait Dialect: Sync {
    /// Where the API starts below the configured address.
    fn prefix(&self) -> &'static str;

    /// The value of the header `Authorization`.
    fn authorization(&self, token: &str) -> String;

    /// The value of the header `Accept`.
    fn accept(&self) -> &'static str;

    /// The parameter for the size of a page, and the largest.
    fn page(&self) -> (&'static str, u32);

    /// Where one commit is read, below the repository.
    fn commits(&self) -> &'static str;

    /// What a token must be allowed to do, in this forge's words.
    fn scope(&self) -> &'static str;

    /// What an answer that is no success means.
    fn judge(&self, answer: &Answer) -> Verdict;
}

/// What is known from an answer alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Is(PostError),
    /// It may mean that the commit is unknown: reading the commit tells.
    LookForCommit,
}
