//! The wire between the engine and every simulated system: where faults strike, crashes happen and the trace is
//! written. (Signatures first; the faults are filled in by the frame.)

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::kind::TargetError;

use crate::model::Time;

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

/// One call through a port.
#[derive(Debug, Clone)]
pub struct Call {
    pub port: Port,
    /// Which of two processes calls.
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
    /// Reads: an older answer than the last.
    Stale,
    /// Reads: one entry is missing, and nobody says so.
    Short,
    /// Reads: 200 and nothing in it.
    Empty,
    CrashBefore,
    CrashAfter,
}

/// The wire of one simulated world. All lives and processes of a seed share it.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    now: Time,
}

impl Wire {
    /// The world's time.
    pub fn now(&self) -> Time {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    /// Decides what becomes of a call, after the time that it takes. A crash never comes back from here: the future
    /// stays pending for ever, and the frame drops the whole process.
    pub async fn decide(&self, call: &Call) -> Verdict {
        let _ = call;
        tokio::time::sleep(Duration::from_millis(1)).await;
        Verdict::Pass
    }

    /// Puts an effect off: it happens when the world is next touched at or after `at`.
    pub fn later(&self, at: Time, effect: Box<dyn FnOnce() + Send>) {
        drop((at, effect));
    }
}
