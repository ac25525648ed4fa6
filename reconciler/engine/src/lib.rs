//! The engine: looks, executes and reports over ports, for kinds that it does not know.
//!
//! One run reads from top to bottom in [`run::run`]: observe, plan, execute, look again, report. A lane
//! ([`lane`]) runs one environment toward its newest commit; the watcher ([`watch`]) feeds the lanes.

pub mod chance;
mod execute;
mod guard;
pub mod lane;
mod observe;
pub mod ports;
mod progress;
mod removal;
pub mod run;
mod secrets;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::SiteName;
use holdfast_core::plan::Kinds;
use holdfast_core::secret::StampKey;

use crate::chance::Chance;
use crate::ports::{Journal, Repository, Targets};

/// Everything that runs share.
pub struct Engine {
    pub site: SiteName,
    /// All kinds that manifests may use, whether or not a connection for them is configured.
    pub kinds: Kinds,
    pub repository: Arc<dyn Repository>,
    pub targets: Arc<dyn Targets>,
    pub journal: Arc<dyn Journal>,
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
        }
    }
}
