//! Fuzz targets of hosts: what a host answers to a look and to a change, every byte of which may be hostile.
//! `tests/fuzz` runs them for long, the test below for a second.

use std::collections::BTreeSet;

use holdfast_core::kind::{Kind as _, Next, StepResult};
use holdfast_core::mark::Mark;
use holdfast_core::secret::Secrets;
use serde_json::json;

use super::apply::compose;
use super::ledger::{HEADER, Ledger};
use super::probe::Query;
use super::read::read;
use super::{Host, HostSpec, HostState, HostStep, report};
use crate::ssh::Answer;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPf+IuJYOEeLE8Np0c0jEHrnYfqXNt6T4XZcLEqmGKUo";

/// What the manifest of the host asks for.
fn wanted() -> HostSpec {
    let secret = json!({ "vault": "kv/web", "key": "password", "stamp": { "version": 1, "digest": "ab" } });
    serde_json::from_value(json!({
        "connection": { "address": "10.0.0.1", "hostKey": KEY },
        "directories": [{ "path": "/srv/web" }],
        "files": [
            { "path": "/etc/motd", "content": "hello\n" },
            { "path": "/srv/web/secret", "content": secret, "mode": "0600" },
        ],
        "packages": ["curl"],
        "services": [{ "name": "web.service", "restartOn": ["/srv/web/secret"] }],
    }))
    .expect("it is a spec of a host")
}

/// An answer to a look: it is whole and about what was asked, or nothing is concluded from it.
pub fn host_look(data: &[u8]) {
    let want = wanted();
    let query = Query::of(&want);
    let found = match read(&query, data) {
        Ok(found) => found,
        Err(error) => {
            let text = error.into_target("looking at a").to_string();
            assert!(!text.contains(char::is_control) && text.len() < 4_000, "{text:?}");
            return;
        }
    };
    let state = found.state;
    for path in query.directories.iter().chain(&query.files) {
        assert!(state.paths.contains_key(path), "{path} was not answered");
    }
    let asked: BTreeSet<_> = query.units.iter().collect();
    assert!(asked.iter().all(|unit| state.services.contains_key(unit)), "each unit is answered");
    assert_eq!(state.packages.len(), query.packages.len());
    let stored = serde_json::to_value(&state).expect("a state is plain data");
    assert_eq!(serde_json::from_value::<HostState>(stored).ok().as_ref(), Some(&state), "a state reads back");
    Host::health(&state);
    let name = holdfast_core::ident::Name::new("a").expect("`a` is a name");
    if let Next::Do(steps) = Host::plan(&name, Some(&want), Some(&state)) {
        assert!(!steps.is_empty(), "no steps are a wait");
    }
}

/// The lines of a ledger: what is taken is written back as it was.
pub fn host_ledger(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(ledger) = Ledger::read(text.lines()) else { return };
    let mark = format!("mark {}", ledger.mark);
    let written: Vec<String> = ledger.entries.iter().map(|(part, entry)| entry.line(part)).collect();
    let lines = [HEADER, &mark].into_iter().chain(written.iter().map(String::as_str));
    assert_eq!(Ledger::read(lines).ok(), Some(ledger), "a ledger reads back");
}

/// Secrets that the change uses: one is the beginning of the other.
const SECRETS: [&str; 2] = ["hunter2", "hunter2-canary"];

/// A status and an answer to a change: one result a step, success only to the very end, and no secret.
pub fn host_change(data: &[u8]) {
    let (status, stdout) = data.split_first().map_or((None, data), |(first, rest)| (Some(*first), rest));
    let steps = steps();
    let mut secrets = Secrets::default();
    for (step, value) in steps.iter().flat_map(holdfast_core::kind::Step::secrets).zip(SECRETS) {
        secrets.insert(&step, value.into());
    }
    let mark = Mark::parse("home/core/Host/a@0").expect("it is a mark");
    let change = compose(&mark, &steps, &secrets).expect("the change can be composed");
    let status = status.map(u32::from).filter(|status| *status != u32::from(b'-'));
    let status = status.map(|status| status.saturating_sub(u32::from(b'0')));
    let answer = Answer { stdout: stdout.to_vec(), stderr: stdout.to_vec(), status, trouble: None };
    let results = report::results(&steps, answer, &change.veil);
    assert_eq!(results.len(), steps.len(), "one result a step");
    let is_done = |result: &StepResult| matches!(result, StepResult::Done { .. });
    if results.iter().all(is_done) {
        let lines: Vec<&[u8]> = stdout.split(|byte| *byte == b'\n').collect();
        assert!(status == Some(0) && lines.iter().any(|line| line.starts_with(b"end")), "no end, no success");
    }
    let first = results.iter().position(|result| !is_done(result)).unwrap_or(results.len());
    assert!(!results[first..].iter().any(is_done), "nothing is done after what was not");
    let said = format!("{results:?}");
    assert!(SECRETS.iter().all(|secret| !said.contains(secret)), "{said}");
}

fn steps() -> Vec<HostStep> {
    let secret =
        |key: &str| json!({ "vault": "kv/web", "key": key, "stamp": { "version": 1, "digest": "ab" } });
    let want: HostSpec = serde_json::from_value(json!({
        "connection": { "address": "10.0.0.1", "hostKey": KEY },
        "packages": ["curl"],
        "files": [
            { "path": "/etc/a", "content": secret("a") },
            { "path": "/etc/b", "content": secret("b") },
        ],
    }))
    .expect("it is a spec of a host");
    let seen = json!({ "machineId": "0".repeat(32), "paths": { "/etc/a": null, "/etc/b": null }, "packages": { "curl": null } });
    let seen: HostState = serde_json::from_value(seen).expect("it is a state of a host");
    let name = holdfast_core::ident::Name::new("a").expect("`a` is a name");
    match Host::plan(&name, Some(&want), Some(&seen)) {
        Next::Do(steps) => steps,
        other => unreachable!("what is missing is made: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_cases::fuzz::briefly;

    #[test]
    fn host_look() {
        briefly("host_look", 5_000, super::host_look);
    }

    #[test]
    fn host_ledger() {
        briefly("host_ledger", 10_000, super::host_ledger);
    }

    #[test]
    fn host_change() {
        briefly("host_change", 2_000, super::host_change);
    }
}
