//! Lists with pages and selectors, and watches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Shared;
use super::query::Query;
use super::resources::Target;
use super::selector::Selector;
use super::status::{Answer, Failure};
use super::store::{Event, Key, Store};

/// A page of a collection.
pub(super) fn list(store: &Store, target: &Target, query: &Query) -> Answer<Value> {
    let resource = target.resource;
    let selector = Selector::parse(resource, query.get("labelSelector"), query.get("fieldSelector"))?;
    let limit = query.number("limit")?.unwrap_or(0);
    let (revision, start) = match query.get("continue") {
        "" => (list_revision(store, query)?, None),
        token => {
            let (revision, start) = read_token(token)?;
            (revision, Some(start))
        }
    };
    let namespace = target.namespace.as_deref();
    let snapshot = store.snapshot(resource, namespace, revision).ok_or_else(|| {
        Failure::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        )
    })?;
    let mut rest: VecDeque<(Key, Value)> = snapshot
        .into_iter()
        .filter(|(key, object)| {
            start.as_ref().is_none_or(|start| position(key) > *start) && selector.matches(object)
        })
        .collect();
    let size =
        if limit == 0 { rest.len() } else { rest.len().min(usize::try_from(limit).unwrap_or(usize::MAX)) };
    let page: Vec<(Key, Value)> = rest.drain(..size).collect();
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if let (false, Some((last, _))) = (rest.is_empty(), page.last()) {
        metadata["continue"] = json!(write_token(revision, &position(last)));
        if selector.is_empty() {
            metadata["remainingItemCount"] = json!(rest.len());
        }
    }
    let items: Vec<Value> = page.into_iter().map(|(_, object)| object).collect();
    Ok(json!({
        "apiVersion": resource.api_version(), "kind": resource.list_kind(), "metadata": metadata, "items": items,
    }))
}

fn position(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
}

/// The revision a list is to show: the newest, unless exactly one is asked for.
fn list_revision(store: &Store, query: &Query) -> Answer<u64> {
    let asked = query.number("resourceVersion")?.unwrap_or(0);
    if asked > store.revision() {
        return Err(Failure::too_large_revision(asked, store.revision()));
    }
    match query.get("resourceVersionMatch") {
        "Exact" if asked > 0 && asked < store.compacted() => Err(Failure::expired(format!(
            "The resourceVersion for the provided list is too old: {asked} ({})",
            store.compacted()
        ))),
        "Exact" if asked > 0 => Ok(asked),
        _ => Ok(store.revision()),
    }
}

fn write_token(revision: u64, start: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": start }).to_string())
}

fn read_token(token: &str) -> Answer<(u64, String)> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let token: Value = serde_json::from_slice(&bytes).ok()?;
        Some((token["rv"].as_u64()?, token["start"].as_str()?.to_owned()))
    };
    read().ok_or_else(|| Failure::bad_request("continue key is not valid: illegal base64 data or encoding"))
}

/// A stream of events, until its time is over or the client goes.
pub(super) fn watch(shared: &Arc<Shared>, target: &Target, query: &Query) -> Answer<Response> {
    let selector = Selector::parse(target.resource, query.get("labelSelector"), query.get("fieldSelector"))?;
    let seconds = query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0).unwrap_or(1800);
    let asked = query.number("resourceVersion")?;
    let state = shared.lock();
    let mut lines = VecDeque::new();
    let initial = asked.is_none_or(|revision| revision == 0) || query.is_true("sendInitialEvents");
    if initial {
        for (key, object) in state.store.all() {
            if in_scope(target, key) && selector.matches(object) {
                lines.push_back(line("ADDED", object));
            }
        }
        if query.is_true("sendInitialEvents") {
            lines.push_back(bookmark(target, state.store.revision(), true));
        }
    }
    let watch = Watch {
        shared: Arc::clone(shared),
        target: target.clone(),
        selector,
        after: if initial { state.store.revision() } else { asked.unwrap_or_default() },
        bookmarks: query.is_true("allowWatchBookmarks"),
        lines,
        changed: state.store.subscribe(),
        until: tokio::time::Instant::now() + Duration::from_secs(seconds),
        over: false,
    };
    drop(state);
    let stream = futures_util::stream::unfold(watch, async |mut watch| {
        let line = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), watch))
    });
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

struct Watch {
    shared: Arc<Shared>,
    target: Target,
    selector: Selector,
    /// The last revision that was looked at.
    after: u64,
    bookmarks: bool,
    lines: VecDeque<String>,
    changed: watch::Receiver<u64>,
    until: tokio::time::Instant,
    over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            self.changed.mark_unchanged();
            self.gather();
            if self.lines.is_empty() && !self.over {
                match tokio::time::timeout_at(self.until, self.changed.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => self.over = true,
                    Err(_) => {
                        self.over = true;
                        if self.bookmarks {
                            self.lines.push_back(bookmark(&self.target, self.after, false));
                        }
                    }
                }
            }
        }
    }

    /// Turns the writes since the last look into lines.
    fn gather(&mut self) {
        let state = self.shared.lock();
        let Some(events) = state.store.since(self.after) else {
            let message =
                format!("too old resource version: {} ({})", self.after, state.store.compacted() + 1);
            self.lines.push_back(line("ERROR", &Failure::expired(message).body()));
            self.over = true;
            return;
        };
        let lines: Vec<String> = events.into_iter().filter_map(|event| self.shown(event)).collect();
        self.after = self.after.max(state.store.revision());
        self.lines.extend(lines);
    }

    /// An object that begins or ceases to fit the selector appears or disappears for this watch.
    fn shown(&self, event: &Event) -> Option<String> {
        if !in_scope(&self.target, &event.key) {
            return None;
        }
        let was = event.before.as_ref().is_some_and(|object| self.selector.matches(object));
        let is = !event.removed && self.selector.matches(&event.after);
        match (was, is) {
            (false, true) => Some(line("ADDED", &event.after)),
            (true, true) => Some(line("MODIFIED", &event.after)),
            (true, false) => Some(line("DELETED", &event.after)),
            (false, false) => None,
        }
    }
}

fn in_scope(target: &Target, key: &Key) -> bool {
    key.plural == target.resource.plural
        && target.namespace.as_ref().is_none_or(|namespace| key.namespace == *namespace)
        && target.name.as_ref().is_none_or(|name| key.name == *name)
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

fn bookmark(target: &Target, revision: u64, initial_events_end: bool) -> String {
    let mut metadata = json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
    if initial_events_end {
        metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    let resource = target.resource;
    let object = json!({ "kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata });
    line("BOOKMARK", &object)
}
