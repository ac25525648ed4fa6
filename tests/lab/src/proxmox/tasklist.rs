//! Reading tasks: their state, their log, their list; and aborting one.

use serde_json::{Value, json};

use super::call::Call;
use super::error::{Answer, ApiError, Reply};
use super::format::items;
use super::tasks::{FIRST_START, Task};

impl Task {
    /// Who started it: a token is seen by itself and by its user.
    fn belongs_to(&self, caller: &str) -> bool {
        self.user == caller || self.user.split_once('!').is_some_and(|(user, _)| user == caller)
    }

    fn json(&self) -> Value {
        let (user, token) = self.user.split_once('!').unwrap_or((&self.user, ""));
        let mut json = json!({
            "upid": self.upid, "node": self.node, "pid": self.pid, "pstart": FIRST_START + self.pid,
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
