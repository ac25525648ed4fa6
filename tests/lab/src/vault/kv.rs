//! A KV version 2 engine: versions, check-and-set, soft deletion, metadata.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::answers::{Reply, bad_request, empty_404, no_content, ok, unsupported, wrapped_404};

#[derive(Debug, Clone)]
struct Version {
    data: Value,
    created: String,
    /// When it was deleted, or `""`.
    deleted: String,
    destroyed: bool,
}

#[derive(Debug, Clone)]
struct Secret {
    versions: BTreeMap<u64, Version>,
    current: u64,
    created: String,
    updated: String,
    cas_required: bool,
    max_versions: u64,
    custom: Value,
}

impl Secret {
    fn new(now: &str) -> Self {
        Self {
            versions: BTreeMap::new(),
            current: 0,
            created: now.to_owned(),
            updated: now.to_owned(),
            cas_required: false,
            max_versions: 0,
            custom: Value::Null,
        }
    }

    fn version_metadata(&self, number: u64, version: &Version) -> Value {
        json!({
            "created_time": version.created, "custom_metadata": self.custom, "deletion_time": version.deleted,
            "destroyed": version.destroyed, "version": number,
        })
    }

    fn write(&mut self, data: Value, now: &str) -> u64 {
        self.current += 1;
        let version = Version { data, created: now.to_owned(), deleted: String::new(), destroyed: false };
        self.versions.insert(self.current, version);
        now.clone_into(&mut self.updated);
        // Ten versions are kept unless something else is said.
        let kept = if self.max_versions == 0 { 10 } else { self.max_versions };
        while self.versions.len() > usize::try_from(kept).unwrap_or(usize::MAX) {
            self.versions.pop_first();
        }
        self.current
    }
}

/// What stands under one mount.
#[derive(Debug, Default)]
pub(super) struct Engine(BTreeMap<String, Secret>);

/// A request to an engine: everything behind the mount.
pub(super) struct Ask<'a> {
    /// `read`, `list`, `write` or `delete`.
    pub(super) operation: &'a str,
    pub(super) version: u64,
    pub(super) body: &'a Value,
    pub(super) now: &'a str,
}

impl Engine {
    /// Writes a secret without asking.
    pub(super) fn seed(&mut self, path: &str, data: Value, now: &str) -> u64 {
        self.0.entry(path.to_owned()).or_insert_with(|| Secret::new(now)).write(data, now)
    }

    /// Whether writing here is an update rather than a creation.
    pub(super) fn exists(&self, rest: &str) -> bool {
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        self.0.contains_key(path)
    }

    pub(super) fn answer(&mut self, rest: &str, ask: &Ask<'_>) -> Reply {
        let (area, path) = rest.split_once('/').unwrap_or((rest, ""));
        match (area, ask.operation) {
            ("metadata", "list") => self.list(path),
            _ if path.is_empty() => invalid_path(),
            ("data", "read") => self.read(path, ask.version),
            ("data", "write") => self.write(path, ask),
            ("data", "delete") => {
                let current = self.0.get(path).map_or(0, |secret| secret.current);
                self.set_versions(path, &[current], |version| {
                    ask.now.clone_into(&mut version.deleted);
                });
                no_content()
            }
            ("delete" | "undelete" | "destroy", "write") => self.mark(area, path, ask),
            ("metadata", "read") => self.metadata(path),
            ("metadata", "write") => self.set_metadata(path, ask),
            ("metadata", "delete") => {
                self.0.remove(path);
                no_content()
            }
            ("data" | "metadata" | "delete" | "undelete" | "destroy", _) => unsupported(),
            _ => invalid_path(),
        }
    }

    fn list(&self, path: &str) -> Reply {
        let prefix = match path.trim_matches('/') {
            "" => String::new(),
            path => format!("{path}/"),
        };
        let keys: BTreeSet<String> = self
            .0
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .map(|rest| {
                rest.split_once('/').map_or_else(|| rest.to_owned(), |(folder, _)| format!("{folder}/"))
            })
            .collect();
        if keys.is_empty() { empty_404() } else { ok(json!({ "keys": keys })) }
    }

    fn read(&self, path: &str, number: u64) -> Reply {
        let Some(secret) = self.0.get(path) else { return empty_404() };
        let number = if number == 0 { secret.current } else { number };
        let Some(version) = secret.versions.get(&number) else { return empty_404() };
        let metadata = secret.version_metadata(number, version);
        if version.destroyed || !version.deleted.is_empty() {
            return wrapped_404(json!({ "data": null, "metadata": metadata }));
        }
        ok(json!({ "data": version.data, "metadata": metadata }))
    }

    fn write(&mut self, path: &str, ask: &Ask<'_>) -> Reply {
        let Some(data) = ask.body.get("data").filter(|data| data.is_object()) else {
            return bad_request("no data provided");
        };
        let known = self.0.get(path);
        let current = known.map_or(0, |secret| secret.current);
        match ask.body["options"]["cas"].as_u64() {
            Some(cas) if cas != current => {
                return bad_request("check-and-set parameter did not match the current version");
            }
            None if known.is_some_and(|secret| secret.cas_required) => {
                return bad_request("check-and-set parameter required for this call");
            }
            _ => {}
        }
        let secret = self.0.entry(path.to_owned()).or_insert_with(|| Secret::new(ask.now));
        let number = secret.write(data.clone(), ask.now);
        let version = secret.versions.get(&number);
        ok(version.map_or(Value::Null, |version| secret.version_metadata(number, version)))
    }

    fn set_versions(&mut self, path: &str, numbers: &[u64], mut change: impl FnMut(&mut Version)) {
        let secret = self.0.get_mut(path);
        for (number, version) in secret.into_iter().flat_map(|secret| secret.versions.iter_mut()) {
            if numbers.contains(number) {
                change(version);
            }
        }
    }

    fn mark(&mut self, area: &str, path: &str, ask: &Ask<'_>) -> Reply {
        let numbers: Vec<u64> =
            ask.body["versions"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        if numbers.is_empty() {
            return bad_request("No version number provided");
        }
        self.set_versions(path, &numbers, |version| match area {
            "delete" => ask.now.clone_into(&mut version.deleted),
            "undelete" => version.deleted.clear(),
            _ => {
                version.destroyed = true;
                version.data = Value::Null;
            }
        });
        no_content()
    }

    fn metadata(&self, path: &str) -> Reply {
        let Some(secret) = self.0.get(path) else { return empty_404() };
        let versions: Map<String, Value> = secret
            .versions
            .iter()
            .map(|(number, version)| {
                let shown = json!({
                    "created_time": version.created, "deletion_time": version.deleted,
                    "destroyed": version.destroyed,
                });
                (number.to_string(), shown)
            })
            .collect();
        ok(json!({
            "cas_required": secret.cas_required, "created_time": secret.created,
            "current_metadata_version": 0, "current_version": secret.current,
            "custom_metadata": secret.custom, "delete_version_after": "0s",
            "max_versions": secret.max_versions, "metadata_cas_required": false,
            "oldest_version": 0, "updated_time": secret.updated, "versions": versions,
        }))
    }

    /// Fields that are left out keep their values; the map of custom metadata is replaced as a whole.
    fn set_metadata(&mut self, path: &str, ask: &Ask<'_>) -> Reply {
        if let Some(custom) = ask.body["custom_metadata"].as_object() {
            let long = |value: &Value| value.as_str().is_none_or(|text| text.is_empty() || text.len() > 512);
            if custom.len() > 64 || custom.values().any(long) {
                return bad_request(
                    "custom_metadata: 1 error occurred:\n\t* length of value is not within 1 to 512\n\n",
                );
            }
        }
        let secret = self.0.entry(path.to_owned()).or_insert_with(|| Secret::new(ask.now));
        if let Some(custom) = ask.body.get("custom_metadata") {
            secret.custom = custom.clone();
        }
        if let Some(required) = ask.body["cas_required"].as_bool() {
            secret.cas_required = required;
        }
        if let Some(max) = ask.body["max_versions"].as_u64() {
            secret.max_versions = max;
        }
        no_content()
    }
}

fn invalid_path() -> Reply {
    Reply::warning(
        "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using the OpenBao CLI, use 'bao kv get' for this operation.",
    )
}
