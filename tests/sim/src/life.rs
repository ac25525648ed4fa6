//! One life of the service: the shipped engine and the shipped outbox worker over the home's ports, from start to
//! crash or end.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use holdfast_core::any_kind::AnyKind;
use holdfast_core::ident::EnvironmentName;
use holdfast_core::scrub::Scrubber;
use holdfast_core::secret::SecretStore;
use holdfast_engine::budget::Budget;
use holdfast_engine::chance::Chance;
use holdfast_engine::ports::{Journal, Targets};
use holdfast_engine::scrubbed::{LearningStore, ScrubbedJournal};
use holdfast_engine::watch::watch;
use holdfast_engine::{Engine, Limits};
use holdfast_forge::aftermath::close_what_was_left;
use holdfast_forge::worker::post_all;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::faults::roll;
use crate::home::{Home, SimTargets, kinds, site, stamp_key};
use crate::noted::{Log, NotedJournal};
use crate::ports::forge::{SimForge, ways};
use crate::ports::journal::SimJournal;
use crate::ports::manifests::SimManifests;
use crate::ports::repository::SimRepository;
use crate::truth::Truth;

/// How long changes that were begun may take to finish once the service is told to end, as in the service itself.
const END_WITHIN: Duration = Duration::from_mins(2);

/// Puts something before a kind, in one process.
pub type PutKind = dyn Fn(Arc<dyn AnyKind>, u8) -> Arc<dyn AnyKind> + Send + Sync;
/// Puts something before a journal.
pub type PutJournal = dyn Fn(Arc<dyn Journal>, u8) -> Arc<dyn Journal> + Send + Sync;
/// Changes an engine.
pub type Change = dyn Fn(&mut Engine, &Home, u8) + Send + Sync;

/// What of a life is not as shipped: limits, and parts that are put between, for planted bugs.
#[derive(Clone)]
pub struct Rig {
    pub limits: Limits,
    /// Put before each kind, with the process that uses it.
    pub kind: Option<Arc<PutKind>>,
    /// Put before the journal that the engine writes.
    pub journal: Option<Arc<PutJournal>>,
    /// Changes anything else of the engine, as the last thing before it begins.
    pub engine: Option<Arc<Change>>,
    /// Whether there is the second net for secrets.
    pub scrubs: bool,
    /// Whether it cleans what goes into the journal: where nobody searches that, it need not.
    pub(crate) cleans: bool,
}

impl Default for Rig {
    /// The shipped engine. Whatever repeats does so four times slower, in the shipped ratios, so that hours pass in
    /// fewer steps; how long a resource may take stays as it is.
    fn default() -> Self {
        let shipped = Limits::default();
        let slower = |time: Duration| time * 4;
        let limits = Limits {
            retry: (slower(shipped.retry.0), slower(shipped.retry.1)),
            resync: slower(shipped.resync),
            poll: slower(shipped.poll),
            lease: slower(shipped.lease),
            start: slower(shipped.start),
            ..shipped
        };
        Self { limits, kind: None, journal: None, engine: None, scrubs: true, cleans: true }
    }
}

/// A process that lives.
pub(crate) struct Life {
    pub(crate) process: u8,
    pub(crate) machine: usize,
    pub(crate) wake: Arc<Notify>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

/// The kinds with what the rig puts before each.
struct Rigged {
    inner: SimTargets,
    rig: Rig,
    process: u8,
    scrubber: Scrubber,
}

impl Targets for Rigged {
    fn kinds(&self, environment: &EnvironmentName) -> Vec<Arc<dyn AnyKind>> {
        let kinds = self.inner.kinds(environment).into_iter();
        match &self.rig.kind {
            Some(put) => kinds.map(|kind| put(kind, self.process)).collect(),
            None => kinds.collect(),
        }
    }

    fn secrets(&self) -> Arc<dyn SecretStore> {
        let store = self.inner.secrets();
        if self.rig.scrubs { Arc::new(LearningStore::new(store, self.scrubber.clone())) } else { store }
    }
}

impl Life {
    /// Starts the service on a machine. `alone`: the lock of the state folder says that nobody else is alive.
    #[expect(clippy::too_many_arguments, reason = "it is the wiring of a process, in one place")]
    pub(crate) fn start(
        home: &Home,
        truth: &Truth,
        rig: &Rig,
        seed: u64,
        machine: usize,
        process: u8,
        alone: bool,
        scrubber: &Scrubber,
    ) -> Self {
        let shutdown = CancellationToken::new();
        let wake = Arc::new(Notify::new());
        let journal = Arc::new(SimJournal::open(
            &home.journal,
            &home.wire,
            Arc::new(home.machines[machine].clock.clone()),
            process,
        ));
        let engine = engine(home, truth, rig, seed, machine, process, &journal, scrubber);
        let running = tokio::spawn(serve(
            home.clone(),
            Arc::new(engine),
            journal,
            (seed, machine, process, alone),
            wake.clone(),
            shutdown.clone(),
        ));
        Self { process, machine, wake, shutdown, running }
    }

    /// Asks it to end, and waits for that. Whatever it leaves undone, it does no more.
    pub(crate) async fn end(self, home: &Home) {
        self.shutdown.cancel();
        let in_time = tokio::time::timeout(END_WITHIN + Duration::from_mins(1), self.running).await.is_ok();
        home.wire.trace(&format!(
            "p{} ended{}",
            self.process,
            if in_time { "" } else { ", and not in time" }
        ));
        home.wire.kill(self.process);
    }

    /// It broke off: its own start failed, or it ended by itself.
    pub(crate) fn is_over(&self) -> bool {
        self.running.is_finished()
    }
}

/// The service's `run`, from the open journal on.
async fn serve(
    home: Home,
    engine: Arc<Engine>,
    journal: Arc<SimJournal>,
    (seed, machine, process, alone): (u64, usize, u8, bool),
    wake: Arc<Notify>,
    shutdown: CancellationToken,
) {
    if alone && journal.end_leases().await.is_err() {
        home.wire.trace(&format!("p{process} could not start"));
        return;
    }
    let forge = Arc::new(SimForge { forge: home.forge.clone(), wire: home.wire.clone(), process });
    let nothing_more = CancellationToken::new();
    let aftermath = journal.is_new().then(|| {
        let commits = Arc::new(repository(&home, machine, process));
        tokio::spawn(close_what_was_left(journal.clone(), commits, forge.clone(), site()))
    });
    let clock = home.machines[machine].clock.clone();
    let posting = tokio::spawn(post_all(
        journal,
        forge,
        site(),
        ways(&clock, roll(seed, "worker", u64::from(process), 0)),
        nothing_more.clone(),
    ));
    let mut watching = tokio::spawn(watch(engine, wake, shutdown.clone()));
    tokio::select! {
        biased;
        () = shutdown.cancelled() => drop(tokio::time::timeout(END_WITHIN, &mut watching).await),
        _ = &mut watching => home.wire.trace(&format!("p{process} stopped watching by itself")),
    }
    if let Some(aftermath) = aftermath {
        aftermath.abort();
    }
    nothing_more.cancel();
    drop(tokio::time::timeout(Duration::from_secs(10), posting).await);
}

fn repository(home: &Home, machine: usize, process: u8) -> SimRepository {
    SimRepository {
        remote: home.remote.clone(),
        mirror: home.machines[machine].mirror.clone(),
        catalogue: home.catalogue.clone(),
        wire: home.wire.clone(),
        process,
    }
}

#[expect(clippy::too_many_arguments, reason = "it is the wiring of a process, in one place")]
fn engine(
    home: &Home,
    truth: &Truth,
    rig: &Rig,
    seed: u64,
    machine: usize,
    process: u8,
    journal: &Arc<SimJournal>,
    scrubber: &Scrubber,
) -> Engine {
    let noted =
        NotedJournal { inner: journal.clone(), checks: home.checks.clone(), truth: truth.clone(), process };
    let mut told: Arc<dyn Journal> = Arc::new(noted);
    if rig.scrubs && rig.cleans {
        told = Arc::new(ScrubbedJournal::new(told, scrubber.clone()));
    }
    if let Some(put) = &rig.journal {
        told = put(told, process);
    }
    let kill = {
        let wire = home.wire.clone();
        Arc::new(move || wire.fall(process))
    };
    let mut engine = Engine {
        site: site(),
        kinds: kinds(),
        repository: Arc::new(repository(home, machine, process)),
        manifests: Arc::new(SimManifests {
            catalogue: home.catalogue.clone(),
            checker: home.checker.clone(),
            kill,
        }),
        targets: Arc::new(Rigged {
            inner: home.targets(Some(process)),
            rig: rig.clone(),
            process,
            scrubber: scrubber.clone(),
        }),
        journal: told,
        clock: Arc::new(home.machines[machine].clock.clone()),
        halt: Arc::new(home.machines[machine].halt.clone()),
        holder: format!("process {process}"),
        budget: Budget::default(),
        stamp_key: stamp_key(),
        limits: rig.limits.clone(),
        chance: Chance::new(roll(seed, "chance", u64::from(process), 0)),
    };
    if let Some(change) = &rig.engine {
        change(&mut engine, home, process);
    }
    engine
}

/// Hears the service's log from now on, on this thread.
pub(crate) fn hear(home: &Home, scrubber: &Scrubber) -> tracing::subscriber::DefaultGuard {
    let log = Log {
        wire: home.wire.clone(),
        checks: home.checks.clone(),
        scrubber: scrubber.clone(),
        spans: AtomicU64::new(0),
    };
    tracing::subscriber::set_default(log)
}
