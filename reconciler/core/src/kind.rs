//! The `Kind` trait: how to look at one kind of resource, how to decide about it, how to change it.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ident::{KindName, Name, ResourceId};
use crate::reference::Outputs;
use crate::secret::{SecretRef, Secrets};

/// A boxed future, for the few traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One kind of resource.
///
/// # Flow
/// The engine calls `observe`, then `plan` with what was wanted and seen, then `apply` with the steps of
/// one resource, then `observe` again, until `plan` says `Settled`. After a crash it starts at `observe`.
///
/// # What an implementation guarantees
/// - What decides (`plan`, `health`, `outputs`, `protected`) takes no `self` and so reaches no client:
///   deciding is a function of values.
/// - `observe` never writes. What it could not read is `Unknown`, never `Absent`.
/// - Repeating a step is harmless, and the first step that changes an object also marks it.
///
/// # What it may assume
/// An instance serves one environment (it holds the [`Realm`](crate::mark::Realm)). All references in a
/// spec are replaced by values, and all secret references carry stamps, before it is used.
pub trait Kind: Send + Sync + 'static {
    const NAME: KindName;
    /// `holdfast/v1`, unless manifests of somebody else's API stand in the repository as they are.
    const API_VERSION: &'static str = HOLDFAST_V1;
    /// The outputs that others may refer to. [`Kind::outputs`] gives no others.
    const OUTPUTS: &'static [&'static str];
    /// The system that it is part of, in one word (`proxmox`). While any of a system cannot be read, nothing is
    /// removed from it.
    const TARGET: &'static str;
    /// Each object is reached by itself, as a machine is: one that is out of reach says nothing of the others.
    const EACH_APART: bool = false;

    /// What a manifest asks for. Its JSON Schema is generated from this type.
    type Spec: Serialize + DeserializeOwned + JsonSchema + Send + Sync;
    /// What was seen. A field that means the same as one of `Spec` has the same name.
    type State: Serialize + DeserializeOwned + Send + Sync;
    /// One call to the system, with every choice already made.
    type Step: Step;

    /// The next safe steps from `seen` to `want`. `None` means absent.
    fn plan(name: &Name, want: Option<&Self::Spec>, seen: Option<&Self::State>) -> Next<Self::Step>;

    /// Whether it is up, whatever is wanted.
    fn health(seen: &Self::State) -> Health;

    /// What others may refer to. An output that is not known yet is left out.
    fn outputs(seen: &Self::State) -> Outputs;

    /// Whether it holds data, so that it is never destroyed unless the repository names it.
    fn protected(seen: &Self::State) -> bool;

    /// Reads what is wanted and, in scope `All`, everything else that carries our mark. Never writes.
    fn observe(
        &self,
        scope: Scope,
        wanted: &BTreeMap<Name, Self::Spec>,
    ) -> impl Future<Output = Look<Self::State>> + Send;

    /// Performs the steps in order, stopping at the first that fails. Gives one result a step. Before each write
    /// that it can still leave undone, it asks the fence.
    fn apply(
        &self,
        name: &Name,
        steps: &[Self::Step],
        secrets: &Secrets,
        fence: &dyn Fence,
    ) -> impl Future<Output = Vec<StepResult>> + Send;
}

/// The API version of our own kinds.
pub const HOLDFAST_V1: &str = "holdfast/v1";

/// One call to the system. Its `Display` is the line that people read in a plan, such as
/// `start vm 102`, in the imperative and without values of secrets.
pub trait Step: fmt::Display + Clone + Serialize + DeserializeOwned + Send + Sync {
    fn risk(&self) -> Risk;
    /// The secrets that `apply` needs for it: references, never values.
    fn secrets(&self) -> Vec<SecretRef>;
    /// The fields that it changes, for people.
    fn changes(&self) -> Vec<Change>;
}

/// What a step may cost. Ordered: the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Risk {
    /// Nobody notices.
    Quiet,
    /// A service is away for a while.
    Disruptive,
    /// Something ceases to exist.
    Destructive,
}

/// One field's change, as a plan shows it: `cores: 2 -> 4`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub field: String,
    /// Absent where nothing was there.
    pub from: Option<String>,
    /// Absent where nothing will be there.
    pub to: Option<String>,
}

impl Change {
    pub fn new(field: impl Into<String>, from: impl fmt::Display, to: impl fmt::Display) -> Self {
        Self { field: field.into(), from: Some(from.to_string()), to: Some(to.to_string()) }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |side: &Option<String>| side.clone().unwrap_or_else(|| "(none)".to_owned());
        write!(f, "{}: {} -> {}", self.field, show(&self.from), show(&self.to))
    }
}

/// What a kind wants done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<S> {
    /// As wanted *and* healthy. It alone unblocks what depends on it.
    Settled,
    /// These steps, in this order, are safe now. Afterwards the engine looks again.
    Do(Vec<S>),
    /// Nothing to do now, and not there yet: what is waited for.
    Wait(String),
    /// Going on would break a promise; a person must choose.
    Refuse(Refusal),
}

/// Why a kind will not go on, and what a person can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A phrase: `the disk would shrink from 32 GiB to 16 GiB`.
    pub why: String,
    /// Sentences that say what to do, the best one first.
    pub ways_out: Vec<String>,
}

impl Refusal {
    pub fn new(why: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { why: why.into(), ways_out: vec![way_out.into()] }
    }
}

/// Up or not, whatever is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    Healthy,
    /// What is wrong.
    Unhealthy(String),
}

/// How much to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The wanted ones, and everything else that carries our mark.
    All,
    /// The wanted ones alone. Says nothing about anything else.
    Only,
}

/// What a look brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look<S> {
    /// Every wanted name, and in scope `All` every other one whose mark is ours.
    pub seen: BTreeMap<Name, Seen<S>>,
    /// Why the look is not complete: something may carry our mark and not be in `seen`. `None` for a
    /// complete look. Orphans are concluded from complete looks in scope `All` alone.
    pub incomplete: Option<String>,
    /// Why it failed altogether, with the pause that was asked for.
    pub failed: Option<TargetError>,
    /// What a person should know: copied marks, objects that claim a name twice.
    pub notices: Vec<String>,
}

impl<S> Look<S> {
    /// A look that failed altogether: everything that was wanted is unknown.
    pub fn failed<'a>(wanted: impl IntoIterator<Item = &'a Name>, error: &TargetError) -> Self {
        Self {
            seen: wanted.into_iter().map(|name| (name.clone(), Seen::Unknown(error.clone()))).collect(),
            incomplete: Some(error.to_string()),
            failed: Some(error.clone()),
            notices: Vec::new(),
        }
    }
}

/// What is known of one resource. Not knowing is a third answer, never "absent".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen<S> {
    Absent,
    Present { state: S, owner: Owner },
    Unknown(TargetError),
}

/// Whose an object is, by the mark on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Owner {
    /// It carries the mark of this resource of ours.
    Ours(ResourceId),
    /// It carries no mark.
    Nobody,
    /// It carries the mark of another environment, site or tool.
    Other(String),
    /// It carries a mark that names another object.
    Copied,
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepResult {
    Done {
        /// What the system warned of while doing it.
        warning: Option<String>,
    },
    Failed(TargetError),
    /// A step before it failed.
    NotRun,
}

impl StepResult {
    pub const DONE: Self = Self::Done { warning: None };
}

/// What is asked before each write: whether this process may still write.
pub trait Fence: Send + Sync {
    /// # Errors
    /// Why it may not: another process has taken the environment over, or the site is paused.
    fn check(&self) -> BoxFuture<'_, Result<(), TargetError>>;
}

/// The fence of who works alone, as tests of one kind do.
pub struct NoFence;

impl Fence for NoFence {
    fn check(&self) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Performs steps in order and stops at the first that fails, as [`Kind::apply`] promises. What a step gives is
/// what the system warned of.
pub async fn one_by_one<'s, S, F>(
    steps: &'s [S],
    fence: &dyn Fence,
    perform: impl Fn(&'s S) -> F,
) -> Vec<StepResult>
where
    F: Future<Output = Result<Option<String>, TargetError>>,
{
    let mut results = Vec::with_capacity(steps.len());
    for step in steps {
        let result = match fence.check().await {
            Ok(()) => perform(step).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(warning) => results.push(StepResult::Done { warning }),
            Err(error) => {
                results.push(StepResult::Failed(error));
                break;
            }
        }
    }
    results.resize(steps.len(), StepResult::NotRun);
    results
}

/// Why a target did not do what was asked. It is plain data, since outcomes are stored and compared:
/// `why` holds the text of the causes, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum TargetError {
    /// Trying again may help.
    #[error("{doing}: {why}")]
    Unavailable {
        doing: String,
        why: String,
        /// What the target asked us to wait before trying again.
        retry_after: Option<Duration>,
    },
    /// It understood and said no: a person must change the manifest, the world or the credentials.
    #[error("{doing}: {why}")]
    Rejected { doing: String, why: String },
}

impl TargetError {
    /// `doing` is a phrase such as `listing the guests of pve1`.
    pub fn unavailable(doing: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Unavailable { doing: doing.into(), why: why.to_string(), retry_after: None }
    }

    pub fn rejected(doing: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Rejected { doing: doing.into(), why: why.to_string() }
    }

    /// Whether trying again may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// The texts of an error and its causes, each once: `a: b: c`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
