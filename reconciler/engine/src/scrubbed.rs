//! The second net for secrets at the ports: a store that teaches what it reads, a journal that gets no secret.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId};
use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::plan::Plan;
use holdfast_core::report::{Report, Status};
use holdfast_core::scrub::Scrubber;
use holdfast_core::secret::{SecretDocument, SecretStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ports::{Context, Epoch, Journal, JournalError, Known, Lease, RunId};

/// A store of secrets that teaches the scrubber every value before anybody gets it.
pub struct LearningStore {
    inner: Arc<dyn SecretStore>,
    scrubber: Scrubber,
}

impl LearningStore {
    pub fn new(inner: Arc<dyn SecretStore>, scrubber: Scrubber) -> Self {
        Self { inner, scrubber }
    }
}

impl SecretStore for LearningStore {
    fn target(&self) -> &'static str {
        self.inner.target()
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<SecretDocument, TargetError>> {
        Box::pin(async move {
            let document = self.inner.read(path).await?;
            for value in document.values.values() {
                self.scrubber.learn(value);
            }
            Ok(document)
        })
    }
}

/// A journal that takes every secret out of what is told: statuses, which go to the forge from here, plans and reports.
pub struct ScrubbedJournal {
    inner: Arc<dyn Journal>,
    scrubber: Scrubber,
}

impl ScrubbedJournal {
    pub fn new(inner: Arc<dyn Journal>, scrubber: Scrubber) -> Self {
        Self { inner, scrubber }
    }

    fn clean_status(&self, status: &Status) -> Status {
        // Made anew, since what stands in the place of a secret may be longer than it.
        Status::new(status.state, self.scrubber.clean(&status.description))
    }
}

impl Journal for ScrubbedJournal {
    fn set_status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.inner.set_status(commit, context, &self.clean_status(status)).await })
    }

    fn status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Option<Status>, JournalError>> {
        self.inner.status(commit, context)
    }

    fn pending(&self) -> BoxFuture<'_, Result<Vec<(CommitId, Context)>, JournalError>> {
        self.inner.pending()
    }

    fn lease<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        holder: &'a str,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Lease, JournalError>> {
        self.inner.lease(environment, holder, lasts)
    }

    fn epoch<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<Epoch>, JournalError>> {
        self.inner.epoch(environment)
    }

    fn attempt<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<u32, JournalError>> {
        self.inner.attempt(commit)
    }

    fn attempt_ended<'a>(&'a self, commit: &'a CommitId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.inner.attempt_ended(commit)
    }

    fn known<'a>(&'a self, environment: &'a EnvironmentName) -> BoxFuture<'a, Result<Known, JournalError>> {
        self.inner.known(environment)
    }

    fn removing<'a>(
        &'a self,
        commit: &'a CommitId,
        id: &'a ResourceId,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        self.inner.removing(commit, id)
    }

    fn removed<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<BTreeSet<ResourceId>, JournalError>> {
        self.inner.removed(environment, commit)
    }

    fn converged<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>> {
        self.inner.converged(environment)
    }

    fn begun<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>> {
        self.inner.begun(environment)
    }

    fn run_started<'a>(
        &'a self,
        commit: &'a CommitId,
        plan: &'a Plan,
    ) -> BoxFuture<'a, Result<RunId, JournalError>> {
        Box::pin(async move { self.inner.run_started(commit, &cleaned(&self.scrubber, plan)).await })
    }

    fn run_finished<'a>(
        &'a self,
        run: RunId,
        report: &'a Report,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let clean = cleaned(&self.scrubber, report);
            // A description was cut, perhaps within a secret: cleaning comes first where that can be.
            let status = if *status == report.status() { clean.status() } else { status.clone() };
            self.inner.run_finished(run, &clean, &self.clean_status(&status)).await
        })
    }
}

/// Plain data without a secret in any of its texts, those of fields to come included.
///
/// What gives the data its shape stays: the name of a variant, a number, a name that a manifest declares. They are no
/// secrets, even where a secret has the same value.
pub fn cleaned<'d, T>(scrubber: &Scrubber, data: &'d T) -> Cow<'d, T>
where
    T: Serialize + DeserializeOwned + Clone,
{
    let Ok(value) = serde_json::to_value(data) else { return Cow::Borrowed(data) };
    let mut whole = value.clone();
    if !scrubber.clean_json(&mut whole) {
        return Cow::Borrowed(data);
    }
    if let Ok(clean) = serde_json::from_value(whole) {
        return Cow::Owned(clean);
    }
    let mut places = Vec::new();
    texts(&value, &mut String::new(), &mut places);
    let (mut value, mut clean) = (value, None);
    for place in places {
        let Some(Value::String(text)) = value.pointer_mut(&place) else { continue };
        let Cow::Owned(cleaned) = scrubber.clean(text) else { continue };
        let before = std::mem::replace(text, cleaned);
        match serde_json::from_value::<T>(value.clone()) {
            Ok(data) => clean = Some(data),
            Err(_) => {
                if let Some(place) = value.pointer_mut(&place) {
                    *place = Value::String(before);
                }
            }
        }
    }
    clean.map_or(Cow::Borrowed(data), Cow::Owned)
}

/// The JSON pointers of all texts.
fn texts(value: &Value, pointer: &mut String, into: &mut Vec<String>) {
    let length = pointer.len();
    let mut descend = |key: &str, value: &Value| {
        pointer.push('/');
        pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        texts(value, pointer, into);
        pointer.truncate(length);
    };
    match value {
        Value::String(_) => into.push(pointer.clone()),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| descend(&at.to_string(), item)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| descend(key, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
