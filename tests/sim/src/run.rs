//! A seed from beginning to end: commits and faults, the faults stop, it converges, an hour of quiet, and the comparison
//! with a run without faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::EnvironmentName;
use holdfast_core::report::Context;

use crate::checks::{Breach, Invariant};
use crate::events::{self, Event};
use crate::faults::{FaultKind, Faults, Strike};
use crate::life::{Rig, hear};
use crate::model::{Object, Time};
use crate::phases;
use crate::rest::{comes_to_rest, whichever_expected};
use crate::stage::Stage;
use crate::truth::Standing;
use crate::wire::Port;
use crate::workload::Workload;
use crate::workload::expect::Follower;

/// When a commit is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At its time, whatever became of the one before.
    AsDrawn,
    /// Once the one before came to its end.
    WhenSettled,
}

/// Everything that decides what happens in a world.
#[derive(Clone)]
pub struct Case {
    pub seed: u64,
    pub workload: Workload,
    pub faults: Faults,
    /// What happens beside, the pushes of the workload among it.
    pub events: Vec<(Time, Event)>,
    /// When the faults stop.
    pub end: Time,
    pub pace: Pace,
    pub rig: Rig,
    /// Whether texts are searched for secrets, and cleaned before: that takes its time.
    pub tells: bool,
    /// Whether the service's log is listened to.
    pub hears: bool,
    /// Whether the whole trace is kept.
    pub whole_trace: bool,
}

impl Case {
    /// A seed's own world.
    pub fn of_seed(seed: u64) -> Self {
        let workload = crate::workload::draw(seed);
        let (events, end) = events::draw(seed, &workload);
        Self {
            seed,
            workload,
            faults: Faults::swarm(seed),
            events,
            end,
            pace: Pace::AsDrawn,
            rig: Rig::default(),
            tells: seed.is_multiple_of(4),
            hears: seed.is_multiple_of(8),
            whole_trace: false,
        }
    }

    /// The same commits, one after the other, and nothing fails.
    #[must_use]
    pub fn undisturbed(&self) -> Self {
        Self {
            faults: Faults::none(self.seed),
            events: Vec::new(),
            end: Time::ZERO,
            pace: Pace::WhenSettled,
            tells: false,
            hears: false,
            whole_trace: false,
            ..self.clone()
        }
    }

    /// Nothing but the last commit, and nothing fails.
    #[must_use]
    pub fn last_alone(&self) -> Self {
        let pushes = self.workload.pushes.last().cloned().into_iter().collect();
        Self { workload: Workload { pushes }, ..self.undisturbed() }
    }

    /// Whether an hour of quiet follows: where nothing was disturbed, in some seeds.
    fn is_quiet_after(&self) -> bool {
        self.pace == Pace::AsDrawn || self.seed.is_multiple_of(8)
    }

    /// A fixed list of commits with a fixed choice of faults: each is pushed once the one before came to its end.
    pub fn fixed(workload: Workload, faults: Faults) -> Self {
        Self {
            seed: 0,
            workload,
            faults,
            events: Vec::new(),
            end: Time::ZERO,
            pace: Pace::WhenSettled,
            rig: Rig::default(),
            tells: true,
            hears: true,
            whole_trace: false,
        }
    }
}

/// What came of a world.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub breaches: Vec<Breach>,
    /// Two equal hashes, two equal runs.
    pub hash: u64,
    pub trace: Vec<String>,
    pub faults: BTreeMap<FaultKind, u64>,
    pub checks: BTreeMap<Invariant, u64>,
    pub strikes: BTreeSet<Strike>,
    /// Writes through any port.
    pub writes: u64,
    /// The world's time at its end.
    pub time: Time,
    /// How long it took to converge once the faults had stopped.
    pub converged_in: Option<Time>,
    /// What stands at the end, and how often each came and went.
    pub objects: BTreeMap<Port, Arc<BTreeMap<String, Object>>>,
    pub(crate) lives: BTreeMap<(Port, String), (u64, u64)>,
    pub(crate) meddled: BTreeSet<(Port, String)>,
    /// Whether a commit was overtaken: what it would have made and removed never came about.
    pub(crate) overtaken: bool,
    /// The environments that are in their first run still, which removes nothing.
    pub(crate) first: BTreeSet<EnvironmentName>,
    /// How each environment stood at the end.
    pub(crate) standings: BTreeMap<EnvironmentName, Standing>,
}

impl Outcome {
    pub fn is_clean(&self) -> bool {
        self.breaches.is_empty()
    }
}

/// Runs one world.
pub fn run(case: &Case) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without any input or output can always be built");
    runtime.block_on(run_here(case))
}

async fn run_here(case: &Case) -> Outcome {
    let mut stage = Stage::new(case.seed, case.workload.clone(), case.faults.clone(), case.rig.clone());
    if !case.tells {
        stage.tells_nothing();
    }
    if case.whole_trace {
        stage.home.wire.keep_whole_trace();
    }
    let heard = case.hears.then(|| hear(&stage.home, &stage.scrubber));
    stage.start(0);
    let mut converged_in = None;
    match case.pace {
        Pace::AsDrawn => {
            stage.plan(&case.events);
            stage.until(case.end).await;
            stage.faults_stop();
            let from = stage.home.wire.now();
            let expected = whichever_expected(&stage);
            if comes_to_rest(&mut stage, &expected, from).await {
                converged_in = Some(stage.home.wire.now().saturating_sub(from));
            }
        }
        Pace::WhenSettled => {
            let mut follower = Follower::default();
            stage.plan(&case.events);
            for at in 0..case.workload.pushes.len() {
                for (path, key) in &case.workload.pushes[at].rotates {
                    let rotate = Event::Rotate { path: path.clone(), key: key.clone() };
                    stage.later(stage.home.wire.now(), rotate);
                }
                stage.later(stage.home.wire.now(), Event::Push { at, wakes: true });
                stage.until(stage.home.wire.now() + Duration::from_secs(1)).await;
                let sketch = case.workload.pushes[at].body.sketch();
                let expected = sketch.map(|sketch| follower.follow(sketch)).unwrap_or_default();
                let from = stage.home.wire.now();
                if !comes_to_rest(&mut stage, &expected, from).await {
                    break;
                }
                converged_in = Some(stage.home.wire.now().saturating_sub(from));
            }
        }
    }
    let (mut standings, mut objects, mut lives) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut first = BTreeSet::new();
    if stage.home.checks.is_clean() {
        if case.is_quiet_after() {
            phases::quiet_hour(&mut stage).await;
        }
        standings = standings_of(&stage).await;
        objects = stage.home.stands().into_iter().map(|one| (one.port(), one.objects())).collect();
        lives = stage.home.checks.lives();
        first = stage.first();
        if case.pace == Pace::AsDrawn && phases::all_match(&stage).await {
            match case.seed % 20 {
                3 if stage.first().is_empty() => phases::without_journal(&mut stage).await,
                7 => {
                    phases::outage(&mut stage, case.seed / 20).await;
                    let from = stage.home.wire.now();
                    comes_to_rest(&mut stage, &BTreeMap::new(), from).await;
                }
                _ => {}
            }
        }
    }
    let time = stage.home.wire.now();
    stage.close().await;
    drop(heard);
    Outcome { time, converged_in, objects, lives, first, standings, ..outcome(&stage) }
}

/// Whether any commit was overtaken, in any environment, before it came to its own end.
fn is_any_overtaken(stage: &Stage) -> bool {
    stage.pushed.iter().any(|(at, commit)| {
        let Some(sketch) = stage.workload.pushes[*at].body.sketch() else { return false };
        sketch.rooms.keys().any(|environment| {
            let status = stage.home.checks.shown(commit, &Context::Environment(environment.clone()));
            status.is_none_or(|status| status.description.starts_with("superseded by"))
        })
    })
}

fn outcome(stage: &Stage) -> Outcome {
    let (wire, checks) = (&stage.home.wire, &stage.home.checks);
    Outcome {
        breaches: checks.breaches(),
        hash: wire.with_trace(crate::trace::Trace::hash),
        trace: wire.with_trace(|trace| trace.lines().map(str::to_owned).collect()),
        faults: wire.fired(),
        checks: checks.fired(),
        strikes: wire.strikes(),
        writes: wire.writes(),
        time: wire.now(),
        converged_in: None,
        objects: BTreeMap::new(),
        lives: BTreeMap::new(),
        meddled: checks.meddled(),
        overtaken: is_any_overtaken(stage),
        first: BTreeSet::new(),
        standings: BTreeMap::new(),
    }
}

async fn standings_of(stage: &Stage) -> BTreeMap<EnvironmentName, Standing> {
    let mut standings = BTreeMap::new();
    let Some(tip) = stage.tip() else { return standings };
    for environment in stage.wanted().unwrap_or_default() {
        if let Some(desired) = stage.truth.desired(tip, &environment) {
            let standing = stage.truth.standing_at(tip, &environment, &desired).await;
            standings.insert(environment, standing);
        }
    }
    standings
}
