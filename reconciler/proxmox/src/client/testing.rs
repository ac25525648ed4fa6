//! A server on loopback that speaks just enough HTTP for tests: it answers what a function says, and behaves
//! towards connections as the real one does (kept alive, closed after every error).

use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Client;
use crate::settings::Settings;

/// One request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, without `/api2/json`.
    pub(crate) target: String,
    /// The other lines of the head, in lower case up to the colon.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A field of the form, decoded once.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.body.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let value = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
            (key == name).then(|| value.into_owned())
        })
    }
}

/// What the server does.
pub(crate) enum Reply {
    /// 200 with `data`.
    Data(Value),
    /// A status with its reason phrase and a body.
    Status(u16, &'static str, Value),
    /// These very bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// The end of the connection, without an answer.
    Cut,
}

/// An error as newer servers give it, with the text in the body too.
pub(crate) fn died(text: &str) -> Reply {
    Reply::Status(500, "died", json!({ "data": null, "message": format!("{text}\n") }))
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server. Dropping it closes the port.
pub(crate) struct Fake {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(answer);
        let log = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                tokio::spawn(async move {
                    // A connection that the other side ends is the end of it.
                    drop(serve(stream, &*answer, &log).await);
                });
            }
        });
        Self { url, requests, task }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&settings(&self.url)).unwrap()
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The request lines since the last call.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.drain(..).map(|request| request.line()).collect()
    }
}

/// Settings for a server on loopback.
pub(crate) fn settings(url: &str) -> Settings {
    // Another test may have been first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    Settings {
        url: url.to_owned(),
        token_id: "holdfast@pve!main".to_owned(),
        token: SecretString::from("0f9c2b1e"),
        ca_pem: None,
        fingerprints: Vec::new(),
    }
}

async fn serve(mut stream: TcpStream, answer: &Answer, log: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let (status, reason, body) = match answer(&request) {
            Reply::Data(data) => (200, "OK", json!({ "data": data })),
            Reply::Status(status, reason, body) => (status, reason, body),
            Reply::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
            Reply::Cut => return stream.shutdown().await,
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let close = if status >= 400 { "Connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\n{close}\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        if status >= 400 {
            return stream.shutdown().await;
        }
    }
    Ok(())
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let request = parse(&head);
            let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let body = String::from_utf8_lossy(&buffer[end + 4..end + 4 + length]).into_owned();
                buffer.drain(..end + 4 + length);
                return Ok(Some(Request { body, ..request }));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(head: &str) -> Request {
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let target = target.strip_prefix("/api2/json").unwrap_or(target).to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Request { method, target, headers, body: String::new() }
}
