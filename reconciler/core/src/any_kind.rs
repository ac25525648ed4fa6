//! The engine's edge: any kind as plain data, so that plans serialise, print and compare without the
//! engine knowing a kind.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ident::{KindName, Name};
use crate::kind::{
    BoxFuture, Change, Fence, Health, Kind, Look, Next, Refusal, Risk, Scope, Seen, Step, StepResult,
    TargetError,
};
use crate::planted::{Defect, has};
use crate::reference::Outputs;
use crate::secret::{SecretRef, Secrets};

/// A step as plain data: what people read of it, and what `apply` gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// The line that people read.
    pub text: String,
    pub risk: Risk,
    pub changes: Vec<Change>,
    pub secrets: Vec<SecretRef>,
    /// The kind's own step.
    pub step: Value,
}

/// Where and why a spec does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// JSON pointer within the spec.
    pub pointer: String,
    pub why: String,
}

/// The pure half of a kind, as a table of functions over plain data. Known without any connection, so
/// that `holdfast validate` works offline.
#[derive(Clone)]
pub struct KindInfo {
    pub name: KindName,
    pub api_version: &'static str,
    pub outputs: &'static [&'static str],
    /// [`Kind::TARGET`].
    pub target: &'static str,
    /// [`Kind::EACH_APART`].
    pub each_apart: bool,
    /// The JSON Schema (2020-12) of the spec.
    pub schema: fn() -> schemars::Schema,
    /// Whether a spec fits its type beyond what the schema can say.
    pub check: fn(&Value) -> Result<(), SpecError>,
    /// [`Kind::plan`] over plain data.
    pub plan: fn(&Name, Option<&Value>, Option<&Value>) -> Next<PlannedStep>,
    /// [`Kind::health`].
    pub health: fn(&Value) -> Health,
    /// [`Kind::outputs`].
    pub outputs_of: fn(&Value) -> Outputs,
    /// [`Kind::protected`].
    pub protected: fn(&Value) -> bool,
}

impl KindInfo {
    pub fn of<K: Kind>() -> Self {
        Self {
            name: K::NAME,
            api_version: K::API_VERSION,
            outputs: K::OUTPUTS,
            target: K::TARGET,
            each_apart: K::EACH_APART,
            schema: || {
                schemars::generate::SchemaSettings::draft2020_12()
                    .into_generator()
                    .into_root_schema_for::<K::Spec>()
            },
            check: |spec| read_spec::<K>(spec).map(drop),
            plan: plan_any::<K>,
            health: |state| match read_state::<K>(state) {
                Ok(state) => K::health(&state),
                Err(why) => Health::Unhealthy(why),
            },
            outputs_of: |state| read_state::<K>(state).map(|state| K::outputs(&state)).unwrap_or_default(),
            // What cannot be read is not destroyed.
            protected: |state| read_state::<K>(state).map_or(true, |state| K::protected(&state)),
        }
    }

    /// Whether our own references ({ vault }, { ref }, { file }) may stand in its spec. A spec of
    /// somebody else's API is theirs to read.
    pub fn is_ours(&self) -> bool {
        self.api_version == crate::kind::HOLDFAST_V1
    }
}

/// A kind with its connection, as an object.
pub trait AnyKind: Send + Sync {
    fn info(&self) -> KindInfo;

    /// [`Kind::observe`]. A spec that does not fit its type is answered `Unknown`.
    fn observe(&self, scope: Scope, wanted: BTreeMap<Name, Value>) -> BoxFuture<'_, Look<Value>>;

    /// [`Kind::apply`], with the steps of a plan of this kind.
    fn apply<'a>(
        &'a self,
        name: &'a Name,
        steps: &'a [PlannedStep],
        secrets: &'a Secrets,
        fence: &'a dyn Fence,
    ) -> BoxFuture<'a, Vec<StepResult>>;
}

impl<K: Kind> AnyKind for K {
    fn info(&self) -> KindInfo {
        KindInfo::of::<K>()
    }

    fn observe(&self, scope: Scope, wanted: BTreeMap<Name, Value>) -> BoxFuture<'_, Look<Value>> {
        Box::pin(async move {
            let mut specs = BTreeMap::new();
            let mut unreadable = BTreeMap::new();
            for (name, value) in wanted {
                match read_spec::<K>(&value) {
                    Ok(spec) => drop(specs.insert(name, spec)),
                    Err(error) => {
                        let error = TargetError::rejected(
                            format!("reading {} of the spec", error.pointer),
                            error.why,
                        );
                        unreadable.insert(name, Seen::Unknown(error));
                    }
                }
            }
            let look = Kind::observe(self, scope, &specs).await;
            let mut seen: BTreeMap<Name, Seen<Value>> =
                look.seen.into_iter().map(|(name, seen)| (name, plain(seen))).collect();
            seen.extend(unreadable);
            Look { seen, incomplete: look.incomplete, failed: look.failed, notices: look.notices }
        })
    }

    fn apply<'a>(
        &'a self,
        name: &'a Name,
        steps: &'a [PlannedStep],
        secrets: &'a Secrets,
        fence: &'a dyn Fence,
    ) -> BoxFuture<'a, Vec<StepResult>> {
        Box::pin(async move {
            let typed: Result<Vec<K::Step>, _> =
                steps.iter().map(|planned| K::Step::deserialize(&planned.step)).collect();
            match typed {
                Ok(typed) => Kind::apply(self, name, &typed, secrets, fence).await,
                Err(error) => vec![StepResult::Failed(TargetError::rejected("reading the plan", error))],
            }
        })
    }
}

fn plain<S: Serialize>(seen: Seen<S>) -> Seen<Value> {
    match seen {
        Seen::Absent => Seen::Absent,
        Seen::Unknown(error) => Seen::Unknown(error),
        Seen::Present { state, owner } => match serde_json::to_value(state) {
            Ok(state) => Seen::Present { state, owner },
            Err(error) => Seen::Unknown(TargetError::rejected("storing what was seen", error)),
        },
    }
}

fn read_spec<K: Kind>(spec: &Value) -> Result<K::Spec, SpecError> {
    // Keeping the path takes longer than reading, and nearly every spec fits.
    if let Ok(spec) = K::Spec::deserialize(spec) {
        return Ok(spec);
    }
    serde_path_to_error::deserialize(spec)
        .map_err(|error| SpecError { pointer: pointer(error.path()), why: error.into_inner().to_string() })
}

fn read_state<K: Kind>(state: &Value) -> Result<K::State, String> {
    K::State::deserialize(state).map_err(|error| format!("what was seen cannot be read: {error}"))
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}

const FAULT: &str = "this is a fault of Holdfast; please report it";

fn plan_any<K: Kind>(name: &Name, want: Option<&Value>, seen: Option<&Value>) -> Next<PlannedStep> {
    let want = match want.map(read_spec::<K>).transpose() {
        Ok(want) => want,
        Err(error) => {
            let why = format!("`spec{}` does not fit: {}", error.pointer.replace('/', "."), error.why);
            return Next::Refuse(Refusal::new(why, "check what the references in the spec give"));
        }
    };
    let seen = match seen.map(read_state::<K>).transpose() {
        Ok(seen) => seen,
        Err(why) => return Next::Refuse(Refusal::new(why, FAULT)),
    };
    // What was seen is anybody's: a planner that panics over it must not take the other resources with it.
    if has(Defect::PanicEndsRun) {
        drop(K::plan(name, want.as_ref(), seen.as_ref()));
    }
    let next = catch_unwind(AssertUnwindSafe(|| K::plan(name, want.as_ref(), seen.as_ref())));
    let next = next.unwrap_or_else(|_words_that_may_hold_a_value| {
        Next::Refuse(Refusal::new("internal error: planning it panicked; see the service's log", FAULT))
    });
    match next {
        Next::Settled => Next::Settled,
        Next::Wait(what) => Next::Wait(what),
        Next::Refuse(refusal) => Next::Refuse(refusal),
        Next::Do(steps) => Next::Do(steps.iter().map(planned).collect()),
    }
}

fn planned<S: Step>(step: &S) -> PlannedStep {
    PlannedStep {
        text: step.to_string(),
        risk: step.risk(),
        changes: step.changes(),
        secrets: step.secrets(),
        step: serde_json::to_value(step).expect("a step is plain data"),
    }
}
