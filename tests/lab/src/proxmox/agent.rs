//! The guest agent's methods.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::Call;
use super::error::{Answer, ApiError, Reply};
use super::host::Interface;
use super::props::AGENT;
use super::world::Program;

/// The guest's network, if its agent answers.
fn ask(call: &Call<'_>) -> Result<Vec<Interface>, ApiError> {
    let (guest, vmid) = (call.machine()?, call.vmid());
    let configured = guest.config.get("agent").and_then(|text| AGENT.parse("agent", text).ok());
    if configured.is_none_or(|agent| agent.get("enabled").is_none_or(|flag| flag != "1")) {
        return Err(ApiError::die("No QEMU guest agent configured"));
    }
    if guest.running.is_none() {
        return Err(ApiError::die(format!("VM {vmid} is not running")));
    }
    let silent =
        ApiError { late: call.world.knobs.agent_delay, ..ApiError::die("QEMU guest agent is not running") };
    call.host.interfaces(vmid).ok_or(silent)
}

fn result(data: &Value) -> Reply {
    json!({ "result": data }).into()
}

pub(super) fn ping(call: &mut Call<'_>) -> Answer {
    ask(call)?;
    Ok(result(&json!({})))
}

pub(super) fn interfaces(call: &mut Call<'_>) -> Answer {
    let all = ask(call)?;
    let address = |text: &String| {
        let (host, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let kind = if host.contains(':') { "ipv6" } else { "ipv4" };
        json!({ "ip-address": host, "ip-address-type": kind, "prefix": prefix.parse::<u8>().unwrap_or(32) })
    };
    let rows = all.iter().map(|it| {
        let mut row = json!({ "name": it.name, "hardware-address": it.mac });
        if !it.addresses.is_empty() {
            row["ip-addresses"] = it.addresses.iter().map(address).collect();
        }
        row
    });
    Ok(result(&rows.collect()))
}

pub(super) fn os_info(call: &mut Call<'_>) -> Answer {
    ask(call)?;
    Ok(result(&json!({
        "id": "debian", "name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 12 (bookworm)",
        "version-id": "12", "machine": "x86_64",
    })))
}

pub(super) fn read(call: &mut Call<'_>) -> Answer {
    ask(call)?;
    let path = call.params.get("file").unwrap_or_default();
    let Some(all) = call.host.read(call.vmid(), path) else {
        let text = format!("Agent error: failed to open file '{path}': No such file or directory");
        return Err(ApiError::die(text));
    };
    let usize_of = |key: &str, otherwise: usize| {
        call.params.number(key).map_or(otherwise, |number| usize::try_from(number).unwrap_or(usize::MAX))
    };
    let offset = usize_of("offset", 0).min(all.len());
    let end = offset.saturating_add(usize_of("count", 16_777_216)).min(all.len());
    let part = &all[offset..end];
    let content = if call.params.get("decode") == Some("0") {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(part)
    } else {
        String::from_utf8_lossy(part).into_owned()
    };
    let mut data = json!({ "content": content, "bytes-read": part.len() });
    if end < all.len() {
        data["truncated"] = true.into();
    }
    Ok(data.into())
}

pub(super) fn exec(call: &mut Call<'_>) -> Answer {
    ask(call)?;
    let input = call.params.get("input-data").unwrap_or_default().as_bytes().to_vec();
    let program = call.host.run(call.vmid(), call.params.list("command"), input);
    let pid = 1000 + u64::try_from(call.world.programs.len()).unwrap_or(0);
    call.world.programs.insert(pid, Program::Running);
    let shared = Arc::clone(call.shared);
    tokio::spawn(async move {
        let ran = program.await;
        shared.with(|world, _| world.programs.insert(pid, Program::Ended(ran)));
    });
    Ok(json!({ "pid": pid }).into())
}

/// A program that ended can be read once.
pub(super) fn exec_status(call: &mut Call<'_>) -> Answer {
    ask(call)?;
    let pid = call.params.number("pid").unwrap_or(0);
    let gone = || ApiError::die(format!("Agent error: PID {pid} does not exist"));
    let ran = match call.world.programs.get(&pid).cloned() {
        Some(Program::Running) => return Ok(json!({ "exited": 0 }).into()),
        Some(Program::Ended(ran)) => ran,
        Some(Program::Read) | None => return Err(gone()),
    };
    call.world.programs.insert(pid, Program::Read);
    let mut data = json!({ "exited": 1, "exitcode": ran.code });
    for (key, text) in [("out-data", ran.out), ("err-data", ran.err)] {
        if !text.is_empty() {
            data[key] = text.into();
        }
    }
    Ok(data.into())
}
