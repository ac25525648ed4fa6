//! Plays a scenario: the real engine goes along with every act of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::report::{Context, Status, StatusState};

use super::script::{Act, Rest, Scenario, Stood, strikes};
use crate::checks::{Breach, Invariant, Pushed};
use crate::events::Event;
use crate::faults::Faults;
use crate::life::{Rig, hear};
use crate::model::{Object, Time};
use crate::phases;
use crate::ports::manifests::Payload;
use crate::stage::Stage;
use crate::truth::Standing;
use crate::wire::Port;
use crate::workload::{Body, Push, Sketch, Workload};

/// How long any act may take to come to what is expected of it.
const WITHIN: Duration = Duration::from_hours(10);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// Never, within any scenario.
const FAR: Time = Duration::from_hours(100_000);

/// What came of a scenario.
#[derive(Debug, Clone)]
pub struct End {
    /// What is wrong with it.
    pub breaches: Vec<Breach>,
    /// The writes, over all ports, that were done before it began, and before its quiet hour.
    pub writes: (u64, u64),
    /// What was written last before the faults ended, to be shown.
    pub trace: Vec<String>,
    /// Two equal hashes, two equal plays.
    pub hash: u64,
    pub(super) objects: BTreeMap<Port, Arc<BTreeMap<String, Object>>>,
    pub(super) lives: BTreeMap<(Port, String), (u64, u64)>,
    pub(super) standings: BTreeMap<EnvironmentName, Standing>,
    /// The statuses of the branch's head.
    pub(super) statuses: BTreeMap<Context, Status>,
}

/// Plays a scenario once, with these faults.
pub fn play(scenario: &Scenario, faults: Faults, whole_trace: bool) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without any input or output can always be built");
    runtime.block_on(async {
        let stage = Stage::new(0, Workload::default(), faults, Rig::default());
        if whole_trace {
            stage.home.wire.keep_whole_trace();
        }
        let heard = whole_trace.then(|| hear(&stage.home, &stage.scrubber));
        let mut player = Player { stage, begun: 0, stood: Stood::new() };
        let end = player.play(scenario).await;
        drop(heard);
        end
    })
}

struct Player {
    stage: Stage,
    begun: u64,
    stood: Stood,
}

impl Player {
    async fn play(&mut self, scenario: &Scenario) -> End {
        if scenario.shared {
            // Who is told that there may be a second process does not take itself for the only one.
            self.stage.plan(&[(FAR, Event::SecondStarts)]);
        }
        for act in &scenario.acts {
            self.act(act).await;
            self.stage.read_posts();
            if !self.stage.home.checks.is_clean() {
                break;
            }
        }
        let writes = (self.begun, self.stage.home.wire.writes());
        self.stage.home.wire.set_faults(Faults::none(0));
        if self.stage.home.checks.is_clean() {
            // What was posted and may have come late is posted once more, ten minutes later.
            self.stage.until(self.stage.home.wire.now() + Duration::from_mins(10)).await;
            phases::quiet_hour(&mut self.stage).await;
        }
        let standings = self.standings().await;
        let statuses = self.head_statuses();
        self.stage.close().await;
        let (wire, checks) = (&self.stage.home.wire, &self.stage.home.checks);
        End {
            breaches: checks.breaches(),
            writes,
            trace: wire.with_trace(|trace| trace.lines().map(str::to_owned).collect()),
            hash: wire.with_trace(crate::trace::Trace::hash),
            objects: self.stage.home.stands().into_iter().map(|one| (one.port(), one.objects())).collect(),
            lives: checks.lives(),
            standings,
            statuses,
        }
    }

    async fn act(&mut self, act: &Act) {
        let wire = self.stage.home.wire.clone();
        match act {
            Act::Starts => self.stage.start(0),
            Act::Push(label, body) => self.push(label, body),
            Act::PushAside(label, sketch) => self.push_aside(label, sketch),
            Act::Somebody(what, hand) => {
                wire.trace(&format!("somebody {what}"));
                hand(&self.stage.home);
                self.stage.home.checks.touch(wire.now());
            }
            Act::Happens(event) => {
                self.stage.later(wire.now(), event.clone());
                self.stage.until(wire.now() + Duration::from_secs(1)).await;
            }
            Act::Waits(time) => self.stage.until(wire.now() + *time).await,
            Act::Rests(rest) => self.rests(rest).await,
            Act::Strikes(port, kind, reads) => {
                // Of reads it is not told which number comes next: all up to there are listed.
                let last = wire.asked(*port) + reads;
                let strikes = strikes(*port, false, *kind, 1..=last).into_iter().collect();
                wire.set_faults(Faults::listed(0, strikes));
            }
            Act::StrikesWrite(port, kind, which) => {
                let number = wire.writes_of(*port) + which;
                let strikes = strikes(*port, true, *kind, number..=number).into_iter().collect();
                wire.set_faults(Faults::listed(0, strikes));
            }
            Act::Begins => {
                self.begun = wire.writes();
                self.stood = self.stands();
                wire.trace("it begins");
            }
            Act::Stands(gone) => self.still_stands(gone),
            Act::Asks(what, question) => {
                let wrong = question(&self.stage.home).map(|wrong| format!("{what}: {wrong}"));
                self.stage.home.checks.find(Invariant::Converges, wire.now(), wrong);
            }
        }
    }

    fn push(&mut self, label: &str, body: &Body) {
        self.stage.push_more(Push {
            label: label.to_owned(),
            body: body.clone(),
            rotates: Vec::new(),
            rest: Duration::ZERO,
        });
    }

    fn push_aside(&mut self, label: &str, sketch: &Sketch) {
        let Some(tip) = self.stage.tip().cloned() else { return };
        let sketch = Sketch { rewind: [tip.clone()].into(), ..sketch.clone() };
        let site = sketch.site();
        let wanted = site.environments.iter().map(|(name, one)| (name.clone(), Arc::new(one.clone())));
        let environments = wanted.collect();
        let payload = self.stage.home.catalogue.add(Payload::Site(Arc::new(site)));
        let commit = self.stage.home.remote.with(|history| {
            let parent = history.get(&tip).and_then(|commit| commit.parents.first().cloned());
            let commit = history.commit_aside(parent.as_ref(), payload);
            history.force(&commit);
            commit
        });
        self.stage.home.wire.trace(&format!("push {} by force: {label}", commit.short()));
        let before = self.stage.home.remote.with(|history| history.before(&commit));
        self.stage.home.checks.committed(commit.clone(), Pushed { environments, before });
        self.stage.home.checks.head(&commit);
    }

    fn stands(&self) -> Stood {
        let of = |port: Port, objects: &BTreeMap<String, Object>| {
            objects
                .iter()
                .map(|(key, object)| ((port, key.clone()), (object.birth, object.data.clone())))
                .collect::<Vec<_>>()
        };
        self.stage.home.stands().into_iter().flat_map(|one| of(one.port(), &one.objects())).collect()
    }

    /// Nothing that stood at the beginning is gone, nor another one under its key.
    fn still_stands(&mut self, gone: &[(Port, &'static str)]) {
        let now = self.stands();
        let lost = self.stood.iter().find_map(|((port, key), (birth, data))| {
            let is_to_go = gone.iter().any(|(of, one)| of == port && one == key);
            let stands = now.get(&(*port, key.clone())).is_some_and(|(born, holds)| {
                born == birth && data.iter().all(|(slot, one)| holds.get(slot) == Some(one))
            });
            match (is_to_go, stands) {
                (false, false) => Some(format!("{port:?} {key} does not stand as at the beginning")),
                (true, true) => Some(format!("{port:?} {key} was to go, and stands")),
                _ => None,
            }
        });
        let at = self.stage.home.wire.now();
        self.stage.home.checks.find(Invariant::Data, at, lost);
    }

    async fn rests(&mut self, rest: &Rest) {
        let until = self.stage.home.wire.now() + WITHIN;
        let mut last = None;
        while self.stage.home.wire.now() < until {
            self.stage.until(self.stage.home.wire.now() + LOOK_EVERY).await;
            if !self.stage.home.checks.is_clean() {
                return;
            }
            last = self.why_not(rest).await;
            if last.is_none() {
                break;
            }
        }
        let now = self.stage.home.wire.now();
        let wrong = last.map(|why| format!("it does not come to {rest:?}: {why}"));
        self.stage.home.checks.find(Invariant::Converges, now, wrong);
    }

    /// What is missing until the branch's head has come to its end.
    async fn why_not(&self, rest: &Rest) -> Option<String> {
        let statuses = self.head_statuses();
        let told = || {
            let one = |(context, status): (&Context, &Status)| {
                format!("{context:?} `{}: {}`", status.state.as_str(), status.description)
            };
            statuses.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let says = |words: &str| statuses.values().any(|status| status.description.contains(words));
        match rest {
            Rest::Tells(words) => return (!says(words)).then(told),
            Rest::Refuses(words) => {
                let failed = statuses
                    .get(&Context::Validate)
                    .is_some_and(|status| matches!(status.state, StatusState::Failure | StatusState::Error));
                return (!failed || !says(words)).then(told);
            }
            _ => {}
        }
        for (environment, standing) in self.standings().await {
            let status = statuses.get(&Context::Environment(environment.clone()));
            let state = status.map(|status| status.state);
            let fits = match rest {
                Rest::Holds(held, words) if *held == environment => {
                    let said = status.is_some_and(|status| status.description.contains(words));
                    let lines = match &standing {
                        Standing::Held(lines) | Standing::Moving(lines) => lines.as_slice(),
                        Standing::Matches => &[],
                    };
                    state == Some(StatusState::Failure)
                        && (said || lines.iter().any(|line| line.contains(words)))
                }
                Rest::Drifts(drifts) if *drifts == environment => {
                    state == Some(StatusState::Success) && standing != Standing::Matches
                }
                _ => state == Some(StatusState::Success) && standing == Standing::Matches,
            };
            if !fits {
                return Some(format!("{environment} stands at {standing:?}, and is told {}", told()));
            }
        }
        None
    }

    fn head(&self) -> Option<CommitId> {
        self.stage.home.remote.head()
    }

    /// How what the branch's head wants compares with what stands.
    async fn standings(&self) -> BTreeMap<EnvironmentName, Standing> {
        let mut standings = BTreeMap::new();
        let Some(head) = self.head() else { return standings };
        for environment in ["core", "lab"].map(super::home::environment) {
            if let Some(desired) = self.stage.truth.desired(&head, &environment) {
                let standing = self.stage.truth.standing(&environment, &desired).await;
                standings.insert(environment, standing);
            }
        }
        standings
    }

    fn head_statuses(&self) -> BTreeMap<Context, Status> {
        let Some(head) = self.head() else { return BTreeMap::new() };
        let environments = ["core", "lab"].map(super::home::environment).map(Context::Environment);
        [Context::Validate]
            .into_iter()
            .chain(environments)
            .filter_map(|context| Some((context.clone(), self.stage.home.checks.shown(&head, &context)?)))
            .collect()
    }
}
