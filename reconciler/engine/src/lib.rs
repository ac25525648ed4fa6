//! The engine: looks, executes and reports over ports, for kinds that it does not know.
//!
//! One run reads from top to bottom in [`run::run`]: observe, plan, execute, look again, report. A lane
//! ([`lane`]) runs one environment toward its newest commit; the watcher ([`watch`]) feeds the lanes.

mod account;
pub mod budget;
pub mod chance;
mod execute;
mod fence;
mod guard;
mod history;
pub mod lane;
mod observe;
mod order;
pub mod past;
pub mod ports;
mod progress;
mod removal;
mod rolling;
pub mod run;
mod said;
pub mod scrubbed;
mod secrets;
mod turn;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::SiteName;
use holdfast_core::plan::Kinds;
use holdfast_core::secret::StampKey;

use crate::budget::Budget;
use crate::chance::Chance;
use crate::ports::{Clock, Halt, Journal, Manifests, Repository, Targets};

/// Everything that runs share.
pub struct Engine {
    pub site: SiteName,
    /// All kinds that manifests may use, whether or not a connection for them is configured.
    pub kinds: Kinds,
    pub repository: Arc<dyn Repository>,
    pub manifests: Arc<dyn Manifests>,
    pub targets: Arc<dyn Targets>,
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
    pub halt: Arc<dyn Halt>,
    /// Who this process is, for leases: another name each time it starts.
    pub holder: String,
    pub budget: Budget,
    pub stamp_key: StampKey,
    pub limits: Limits,
    pub chance: Chance,
}

/// The bounds of everything that waits or repeats.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Resources that are looked at or changed at once, in one environment.
    pub concurrency: usize,
    /// How long a resource may take to settle after its last change, or to be seen at all.
    pub settle: Duration,
    /// The first and the longest pause between two looks at a resource that is waited for.
    pub look_again: (Duration, Duration),
    /// How often a run looks at everything again after it changed something.
    pub rounds: usize,
    /// The first and the longest pause before a commit that did not converge is tried again.
    pub retry: (Duration, Duration),
    /// How often a converged environment is looked at again.
    pub resync: Duration,
    /// How often the repository is asked for a new commit.
    pub poll: Duration,
    /// How long a lease lasts without being renewed.
    pub lease: Duration,
    /// How long reading and checking a commit may take.
    pub reading: Duration,
    /// The service begins its work at a moment of this span, so that many do not begin at once.
    pub start: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 16,
            settle: Duration::from_mins(10),
            look_again: (Duration::from_millis(500), Duration::from_secs(15)),
            rounds: 5,
            retry: (Duration::from_secs(30), Duration::from_mins(10)),
            resync: Duration::from_mins(10),
            poll: Duration::from_mins(1),
            lease: Duration::from_secs(30),
            reading: Duration::from_mins(1),
            start: Duration::from_secs(3),
        }
    }
}
