//! How a call ends: with data, or with one of the refusals a Proxmox server knows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

/// What a call gives back when it went well.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) data: Value,
    /// Stands beside `data`, in lists that are cut.
    pub(super) total: Option<usize>,
    /// The answer waits this long for the task to end: `background_delay`.
    pub(super) wait: Option<(String, Duration)>,
    /// The answer comes this late, as when a guest agent has to be pinged first.
    pub(super) late: Duration,
}

impl From<Value> for Reply {
    fn from(data: Value) -> Self {
        Self { data, ..Self::default() }
    }
}

impl From<()> for Reply {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Value::String(text).into()
    }
}

/// A refusal with status, text and the texts for single parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: u16,
    /// Without the line feed that the server puts behind it.
    pub(super) message: String,
    pub(super) errors: BTreeMap<String, String>,
    /// The refusal comes this late.
    pub(super) late: Duration,
}

pub(super) type Answer = Result<Reply, ApiError>;
/// What a worker does; its refusal becomes the task's exit status.
pub(super) type Work = Result<(), ApiError>;

impl ApiError {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), ..Self::default() }
    }

    /// What Perl's `die` becomes.
    pub(super) fn die(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }

    /// All the wrong parameters at once.
    pub(super) fn params(errors: BTreeMap<String, String>) -> Self {
        Self { errors, ..Self::new(400, "Parameter verification failed.") }
    }

    /// One wrong parameter.
    pub(super) fn param(key: &str, text: impl Into<String>) -> Self {
        Self::params(BTreeMap::from([(key.to_owned(), text.into())]))
    }

    pub(super) fn denied(what: &str) -> Self {
        Self::new(403, format!("Permission check failed ({what})"))
    }

    /// How the refusal reads as a task's exit status, in one line.
    pub(super) fn exit_status(&self) -> String {
        let mut text = self.message.clone();
        if matches!(self.status, 400 | 403) {
            text = format!("{} {text}", self.status);
        }
        for (key, error) in &self.errors {
            let _ = write!(text, " {key}: {error}");
        }
        text.replace('\n', " ").trim_end().to_owned()
    }
}
