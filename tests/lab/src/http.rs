//! What all simulators share: a server on loopback that counts requests, and is slow or failing on demand.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::echo::{self, Encoding};

/// One request as it came in: what a test counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub uri: String,
}

impl Seen {
    /// Whether the request may change something, by its method.
    pub fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD" | "LIST" | "OPTIONS")
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The answer is this status, and nothing happened.
    Status(u16),
    /// Nothing happened, and the connection is cut without an answer.
    CutBefore,
    /// It happened, and the connection is cut without an answer.
    CutAfter,
    /// It happens as usual, but only after this time.
    Delay(Duration),
    /// The answer is this, and nothing happened: a 429 with `Retry-After`, a 200 with an empty list.
    Reply { status: u16, headers: &'static [(&'static str, &'static str)], body: &'static str },
    /// The answer is this status, with the credentials of the request in its text, and nothing happened.
    Echo { status: u16, encoding: Encoding },
}

type Matcher = Box<dyn Fn(&Seen) -> bool + Send>;
type Watcher = Box<dyn FnMut(&Seen, Moment) + Send>;

/// When a watcher is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

#[derive(Default)]
struct Inner {
    requests: Vec<Seen>,
    latency: Duration,
    faults: VecDeque<(Matcher, Fault)>,
    /// Those that are not used up.
    lasting: Vec<(Matcher, Fault)>,
    watcher: Option<Watcher>,
    echoes: Vec<String>,
}

/// The handle by which a test watches and disturbs one simulator.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<Inner>>);

impl Wire {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// All requests since the last [`Wire::reset`].
    pub fn requests(&self) -> Vec<Seen> {
        self.inner().requests.clone()
    }

    /// Those that may have changed something.
    pub fn writes(&self) -> Vec<Seen> {
        self.requests().into_iter().filter(Seen::is_write).collect()
    }

    /// Forgets the requests that were counted.
    pub fn reset(&self) {
        self.inner().requests.clear();
    }

    /// Lets every request take at least this long.
    pub fn set_latency(&self, latency: Duration) {
        self.inner().latency = latency;
    }

    /// Disturbs the next request that fits, once. Several are used in the order in which they were added.
    pub fn fail_next(&self, fits: impl Fn(&Seen) -> bool + Send + 'static, fault: Fault) {
        self.inner().faults.push_back((Box::new(fits), fault));
    }

    /// Disturbs every request that fits and that [`Wire::fail_next`] does not, until [`Wire::clear_faults`].
    pub fn fail_all(&self, fits: impl Fn(&Seen) -> bool + Send + 'static, fault: Fault) {
        self.inner().lasting.push((Box::new(fits), fault));
    }

    /// Takes back what [`Wire::fail_all`] ordered, and what [`Wire::fail_next`] did and was not used.
    pub fn clear_faults(&self) {
        let mut inner = self.inner();
        inner.faults.clear();
        inner.lasting.clear();
    }

    /// The texts of all answers that repeated credentials.
    pub fn echoes(&self) -> Vec<String> {
        self.inner().echoes.clone()
    }

    /// Calls `watcher` before and after every request, synchronously: what crash tests hang on.
    pub fn watch(&self, watcher: impl FnMut(&Seen, Moment) + Send + 'static) {
        self.inner().watcher = Some(Box::new(watcher));
    }

    fn begin(&self, seen: &Seen) -> (Duration, Option<Fault>) {
        let mut inner = self.inner();
        inner.requests.push(seen.clone());
        let at = inner.faults.iter().position(|(fits, _)| fits(seen));
        let once = at.and_then(|at| inner.faults.remove(at)).map(|(_, fault)| fault);
        let lasting = || inner.lasting.iter().find(|(fits, _)| fits(seen)).map(|(_, fault)| *fault);
        (inner.latency, once.or_else(lasting))
    }

    fn notify(&self, seen: &Seen, moment: Moment) {
        if let Some(watcher) = &mut self.inner().watcher {
            watcher(seen, moment);
        }
    }
}

/// A running simulator's server. Dropping it closes the port and cuts every open connection.
pub struct Server {
    pub address: std::net::SocketAddr,
    task: tokio::task::JoinHandle<()>,
    connections: Connections,
}

impl Server {
    /// Serves `router` on a free loopback port, or on the given one.
    pub async fn start(router: Router, wire: &Wire, port: Option<u16>) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.unwrap_or(0))).await?;
        let address = listener.local_addr()?;
        let router = router.layer(axum::middleware::from_fn_with_state(wire.clone(), disturb));
        let connections = Connections::default();
        let listener = Tracked { listener, connections: connections.clone() };
        let task = tokio::spawn(async move {
            // Ends only when the listener breaks; the requests of a broken listener fail visibly.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { address, task, connections })
    }

    /// Cuts every open connection; new ones are taken as before.
    pub fn cut_connections(&self) {
        self.connections.cut();
    }

    /// The base address, such as `http://127.0.0.1:34567`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        self.connections.cut();
    }
}

/// The open connections. A handle lives as long as its connection, so that holding it keeps nothing open.
#[derive(Clone, Default)]
struct Connections(Arc<Mutex<Vec<Weak<std::net::TcpStream>>>>);

impl Connections {
    fn add(&self, stream: &Arc<std::net::TcpStream>) {
        let mut open = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        open.retain(|known| known.strong_count() > 0);
        open.push(Arc::downgrade(stream));
    }

    fn cut(&self) {
        let mut open = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for stream in open.drain(..).filter_map(|known| known.upgrade()) {
            // Fails only where the other side was faster.
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }
}

/// A listener that remembers the connections it gave out.
struct Tracked {
    listener: tokio::net::TcpListener,
    connections: Connections,
}

impl axum::serve::Listener for Tracked {
    type Io = Connection;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Connection, std::net::SocketAddr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
            let split = || {
                let stream = stream.into_std()?;
                let handle = Arc::new(stream.try_clone()?);
                Ok::<_, std::io::Error>((tokio::net::TcpStream::from_std(stream)?, handle))
            };
            if let Ok((stream, handle)) = split() {
                self.connections.add(&handle);
                return (Connection { stream, _handle: handle }, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection and the handle by which it can be cut.
struct Connection {
    stream: tokio::net::TcpStream,
    _handle: Arc<std::net::TcpStream>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

async fn disturb(State(wire): State<Wire>, request: Request, next: Next) -> Response {
    let seen = Seen {
        method: Method::as_str(request.method()).to_owned(),
        uri: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
    };
    let (latency, fault) = wire.begin(&seen);
    tokio::time::sleep(latency).await;
    wire.notify(&seen, Moment::Before);
    let response = match fault {
        Some(Fault::Status(code)) => {
            StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Some(Fault::CutBefore) => cut(),
        Some(Fault::CutAfter) => {
            drop(next.run(request).await);
            cut()
        }
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            next.run(request).await
        }
        Some(Fault::Reply { status, headers, body }) => {
            let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (code, axum::response::AppendHeaders(headers.iter().copied()), body).into_response()
        }
        Some(Fault::Echo { status, encoding }) => {
            let (response, text) = echo::answer(request, status, encoding).await;
            wire.inner().echoes.push(text);
            response
        }
        None => next.run(request).await,
    };
    wire.notify(&seen, Moment::After);
    response
}

/// An answer whose body breaks before its first byte, so that the connection is reset.
fn cut() -> Response {
    let broken = futures_util::stream::once(async { Err::<Vec<u8>, _>(std::io::Error::other("cut")) });
    Response::new(axum::body::Body::from_stream(broken))
}
