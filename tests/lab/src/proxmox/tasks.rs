//! Tasks: what a worker does, how long it takes, how it ends, and who may see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::call::{Call, Shared};
use super::error::{Answer, ApiError, Reply, Work};
use super::format::items;
use super::host::GuestHost;
use super::world::World;

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
    node: String,
    pid: u32,
    start: u64,
    kind: String,
    id: String,
    user: String,
    /// `None` while it runs.
    pub(super) exit: Option<String>,
    end: u64,
    log: Vec<String>,
    held: bool,
    aborted: bool,
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
    let upid = format!("UPID:{node}:{pid:08X}:{:08X}:{start:08X}:{kind}:{id}:{user}:", 0x10_0000 + pid);
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

impl Task {
    /// Who started it: a token is seen by itself and by its user.
    fn belongs_to(&self, caller: &str) -> bool {
        self.user == caller || self.user.split_once('!').is_some_and(|(user, _)| user == caller)
    }

    fn json(&self) -> Value {
        let (user, token) = self.user.split_once('!').unwrap_or((&self.user, ""));
        let mut json = json!({
            "upid": self.upid, "node": self.node, "pid": self.pid, "pstart": 0x10_0000 + self.pid,
            "starttime": self.start, "type": self.kind, "id": self.id, "user": user,
        });
        if !token.is_empty() {
            json["tokenid"] = token.into();
        }
        json
    }
}

/// Parts of a UPID that make one: `UPID:node:pid:pstart:start:type:id:user:`.
fn is_upid(text: &str) -> bool {
    let parts: Vec<_> = text.split(':').collect();
    let hex = |part: &str| (8..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.len() == 9 && parts[0] == "UPID" && parts[2..5].iter().all(|part| hex(part)) && parts[8].is_empty()
}

fn find<'a>(call: &'a Call<'_>) -> Result<&'a Task, ApiError> {
    let upid = call.params.get("upid").unwrap_or_default();
    if !is_upid(upid) {
        return Err(ApiError::param("upid", "unable to parse worker upid"));
    }
    let task = call.world.tasks.all.get(upid).filter(|task| task.node == call.node());
    let task = task.ok_or_else(|| ApiError::param("upid", "no such task"))?;
    if !task.belongs_to(call.caller) {
        call.all(&format!("/nodes/{}", call.node()), &["Sys.Audit"])?;
    }
    Ok(task)
}

pub(super) fn status(call: &mut Call<'_>) -> Answer {
    let task = find(call)?;
    let mut json = task.json();
    json["status"] = if task.exit.is_none() { "running".into() } else { "stopped".into() };
    if let Some(exit) = &task.exit {
        json["exitstatus"] = exit.clone().into();
    }
    Ok(json.into())
}

pub(super) fn log(call: &mut Call<'_>) -> Answer {
    let task = find(call)?;
    let start = call.params.number("start").unwrap_or(0);
    let limit = call.params.number("limit").unwrap_or(50);
    let rows = (1_u64..).zip(&task.log).filter(|(n, _)| *n > start && (limit == 0 || *n <= start + limit));
    let rows: Vec<_> = rows.map(|(n, line)| json!({ "n": n, "t": line })).collect();
    Ok(Reply { data: rows.into(), total: Some(task.log.len()), ..Reply::default() })
}

pub(super) fn stop(call: &mut Call<'_>) -> Answer {
    let upid = find(call)?.upid.clone();
    if let Some(task) = call.world.tasks.all.get_mut(&upid) {
        task.log.push("received interrupt".into());
        task.aborted = true;
    }
    call.shared.notify();
    Ok(().into())
}

pub(super) fn list(call: &mut Call<'_>) -> Reply {
    let params = &call.params;
    let node = call.node();
    let audits = call.all(&format!("/nodes/{node}"), &["Sys.Audit"]).is_ok();
    let source = params.get("source").unwrap_or("archive");
    let vmid = params.get("vmid");
    let kind = params.get("typefilter");
    let fits = |task: &&Task| {
        let wanted = match source {
            "archive" => task.exit.is_some(),
            "active" => task.exit.is_none(),
            _ => true,
        };
        let failed = task.exit.as_deref().is_some_and(|exit| exit != "OK" && !exit.starts_with("WARNINGS"));
        wanted
            && task.node == node
            && (audits || task.belongs_to(call.caller))
            && vmid.is_none_or(|vmid| vmid == task.id)
            && kind.is_none_or(|kind| task.kind == kind)
            && params.get("userfilter").is_none_or(|user| task.user.contains(user))
            && params.number("since").is_none_or(|since| task.start >= since)
            && params.number("until").is_none_or(|until| task.start <= until)
            && (!params.flag("errors") || failed)
            && params.get("statusfilter").is_none_or(|states| items(states).any(|it| it == task.verdict()))
    };
    let mut found: Vec<_> = call.world.tasks.all.values().filter(fits).collect();
    found.sort_by_key(|task| std::cmp::Reverse((task.start, task.pid)));
    let total = found.len();
    let start = usize::try_from(params.number("start").unwrap_or(0)).unwrap_or(usize::MAX);
    let limit = match usize::try_from(params.number("limit").unwrap_or(50)) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    let rows: Vec<_> = found.into_iter().skip(start).take(limit).map(Task::row).collect();
    Reply { data: rows.into(), total: Some(total), ..Reply::default() }
}

impl Task {
    fn verdict(&self) -> &'static str {
        match self.exit.as_deref() {
            Some("OK") => "ok",
            Some("unexpected status") | None => "unknown",
            Some(exit) if exit.starts_with("WARNINGS") => "warning",
            Some(_) => "error",
        }
    }

    fn row(&self) -> Value {
        let mut row = self.json();
        match &self.exit {
            None => row["status"] = "RUNNING".into(),
            Some(exit) => {
                row["status"] = exit.clone().into();
                row["endtime"] = self.end.into();
            }
        }
        row
    }
}
