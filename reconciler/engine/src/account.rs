//! What a look is charged: which of its objects may be asked for now, and what the answers say about who is there.

use std::collections::BTreeMap;

use holdfast_core::ident::{KindName, Name};
use holdfast_core::kind::{Look, Seen, TargetError};
use serde_json::Value;
use tokio::time::Instant;

use crate::Engine;
use crate::budget::{Asked, Try};

/// One look at a kind, before the retry budget.
pub(crate) struct Account<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) kind: &'a KindName,
    /// The system that the kind is part of.
    pub(crate) target: &'static str,
    /// Each object is reached by itself.
    pub(crate) apart: bool,
    /// It asks for everything, and not for single objects.
    pub(crate) whole: bool,
}

/// What may be asked for, and the rest with the last answer of each.
pub(crate) struct Allowed {
    pub(crate) wanted: BTreeMap<Name, Value>,
    pub(crate) postponed: BTreeMap<Name, TargetError>,
}

impl Account<'_> {
    /// # Errors
    /// Nothing of it may be asked for now: what was wanted, and the last answer.
    pub(crate) fn ask(
        &self,
        wanted: BTreeMap<Name, Value>,
        reason: Try,
    ) -> Result<Allowed, (BTreeMap<Name, Value>, TargetError)> {
        let now = Instant::now();
        let mut allowed = Allowed { wanted: BTreeMap::new(), postponed: BTreeMap::new() };
        if self.apart {
            for (name, spec) in wanted {
                match self.engine.budget.ask(&self.asked(Some(&name)), reason, now) {
                    Ok(()) => drop(allowed.wanted.insert(name, spec)),
                    Err(error) => drop(allowed.postponed.insert(name, error)),
                }
            }
            return Ok(allowed);
        }
        let single = wanted.keys().next().filter(|_| !self.whole && wanted.len() == 1);
        match self.engine.budget.ask(&self.asked(single), reason, now) {
            Ok(()) => Ok(Allowed { wanted, ..allowed }),
            Err(error) => Err((wanted, error)),
        }
    }

    /// Notes what the look's answers say.
    pub(crate) fn note(&self, look: &Look<Value>) {
        let now = Instant::now();
        let error = |seen: &Seen<Value>| match seen {
            Seen::Unknown(error) => Some(error.clone()),
            Seen::Absent | Seen::Present { .. } => None,
        };
        for (name, seen) in &look.seen {
            self.engine.budget.answered(&self.asked(Some(name)), error(seen).as_ref(), now);
        }
        if self.whole && !self.apart {
            // Where not one answer came, it is the whole that is away.
            let silent = match look.seen.values().map(error).collect::<Option<Vec<_>>>() {
                _ if look.failed.is_some() => look.failed.clone(),
                Some(errors) if !errors.is_empty() => errors.into_iter().next(),
                Some(_) => look.incomplete.as_ref().map(|why| TargetError::unavailable("looking", why)),
                None => None,
            };
            self.engine.budget.answered(&self.asked(None), silent.as_ref(), now);
        }
    }

    fn asked(&self, one: Option<&Name>) -> Asked {
        Asked {
            target: self.target.to_owned(),
            kind: self.kind.to_string(),
            one: one.map(ToString::to_string),
            apart: self.apart,
        }
    }
}
