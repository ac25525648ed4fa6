//! A server on loopback that answers as told and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use holdfast_core::ident::CommitId;
use holdfast_forge::{Forge, ForgeKind, Settings};
use secrecy::SecretString;
use tokio::net::TcpListener;

/// One answer: a status, headers, a body.
pub(crate) type Reply = (u16, Vec<(&'static str, String)>, String);

/// One request: method, path and query, headers, body.
pub(crate) type Asked = (String, String, HeaderMap, String);

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    asked: Vec<Asked>,
}

pub(crate) struct Server {
    script: Arc<Mutex<Script>>,
    pub(crate) url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers with the replies in their order, and then with 599.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let script = Script { replies: replies.into_iter().collect(), asked: Vec::new() };
        let script = Arc::new(Mutex::new(script));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { script, url, task }
    }

    pub(crate) fn forge(&self, kind: ForgeKind) -> Forge {
        forge(kind, &self.url)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }

    /// Method and path of each request.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|(method, path, ..)| format!("{method} {path}")).collect()
    }
}

pub(crate) fn forge(kind: ForgeKind, url: &str) -> Forge {
    // As the binary does it first thing; later calls find it done.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let token = SecretString::from("hunter2");
    let settings =
        Settings { kind, url: url.to_owned(), repository: "me/infra".to_owned(), token, ca_pem: None };
    Forge::new(settings).unwrap()
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let mut script = script.lock().unwrap();
    script.asked.push((
        parts.method.to_string(),
        parts.uri.to_string(),
        parts.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    ));
    let (status, headers, body) = script.replies.pop_front().unwrap_or((599, Vec::new(), String::new()));
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

pub(crate) fn reply(status: u16, body: &str) -> Reply {
    (status, Vec::new(), body.to_owned())
}

pub(crate) fn commit() -> CommitId {
    CommitId::new("4f2c91b07a4f2c91b07a4f2c91b07a4f2c91b07a").unwrap()
}
