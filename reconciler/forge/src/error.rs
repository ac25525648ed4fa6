//! Why a forge did not take a status, by what to do about it.

use std::time::Duration;

/// What an answer that is no success means. The outbox decides by it when to try again, if ever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Nobody knows whether it arrived: a time-out, a cut connection, a 5xx. Posting it again is harmless.
    #[error("the forge did not answer well: {why}")]
    TryAgain { after: Option<Duration>, why: String },
    /// A rate limit.
    #[error("the forge asked for a pause")]
    Limited { after: Option<Duration> },
    /// Not pushed yet, or rewritten away.
    #[error("the forge does not know the commit")]
    NoSuchCommit,
    /// The token or the repository is wrong: a person must act.
    #[error("the forge refuses: {why}")]
    Refused { why: String },
    /// The description is longer than this forge takes, which is a mistake of ours.
    #[error("the description is too long for the forge")]
    TooLong,
    /// It understood and said no, and does not say why in a way that we know.
    #[error("the forge refuses for a reason of its own: {why}")]
    Unclear { why: String },
    /// Nothing was posted, since what it shows could not be read before.
    #[error("what the forge shows could not be read: {why}")]
    NotRead { after: Option<Duration>, why: String },
}
