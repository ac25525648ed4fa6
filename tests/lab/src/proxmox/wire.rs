//! The HTTP layer: what a Proxmox server accepts, in which order it checks, and how its answers look.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::ext::ReasonPhrase;
use serde_json::{Value, json};

use super::call::{Call, Shared};
use super::error::{Answer, ApiError, Reply};
use super::params::{Given, Params};
use super::routes::{self, Endpoint};
use super::schema;

/// The longest body that is taken, in bytes.
const LONGEST_BODY: usize = 512 * 1024;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

/// How a request ends other than with an answer of a method.
enum Failure {
    Api(ApiError),
    /// No body, only a status and its reason, and after a while.
    Bare(u16, String, Duration),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = percent_encoding::percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned();
    let Some((format, path)) = path.strip_prefix("/api2/").and_then(|rest| rest.split_once('/')) else {
        return bare(404, "no such file");
    };
    let always_ok = format == "extjs";
    if !always_ok && format != "json" {
        return bare(501, "no such uri");
    }
    match serve(&shared, &parts, body, &format!("/{path}")).await {
        Ok(reply) => success(&reply, always_ok),
        Err(Failure::Api(error)) => {
            tokio::time::sleep(error.late).await;
            refusal(&error, always_ok)
        }
        Err(Failure::Bare(status, reason, late)) => {
            tokio::time::sleep(late).await;
            bare(status, &reason)
        }
    }
}

/// Checks in the server's order: framing, who asks, the body, the method, the rights, the node, the parameters.
async fn serve(shared: &Arc<Shared>, parts: &Parts, body: Body, path: &str) -> Result<Reply, Failure> {
    let header = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    if header(header::TRANSFER_ENCODING).is_some() {
        return Err(ApiError::new(501, "chunked transfer encoding not supported").into());
    }
    let caller = shared.with(|world, _| {
        let refused = |reason: &str| Failure::Bare(401, reason.to_owned(), world.knobs.refusal_delay);
        world.access.authenticate(header(header::AUTHORIZATION)).map_err(refused)
    })?;
    let length = header(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
    if length > 0 && !matches!(parts.method.as_str(), "PUT" | "POST") {
        return Err(ApiError::new(501, format!("Unexpected content for method '{}'", parts.method)).into());
    }
    if length > LONGEST_BODY {
        return Err(ApiError::new(501, "for data too large").into());
    }
    let body = axum::body::to_bytes(body, LONGEST_BODY).await;
    let body = body.map_err(|_| ApiError::new(501, "for data too large"))?;
    let content_type = header(header::CONTENT_TYPE).unwrap_or("application/x-www-form-urlencoded");
    let given = given(parts.uri.query().unwrap_or_default(), content_type, &String::from_utf8_lossy(&body))?;
    let Some((endpoint, named)) = routes::find(parts.method.as_str(), path) else {
        return Err(ApiError::new(501, format!("Method '{} {path}' not implemented", parts.method)).into());
    };
    let params = merge(given, named)?;
    let reply = shared.with(|world, host| {
        let mut call = Call { world, host, shared, caller: &caller, params };
        run(&mut call, &endpoint)
    })?;
    tokio::time::sleep(reply.late).await;
    match reply.wait.clone() {
        Some((upid, patience)) => Ok(wait(shared, &upid, patience).await?),
        None => Ok(reply),
    }
}

/// What query and body say; the query wins.
fn given(query: &str, content_type: &str, body: &str) -> Result<Params, ApiError> {
    let mut given = match content_type.split(';').next().unwrap_or_default().trim() {
        _ if body.is_empty() => Params::default(),
        "application/x-www-form-urlencoded" => Params::from_form(body),
        "application/json" => {
            Params::from_json(body).ok_or_else(|| ApiError::new(400, "unable to decode the JSON content"))?
        }
        other => return Err(ApiError::new(506, format!("unable to handle content of type '{other}'"))),
    };
    given.0.extend(Params::from_form(query).0);
    given.0.remove("_dc");
    Ok(given)
}

fn merge(mut given: Params, named: Vec<(String, String)>) -> Result<Params, ApiError> {
    for (key, value) in named {
        let value = Given::One(value);
        if given.0.get(&key).is_some_and(|other| *other != value) {
            let text = "duplicate parameter (already defined in URI) with conflicting values!";
            return Err(ApiError::param(&key, text));
        }
        given.0.insert(key, value);
    }
    Ok(given)
}

fn run(call: &mut Call<'_>, endpoint: &Endpoint) -> Result<Reply, Failure> {
    endpoint.right.check(call)?;
    if let Some(name) = call.params.get("node") {
        reach(call, name)?;
    }
    schema::validate(&call.params, &endpoint.params())?;
    if endpoint.writes && !call.world.quorate {
        return Err(ApiError::die("cluster not ready - no quorum?").into());
    }
    Ok((endpoint.code)(call)?)
}

/// Whether the request gets to the node that its path names.
fn reach(call: &Call<'_>, name: &str) -> Result<(), Failure> {
    match call.world.nodes.get(name) {
        Some(node) if node.online => Ok(()),
        Some(_) => {
            let late = call.world.knobs.offline_delay;
            Err(Failure::Bare(595, "No route to host".to_owned(), late))
        }
        None if name == "localhost" => Ok(()),
        None if call.world.resolvable.contains(name) => {
            let reason = "error:0A000086:SSL routines::certificate verify failed";
            Err(Failure::Bare(596, reason.to_owned(), Duration::ZERO))
        }
        None => {
            super::format::node(name)
                .map_err(|why| ApiError::param("node", format!("invalid format - {why}\n")))?;
            let why = format!("failed to get address info for: {name}: Name or service not known");
            Err(ApiError::die(format!("hostname lookup '{name}' failed - {why}")).into())
        }
    }
}

/// Waits for the task as `background_delay` asks: null once it is done, its UPID if it takes longer.
async fn wait(shared: &Arc<Shared>, upid: &str, patience: Duration) -> Answer {
    let mut changed = shared.changed.subscribe();
    let ended = async {
        loop {
            let exit = shared.with(|world, _| world.tasks.all.get(upid).and_then(|task| task.exit.clone()));
            if let Some(exit) = exit {
                return exit;
            }
            // The sender lives in `shared`.
            drop(changed.changed().await);
        }
    };
    match tokio::time::timeout(patience, ended).await {
        Err(_) => Ok(upid.to_owned().into()),
        Ok(exit) if exit == "OK" || exit.starts_with("WARNINGS: ") => Ok(().into()),
        Ok(exit) => {
            let vmid = upid.split(':').nth(6).unwrap_or_default();
            Err(ApiError::die(format!("failed to update VM {vmid}: {exit}")))
        }
    }
}

fn success(reply: &Reply, always_ok: bool) -> Response {
    let mut body = json!({ "data": reply.data });
    if let Some(total) = reply.total {
        body["total"] = total.into();
    }
    if always_ok {
        body["success"] = 1.into();
        body["status"] = 200.into();
    }
    respond(200, "OK", &body)
}

/// The first line of the text is the reason phrase; the whole text, with a line feed, is in the body.
fn refusal(error: &ApiError, always_ok: bool) -> Response {
    let message = format!("{}\n", error.message);
    let mut body = json!({ "data": Value::Null, "message": message });
    if !error.errors.is_empty() {
        body["errors"] = json!(error.errors);
    }
    if always_ok {
        body["success"] = 0.into();
        body["status"] = error.status.into();
        return respond(200, "OK", &body);
    }
    let reason = error.message.lines().next().unwrap_or_default().trim_end();
    if reason.chars().any(char::is_control) {
        return bare(400, "Bad Request");
    }
    respond(error.status, reason, &body)
}

fn respond(status: u16, reason: &str, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    let kind = HeaderValue::from_static("application/json;charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    finish(response, status, reason)
}

fn bare(status: u16, reason: &str) -> Response {
    finish(Response::new(Body::empty()), status, reason)
}

/// Every status from 400 on closes the connection.
fn finish(mut response: Response, status: u16, reason: &str) -> Response {
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes().to_vec()) {
        response.extensions_mut().insert(reason);
    }
    if status >= 400 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
