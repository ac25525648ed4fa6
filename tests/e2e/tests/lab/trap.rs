//! A trap at one write: the service is killed when that write begins, while it runs, or when it is done and not answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_lab::home::Home;
use holdfast_lab::hosts::tree::Host;
use holdfast_lab::http::{Fault, Moment, Seen, Wire};
use holdfast_lab::service::Killer;

/// A write by what it is, and how often it came before: the second status that is posted, the first clone of a guest.
pub(crate) type Write = (String, usize);

/// When the service dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// The write does not reach the target.
    Before,
    /// The write reaches a host, and its script runs on without anybody who listens.
    Meanwhile,
    /// The write is done, and its answer is lost.
    After,
}

#[derive(Clone, Default)]
pub(crate) struct Trap(Arc<Inner>);

#[derive(Default)]
struct Inner {
    at: Option<(Write, When)>,
    counts: Mutex<BTreeMap<String, usize>>,
    writes: Mutex<Vec<Write>>,
    killer: Mutex<Option<Killer>>,
    /// The write was done: the next end of a request or script is its own.
    armed: AtomicBool,
    sprung: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Trap {
    /// A trap that only counts.
    pub(crate) fn counting() -> Self {
        Self::default()
    }

    pub(crate) fn at(write: Write, when: When) -> Self {
        Self(Arc::new(Inner { at: Some((write, when)), ..Inner::default() }))
    }

    /// Lays the trap in a home whose service does not run yet.
    pub(crate) fn lay(&self, home: &Home) {
        for (target, wire) in home.wires().into_iter().chain([("forge", home.forge.wire.clone())]) {
            self.lay_at(target, &wire);
        }
        let trap = self.clone();
        home.guests.when_made(move |vmid, host| trap.lay_on(vmid, host));
    }

    /// Starts the service by `start`; no write is let through before it is known whom to kill.
    pub(crate) fn start(&self, start: impl FnOnce() -> Killer) {
        let mut killer = lock(&self.0.killer);
        *killer = Some(start());
    }

    pub(crate) fn is_sprung(&self) -> bool {
        self.0.sprung.load(Ordering::SeqCst)
    }

    /// All writes so far, in the order in which they began.
    pub(crate) fn writes(&self) -> Vec<Write> {
        lock(&self.0.writes).clone()
    }

    /// Counts a write; gives when the service is to die of it, if it is the one.
    fn begins(&self, what: String) -> Option<When> {
        drop(lock(&self.0.killer));
        let count = {
            let mut counts = lock(&self.0.counts);
            let count = counts.entry(what.clone()).or_default();
            *count += 1;
            *count
        };
        let write = (what, count);
        lock(&self.0.writes).push(write.clone());
        let (at, when) = self.0.at.as_ref()?;
        (*at == write && !self.is_sprung()).then_some(*when)
    }

    fn kill(&self) {
        let killer = lock(&self.0.killer).expect("the service was started");
        assert!(killer.kill(), "the service was dead already");
        self.0.sprung.store(true, Ordering::SeqCst);
    }

    fn ends(&self) {
        if self.0.armed.swap(false, Ordering::SeqCst) {
            self.kill();
        }
    }

    fn lay_at(&self, target: &'static str, wire: &Wire) {
        let dying = match self.0.at {
            Some((_, When::After)) => Fault::CutAfter,
            _ => Fault::CutBefore,
        };
        let trap = self.clone();
        let fits = move |seen: &Seen| {
            if !seen.is_write() {
                return false;
            }
            match trap.begins(label(target, seen)) {
                None => false,
                Some(When::After) => {
                    trap.0.armed.store(true, Ordering::SeqCst);
                    true
                }
                Some(When::Before | When::Meanwhile) => {
                    trap.kill();
                    true
                }
            }
        };
        wire.fail_next(fits, dying);
        let trap = self.clone();
        let is_after = self.0.at.as_ref().is_some_and(|((what, _), _)| what.starts_with(target));
        wire.watch(move |seen, moment| {
            if is_after && moment == Moment::After && trap.is_at(&label(target, seen)) {
                trap.ends();
            }
        });
    }

    fn is_at(&self, what: &str) -> bool {
        self.0.at.as_ref().is_some_and(|((at, _), _)| at == what)
    }

    fn lay_on(&self, vmid: u32, host: &Host) {
        let (trap, what) = (self.clone(), format!("host {vmid}"));
        host.wire().read_scripts(move |part| {
            // The first function of every script that changes something, and of none that looks.
            let changes = part.windows(9).any(|window| window == b"begin() {");
            match changes.then(|| trap.begins(what.clone())).flatten() {
                None => true,
                Some(When::Before) => {
                    trap.kill();
                    false
                }
                Some(When::Meanwhile) => {
                    trap.kill();
                    true
                }
                Some(When::After) => {
                    trap.0.armed.store(true, Ordering::SeqCst);
                    true
                }
            }
        });
        let (trap, what) = (self.clone(), format!("host {vmid}"));
        host.wire().watch(move |exec, moment| {
            // What looks sends less.
            if moment == Moment::After && trap.is_at(&what) && exec.script > 6_000 {
                trap.ends();
            }
        });
    }
}

/// What a write is, whichever home it is in.
fn label(target: &str, seen: &Seen) -> String {
    // A status names its commit, which is another one in each home.
    let path = seen.uri.split('?').next().unwrap_or_default();
    let path = if target == "forge" { "status" } else { path };
    format!("{target} {} {path}", seen.method)
}
