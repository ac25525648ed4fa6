//! What can be done to objects: create, replace, patch, apply, delete. All or nothing, and pure but for the store.

use serde_json::{Map, Value, json};

use super::checks;
use super::managed::{self, Manager, Managers};
use super::resources::Resource;
use super::status::{Answer, Failure, FieldError};
use super::store::{Key, Store};

/// A write as it was asked for.
pub(super) struct Write<'a> {
    pub(super) resource: &'static Resource,
    pub(super) key: Key,
    /// The field manager: the parameter, or the first word of the user agent.
    pub(super) manager: &'a str,
    pub(super) dry_run: bool,
    /// The moment of the write, for `creationTimestamp` and `managedFields`.
    pub(super) now: String,
    /// Only `status` may change, or everything but `status`.
    pub(super) status_only: bool,
}

/// What became of a write.
pub(super) struct Written {
    pub(super) object: Value,
    pub(super) created: bool,
}

impl Write<'_> {
    fn updater(&self) -> Manager {
        Manager::update(self.manager, &self.resource.api_version())
    }

    /// The identity of the body must be the one that the path names.
    pub(super) fn identify(&self, body: &mut Value) -> Answer<()> {
        let (kind, version) = (self.resource.kind, self.resource.api_version());
        if body["apiVersion"] != version.as_str() || body["kind"] != kind {
            return Err(Failure::bad_request(format!(
                "the API version in the data ({}) does not match the expected API version ({version})",
                body["apiVersion"].as_str().unwrap_or_default()
            )));
        }
        checks::metadata(self.resource, body)?;
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        if !self.key.name.is_empty() && !name.is_empty() && name != self.key.name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                self.key.name
            )));
        }
        let namespace = body["metadata"]["namespace"].as_str().unwrap_or_default();
        if !namespace.is_empty() && namespace != self.key.namespace {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if self.resource.namespaced {
            body["metadata"]["namespace"] = json!(self.key.namespace);
        }
        Ok(())
    }

    pub(super) fn create(mut self, store: &mut Store, mut body: Value) -> Answer<Written> {
        self.identify(&mut body)?;
        if body["metadata"]["name"].as_str().is_none_or(str::is_empty)
            && let Some(prefix) = body["metadata"]["generateName"].as_str().map(str::to_owned)
        {
            let suffix: String =
                store.new_uid().chars().filter(char::is_ascii_alphanumeric).take(5).collect();
            body["metadata"]["name"] = json!(format!("{prefix}{suffix}"));
        }
        if body["metadata"]["resourceVersion"].as_str().is_some_and(|text| !text.is_empty()) {
            return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
        }
        body["metadata"]["name"].as_str().unwrap_or_default().clone_into(&mut self.key.name);
        if store.get(&self.key).is_some() {
            return Err(Failure::already_exists(self.resource, &self.key.name));
        }
        checks::prune(self.resource, &mut body);
        let manager = self.updater();
        let mut managers = Managers::default();
        managers.update(&manager, &Value::Null, &body, &self.now);
        managers.write_to(&mut body);
        self.store_new(store, body)
    }

    fn store_new(self, store: &mut Store, mut object: Value) -> Answer<Written> {
        if self.resource.namespaced && store.get(&namespace_key(&self.key.namespace)).is_none() {
            let namespaces = Resource::named("namespaces").unwrap_or(self.resource);
            return Err(Failure::not_found(namespaces, &self.key.namespace));
        }
        checks::admit(self.resource, &mut object)?;
        let metadata = &mut object["metadata"];
        metadata["uid"] = json!(store.new_uid());
        metadata["creationTimestamp"] = json!(self.now);
        metadata["generation"] = json!(1);
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("deletionTimestamp");
        }
        let object = if self.dry_run { object } else { store.put(self.key, object) };
        Ok(Written { object, created: true })
    }

    pub(super) fn replace(self, store: &mut Store, mut body: Value) -> Answer<Written> {
        self.identify(&mut body)?;
        let live = self.live(store)?;
        if body["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty) {
            let error =
                FieldError::invalid("metadata.resourceVersion", "0x0", "must be specified for an update");
            return Err(Failure::invalid(self.resource.kind, self.resource.group, &self.key.name, &[error]));
        }
        if let Some(uid) = other_uid(&live, &body) {
            let found = live["metadata"]["uid"].as_str().unwrap_or_default();
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
            return Err(Failure::conflict(self.resource, &self.key.name, &why));
        }
        self.update(store, &live, body)
    }

    /// A merge or JSON patch: `change` turns the live object into the wanted one.
    pub(super) fn patch(
        self,
        store: &mut Store,
        change: impl FnOnce(&mut Value) -> Answer<()>,
    ) -> Answer<Written> {
        let live = self.live(store)?;
        let mut body = live.clone();
        change(&mut body)?;
        checks::metadata(self.resource, &body)?;
        self.update(store, &live, body)
    }

    fn live(&self, store: &Store) -> Answer<Value> {
        store.get(&self.key).cloned().ok_or_else(|| Failure::not_found(self.resource, &self.key.name))
    }

    fn update(self, store: &mut Store, live: &Value, mut body: Value) -> Answer<Written> {
        let mut managers = Managers::of(live);
        let reset = body["metadata"]["managedFields"]
            .as_array()
            .is_some_and(|entries| entries.is_empty() || *entries == [json!({})]);
        if reset && !live["metadata"]["managedFields"].as_array().is_none_or(Vec::is_empty) {
            managers = Managers::default();
        }
        self.restrict(live, &mut body);
        checks::prune(self.resource, &mut body);
        managers.update(&self.updater(), live, &body, &self.now);
        managers.write_to(&mut body);
        self.store_changed(store, live, body)
    }

    /// Where `status` is a resource of its own, each of the two leaves the other alone.
    fn restrict(&self, live: &Value, body: &mut Value) {
        if !self.resource.status {
            return;
        }
        if self.status_only {
            let status = body["status"].take();
            let version = body["metadata"]["resourceVersion"].take();
            *body = live.clone();
            body["status"] = status;
            body["metadata"]["resourceVersion"] = version;
        } else {
            body["status"] = live["status"].clone();
        }
        if let Some(entries) = body.as_object_mut() {
            entries.retain(|_, value| !value.is_null());
        }
    }

    /// Server-side apply.
    pub(super) fn apply(self, store: &mut Store, mut body: Value, force: bool) -> Answer<Written> {
        if body["metadata"]["managedFields"].as_array().is_some_and(|entries| !entries.is_empty()) {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        let version = self.resource.api_version();
        if body["apiVersion"] != version.as_str() {
            return Err(Failure::bad_request(format!(
                "Incorrect version specified in apply patch. Specified patch version: {}, expected: {version}",
                body["apiVersion"].as_str().unwrap_or_default()
            )));
        }
        checks::configuration(self.resource, &self.key.namespace, &self.key.name, &body)?;
        self.identify(&mut body)?;
        body["metadata"]["name"] = json!(self.key.name);
        let manager = Manager::apply(self.manager, &version);
        let live = store.get(&self.key).cloned();
        match live {
            None => {
                if let Some(uid) = body["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty()) {
                    let why = format!(
                        "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                    );
                    return Err(Failure::conflict(self.resource, &self.key.name, &why));
                }
                let object = managed::apply(&manager, &Value::Null, &body, force, &self.now)?;
                self.store_new(store, object)
            }
            Some(live) => {
                let mut object = managed::apply(&manager, &live, &body, force, &self.now)?;
                if body["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty) {
                    object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
                }
                self.store_changed(store, &live, object)
            }
        }
    }

    fn store_changed(self, store: &mut Store, live: &Value, mut object: Value) -> Answer<Written> {
        let (resource, name) = (self.resource, self.key.name.clone());
        let given = |field: &str| object["metadata"][field].as_str().filter(|text| !text.is_empty());
        if given("resourceVersion").is_some_and(|version| live["metadata"]["resourceVersion"] != version) {
            return Err(Failure::stale(resource, &name));
        }
        // Only a PUT has it as a precondition; to a patch it is a field like others (kubernetes#127625).
        if let Some(uid) = other_uid(live, &object) {
            let error = FieldError::invalid("metadata.uid", &format!("{uid:?}"), "field is immutable");
            return Err(Failure::invalid(resource.kind, resource.group, &name, &[error]));
        }
        keep_servers_fields(live, &mut object);
        checks::admit(resource, &mut object)?;
        refuse_new_finalizers(resource, live, &object)?;
        if managed::same_but_times(live, &object) {
            return Ok(Written { object: live.clone(), created: false });
        }
        if content(resource, live) != content(resource, &object) {
            let generation = live["metadata"]["generation"].as_u64().unwrap_or(1);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        if self.dry_run {
            return Ok(Written { object, created: false });
        }
        let dying = !object["metadata"]["deletionTimestamp"].is_null();
        let mut stored = store.put(self.key.clone(), object);
        if dying && finalizers(&stored).is_empty() {
            stored = store.remove(&self.key).unwrap_or(stored);
        }
        Ok(Written { object: stored, created: false })
    }

    /// Deletes, or marks as being deleted while finalizers remain. `options` is the body.
    pub(super) fn delete(self, store: &mut Store, options: &Value) -> Answer<Value> {
        let mut live = self.live(store)?;
        let (resource, name) = (self.resource, self.key.name.as_str());
        let wanted = &options["preconditions"];
        if let Some(uid) = wanted["uid"].as_str().filter(|uid| live["metadata"]["uid"] != *uid) {
            let found = live["metadata"]["uid"].as_str().unwrap_or_default();
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
            return Err(Failure::conflict(resource, name, &why));
        }
        let version = wanted["resourceVersion"].as_str();
        if let Some(version) = version.filter(|version| live["metadata"]["resourceVersion"] != *version) {
            let found = live["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            let why = format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({found}). The object might have been modified"
            );
            return Err(Failure::conflict(resource, name, &why));
        }
        if finalizers(&live).is_empty() {
            if !self.dry_run {
                store.remove(&self.key);
            }
            return Ok(json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": { "name": name, "group": resource.group, "kind": resource.plural,
                             "uid": live["metadata"]["uid"] },
            }));
        }
        if live["metadata"]["deletionTimestamp"].is_null() {
            live["metadata"]["deletionTimestamp"] = json!(self.now);
            live["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            let generation = live["metadata"]["generation"].as_u64().unwrap_or(1);
            live["metadata"]["generation"] = json!(generation + 1);
            if !self.dry_run {
                live = store.put(self.key, live);
            }
        }
        Ok(live)
    }
}

/// The uid that a body names, if it is not the object's.
fn other_uid<'a>(live: &Value, body: &'a Value) -> Option<&'a str> {
    let uid = body["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty())?;
    (live["metadata"]["uid"] != uid).then_some(uid)
}

pub(super) fn namespace_key(name: &str) -> Key {
    Key { plural: "namespaces", namespace: String::new(), name: name.to_owned() }
}

pub(super) fn finalizers(object: &Value) -> Vec<String> {
    let list = object["metadata"]["finalizers"].as_array();
    list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// What a client says of the server's own fields counts for nothing.
fn keep_servers_fields(live: &Value, object: &mut Value) {
    const FIELDS: &[&str] = &[
        "uid",
        "name",
        "namespace",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
    ];
    for field in FIELDS {
        object["metadata"][field] = live["metadata"][field].clone();
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
    }
}

fn refuse_new_finalizers(resource: &Resource, live: &Value, object: &Value) -> Answer<()> {
    if live["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let known = finalizers(live);
    let new: Vec<String> = finalizers(object).into_iter().filter(|name| !known.contains(name)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let list = new.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
    );
    let error = FieldError::forbidden("metadata.finalizers", &detail);
    let name = live["metadata"]["name"].as_str().unwrap_or_default();
    Err(Failure::invalid(resource.kind, resource.group, name, &[error]))
}

/// What moves the generation: everything but the metadata, and but a status that is a resource of its own.
fn content(resource: &Resource, object: &Value) -> Map<String, Value> {
    let mut content = object.as_object().cloned().unwrap_or_default();
    content.remove("metadata");
    if resource.status {
        content.remove("status");
    }
    content
}
