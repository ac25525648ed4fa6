//! From a request to an answer: authentication, authorisation, the verb, and what it gives.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::checks::{self, Unknown};
use super::managed;
use super::query::Query;
use super::resources::{Resource, Target};
use super::status::{Answer, Failure, FieldError, reply};
use super::store::{Key, Store};
use super::verbs::{Write, Written};
use super::{Shared, discovery, json_patch, read};

/// What a real API server takes at most.
const MAX_BODY: usize = 3 * 1024 * 1024;
const PATCHES: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

pub(super) async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = match axum::body::to_bytes(body, MAX_BODY).await {
        Ok(body) => {
            let call = Call {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: Query::of(&parts.uri),
                headers: parts.headers,
                body,
            };
            call.answer(&shared)
        }
        Err(_) => Err(Failure::too_large()),
    };
    answer.unwrap_or_else(Failure::into_response)
}

struct Call {
    method: Method,
    path: String,
    query: Query,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn answer(&self, shared: &Arc<Shared>) -> Answer<Response> {
        if matches!(self.path.as_str(), "/livez" | "/readyz" | "/healthz") {
            return Ok("ok".into_response());
        }
        let user = shared.lock().access.authenticate(&self.headers)?;
        let installed = |plural: &str| !shared.lock().uninstalled.contains(plural);
        if let Some(body) = discovery::answer(&self.path, installed) {
            return Ok(reply(200, &body));
        }
        let target = Target::parse(&self.path)?;
        let verb = self.verb(&target)?;
        user.authorize(verb, &target)?;
        if !installed(target.resource.plural) {
            return Err(Failure::no_such_path());
        }
        if let Some(sub) = &target.subresource
            && !(sub == "status" && target.resource.status)
        {
            return Err(Failure::not_found(target.resource, target.name.as_deref().unwrap_or_default()));
        }
        if !target.resource.verbs.contains(&verb) {
            return Err(Failure::method_not_allowed());
        }
        if verb == "watch" {
            return read::watch(shared, &target, &self.query);
        }
        let applies = verb == "patch" && self.content_type() == "application/apply-patch+yaml";
        let mut state = shared.lock();
        let now = state.clock.stamp();
        if applies && state.store.get(&key(&target)).is_none() {
            user.authorize("create", &target)?;
        }
        self.perform(verb, &target, &mut state.store, now)
    }

    fn verb(&self, target: &Target) -> Answer<&'static str> {
        let single = target.name.is_some();
        match (&self.method, single) {
            (&Method::GET, _) if self.query.is_true("watch") => Ok("watch"),
            (&Method::GET, true) => Ok("get"),
            (&Method::GET, false) => Ok("list"),
            (&Method::POST, false) => Ok("create"),
            (&Method::PUT, true) => Ok("update"),
            (&Method::PATCH, true) => Ok("patch"),
            (&Method::DELETE, true) => Ok("delete"),
            _ => Err(Failure::method_not_allowed()),
        }
    }

    fn perform(&self, verb: &str, target: &Target, store: &mut Store, now: String) -> Answer<Response> {
        let key = key(target);
        match verb {
            "get" => match store.get(&key) {
                Some(object) => Ok(reply(200, object)),
                None => Err(Failure::not_found(target.resource, &key.name)),
            },
            "list" => read::list(store, target, &self.query).map(|body| reply(200, &body)),
            "delete" => {
                let options = if self.body.is_empty() { json!({}) } else { self.json()? };
                let asked =
                    options["dryRun"].as_array().is_some_and(|all| all.iter().any(|item| item == "All"));
                let mut write = self.write(target, key, now, "DeleteOptions")?;
                write.dry_run |= asked;
                write.delete(store, &options).map(|body| reply(200, &body))
            }
            _ => self.change(verb, target, self.write(target, key, now, "PatchOptions")?, store),
        }
    }

    fn write<'a>(&'a self, target: &Target, key: Key, now: String, options: &str) -> Answer<Write<'a>> {
        Ok(Write {
            resource: target.resource,
            key,
            manager: self.manager(),
            dry_run: self.query.dry_run(options)?,
            now,
            status_only: target.subresource.is_some(),
        })
    }

    fn change(&self, verb: &str, target: &Target, write: Write<'_>, store: &mut Store) -> Answer<Response> {
        let resource = target.resource;
        let strictness = self.strictness()?;
        let (written, unknown) = match verb {
            "create" | "update" => {
                let body = self.json()?;
                let unknown = checks::unknown_fields(resource, &body);
                refuse_unknown(resource, strictness, &unknown)?;
                let written =
                    if verb == "create" { write.create(store, body)? } else { write.replace(store, body)? };
                (written, unknown)
            }
            _ => self.patch(resource, write, store, strictness)?,
        };
        let Written { object, created } = written;
        let mut response = reply(if created { 201 } else { 200 }, &object);
        if strictness == Unknown::Warn {
            for text in unknown.iter().filter_map(|text| checks::warning(text)) {
                response.headers_mut().append(header::WARNING, text);
            }
        }
        Ok(response)
    }

    fn patch(
        &self,
        resource: &'static Resource,
        write: Write<'_>,
        store: &mut Store,
        strictness: Unknown,
    ) -> Answer<(Written, Vec<String>)> {
        let content_type = self.content_type();
        self.check_options(content_type)?;
        if content_type == "application/apply-patch+yaml" {
            let body: Value = serde_yaml::from_slice(&self.body)
                .map_err(|error| Failure::bad_request(format!("error decoding YAML: {error}")))?;
            let written = write.apply(store, body, self.query.is_true("force"))?;
            return Ok((written, Vec::new()));
        }
        let patch = self.json()?;
        let mut unknown = Vec::new();
        let written = write.patch(store, |object| {
            if content_type == "application/merge-patch+json" {
                managed::merge_patch(object, &patch);
            } else {
                json_patch::apply(object, &patch).map_err(|why| {
                    let error = FieldError::invalid("patch", &patch.to_string(), &why);
                    Failure::invalid("", "", "", &[error])
                })?;
            }
            unknown = checks::unknown_fields(resource, object);
            if strictness == Unknown::Strict && !unknown.is_empty() {
                let why = format!("strict decoding error: {}", unknown.join(", "));
                return Err(Failure::invalid(
                    "",
                    "",
                    "",
                    &[FieldError::invalid("patch", &patch.to_string(), &why)],
                ));
            }
            Ok(())
        })?;
        Ok((written, unknown))
    }

    fn check_options(&self, content_type: &str) -> Answer<()> {
        let invalid = |error| Err(Failure::invalid("PatchOptions", "meta.k8s.io", "", &[error]));
        match content_type {
            "application/apply-patch+yaml" if self.query.get("fieldManager").is_empty() => {
                invalid(FieldError::required("fieldManager", "is required for apply patch"))
            }
            "application/merge-patch+json" | "application/json-patch+json"
                if !self.query.get("force").is_empty() =>
            {
                invalid(FieldError::forbidden("force", "may not be specified for non-apply patch"))
            }
            "application/apply-patch+yaml"
            | "application/merge-patch+json"
            | "application/json-patch+json" => Ok(()),
            _ => Err(Failure::unsupported_media(PATCHES)),
        }
    }

    fn strictness(&self) -> Answer<Unknown> {
        match self.query.get("fieldValidation") {
            "" | "Warn" => Ok(Unknown::Warn),
            "Ignore" => Ok(Unknown::Ignore),
            "Strict" => Ok(Unknown::Strict),
            other => {
                let error = FieldError {
                    field: "fieldValidation".to_owned(),
                    reason: "FieldValueNotSupported",
                    message: format!(
                        "Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                    ),
                };
                Err(Failure::invalid("PatchOptions", "meta.k8s.io", "", &[error]))
            }
        }
    }

    /// The `fieldManager` parameter, else the first word of the user agent.
    fn manager(&self) -> &str {
        match self.query.get("fieldManager") {
            "" => {
                let agent = self.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
                agent
                    .and_then(|agent| agent.split('/').next())
                    .filter(|name| !name.is_empty())
                    .unwrap_or("unknown")
            }
            name => name,
        }
    }

    fn content_type(&self) -> &str {
        let value = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.and_then(|value| value.split(';').next()).map_or("", str::trim)
    }

    fn json(&self) -> Answer<Value> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::bad_request(format!(
                "error decoding patch or object: couldn't get version/kind; json parse error: {error}"
            ))
        })
    }
}

fn key(target: &Target) -> Key {
    Key {
        plural: target.resource.plural,
        namespace: target.namespace.clone().unwrap_or_default(),
        name: target.name.clone().unwrap_or_default(),
    }
}

fn refuse_unknown(resource: &Resource, strictness: Unknown, unknown: &[String]) -> Answer<()> {
    if strictness != Unknown::Strict || unknown.is_empty() {
        return Ok(());
    }
    let (kind, version) = (resource.kind, resource.version);
    let list = unknown.join(", ");
    Err(Failure::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {list}"
    )))
}
