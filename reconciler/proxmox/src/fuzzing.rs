//! Fuzz targets of Proxmox VE: texts and answers of a cluster that may say anything. `tests/fuzz` runs them for long,
//! the test below for a second.

use std::collections::BTreeMap;

use holdfast_core::kind::Kind as _;
use serde_json::Value;

use crate::client::cluster::{Cluster, Rights, split_tags, tags_have_case};
use crate::client::errors::{ApiError, Refused, by_text, one_line};
use crate::client::forms::{decode_ssh_keys, encode_ssh_keys, segment};
use crate::client::guests::{Config, addresses, changing};
use crate::client::property::Properties;
use crate::client::tasks::{Upid, end};
use crate::size::{Bytes, Size};
use crate::virtual_machine::notes::Notes;
use crate::virtual_machine::{State, VirtualMachine};

/// Between the parts of an input.
const NEXT: &str = "\n%%\n";

/// A text as everything that Proxmox packs into one: what is read prints as what reads the same.
pub fn proxmox_texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(properties) = Properties::parse(text, "file") {
        let printed = properties.others(&[]).join(",");
        assert_eq!(Properties::parse(&printed, "file"), Some(properties), "{printed}");
    }
    if let Some(upid) = Upid::parse(text) {
        let word = segment(text);
        assert!(word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~%".contains(&b)), "{word}");
        assert!(!upid.node.contains('/') && !upid.kind.is_empty());
    }
    if let Some(bytes) = Bytes::from_proxmox(text) {
        assert_eq!(Bytes::try_from(String::from(bytes)), Ok(bytes), "a size reads back");
    }
    if let Ok(size) = Size::try_from(text.to_owned()) {
        assert_eq!(Size::try_from(String::from(size)), Ok(size), "a size reads back");
    }
    let tags = split_tags(text);
    assert_eq!(split_tags(&tags.join(";")), tags, "tags read back");
    let keys = decode_ssh_keys(text);
    assert_eq!(decode_ssh_keys(&encode_ssh_keys(keys.iter().map(String::as_str))), keys, "keys read back");
    notes(text);
    assert!(one_line(text).chars().count() <= 501 && !one_line(text).contains(['\n', '\r']));
    assert!(by_text("starting vm 101", text).to_string().starts_with("starting vm 101: "));
}

/// What people wrote stays what they wrote, whatever of it looks like ours, and however often it is written.
fn notes(text: &str) {
    let (notes, marks) = Notes::parse(text);
    let Some(mark) = marks.first() else { return };
    let written = notes.render(mark);
    let (again, marks) = Notes::parse(&written);
    assert_eq!((again, marks), (notes, vec![mark.clone()]), "notes read back: {written:?}");
}

/// A status and JSON, each the answer of one request: the list, a guest's configuration, and everything else.
pub fn proxmox_answers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (status, text) = text.split_once('\n').unwrap_or(("500", text));
    let mut answers = text.split(NEXT).map(|part| serde_json::from_str::<Value>(part).unwrap_or_default());
    let (list, rows) = (answers.next().unwrap_or_default(), answers.next().unwrap_or_default());
    let others: Vec<Value> = answers.collect();
    if let Ok(cluster) = Cluster::read(&list) {
        for guest in cluster.guests.values() {
            let Ok(config) = Config::read(&rows) else { continue };
            for tags_have_case in [false, true] {
                let (state, _) = State::read(guest, &config, tags_have_case);
                VirtualMachine::health(&state);
                let known = VirtualMachine::outputs(&state);
                assert!(known.keys().all(|output| VirtualMachine::OUTPUTS.contains(&output.as_str())));
                let stored = serde_json::to_value(&state).expect("a state is plain data");
                assert_eq!(serde_json::from_value::<State>(stored).ok(), Some(state), "a state reads back");
            }
        }
        assert!(cluster.storages.iter().all(|storage| storage.free() <= storage.size));
        assert!(cluster.nodes.keys().all(|node| cluster.instead_of(node).is_none()));
    }
    for other in [&list, &rows].into_iter().chain(&others) {
        if let Ok(rights) = Rights::read(other) {
            for path in other.as_object().into_iter().flat_map(serde_json::Map::keys) {
                rights.allow("VM.Audit", path);
                rights.allow_below("VM.Audit", path);
            }
        }
        tags_have_case(other);
        addresses(other);
        changing(other);
        end(other);
        refused(status, other);
    }
}

/// What a refusal says is one line, and bounded however long the answer was.
fn refused(status: &str, body: &Value) {
    let errors: BTreeMap<String, String> =
        body.as_object().into_iter().flatten().map(|(key, text)| (key.clone(), text.to_string())).collect();
    let status = status.trim().parse().unwrap_or(500);
    let message = body["message"].as_str().unwrap_or("why not").to_owned();
    let refused = ApiError::Refused(Refused { status, message, errors, retry_after: None });
    let text = refused.during("starting vm 101").to_string();
    assert!(text.starts_with("starting vm 101: ") && text.len() > "starting vm 101: ".len(), "{text}");
}

#[cfg(test)]
mod tests {
    use holdfast_cases::fuzz::briefly;

    #[test]
    fn proxmox_texts() {
        briefly("proxmox_texts", 10_000, super::proxmox_texts);
    }

    #[test]
    fn proxmox_answers() {
        briefly("proxmox_answers", 5_000, super::proxmox_answers);
    }
}
