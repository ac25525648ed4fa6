//! What is stored, and its history: objects, revisions, and the events that watches and old pages are served from.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::resources::Resource;

/// Events beyond this many are compacted away, as etcd does with old revisions.
const HISTORY: usize = 4096;

/// Where an object stands. Orders as the API lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) plural: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Bytes as lowercase hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

/// One write.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) revision: u64,
    pub(super) key: Key,
    pub(super) before: Option<Value>,
    /// The object as written; for a removal its last form, with the revision of the removal.
    pub(super) after: Value,
    pub(super) removed: bool,
}

#[derive(Debug)]
pub(super) struct Store {
    objects: BTreeMap<Key, Value>,
    revision: u64,
    /// Nothing at or below this revision can be reconstructed.
    compacted: u64,
    events: VecDeque<Event>,
    uids: u64,
    changed: watch::Sender<u64>,
}

impl Store {
    pub(super) fn new() -> Self {
        // A real cluster's first custom resource is never its first revision.
        let revision = 1000;
        Self {
            objects: BTreeMap::new(),
            revision,
            compacted: revision - 1,
            events: VecDeque::new(),
            uids: 0,
            changed: watch::Sender::new(revision),
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Wakes on every write.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter()
    }

    /// A uid that was never given before; the same ones in the same order in every cluster.
    pub(super) fn new_uid(&mut self) -> String {
        self.uids += 1;
        let digest = Sha256::digest(format!("uid {}", self.uids));
        let hex: String = hex(&digest[..16]);
        format!("{}-{}-4{}-a{}-{}", &hex[0..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
    }

    /// Stores an object under a new revision.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Value {
        self.stamp(&mut object);
        let before = self.objects.insert(key.clone(), object.clone());
        self.record(key, before, object.clone(), false);
        object
    }

    /// Removes an object, if it is there.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Value> {
        let before = self.objects.remove(key)?;
        let mut last = before.clone();
        self.stamp(&mut last);
        self.record(key.clone(), Some(before), last.clone(), true);
        Some(last)
    }

    fn stamp(&mut self, object: &mut Value) {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
    }

    fn record(&mut self, key: Key, before: Option<Value>, after: Value, removed: bool) {
        self.events.push_back(Event { revision: self.revision, key, before, after, removed });
        while self.events.len() > HISTORY {
            self.compacted = self.events.pop_front().map_or(self.compacted, |event| event.revision);
        }
        self.changed.send_replace(self.revision);
    }

    /// Forgets all history up to now.
    pub(super) fn compact(&mut self) {
        self.events.clear();
        self.compacted = self.revision;
    }

    /// The events behind a revision, or nothing if some of them are forgotten.
    pub(super) fn since(&self, revision: u64) -> Option<Vec<&Event>> {
        (revision >= self.compacted)
            .then(|| self.events.iter().filter(|event| event.revision > revision).collect())
    }

    /// The objects of one collection as they were at a revision, or nothing if that is forgotten.
    pub(super) fn snapshot(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        revision: u64,
    ) -> Option<BTreeMap<Key, Value>> {
        let mut objects = self.objects.clone();
        for event in self.since(revision)?.into_iter().rev() {
            match &event.before {
                Some(before) => objects.insert(event.key.clone(), before.clone()),
                None => objects.remove(&event.key),
            };
        }
        objects.retain(|key, _| {
            key.plural == resource.plural && namespace.is_none_or(|namespace| key.namespace == namespace)
        });
        Some(objects)
    }
}
