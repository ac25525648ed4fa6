//! Reading one guest: its configuration, what is pending, its cloud-init image, its state.

use serde_json::{Map, Value, json};

use super::call::Call;
use super::error::{Answer, ApiError};
use super::guest::{Config, Guest};
use super::keys;
use super::props::{AGENT, MEMORY};
use super::size;

const MASK: &str = "**********";

/// How a value reads: switches and whole numbers as numbers, passwords not at all.
fn shown(key: &str, value: &str) -> Value {
    if key == "cipassword" {
        return MASK.into();
    }
    match value.parse::<i64>() {
        Ok(number) if keys::is_number(key) => number.into(),
        _ => value.into(),
    }
}

/// The configuration with what is pending merged in, unless the current one is asked for.
pub(super) fn config(call: &mut Call<'_>) -> Answer {
    let guest = call.machine()?;
    match (call.params.get("snapshot"), call.params.flag("current")) {
        (Some(_), true) => {
            let text = "cannot use 'snapshot' parameter with 'current'";
            return Err(ApiError::param("snapshot", text));
        }
        (Some(name), false) => return Err(ApiError::die(format!("snapshot '{name}' does not exist"))),
        (None, _) => {}
    }
    let mut merged: Config = guest.config.clone();
    if !call.params.flag("current") {
        merged.retain(|key, _| !guest.deleting.contains_key(key));
        merged.extend(guest.pending.clone());
    }
    let mut data: Map<String, Value> =
        merged.iter().map(|(key, value)| (key.clone(), shown(key, value))).collect();
    data.insert("digest".into(), guest.digest().into());
    Ok(Value::Object(data).into())
}

pub(super) fn pending(call: &mut Call<'_>) -> Answer {
    let guest = call.machine()?;
    let mut rows = Vec::new();
    for (key, value) in &guest.config {
        let mut row = json!({ "key": key, "value": shown(key, value) });
        if let Some(pending) = guest.pending.get(key) {
            row["pending"] = shown(key, pending);
        }
        if let Some(force) = guest.deleting.get(key) {
            row["delete"] = if *force { 2.into() } else { 1.into() };
        }
        rows.push(row);
    }
    for (key, pending) in guest.pending.iter().filter(|(key, _)| !guest.config.contains_key(*key)) {
        rows.push(json!({ "key": key, "pending": shown(key, pending) }));
    }
    rows.push(json!({ "key": "digest", "value": guest.digest() }));
    Ok(Value::from(rows).into())
}

/// What the cloud-init image holds, and what it would hold if it were written now.
pub(super) fn cloud_init(call: &mut Call<'_>) -> Answer {
    let guest = call.machine()?;
    let mut rows = Vec::new();
    for key in &guest.added {
        let value = guest.config.get(key).map_or(Value::Null, |value| shown(key, value));
        rows.push(json!({ "key": key, "pending": value }));
    }
    let listed =
        guest.config.iter().filter(|(key, _)| keys::is_cloud_init(key) && !guest.added.contains(*key));
    for (key, value) in listed {
        match guest.recorded.get(key) {
            Some(old) => {
                rows.push(json!({ "key": key, "value": shown(key, old), "pending": shown(key, value) }));
            }
            None => rows.push(json!({ "key": key, "value": shown(key, value) })),
        }
    }
    for key in guest.recorded.keys().filter(|key| !guest.config.contains_key(*key)) {
        rows.push(json!({ "key": key, "delete": 1 }));
    }
    Ok(Value::from(rows).into())
}

/// What lists of guests and `status/current` show of one.
pub(super) fn summary(guest: &Guest) -> Value {
    let number = |key: &str, otherwise: u64| {
        guest.config.get(key).and_then(|text| text.parse::<u64>().ok()).unwrap_or(otherwise)
    };
    let memory = guest.config.get("memory").and_then(|text| MEMORY.parse("memory", text).ok());
    let memory = memory.and_then(|memory| memory.get("current")?.parse::<u64>().ok()).unwrap_or(512);
    let boot = Guest::boot_order(&guest.config);
    let drives = guest.drives();
    let disk = boot.iter().find_map(|slot| drives.get(slot)).and_then(|drive| drive.options.get("size"));
    let mut data = json!({
        "vmid": guest.vmid,
        "name": guest.name(),
        "status": if guest.running.is_some() { "running" } else { "stopped" },
        "cpus": number("cores", 1) * number("sockets", 1),
        "maxmem": memory << 20,
        "maxdisk": disk.and_then(|size| size::parse(size)).unwrap_or(0),
        "uptime": guest.uptime(),
        "cpu": 0, "mem": 0, "disk": 0, "netin": 0, "netout": 0, "diskread": 0, "diskwrite": 0,
    });
    if let Some(running) = &guest.running {
        data["pid"] = running.pid.into();
    }
    if guest.is_template() {
        data["template"] = 1.into();
    }
    for key in ["lock", "tags"] {
        if let Some(value) = guest.config.get(key) {
            data[key] = value.clone().into();
        }
    }
    data
}

pub(super) fn status(call: &mut Call<'_>) -> Answer {
    let guest = call.machine()?;
    let mut data = summary(guest);
    data["qmpstatus"] = match (&guest.running, guest.paused) {
        (None, _) => "stopped".into(),
        (Some(_), true) => "paused".into(),
        (Some(_), false) => "running".into(),
    };
    data["ha"] = json!({ "managed": u8::from(guest.ha.is_some()) });
    let agent = guest.config.get("agent").and_then(|text| AGENT.parse("agent", text).ok());
    if agent.is_some_and(|agent| agent.get("enabled").is_some_and(|flag| flag == "1")) {
        data["agent"] = 1.into();
    }
    Ok(data.into())
}
