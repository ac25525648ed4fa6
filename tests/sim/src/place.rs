//! Where a model stands: every touch of it is bracketed by looks at its objects, for the checks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::ident::{Name, ResourceId};
use holdfast_core::kind::{Kind, Look, Risk, Scope, Seen, TargetError};
use holdfast_core::mark::Realm;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::checks::{Actor, Checks, Effect, How};
use crate::model::{Meddling, Model, Object, Time};
use crate::wire::{Port, Verdict, Wire};

/// States before the last writes, for stale answers.
const KEPT: usize = 4;
/// How old a stale answer may be.
const OLDEST: Duration = Duration::from_secs(90);
/// Backups, and how often one is made.
const BACKUPS: usize = 5;
const BACKUP_EVERY: Duration = Duration::from_mins(7);

/// One system of a simulated world. Its clones are the same system.
pub struct Place<M> {
    pub port: Port,
    wire: Wire,
    checks: Checks,
    held: Arc<Mutex<Held<M>>>,
    /// Tells it, before each touch, what another system makes of it.
    link: Option<Arc<Link<M>>>,
}

type Link<M> = dyn Fn(&mut M) + Send + Sync;

impl<M> Clone for Place<M> {
    fn clone(&self) -> Self {
        Self {
            port: self.port,
            wire: self.wire.clone(),
            checks: self.checks.clone(),
            held: self.held.clone(),
            link: self.link.clone(),
        }
    }
}

struct Held<M> {
    model: M,
    objects: Arc<BTreeMap<String, Object>>,
    earlier: VecDeque<(Time, M)>,
    backups: VecDeque<(Time, M)>,
}

type SpecOf<M> = <<M as Model>::Kind as Kind>::Spec;
type StateOf<M> = <<M as Model>::Kind as Kind>::State;
type StepOf<M> = <<M as Model>::Kind as Kind>::Step;

impl<M: Model> Place<M> {
    pub fn new(port: Port, model: M, wire: &Wire, checks: &Checks) -> Self {
        let objects = Arc::new(model.objects());
        checks.stands(port, objects.clone());
        let held = Held { model, objects, earlier: VecDeque::new(), backups: VecDeque::new() };
        let held = Arc::new(Mutex::new(held));
        Self { port, wire: wire.clone(), checks: checks.clone(), held, link: None }
    }

    /// Has something told to the model before each touch.
    #[must_use]
    pub fn linked(self, link: impl Fn(&mut M) + Send + Sync + 'static) -> Self {
        Self { link: Some(Arc::new(link)), ..self }
    }

    /// Brings the model to now, and has what happened by itself checked.
    fn touch(&self) -> MutexGuard<'_, Held<M>> {
        let mut held = self.go();
        self.compare(&mut held, How::Itself, None);
        held
    }

    /// Brings the model to now. What happened by itself is checked at the next write at the latest.
    fn go(&self) -> MutexGuard<'_, Held<M>> {
        let now = self.wire.now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = &self.link {
            link(&mut held.model);
        }
        held.model.advance(now);
        if held.backups.back().is_none_or(|(made, _)| now >= *made + BACKUP_EVERY) {
            let backup = held.model.clone();
            held.backups.push_back((now, backup));
            if held.backups.len() > BACKUPS {
                held.backups.pop_front();
            }
        }
        held
    }

    fn compare(&self, held: &mut Held<M>, how: How, actor: Option<&Actor>) {
        let after = held.model.objects();
        if how == How::Itself && *held.objects == after {
            return;
        }
        let before = std::mem::replace(&mut held.objects, Arc::new(after));
        self.checks.stands(self.port, held.objects.clone());
        let effect = Effect {
            port: self.port,
            at: self.wire.now(),
            how,
            actor,
            before: &before,
            after: &held.objects,
        };
        self.checks.effect(&effect);
    }

    /// Who sends a write out at this moment.
    pub(crate) fn actor(&self, process: u8, id: ResourceId, what: String, risk: Risk) -> Actor {
        self.checks.actor(process, id, what, risk)
    }

    /// One effect of ours, at this moment.
    pub(crate) fn write<T>(&self, how: How, actor: &Actor, perform: impl FnOnce(&mut M) -> T) -> T {
        let now = self.wire.now();
        let mut held = self.touch();
        let earlier = held.model.clone();
        held.earlier.push_back((now, earlier));
        if held.earlier.len() > KEPT {
            held.earlier.pop_front();
        }
        let result = perform(&mut held.model);
        self.compare(&mut held, how, Some(actor));
        result
    }

    /// What an effect would answer, without it.
    pub(crate) fn pretend<T>(&self, perform: impl FnOnce(&mut M) -> T) -> T {
        let mut copy = self.go().model.clone();
        perform(&mut copy)
    }

    pub(crate) fn followed(
        &self,
        name: &Name,
        step: &StepOf<M>,
    ) -> Option<Result<Option<String>, TargetError>> {
        self.go().model.followed(name, step)
    }

    /// A whole and true look.
    pub(crate) fn truth(
        &self,
        realm: &Realm,
        scope: Scope,
        wanted: &BTreeMap<Name, SpecOf<M>>,
    ) -> Look<StateOf<M>> {
        self.go().model.look(realm, scope, wanted)
    }

    /// A look with what the wire makes of it.
    pub(crate) fn look(
        &self,
        process: u8,
        realm: &Realm,
        scope: Scope,
        wanted: &BTreeMap<Name, SpecOf<M>>,
        verdict: &Verdict,
    ) -> Look<StateOf<M>> {
        let now = self.wire.now();
        let held = self.go();
        let mut look = held.model.look(realm, scope, wanted);
        match verdict {
            Verdict::Stale => {
                let recent = held.earlier.iter().filter(|(then, _)| now.saturating_sub(*then) <= OLDEST);
                let recent: Vec<&M> = recent.map(|(_, model)| model).collect();
                let at = usize::try_from(self.wire.roll("stale")).unwrap_or(0) % recent.len().max(1);
                if let Some(model) = recent.get(at) {
                    look = model.look(realm, scope, wanted);
                }
            }
            Verdict::Empty => self.hide(&mut look, scope, wanted, |_| true),
            Verdict::Short => {
                let there: Vec<Name> = look
                    .seen
                    .iter()
                    .filter(|(_, seen)| matches!(seen, Seen::Present { .. }))
                    .map(|(name, _)| name.clone())
                    .collect();
                let at = usize::try_from(self.wire.roll("short")).unwrap_or(0) % there.len().max(1);
                if let Some(one) = there.get(at) {
                    self.hide(&mut look, scope, wanted, |name| name == one);
                }
            }
            _ => {}
        }
        drop(held);
        let unseen = look.seen.values().any(|seen| matches!(seen, Seen::Unknown(_)));
        self.looked(process, realm, scope, look.incomplete.is_none() && !unseen);
        if matches!(verdict, Verdict::Stale | Verdict::Empty | Verdict::Short) {
            // What is told then, nobody who looks can know better.
            self.checks.touch(now);
        }
        let lied = if matches!(verdict, Verdict::Empty | Verdict::Short) {
            let absent = look.seen.iter().filter(|(_, seen)| matches!(seen, Seen::Absent));
            let truth = self.truth(realm, scope, wanted);
            absent
                .filter(|(name, _)| matches!(truth.seen.get(*name), Some(Seen::Present { .. })))
                .map(|(name, _)| name.clone())
                .collect()
        } else {
            Vec::new()
        };
        self.checks.lied(
            process,
            &realm.environment,
            &M::Kind::NAME,
            wanted.keys().chain(look.seen.keys()),
            &lied,
        );
        look
    }

    /// Takes entries out of a list as far as the real client cannot tell: Proxmox is asked a second time for a number
    /// that is not listed, a single policy of Vault is read by its name, and so is an Application that is not listed.
    fn hide(
        &self,
        look: &mut Look<StateOf<M>>,
        scope: Scope,
        wanted: &BTreeMap<Name, SpecOf<M>>,
        which: impl Fn(&Name) -> bool,
    ) {
        if self.port == Port::Vault && scope == Scope::Only {
            return;
        }
        let mut found = false;
        look.seen.retain(|name, seen| {
            if !which(name) || !matches!(seen, Seen::Present { .. }) {
                return true;
            }
            if wanted.contains_key(name) {
                if self.port == Port::Kubernetes {
                    found = true;
                    return true;
                }
                *seen = if self.port == Port::Proxmox {
                    let why = "the number is taken, by a guest that was not listed";
                    Seen::Unknown(TargetError::unavailable("looking for it", why))
                } else {
                    Seen::Absent
                };
                return true;
            }
            false
        });
        if found {
            look.incomplete = Some("the list lacks what asking by name finds".to_owned());
        }
    }

    /// Notes for the checks that a write is about to go out.
    pub(crate) fn attempts(&self, actor: &Actor) {
        self.checks.attempted(self.wire.now(), actor);
    }

    /// Notes for the checks that names which are there were told absent.
    pub(crate) fn lied(&self, process: u8, realm: &Realm, wanted: &BTreeMap<Name, SpecOf<M>>) {
        let truth = self.truth(realm, Scope::Only, wanted);
        let there = truth.seen.iter().filter(|(_, seen)| matches!(seen, Seen::Present { .. }));
        let lied: Vec<Name> = there.map(|(name, _)| name.clone()).collect();
        self.checks.lied(process, &realm.environment, &M::Kind::NAME, wanted.keys(), &lied);
    }

    /// Notes for the checks which names a process was told something about.
    pub(crate) fn told<'a>(&self, process: u8, realm: &Realm, names: impl Iterator<Item = &'a Name>) {
        self.checks.told(process, &realm.environment, &M::Kind::NAME, names);
    }

    /// Notes a look that failed.
    pub(crate) fn unseen(&self, process: u8) {
        self.checks.unseen(self.wire.now(), process, self.port);
    }

    /// Notes a look for the checks: whether it was whole.
    pub(crate) fn looked(&self, process: u8, realm: &Realm, scope: Scope, complete: bool) {
        if scope == Scope::All {
            self.checks.looked(process, &realm.environment, &M::Kind::NAME, complete);
        }
    }
}

/// What else happens to a system, whatever its kind.
pub trait Stands: Send + Sync {
    fn port(&self) -> Port;
    /// Somebody else does something to it.
    fn meddle(&self, dice: u64) -> Option<Meddling>;
    /// It comes back as it was some time ago.
    fn restore(&self) -> bool;
    /// Lets everything go on that goes on by itself.
    fn go_on(&self);
    fn objects(&self) -> Arc<BTreeMap<String, Object>>;
}

impl<M: Model> Stands for Place<M> {
    fn port(&self) -> Port {
        self.port
    }

    fn meddle(&self, dice: u64) -> Option<Meddling> {
        let mut held = self.touch();
        let meddling = held.model.meddle(&mut SmallRng::seed_from_u64(dice));
        self.compare(&mut held, How::Somebody, None);
        meddling
    }

    fn restore(&self) -> bool {
        let now = self.wire.now();
        let mut held = self.touch();
        let Some((_, mut model)) = held.backups.pop_front() else { return false };
        model.advance(now);
        held.model = model;
        held.earlier.clear();
        self.compare(&mut held, How::Restored, None);
        true
    }

    fn go_on(&self) {
        drop(self.touch());
    }

    fn objects(&self) -> Arc<BTreeMap<String, Object>> {
        self.touch().objects.clone()
    }
}

impl<M: Model> Place<M> {
    pub fn read<T>(&self, read: impl FnOnce(&M) -> T) -> T {
        read(&self.go().model)
    }

    /// Reads or changes the model itself: to set a world up, and for tests.
    pub fn with<T>(&self, change: impl FnOnce(&mut M) -> T) -> T {
        let mut held = self.touch();
        let result = change(&mut held.model);
        self.compare(&mut held, How::Somebody, None);
        result
    }
}
