//! A scripted API server: it remembers every request and answers what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use holdfast_argocd::{ArgoCd, Settings};
use holdfast_core::any_kind::AnyKind;
use holdfast_core::ident::{EnvironmentName, Name, ResourceId, SiteName};
use holdfast_core::mark::Realm;
use secrecy::SecretString;
use serde_json::{Value, json};

/// One request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) content_type: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
}

/// An answer: its status, its `Retry-After`, its body.
pub(crate) struct Says(pub(crate) u16, pub(crate) Option<&'static str>, pub(crate) String);

#[derive(Clone, Default)]
pub(crate) struct Server {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<VecDeque<Says>>>,
    /// What is answered whenever a path that ends so is asked for.
    standing: Arc<Mutex<BTreeMap<String, (u16, Value)>>>,
    pub(crate) url: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { url: format!("http://{}", listener.local_addr().unwrap()), ..Self::default() };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// The next answer that is not ordered yet.
    pub(crate) fn says(&self, status: u16, body: &Value) -> &Self {
        self.answers.lock().unwrap().push_back(Says(status, None, body.to_string()));
        self
    }

    /// What one Application is answered, as often as it is asked for.
    pub(crate) fn says_of(&self, name: &str, status: u16, body: Value) -> &Self {
        self.standing.lock().unwrap().insert(format!("/applications/{name}"), (status, body));
        self
    }

    pub(crate) fn says_raw(&self, says: Says) {
        self.answers.lock().unwrap().push_back(says);
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.take().into_iter().map(|asked| asked.line).collect()
    }

    pub(crate) fn kind(&self) -> Arc<dyn AnyKind> {
        kind(&self.url)
    }
}

async fn answer(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    server.asked.lock().unwrap().push(Asked {
        line: format!("{method} {uri}"),
        content_type: header("content-type"),
        authorization: header("authorization"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    });
    let standing = server.standing.lock().unwrap();
    let standing =
        standing.iter().find(|(path, _)| uri.path().ends_with(*path)).map(|(_, says)| says.clone());
    let next = match standing {
        Some((status, body)) => Some(Says(status, None, body.to_string())),
        None => server.answers.lock().unwrap().pop_front(),
    };
    let Says(status, retry_after, body) = next.unwrap_or(Says(501, None, "nothing was ordered".to_owned()));
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.parse().unwrap());
    }
    response
}

pub(crate) fn settings(url: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        token: SecretString::from("the-token\n"),
        ca_pem: None,
        namespace: "argocd".to_owned(),
    }
}

pub(crate) fn kind(url: &str) -> Arc<dyn AnyKind> {
    ArgoCd::new(settings(url)).unwrap().kinds(&realm()).remove(0)
}

pub(crate) fn realm() -> Realm {
    Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new("core").unwrap() }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn id(text: &str) -> ResourceId {
    let kind = holdfast_core::ident::KindName::new("Application").unwrap();
    ResourceId { environment: realm().environment, kind, name: name(text) }
}

/// A manifest's spec, as the manifest layer hands it over.
pub(crate) fn wanted() -> Value {
    json!({ "metadata": { "labels": { "team": "media" } }, "spec": spec() })
}

pub(crate) fn spec() -> Value {
    json!({
        "project": "default",
        "destination": { "server": "https://kubernetes.default.svc", "namespace": "media" },
        "source": { "repoURL": "https://git.lan/infra", "path": "apps/media", "targetRevision": "main" },
        "syncPolicy": { "automated": {} },
    })
}

/// A live Application that is as wanted, synced and healthy, with this mark on it.
pub(crate) fn live(name: &str, mark: Option<&str>) -> Value {
    let mut object = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": name, "namespace": "argocd", "uid": format!("uid-{name}"), "resourceVersion": "7",
            "labels": { "team": "media" },
        },
        "spec": spec(),
        "status": {
            "sync": {
                "status": "Synced", "revision": "abc",
                "comparedTo": { "destination": spec()["destination"], "source": spec()["source"] },
            },
            "health": { "status": "Healthy" },
        },
    });
    if let Some(mark) = mark {
        object["metadata"]["annotations"] = json!({ "holdfast/mark": mark });
    }
    object
}

pub(crate) fn ours(name: &str) -> Value {
    live(name, Some(&format!("home/core/Application/{name}@argocd/{name}")))
}

pub(crate) fn list(items: &[Value], next: &str) -> Value {
    json!({ "kind": "ApplicationList", "metadata": { "continue": next, "resourceVersion": "9" }, "items": items })
}

pub(crate) fn status(message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message })
}

pub(crate) fn not_found(name: &str) -> Value {
    let mut status = status(&format!("applications.argoproj.io \"{name}\" not found"));
    status["reason"] = json!("NotFound");
    status
}
