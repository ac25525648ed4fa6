//! Tasks: what a worker does, how long it takes, how it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::call::{Call, Shared};
use super::error::Work;
use super::host::GuestHost;
use super::world::World;

/// Where the workers' start times in clock ticks begin.
pub(super) const FIRST_START: u32 = 0x10_0000;

/// How the next task of a kind goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskMode {
    /// It ends with this error, and what it began is undone.
    Fail(String),
    /// It does its work, and ends with `WARNINGS: 1`.
    Warn,
    /// Its worker is killed, before or after its work was done.
    Lost { done: bool },
    /// It runs until [`super::Proxmox::release_tasks`].
    Hold,
    /// It takes this long.
    Take(Duration),
    /// Its UPID names this node.
    OnNode(String),
}

pub(super) struct Task {
    pub(super) upid: String,
    pub(super) node: String,
    pub(super) pid: u32,
    pub(super) start: u64,
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) user: String,
    /// `None` while it runs.
    pub(super) exit: Option<String>,
    pub(super) end: u64,
    pub(super) log: Vec<String>,
    held: bool,
    pub(super) aborted: bool,
}

#[derive(Default)]
pub(super) struct Tasks {
    pub(super) all: BTreeMap<String, Task>,
    last: u32,
}

type Part = Box<dyn FnOnce(&mut World, &dyn GuestHost) -> Work + Send>;

/// A worker's work: what happens as it starts, at its end, and instead of its end when it fails.
pub(super) struct Job {
    pub(super) begin: Part,
    pub(super) finish: Part,
    pub(super) undo: Part,
}

impl Job {
    /// Work that happens at the task's end, all at once.
    pub(super) fn at_end(finish: impl FnOnce(&mut World, &dyn GuestHost) -> Work + Send + 'static) -> Self {
        Self { begin: Box::new(|_, _| Ok(())), finish: Box::new(finish), undo: Box::new(|_, _| Ok(())) }
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What was ordered for this task.
struct Orders {
    outcome: Option<TaskMode>,
    held: bool,
    time: Duration,
}

fn orders(world: &mut World, kind: &str, node: &mut String) -> Orders {
    let mut orders = Orders {
        outcome: None,
        held: world.knobs.hold,
        time: world.knobs.task_times.get(kind).copied().unwrap_or(world.knobs.task_time),
    };
    let modes = std::mem::take(&mut world.knobs.modes);
    for (of, mode) in modes {
        match mode {
            _ if of != kind => world.knobs.modes.push_back((of, mode)),
            TaskMode::Hold => orders.held = true,
            TaskMode::Take(time) => orders.time = time,
            TaskMode::OnNode(name) => *node = name,
            outcome if orders.outcome.is_none() => orders.outcome = Some(outcome),
            later => world.knobs.modes.push_back((of, later)),
        }
    }
    orders
}

/// Starts a worker for `call` and gives its UPID.
pub(super) fn fork(call: &mut Call<'_>, kind: &str, id: &str, job: Job) -> String {
    let mut node = call.node().to_owned();
    let world = &mut *call.world;
    let orders = orders(world, kind, &mut node);
    world.tasks.last += 1;
    let (pid, start) = (0x1000 + world.tasks.last, unix_now());
    let user = call.caller.to_owned();
    let upid = format!("UPID:{node}:{pid:08X}:{:08X}:{start:08X}:{kind}:{id}:{user}:", FIRST_START + pid);
    let task = Task {
        upid: upid.clone(),
        node,
        pid,
        start,
        kind: kind.to_owned(),
        id: id.to_owned(),
        user,
        exit: None,
        end: 0,
        log: Vec::new(),
        held: orders.held,
        aborted: false,
    };
    world.tasks.all.insert(upid.clone(), task);
    tokio::spawn(run(Arc::clone(call.shared), upid.clone(), orders, job));
    upid
}

async fn run(shared: Arc<Shared>, upid: String, orders: Orders, job: Job) {
    let Job { begin, finish, undo } = job;
    let begun = shared.with(begin);
    if let Err(error) = begun {
        shared.with(|world, _| world.tasks.end(&upid, Some(&error.exit_status())));
        return shared.notify();
    }
    let until = Instant::now() + orders.time;
    let mut changed = shared.changed.subscribe();
    let aborted = loop {
        let (held, aborted) = shared.with(|world, _| {
            world.tasks.all.get(&upid).map_or((false, true), |task| (task.held, task.aborted))
        });
        if aborted || (!held && Instant::now() >= until) {
            break aborted;
        }
        let deadline = if held { until + Duration::from_hours(1) } else { until };
        tokio::select! {
        () = tokio::time::sleep_until(deadline) => {}
        // The sender lives in `shared`, which this task holds.
        _ = changed.changed() => {}
        }
    };
    let outcome = if aborted { Outcome::Aborted } else { Outcome::As(orders.outcome) };
    shared.with(|world, host| end(world, host, &upid, outcome, finish, undo));
    shared.notify();
}

/// How a task comes to its end.
enum Outcome {
    Aborted,
    As(Option<TaskMode>),
}

fn end(world: &mut World, host: &dyn GuestHost, upid: &str, outcome: Outcome, finish: Part, undo: Part) {
    let failed = |world: &mut World, text: &str, undo: Part| {
        drop(undo(world, host));
        world.tasks.end(upid, Some(text));
    };
    match outcome {
        Outcome::Aborted => failed(world, "interrupted by signal", undo),
        Outcome::As(Some(TaskMode::Fail(text))) => failed(world, &text, undo),
        // A killed worker cleans nothing up.
        Outcome::As(Some(TaskMode::Lost { done: false })) => world.tasks.end(upid, None),
        Outcome::As(mode) => match (finish(world, host), mode) {
            (Err(error), _) => world.tasks.end(upid, Some(&error.exit_status())),
            (Ok(()), Some(TaskMode::Lost { .. })) => world.tasks.end(upid, None),
            (Ok(()), Some(TaskMode::Warn)) => world.tasks.end(upid, Some("WARNINGS: 1")),
            (Ok(()), _) => world.tasks.end(upid, Some("OK")),
        },
    }
}

impl Tasks {
    /// Records the end. Without a status the log has no closing line.
    fn end(&mut self, upid: &str, status: Option<&str>) {
        let Some(task) = self.all.get_mut(upid) else { return };
        task.end = unix_now();
        task.exit = Some(status.unwrap_or("unexpected status").to_owned());
        match status {
            Some("OK") => task.log.push("TASK OK".into()),
            Some(warnings) if warnings.starts_with("WARNINGS: ") => {
                task.log.push("WARN: something was not as it should be".into());
                task.log.push(format!("TASK {warnings}"));
            }
            Some(error) => task.log.push(format!("TASK ERROR: {error}")),
            None => {}
        }
    }

    pub(super) fn release(&mut self) {
        for task in self.all.values_mut() {
            task.held = false;
        }
    }

    /// Marks the running tasks of one kind and guest to end as interrupted.
    pub(super) fn abort(&mut self, kind: &str, id: &str) {
        for task in self.all.values_mut().filter(|task| task.kind == kind && task.id == id) {
            task.aborted = true;
        }
    }

    pub(super) fn is_running(&self, kind: &str, id: &str) -> bool {
        self.all
            .values()
            .any(|task| task.kind == kind && task.id == id && task.exit.is_none() && !task.aborted)
    }
}
