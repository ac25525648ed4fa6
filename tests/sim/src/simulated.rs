//! A kind whose deciding is the shipped one, and whose world is a model behind the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::ident::{KindName, Name, ResourceId};
use holdfast_core::kind::{
    Fence, Health, Kind, Look, Next, Risk, Scope, Seen, Step as _, StepResult, TargetError, one_by_one,
};
use holdfast_core::mark::Realm;
use holdfast_core::planted::{Defect, has};
use holdfast_core::reference::Outputs;
use holdfast_core::secret::Secrets;

use crate::checks::{Actor, How};
use crate::model::{Model, PATIENCE};
use crate::place::Place;
use crate::wire::{Call, Verdict, Wire};

/// One kind in one environment, as one process reaches it.
pub struct Simulated<M: Model> {
    pub place: Place<M>,
    pub realm: Realm,
    /// `None`: looks are whole, true and at once, and nothing is ever written. For the checks.
    pub through: Option<(Wire, u8)>,
}

/// What is called so makes its planner panic.
pub const PANICS: &str = "panics";

type StepOf<M> = <<M as Model>::Kind as Kind>::Step;

impl<M: Model> Simulated<M> {
    fn id(&self, name: &Name) -> ResourceId {
        ResourceId { environment: self.realm.environment.clone(), kind: Self::NAME, name: name.clone() }
    }

    fn actor(&self, process: u8, name: &Name, what: String, risk: Risk) -> Actor {
        self.place.actor(process, self.id(name), what, risk)
    }

    /// One question over the wire, with everything that it may be answered.
    async fn ask(
        &self,
        (wire, process): &(Wire, u8),
        scope: Scope,
        wanted: &BTreeMap<Name, <M::Kind as Kind>::Spec>,
    ) -> Look<<M::Kind as Kind>::State> {
        let port = self.place.port;
        let names: Vec<&str> = wanted.keys().map(Name::as_str).collect();
        let what = match scope {
            Scope::All => {
                format!("{} look all, {} wanted, {}", Self::NAME, names.len(), self.realm.environment)
            }
            Scope::Only => {
                format!("{} look {}, {}", Self::NAME, names.join(" "), self.realm.environment)
            }
        };
        let call = Call { port, process: *process, write: false, what };
        match wire.decide(&call).await {
            Verdict::ErrorBefore(_) if has(Defect::ErrorIsEmpty) => {
                self.place.unseen(*process);
                self.place.looked(*process, &self.realm, scope, false);
                self.place.lied(*process, &self.realm, wanted);
                self.place.told(*process, &self.realm, wanted.keys());
                Look { seen: BTreeMap::new(), incomplete: None, failed: None, notices: Vec::new() }
            }
            Verdict::ErrorBefore(error) | Verdict::ErrorAfter(error) | Verdict::Zombie { error, .. } => {
                self.place.unseen(*process);
                self.place.looked(*process, &self.realm, scope, false);
                Look::failed(wanted.keys(), &error)
            }
            verdict => {
                let look = self.place.look(*process, &self.realm, scope, wanted, &verdict);
                let is_told = |name: &&Name| match look.seen.get(*name) {
                    Some(seen) => !matches!(seen, Seen::Unknown(_)),
                    None => look.incomplete.is_none(),
                };
                let names = look.seen.keys().chain(wanted.keys()).filter(is_told);
                self.place.told(*process, &self.realm, names);
                look
            }
        }
    }

    async fn step(
        &self,
        (wire, process): &(Wire, u8),
        name: &Name,
        step: &StepOf<M>,
        secrets: &Secrets,
    ) -> Result<Option<String>, TargetError> {
        let what = format!("{}: {step}", self.id(name));
        let call = Call { port: self.place.port, process: *process, write: true, what: what.clone() };
        let actor = self.actor(*process, name, what, step.risk());
        self.place.attempts(&actor);
        let verdict = wire.decide(&call).await;
        let effect = |how| {
            let perform = |model: &mut M| model.perform(&self.realm, name, step, secrets);
            self.place.write(how, &actor, perform)
        };
        match verdict {
            Verdict::ErrorBefore(error) => return Err(careless(error, std::slice::from_ref(step), secrets)),
            Verdict::ErrorAfter(error) => {
                drop(effect(How::Write));
                return Err(error);
            }
            Verdict::Zombie { error, after } => {
                let (place, realm, name) = (self.place.clone(), self.realm.clone(), name.clone());
                let (step, secrets) = (step.clone(), copy(secrets, std::slice::from_ref(step)));
                let late = move || {
                    let perform = |model: &mut M| model.perform(&realm, &name, &step, &secrets);
                    drop(place.write(How::Late, &actor, perform));
                };
                wire.later(wire.now() + after, Box::new(late));
                return Err(error);
            }
            Verdict::Twice => {
                let first = effect(How::Write);
                drop(effect(How::Again));
                first?;
            }
            Verdict::Lie => {
                return self.place.pretend(|model| model.perform(&self.realm, name, step, secrets));
            }
            Verdict::CrashAfter => {
                drop(effect(How::Write));
                wire.never().await;
            }
            _ => {
                let warning = effect(How::Write)?;
                if warning.is_some() {
                    return Ok(warning);
                }
            }
        }
        if has(Defect::TaskForgotten) {
            return Ok(None);
        }
        self.follow(wire, *process, name, step).await
    }

    /// Follows what a step started to its end, as the real client does.
    async fn follow(
        &self,
        wire: &Wire,
        process: u8,
        name: &Name,
        step: &StepOf<M>,
    ) -> Result<Option<String>, TargetError> {
        let until = wire.now() + PATIENCE;
        let mut pause = Duration::from_secs(1);
        loop {
            if let Some(end) = self.place.followed(name, step) {
                return end;
            }
            if wire.now() >= until {
                return Err(TargetError::unavailable(step.to_string(), "its task still runs"));
            }
            wire.pause_for(process, pause).await;
            pause = (pause * 2).min(Duration::from_secs(20));
        }
    }

    /// All steps as one write.
    async fn in_one(
        &self,
        (wire, process): &(Wire, u8),
        name: &Name,
        steps: &[StepOf<M>],
        secrets: &Secrets,
    ) -> Vec<StepResult> {
        let lines: Vec<String> = steps.iter().map(ToString::to_string).collect();
        let what = format!("{}: {}", self.id(name), lines.join("; "));
        let call = Call { port: self.place.port, process: *process, write: true, what: what.clone() };
        let risk = steps.iter().map(holdfast_core::kind::Step::risk).max().unwrap_or(Risk::Quiet);
        let actor = self.actor(*process, name, what, risk);
        self.place.attempts(&actor);
        let verdict = wire.decide(&call).await;
        let effect = |how, cut| {
            let perform = |model: &mut M| model.perform_all(&self.realm, name, steps, secrets, cut);
            self.place.write(how, &actor, perform)
        };
        match verdict {
            Verdict::ErrorBefore(error) => failed(steps.len(), careless(error, steps, secrets)),
            Verdict::ErrorAfter(error) => {
                // The connection breaks while it works, or after.
                let cut = usize::try_from(wire.roll("cut")).unwrap_or(0) % (steps.len() + 1);
                drop(effect(How::Write, Some(cut)));
                failed(steps.len(), error)
            }
            Verdict::Zombie { error, after } => {
                let (place, realm, name) = (self.place.clone(), self.realm.clone(), name.clone());
                let (steps, secrets) = (steps.to_vec(), copy(secrets, steps));
                let count = steps.len();
                let late = move || {
                    let perform = |model: &mut M| model.perform_all(&realm, &name, &steps, &secrets, None);
                    drop(place.write(How::Late, &actor, perform));
                };
                wire.later(wire.now() + after, Box::new(late));
                failed(count, error)
            }
            Verdict::Twice => {
                let results = effect(How::Write, None);
                drop(effect(How::Again, None));
                results
            }
            Verdict::CrashAfter => {
                let cut = usize::try_from(wire.roll("cut")).unwrap_or(0) % (2 * steps.len() + 1);
                drop(effect(How::Write, Some(cut).filter(|cut| *cut < steps.len())));
                wire.never().await;
                Vec::new()
            }
            _ => effect(How::Write, None),
        }
    }
}

fn failed(steps: usize, error: TargetError) -> Vec<StepResult> {
    let mut results = vec![StepResult::NotRun; steps];
    if let Some(first) = results.first_mut() {
        *first = StepResult::Failed(error);
    }
    results
}

/// An error as a careless system words it: it repeats what it was sent.
fn careless<S: holdfast_core::kind::Step>(error: TargetError, steps: &[S], secrets: &Secrets) -> TargetError {
    let references = steps.iter().flat_map(holdfast_core::kind::Step::secrets);
    let values: Vec<&str> = references
        .filter_map(|reference| secrets.get(&reference).ok())
        .map(secrecy::ExposeSecret::expose_secret)
        .collect();
    match error {
        TargetError::Unavailable { doing, why, retry_after } if !values.is_empty() => {
            TargetError::Unavailable { doing, why: format!("{why}: {}", values.join(" ")), retry_after }
        }
        TargetError::Rejected { doing, why } if !values.is_empty() => {
            TargetError::Rejected { doing, why: format!("{why}: {}", values.join(" ")) }
        }
        error => error,
    }
}

/// The secrets that steps need, for when the caller is gone.
fn copy<S: holdfast_core::kind::Step>(secrets: &Secrets, steps: &[S]) -> Secrets {
    let mut copy = Secrets::default();
    for reference in steps.iter().flat_map(holdfast_core::kind::Step::secrets) {
        if let Ok(value) = secrets.get(&reference) {
            copy.insert(&reference, value.clone());
        }
    }
    copy
}

impl<M: Model> Kind for Simulated<M> {
    const NAME: KindName = M::Kind::NAME;
    const API_VERSION: &'static str = M::Kind::API_VERSION;
    const OUTPUTS: &'static [&'static str] = M::Kind::OUTPUTS;
    const TARGET: &'static str = M::Kind::TARGET;
    const EACH_APART: bool = M::Kind::EACH_APART;

    type Spec = <M::Kind as Kind>::Spec;
    type State = <M::Kind as Kind>::State;
    type Step = StepOf<M>;

    fn plan(name: &Name, want: Option<&Self::Spec>, seen: Option<&Self::State>) -> Next<Self::Step> {
        if name.as_str() == PANICS {
            // A planner that panics, without the words of a panic.
            std::panic::resume_unwind(Box::new("a planner's own"));
        }
        M::Kind::plan(name, want, seen)
    }

    fn health(seen: &Self::State) -> Health {
        M::Kind::health(seen)
    }

    fn outputs(seen: &Self::State) -> Outputs {
        M::Kind::outputs(seen)
    }

    fn protected(seen: &Self::State) -> bool {
        M::Kind::protected(seen)
    }

    async fn observe(&self, scope: Scope, wanted: &BTreeMap<Name, Self::Spec>) -> Look<Self::State> {
        let Some(through) = &self.through else { return self.place.truth(&self.realm, scope, wanted) };
        if !Self::EACH_APART {
            return self.ask(through, scope, wanted).await;
        }
        if wanted.len() == 1 {
            return self.ask(through, Scope::Only, wanted).await;
        }
        // Each machine is asked by itself, and all at once.
        let one_each: Vec<BTreeMap<Name, Self::Spec>> = wanted
            .iter()
            .filter_map(|(name, spec)| {
                let spec = serde_json::to_value(spec).and_then(serde_json::from_value).ok()?;
                Some(BTreeMap::from([(name.clone(), spec)]))
            })
            .collect();
        let looks = one_each.iter().map(|one| self.ask(through, Scope::Only, one));
        let mut whole = Look { seen: BTreeMap::new(), incomplete: None, failed: None, notices: Vec::new() };
        for look in futures_util::future::join_all(looks).await {
            whole.seen.extend(look.seen);
            whole.notices.extend(look.notices);
        }
        for name in wanted.keys() {
            let lost = || Seen::Unknown(TargetError::unavailable("looking at it", "it was not asked"));
            whole.seen.entry(name.clone()).or_insert_with(lost);
        }
        whole
    }

    async fn apply(
        &self,
        name: &Name,
        steps: &[Self::Step],
        secrets: &Secrets,
        fence: &dyn Fence,
    ) -> Vec<StepResult> {
        let Some(through) = &self.through else {
            return failed(steps.len(), TargetError::rejected("writing", "this only looks"));
        };
        if !M::IN_ONE {
            return one_by_one(steps, fence, |step| self.step(through, name, step, secrets)).await;
        }
        match fence.check().await {
            Ok(()) => self.in_one(through, name, steps, secrets).await,
            Err(error) => failed(steps.len(), error),
        }
    }
}
