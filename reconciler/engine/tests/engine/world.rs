//! A world in memory for the engine's tests: one kind of thing and its target.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use holdfast_core::any_kind::{AnyKind, KindInfo};
use holdfast_core::desired::{Desired, Place, Resource};
use holdfast_core::ident::{CommitId, EnvironmentName, KindName, Name, ResourceId, SiteName};
use holdfast_core::kind::{
    BoxFuture, Change, Fence, Health, Kind, Look, Next, Owner, Refusal, Risk, Scope, Seen, Step, StepResult,
    TargetError,
};
use holdfast_core::manifest::Validators;
use holdfast_core::reference::{OrRef, Outputs};
use holdfast_core::secret::{SecretDocument, SecretRef, SecretStore, Secrets, StampKey};
use holdfast_engine::budget::Budget;
use holdfast_engine::chance::Chance;
use holdfast_engine::ports::Targets;
use holdfast_engine::{Engine, Limits};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::memory::{Memory, Reader, Still};

pub(crate) fn environment() -> EnvironmentName {
    EnvironmentName::new("attic").expect("a valid test value")
}

pub(crate) fn id(name: &str) -> ResourceId {
    ResourceId::parse_in(&environment(), &format!("Thing/{name}")).expect("a valid test value")
}

pub(crate) fn commit(digit: char) -> CommitId {
    CommitId::new(digit.to_string().repeat(40)).expect("a valid test value")
}

/// A thing with a value; it may stand on another one and hold a secret.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThingSpec {
    value: String,
    on: Option<OrRef<String>>,
    secret: Option<SecretRef>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ThingState {
    pub(crate) value: String,
    pub(crate) on: Option<String>,
    pub(crate) digest: Option<String>,
    pub(crate) up: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Put {
    value: Option<String>,
    on: Option<String>,
    secret: Option<SecretRef>,
    /// What is there now: a real step holds such a thing against races.
    seen: Option<String>,
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "put {value}"),
            None => f.write_str("take it away"),
        }
    }
}

impl Step for Put {
    fn risk(&self) -> Risk {
        match &self.value {
            None => Risk::Destructive,
            Some(value) if value.starts_with("reboot") => Risk::Disruptive,
            Some(_) => Risk::Quiet,
        }
    }
    fn secrets(&self) -> Vec<SecretRef> {
        self.secret.iter().cloned().collect()
    }
    fn changes(&self) -> Vec<Change> {
        Vec::new()
    }
}

/// What goes on in the world, and what is to go wrong with it.
#[derive(Default)]
pub(crate) struct Attic {
    pub(crate) things: BTreeMap<Name, (ThingState, Owner)>,
    /// Every change in order: `name=value`.
    pub(crate) writes: Vec<String>,
    /// Every look: its scope and how many it asked for.
    pub(crate) looks: Vec<(String, usize)>,
    /// Changes of these names fail so, each once, first one first.
    pub(crate) apply_errors: BTreeMap<String, Vec<TargetError>>,
    /// These names cannot be seen.
    pub(crate) unseen: BTreeMap<String, TargetError>,
    /// Looks in scope `All` after the first are incomplete.
    pub(crate) second_look_incomplete: bool,
    /// The first look in scope `All` does not list these.
    pub(crate) hidden_at_first: BTreeSet<String>,
    /// These things stay down after a change.
    pub(crate) stay_down: BTreeSet<String>,
    /// Changes of these succeed and do nothing.
    pub(crate) ignored: BTreeSet<String>,
    /// Somebody else changes these anew after every change.
    pub(crate) fought_over: BTreeSet<String>,
    /// Removing one of these only begins its removal.
    pub(crate) slow_to_leave: BTreeSet<String>,
    /// Changing one of these panics.
    pub(crate) poison: BTreeSet<String>,
    /// How long a change takes.
    pub(crate) change_takes: Duration,
    /// How long a thing is down after a disruptive change, and until when each is.
    pub(crate) reboots_take: Duration,
    pub(crate) down_until: BTreeMap<Name, Instant>,
    /// The most that were down at once.
    pub(crate) most_down: usize,
    /// After the first disruptive change nothing can be seen for so long.
    pub(crate) blind_after_change: Option<Duration>,
    pub(crate) blind_until: Option<Instant>,
    /// Nothing answers.
    pub(crate) outage: Option<TargetError>,
    /// Looks give nothing, and call it complete.
    pub(crate) empty: bool,
    /// Happens before each change.
    pub(crate) before_change: Option<Box<dyn Fn() + Send>>,
    /// The secret's value; each read advances to the next, the last one stays.
    pub(crate) secrets: Vec<String>,
    pub(crate) largest_concurrency: usize,
    concurrency: usize,
}

#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<Attic>>);

impl World {
    pub(crate) fn attic(&self) -> MutexGuard<'_, Attic> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn put(&self, name: &str, value: &str, owner: Owner) {
        let state = ThingState { value: value.to_owned(), on: None, digest: None, up: true };
        self.attic().things.insert(Name::new(name).expect("a valid test value"), (state, owner));
    }

    /// Somebody changes a thing.
    pub(crate) fn state(&self, name: &str, change: impl FnOnce(&mut ThingState)) {
        let name = Name::new(name).expect("a valid test value");
        change(&mut self.attic().things.get_mut(&name).expect("it is there").0);
    }
}

pub(crate) struct Thing(World);

impl Kind for Thing {
    const NAME: KindName = KindName::fixed("Thing");
    const OUTPUTS: &'static [&'static str] = &["value"];
    const TARGET: &'static str = "attic";
    type Spec = ThingSpec;
    type State = ThingState;
    type Step = Put;

    fn plan(_: &Name, want: Option<&ThingSpec>, seen: Option<&ThingState>) -> Next<Put> {
        let digest = |spec: &ThingSpec| Some(spec.secret.as_ref()?.stamp.as_ref()?.digest.clone());
        match (want, seen) {
            (None, None) => Next::Settled,
            (None, Some(seen)) if seen.value == "leaving" => Next::Wait("it is leaving".to_owned()),
            (None, Some(seen)) => {
                Next::Do(vec![Put { value: None, on: None, secret: None, seen: Some(seen.value.clone()) }])
            }
            (Some(want), _) if want.value == "forbidden" => {
                Next::Refuse(Refusal::new("it is forbidden", "do not"))
            }
            (Some(want), Some(seen))
                if want.value == seen.value
                    && want.on.as_ref().and_then(OrRef::value) == seen.on.as_ref()
                    && digest(want) == seen.digest =>
            {
                if seen.up {
                    Next::Settled
                } else {
                    Next::Wait("it is down".to_owned())
                }
            }
            (Some(want), seen) => Next::Do(vec![Put {
                value: Some(want.value.clone()),
                on: want.on.as_ref().and_then(OrRef::value).cloned(),
                secret: want.secret.clone(),
                seen: seen.map(|seen| seen.value.clone()),
            }]),
        }
    }
    fn health(seen: &ThingState) -> Health {
        if seen.up { Health::Healthy } else { Health::Unhealthy("it is down".to_owned()) }
    }
    fn outputs(seen: &ThingState) -> Outputs {
        assert_ne!(seen.value, "poison", "what no kind should do");
        Outputs::from([("value".to_owned(), seen.value.clone())])
    }
    fn protected(seen: &ThingState) -> bool {
        seen.value == "data"
    }

    async fn observe(&self, scope: Scope, wanted: &BTreeMap<Name, ThingSpec>) -> Look<ThingState> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut attic = self.0.attic();
        attic.looks.push((format!("{scope:?}"), wanted.len()));
        if attic.blind_until.is_some_and(|until| Instant::now() < until) {
            let error = TargetError::unavailable("looking", "permission check failed");
            return Look::failed(wanted.keys(), &error);
        }
        if let Some(error) = &attic.outage {
            return Look::failed(wanted.keys(), error);
        }
        let all_looks = attic.looks.iter().filter(|(scope, _)| scope == "All").count();
        let mut seen = BTreeMap::new();
        let ours = |owner: &Owner| matches!(owner, Owner::Ours(_)) && scope == Scope::All;
        let hidden = |name: &Name| all_looks == 1 && attic.hidden_at_first.contains(name.as_str());
        for (name, (state, owner)) in attic.things.iter().filter(|(name, _)| !attic.empty && !hidden(name)) {
            if wanted.contains_key(name) || ours(owner) {
                let is_up = attic.down_until.get(name).is_none_or(|until| *until <= Instant::now());
                let state = ThingState { up: state.up && is_up, ..state.clone() };
                seen.insert(name.clone(), Seen::Present { state, owner: owner.clone() });
            }
        }
        for name in wanted.keys() {
            seen.entry(name.clone()).or_insert(Seen::Absent);
            if let Some(error) = attic.unseen.get(name.as_str()) {
                seen.insert(name.clone(), Seen::Unknown(error.clone()));
            }
        }
        let incomplete =
            (attic.second_look_incomplete && all_looks > 1).then(|| "a page was missing".to_owned());
        Look { seen, incomplete, failed: None, notices: Vec::new() }
    }

    async fn apply(
        &self,
        name: &Name,
        steps: &[Put],
        secrets: &Secrets,
        fence: &dyn Fence,
    ) -> Vec<StepResult> {
        let takes = {
            let mut attic = self.0.attic();
            attic.concurrency += 1;
            attic.largest_concurrency = attic.largest_concurrency.max(attic.concurrency);
            attic.change_takes
        };
        tokio::time::sleep(takes).await;
        let before_change = self.0.attic().before_change.take();
        if let Some(happens) = &before_change {
            happens();
        }
        self.0.attic().before_change = before_change;
        if let Err(error) = fence.check().await {
            self.0.attic().concurrency -= 1;
            return vec![StepResult::Failed(error)];
        }
        let mut attic = self.0.attic();
        attic.concurrency -= 1;
        assert!(!attic.poison.contains(name.as_str()), "poison");
        if let Some(error) = attic
            .apply_errors
            .get_mut(name.as_str())
            .and_then(|errors| (!errors.is_empty()).then(|| errors.remove(0)))
        {
            return vec![StepResult::Failed(error)];
        }
        for step in steps {
            attic.writes.push(format!("{name}={}", step.value.as_deref().unwrap_or("-")));
            if attic.ignored.contains(name.as_str()) {
                continue;
            }
            let Some(mut value) = step.value.clone() else {
                if attic.slow_to_leave.contains(name.as_str())
                    && let Some((state, _)) = attic.things.get_mut(name)
                {
                    "leaving".clone_into(&mut state.value);
                } else {
                    attic.things.remove(name);
                }
                continue;
            };
            if attic.fought_over.contains(name.as_str()) {
                value = format!("theirs, {}", attic.writes.len());
            }
            let digest = step.secret.as_ref().map(|reference| {
                secrets.get(reference).expect("it was resolved");
                reference.stamp.as_ref().expect("it is stamped").digest.clone()
            });
            let up = !attic.stay_down.contains(name.as_str());
            if step.risk() == Risk::Disruptive {
                if let Some(blind) = attic.blind_after_change.take() {
                    attic.blind_until = Some(Instant::now() + blind);
                }
                let until = Instant::now() + attic.reboots_take;
                attic.down_until.insert(name.clone(), until);
                let is_down = |(name, (state, _)): &(&Name, &(ThingState, Owner))| {
                    !state.up || attic.down_until.get(*name).is_some_and(|until| *until > Instant::now())
                };
                attic.most_down = attic.most_down.max(attic.things.iter().filter(is_down).count());
            }
            let state = ThingState { value, on: step.on.clone(), digest, up };
            attic.things.insert(name.clone(), (state, Owner::Ours(id(name.as_str()))));
        }
        steps.iter().map(|_| StepResult::DONE).collect()
    }
}

impl SecretStore for World {
    fn target(&self) -> &'static str {
        "safe"
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<SecretDocument, TargetError>> {
        Box::pin(async move {
            let mut attic = self.attic();
            let value = match attic.secrets.len() {
                0 => {
                    return Err(TargetError::rejected(
                        format!("reading {path}"),
                        "there is nothing at this path",
                    ));
                }
                1 => attic.secrets[0].clone(),
                _ => attic.secrets.remove(0),
            };
            Ok(SecretDocument {
                version: 1,
                values: BTreeMap::from([("key".to_owned(), SecretString::from(value))]),
            })
        })
    }
}

impl Targets for World {
    fn kinds(&self, _: &EnvironmentName) -> Vec<Arc<dyn AnyKind>> {
        vec![Arc::new(Thing(self.clone()))]
    }
    fn secrets(&self) -> Arc<dyn SecretStore> {
        Arc::new(self.clone())
    }
}

/// An engine over a world, and the journal that it writes.
pub(crate) fn engine(world: &World) -> (Arc<Engine>, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    let kinds = BTreeMap::from([(Thing::NAME, KindInfo::of::<Thing>())]);
    let validators = Validators::new(&kinds);
    let engine = Engine {
        site: SiteName::new("home").expect("a valid test value"),
        kinds: kinds.clone(),
        manifests: Arc::new(Reader(SiteName::new("home").expect("a valid test value"), kinds, validators)),
        clock: Arc::new(Still),
        halt: Arc::new(Still),
        holder: "test".to_owned(),
        budget: Budget::default(),
        repository: memory.clone(),
        targets: Arc::new(world.clone()),
        journal: memory.clone(),
        stamp_key: StampKey::new([7; 32]),
        limits: Limits::default(),
        chance: Chance::new(1),
    };
    (Arc::new(engine), memory)
}

/// What is wanted: names, specs, and what each needs.
pub(crate) fn desired(resources: &[(&str, serde_json::Value, &[&str])]) -> Desired {
    let mut desired = Desired::default();
    for (name, spec, needs) in resources {
        let needs = needs.iter().map(|need| id(need)).collect();
        let resource =
            Resource { id: id(name), spec: spec.clone(), needs, borrowed: false, declared: Place::default() };
        desired.resources.insert(id(name), resource);
    }
    desired.order = holdfast_core::graph::order(&desired.needs()).expect("a valid test value");
    desired
}
