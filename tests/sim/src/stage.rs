//! The stage: a home, the processes that live on it, and everything that is done to them as time goes by.

mod branch;

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::ident::CommitId;
use holdfast_core::report::Context;
use holdfast_core::scrub::Scrubber;
use holdfast_engine::Limits;

use crate::checks::{Checks, Facts};
use crate::events::Event;
use crate::faults::{FaultKind, Faults, roll};
use crate::home::{Home, site};
use crate::life::{Life, Rig};
use crate::model::Time;
use crate::truth::Truth;
use crate::wire::{Port, Wire};
use crate::workload::Workload;
use crate::world::kubernetes::Cluster;
use crate::world::proxmox::Proxmox;

/// A world with its processes.
pub(crate) struct Stage {
    pub(crate) home: Home,
    pub(crate) truth: Truth,
    pub(crate) workload: Workload,
    pub(crate) scrubber: Scrubber,
    rig: Rig,
    seed: u64,
    lives: Vec<Life>,
    processes: u8,
    /// Whether a second process may live: then no start may think that it is alone.
    shared: bool,
    /// What is to happen, by time and in order.
    agenda: BTreeMap<(Time, u64), Event>,
    entries: u64,
    /// The commits that were pushed, by their places in the workload.
    pub(crate) pushed: BTreeMap<usize, CommitId>,
    /// Where the branch really stands.
    tip: Option<CommitId>,
    rotations: usize,
    posts_seen: usize,
    /// Nobody starts any more.
    closing: bool,
}

impl Stage {
    pub(crate) fn new(seed: u64, workload: Workload, faults: Faults, rig: Rig) -> Self {
        let wire = Wire::new(faults);
        wire.begin();
        let checks = Checks::new(Facts::new(site(), BTreeMap::new()));
        let home = Home::new(seed, &wire, &checks);
        let truth = Truth::new(&home);
        Self {
            home,
            truth,
            workload,
            scrubber: Scrubber::default(),
            rig,
            seed,
            lives: Vec::new(),
            processes: 0,
            shared: false,
            agenda: BTreeMap::new(),
            entries: 0,
            pushed: BTreeMap::new(),
            tip: None,
            rotations: 0,
            posts_seen: 0,
            closing: false,
        }
    }

    /// Nobody searches what it says for secrets.
    pub(crate) fn tells_nothing(&mut self) {
        self.home.journal.collect_texts(false);
        self.home.checks.deaf();
        self.rig.cleans = false;
    }

    pub(crate) fn plan(&mut self, events: &[(Time, Event)]) {
        self.shared = events.iter().any(|(_, event)| *event == Event::SecondStarts);
        for (at, event) in events {
            self.later(*at, event.clone());
        }
    }

    pub(crate) fn later(&mut self, at: Time, event: Event) {
        self.entries += 1;
        self.agenda.insert((at, self.entries), event);
    }

    pub(crate) fn tip(&self) -> Option<&CommitId> {
        self.tip.as_ref()
    }

    /// Lets time pass until a moment, and everything happen that happens meanwhile.
    pub(crate) async fn until(&mut self, end: Time) {
        loop {
            let now = self.home.wire.now();
            self.bury();
            let due = self.agenda.first_key_value().map(|((at, _), _)| *at);
            if due.is_some_and(|at| at <= now && at <= end) {
                let ((_, _), event) = self.agenda.pop_first().expect("it was just seen");
                self.read_posts();
                self.happen(event).await;
                continue;
            }
            if now >= end {
                break;
            }
            let next = due.unwrap_or(end).min(end);
            let home = self.home.clone();
            tokio::select! {
                biased;
                () = home.wire.fell() => {}
                () = tokio::time::sleep(next.saturating_sub(now)) => {}
            }
        }
        self.read_posts();
    }

    /// What crashed is started again after a while.
    fn bury(&mut self) {
        let fallen = self.home.wire.take_fallen();
        let mut starts = Vec::new();
        self.lives.retain(|life| {
            let over = life.is_over();
            if fallen.contains(&life.process) || over {
                starts.push((life.machine, life.process, over));
                return false;
            }
            true
        });
        for (machine, process, over) in starts {
            let how = if over { "broke off" } else { "crashed" };
            self.home.wire.trace(&format!("p{process} {how}"));
            self.home.wire.kill(process);
            let dice = roll(self.seed, "restart", u64::from(process), 0);
            let pause = if dice.is_multiple_of(5) { 30 + dice % 900 } else { 1 + dice % 20 };
            if !self.closing {
                self.later(self.home.wire.now() + Duration::from_secs(pause), Event::Start(machine));
            }
        }
    }

    /// Reads what was posted to the forge, and what was written into the journal.
    pub(crate) fn read_posts(&mut self) {
        for posted in self.home.forge.log_since(self.posts_seen) {
            self.posts_seen += 1;
            let Some(context) = Context::of_text(&posted.context, &site()) else { continue };
            self.home.checks.posted(posted.at, &posted.commit, &context, &posted.status);
        }
        for text in self.home.journal.take_texts() {
            self.home.checks.said(self.home.wire.now(), "the journal", &text);
        }
    }

    async fn happen(&mut self, event: Event) {
        let wire = self.home.wire.clone();
        if let Some(kind) = event.fault() {
            wire.note_fault(kind);
        }
        match event {
            Event::Push { at, wakes } => self.push(at, wakes),
            Event::Rotate { path, key } => {
                self.rotations += 1;
                wire.trace(&format!("secret {path} is rotated"));
                self.home.rotate(&path, &key, self.rotations);
                self.home.checks.touch(wire.now());
            }
            Event::Meddle { port, dice } => {
                let meddling = self.home.stands().into_iter().find(|one| one.port() == port);
                if let Some(meddling) = meddling.and_then(|one| one.meddle(dice)) {
                    wire.trace(&meddling.what);
                    self.home.checks.touch(wire.now());
                }
            }
            Event::Restore(port) => {
                if self.home.stands().into_iter().any(|one| one.port() == port && one.restore()) {
                    wire.trace(&format!("{port:?} is restored from a backup"));
                    self.home.checks.touch(wire.now());
                }
            }
            Event::Down(port) => self.set_down(port, true),
            Event::Up(port) => self.set_down(port, false),
            Event::TaskFails(Port::Kubernetes) => {
                self.home.kubernetes.with(Cluster::fail_next_sync);
            }
            Event::TaskFails(_) => self.home.proxmox.with(Proxmox::fail_next_task),
            Event::JournalLost => {
                wire.trace("the journal is lost");
                self.power_cut();
                self.home.journal.lose();
                self.home.checks.journal_lost();
            }
            Event::Jump { machine, seconds } => {
                wire.trace(&format!("the clock of machine {machine} jumps by {seconds} s"));
                if self.shared {
                    self.home.checks.clocks_differ();
                }
                self.home.machines[machine].clock.jump(seconds);
            }
            Event::ClockIsRight(machine) => self.home.machines[machine].clock.correct(),
            event => self.happen_to_processes(event).await,
        }
    }

    async fn happen_to_processes(&mut self, event: Event) {
        let wire = self.home.wire.clone();
        match event {
            Event::Start(machine) => self.start(machine),
            Event::SecondStarts => self.start(1),
            Event::SecondEnds => self.end(1).await,
            Event::Restart => {
                if self.lives.iter().any(|life| life.machine == 0) {
                    wire.trace("the service is restarted");
                    self.end(0).await;
                    self.start(0);
                }
            }
            Event::PowerCut => {
                wire.trace("a power cut");
                self.power_cut();
            }
            Event::Pause(lasts) => {
                if let Some(life) = self.lives.first() {
                    let process = life.process;
                    wire.trace(&format!("p{process} stands still"));
                    wire.pause(process);
                    wire.note_fault(FaultKind::Paused);
                    self.later(wire.now() + lasts, Event::Wake(process));
                }
            }
            Event::Wake(process) => wire.wake(process),
            event => self.happen_to_branch(&event),
        }
    }

    fn set_down(&self, port: Port, down: bool) {
        self.home.wire.trace(&format!("{port:?} is {}", if down { "down" } else { "up" }));
        self.home.wire.set_down(port, down);
    }

    fn power_cut(&mut self) {
        for life in &self.lives {
            self.home.wire.fall(life.process);
        }
    }

    pub(crate) fn start(&mut self, machine: usize) {
        if self.lives.iter().any(|life| life.machine == machine) || self.processes == u8::MAX - 1 {
            return;
        }
        self.processes += 1;
        self.home.wire.trace(&format!("p{} starts on machine {machine}", self.processes));
        let alone = !self.shared;
        self.lives.push(Life::start(
            &self.home,
            &self.truth,
            &self.rig,
            self.seed,
            machine,
            self.processes,
            alone,
            &self.scrubber,
        ));
    }

    async fn end(&mut self, machine: usize) {
        if let Some(at) = self.lives.iter().position(|life| life.machine == machine) {
            let life = self.lives.remove(at);
            // One that stands still cannot be asked to end.
            self.home.wire.wake(life.process);
            life.end(&self.home).await;
        }
    }

    /// Ends the service for good.
    pub(crate) async fn close(&mut self) {
        self.closing = true;
        for machine in [0, 1] {
            self.end(machine).await;
        }
        self.read_posts();
    }

    pub(crate) fn processes(&self) -> usize {
        self.lives.len()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.rig.limits
    }

    /// Nothing fails from now on, and what people have to mend is mended.
    pub(crate) fn faults_stop(&mut self) {
        let wire = self.home.wire.clone();
        wire.trace("the faults stop");
        wire.set_faults(Faults::none(self.seed));
        for port in [
            Port::Git,
            Port::Proxmox,
            Port::Hosts,
            Port::Vault,
            Port::Kubernetes,
            Port::Secrets,
            Port::Journal,
            Port::Forge,
        ] {
            wire.set_down(port, false);
        }
        for life in &self.lives {
            wire.wake(life.process);
        }
        for machine in &self.home.machines {
            machine.clock.correct();
        }
        self.home.remote.set_trouble(None);
        if let Some(tip) = &self.tip {
            self.home.remote.with(|history| history.force(tip));
            self.home.checks.head(tip);
        }
        self.home.kubernetes.with(Cluster::mend);
        let paths: Vec<String> = self.home.secrets().paths().map(str::to_owned).collect();
        for path in paths {
            self.home.secrets().undelete(&path);
        }
        // What was begun for later, and its ends, are the faults' own.
        self.agenda.retain(|_, event| matches!(event, Event::Start(_)));
        self.home.checks.touch(wire.now());
        if !self.lives.iter().any(|life| life.machine == 0)
            && !self.agenda.values().any(|event| *event == Event::Start(0))
        {
            self.later(wire.now(), Event::Start(0));
        }
    }
}
