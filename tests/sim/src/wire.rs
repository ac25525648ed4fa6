//! The wire between the engine and every simulated system: where faults strike, crashes happen and the trace is
//! written.

mod hand;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::kind::TargetError;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::faults::{FaultKind, Faults, Strike};
use crate::model::Time;
use crate::trace::Trace;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    Git,
    Proxmox,
    Hosts,
    Vault,
    Kubernetes,
    Secrets,
    Journal,
    Forge,
}

impl Port {
    /// Those that are converged.
    pub const TARGETS: [Self; 4] = [Self::Proxmox, Self::Hosts, Self::Vault, Self::Kubernetes];
}

/// One call through a port.
#[derive(Debug, Clone)]
pub struct Call {
    pub port: Port,
    /// Which life of which process calls.
    pub process: u8,
    pub write: bool,
    /// For the trace, without anything that differs between runs: `VirtualMachine look all`.
    pub what: String,
}

/// What becomes of one call.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Pass,
    /// Nothing happened.
    ErrorBefore(TargetError),
    /// It happened, and the answer was lost.
    ErrorAfter(TargetError),
    /// The caller gets an error; it happens later, when the caller has gone on.
    Zombie {
        error: TargetError,
        after: Duration,
    },
    /// It happens twice.
    Twice,
    /// It reports success, and nothing comes of it.
    Lie,
    /// Reads: an older answer than the last.
    Stale,
    /// Reads: one entry is missing, and nobody says so.
    Short,
    /// Reads: 200 and nothing in it.
    Empty,
    /// The process is gone. [`Wire::decide`] never comes back with it.
    CrashBefore,
    /// The process is gone; what the call does still happens. Then the caller goes to [`Wire::never`].
    CrashAfter,
}

/// How long the engine's own clients wait for an answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// What was given up may still happen so much later.
const LONGEST_ZOMBIE: u64 = 240;

/// The wire of one simulated world. All lives and processes of a seed share it.
#[derive(Clone, Default)]
pub struct Wire(Arc<Shared>);

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// Somebody crashed.
    fell: Notify,
    /// Somebody woke.
    woke: Notify,
}

struct Inner {
    /// When this world's runtime began, and the world's time then.
    since: Option<Instant>,
    base: Time,
    faults: Faults,
    numbers: BTreeMap<(Port, bool), u64>,
    writes: u64,
    /// Calls that went out, by port.
    asked: BTreeMap<Port, u64>,
    dead: BTreeSet<u8>,
    paused: BTreeSet<u8>,
    down: BTreeSet<Port>,
    fallen: Vec<u8>,
    later: BTreeMap<(Time, u64), Box<dyn FnOnce() + Send>>,
    laters: u64,
    trace: Trace,
    fired: BTreeMap<FaultKind, u64>,
    strikes: BTreeSet<Strike>,
    rolls: BTreeMap<&'static str, u64>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            since: None,
            base: Time::ZERO,
            faults: Faults::none(0),
            numbers: BTreeMap::new(),
            writes: 0,
            asked: BTreeMap::new(),
            dead: BTreeSet::new(),
            paused: BTreeSet::new(),
            down: BTreeSet::new(),
            fallen: Vec::new(),
            later: BTreeMap::new(),
            laters: 0,
            trace: Trace::default(),
            fired: BTreeMap::new(),
            strikes: BTreeSet::new(),
            rolls: BTreeMap::new(),
        }
    }
}

/// What was drawn for one call.
struct Drawn {
    latency: Duration,
    fault: Option<FaultKind>,
    number: u64,
}

impl Wire {
    pub fn new(faults: Faults) -> Self {
        let wire = Self::default();
        wire.inner().faults = faults;
        wire
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A runtime with a paused clock begins; the world's time goes on from where it stood. Called within it.
    pub fn begin(&self) {
        self.inner().since = Some(Instant::now());
    }

    /// That runtime ends; the world's time stands until the next begins. Called within it.
    pub fn end(&self) {
        let now = self.now();
        let mut inner = self.inner();
        (inner.base, inner.since) = (now, None);
    }

    /// The world's time.
    pub fn now(&self) -> Time {
        let inner = self.inner();
        inner.base + inner.since.map_or(Time::ZERO, |since| since.elapsed())
    }

    /// Decides what becomes of a call, after the time that it takes. A crash before never comes back from here, and
    /// a process that is dead or stands still does not either, or not yet.
    pub async fn decide(&self, call: &Call) -> Verdict {
        let drawn = self.draw(call);
        tokio::time::sleep(drawn.latency).await;
        let stood_still = self.alive(call.process).await;
        self.settle();
        let verdict = self.judge(call, &drawn, stood_still);
        if verdict == Verdict::CrashBefore {
            self.never().await;
        }
        verdict
    }

    /// A pause of a process, which it survives or not.
    pub async fn pause_for(&self, process: u8, pause: Duration) {
        tokio::time::sleep(pause).await;
        self.alive(process).await;
    }

    /// A number by chance, the how manyeth of its sort deciding.
    pub fn roll(&self, what: &'static str) -> u64 {
        let mut inner = self.inner();
        let count = inner.rolls.entry(what).or_default();
        *count += 1;
        let count = *count;
        inner.faults.dice(what, Port::Git, false, count)
    }

    /// Where a process goes that is dead.
    pub async fn never(&self) {
        std::future::pending::<()>().await;
    }

    fn draw(&self, call: &Call) -> Drawn {
        let mut inner = self.inner();
        let number = inner.numbers.entry((call.port, call.write)).or_default();
        *number += 1;
        let number = *number;
        inner.writes += u64::from(call.write);
        *inner.asked.entry(call.port).or_default() += 1;
        let nth_write = inner.writes;
        let fault = inner.faults.strike(call.port, call.write, number, nth_write);
        if let Some(kind) = fault {
            inner.strikes.insert(Strike { port: call.port, write: call.write, number, kind });
        }
        let mut latency = inner.faults.latency(call.port, call.write, number);
        let dice = inner.faults.dice("slow", call.port, call.write, number);
        match fault {
            Some(FaultKind::Slow) => latency += Duration::from_secs(5 + dice % 55),
            Some(FaultKind::Zombie) => latency = DEADLINE,
            _ => {}
        }
        Drawn { latency, fault, number }
    }

    /// Comes back at once for a process that lives, when it wakes for one that stands still, and never for a dead
    /// one. Tells whether it stood still.
    async fn alive(&self, process: u8) -> bool {
        let mut stood_still = false;
        loop {
            let woke = self.0.woke.notified();
            let (dead, paused) = {
                let inner = self.inner();
                (inner.dead.contains(&process), inner.paused.contains(&process))
            };
            if dead {
                self.never().await;
            }
            if !paused {
                return stood_still;
            }
            stood_still = true;
            woke.await;
        }
    }

    fn judge(&self, call: &Call, drawn: &Drawn, stood_still: bool) -> Verdict {
        let now = self.now();
        let mut inner = self.inner();
        let Call { port, process, write, what } = call;
        let down = inner.down.contains(port);
        let (verdict, fault) = if down {
            (Verdict::ErrorBefore(unavailable(what, "connection refused")), Some(FaultKind::Down))
        } else if stood_still && *write {
            // It had gone out when its process was stopped, or goes out as it wakes: nobody can tell any more.
            (
                Verdict::Zombie { error: unavailable(what, "timed out"), after: Duration::ZERO },
                Some(FaultKind::Paused),
            )
        } else {
            let dice = inner.faults.dice("verdict", *port, *write, drawn.number);
            (verdict(drawn.fault, what, dice), drawn.fault)
        };
        if let Some(kind) = fault {
            *inner.fired.entry(kind).or_default() += 1;
        }
        let mark = if *write { "!" } else { " " };
        let struck = fault.map_or(String::new(), |kind| format!(" <- {kind}"));
        inner.trace.line(now, &format!("p{process}{mark}{port:?} {what}{struck}"));
        if matches!(verdict, Verdict::CrashBefore | Verdict::CrashAfter) {
            drop(inner);
            self.fall(*process);
        }
        verdict
    }

    /// Puts an effect off: it happens when the world is next touched at or after `at`.
    pub fn later(&self, at: Time, effect: Box<dyn FnOnce() + Send>) {
        let mut inner = self.inner();
        inner.laters += 1;
        let key = (at, inner.laters);
        inner.later.insert(key, effect);
    }

    /// Lets everything happen that was put off until now.
    pub fn settle(&self) {
        let now = self.now();
        loop {
            let due = {
                let mut inner = self.inner();
                match inner.later.first_key_value() {
                    Some(((at, _), _)) if *at <= now => inner.later.pop_first(),
                    _ => None,
                }
            };
            match due {
                Some((_, effect)) => effect(),
                None => return,
            }
        }
    }
}

fn unavailable(doing: &str, why: &str) -> TargetError {
    TargetError::unavailable(doing, why)
}

fn verdict(fault: Option<FaultKind>, what: &str, dice: u64) -> Verdict {
    let Some(fault) = fault else { return Verdict::Pass };
    match fault {
        FaultKind::ErrorBefore => Verdict::ErrorBefore(unavailable(what, "connection reset")),
        FaultKind::DiskFull => Verdict::ErrorBefore(unavailable(what, "the disk is full")),
        FaultKind::UnknownResult => Verdict::ErrorAfter(unavailable(what, "the connection was lost")),
        FaultKind::Zombie => Verdict::Zombie {
            error: unavailable(what, "timed out"),
            after: Duration::from_secs(1 + dice % LONGEST_ZOMBIE),
        },
        FaultKind::Denied => Verdict::ErrorBefore(TargetError::rejected(what, "permission denied (403)")),
        FaultKind::Conflict => {
            Verdict::ErrorBefore(unavailable(what, "somebody changed it since it was looked at (409)"))
        }
        FaultKind::Throttled => Verdict::ErrorBefore(TargetError::Unavailable {
            doing: what.to_owned(),
            why: "too many requests (429)".to_owned(),
            retry_after: Some(Duration::from_secs(1 + dice % 120)),
        }),
        FaultKind::Twice => Verdict::Twice,
        FaultKind::Lie => Verdict::Lie,
        FaultKind::Stale => Verdict::Stale,
        FaultKind::Short => Verdict::Short,
        FaultKind::Empty => Verdict::Empty,
        FaultKind::CrashBefore | FaultKind::Torn => Verdict::CrashBefore,
        FaultKind::CrashAfter => Verdict::CrashAfter,
        _ => Verdict::Pass,
    }
}
