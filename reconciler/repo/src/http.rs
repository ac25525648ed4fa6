//! git's smart protocol over http(s): one request an exchange, no redirects, every wait and body bounded.

use std::io::{BufRead, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse,
};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};

use crate::call::Call;
use crate::failure::Failure;

/// How long a connection may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(15);
/// How long a server may say nothing.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);
/// The most that one answer may hold: far more than a homelab's history, far less than a disk.
const MAX_ANSWER: u64 = 2 << 30;
/// The most that the list of references may hold.
const MAX_REFERENCES: u64 = 64 << 20;

/// Who we are at the server. It is sent with the first request, which saves the one that would be refused.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: SecretString,
}

/// What gix sends its requests through.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) login: Option<Login>,
    pub(crate) call: Arc<Call>,
}

impl Client {
    fn exchange<H: AsRef<str>>(
        &self,
        mut request: reqwest::RequestBuilder,
        headers: impl IntoIterator<Item = H>,
        limit: u64,
    ) -> Shared {
        for line in headers {
            if let Some((name, value)) = line.as_ref().split_once(':') {
                request = request.header(name, value.trim());
            }
        }
        if let Some(login) = &self.login {
            request = request.basic_auth(&login.username, Some(login.password.expose_secret()));
        }
        Shared(Arc::new(Mutex::new(Exchange {
            call: Arc::clone(&self.call),
            unsent: Some(request),
            post: Vec::new(),
            has_login: self.login.is_some(),
            response: None,
            left: limit,
            limit,
        })))
    }
}

impl Http for Client {
    type Headers = Part;
    type ResponseBody = Part;
    type PostBody = Post;

    fn get(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Part, Part>> {
        let exchange = self.exchange(self.http.get(url), headers, MAX_REFERENCES);
        Ok(GetResponse { headers: Part::headers(&exchange), body: Part::body(&exchange) })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _kind: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Part, Part, Post>> {
        let exchange = self.exchange(self.http.post(url), headers, MAX_ANSWER);
        Ok(PostResponse {
            headers: Part::headers(&exchange),
            body: Part::body(&exchange),
            post_body: Post(exchange),
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::Result<()> {
        // gix's options are the host's git configuration, which has no say here.
        Ok(())
    }
}

/// One request and its answer. It is sent when the first byte of the answer is wanted.
struct Exchange {
    call: Arc<Call>,
    unsent: Option<reqwest::RequestBuilder>,
    post: Vec<u8>,
    has_login: bool,
    response: Option<reqwest::Response>,
    left: u64,
    limit: u64,
}

impl Exchange {
    fn send(&mut self) -> std::io::Result<()> {
        let Some(request) = self.unsent.take() else { return Ok(()) };
        let post = std::mem::take(&mut self.post);
        let request = if post.is_empty() { request } else { request.body(post) };
        let response = match self.call.wait(request.send()) {
            None => return Err(self.call.fail(Failure::TimedOut)),
            Some(Err(error)) => return Err(self.call.fail(of_reqwest(error))),
            Some(Ok(response)) => response,
        };
        if let Some(failure) = of_answer(&response, self.has_login) {
            return Err(self.call.fail(failure));
        }
        self.response = Some(response);
        Ok(())
    }

    /// The answer's headers, a line each, as gix reads them.
    fn headers(&mut self) -> std::io::Result<Vec<u8>> {
        self.send()?;
        let mut text = Vec::new();
        for (name, value) in self.response.iter().flat_map(reqwest::Response::headers) {
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b':');
            text.extend_from_slice(value.as_bytes());
            text.push(b'\n');
        }
        Ok(text)
    }

    /// The next piece of the body; empty at its end.
    fn chunk(&mut self) -> std::io::Result<Vec<u8>> {
        self.send()?;
        let Some(response) = &mut self.response else { return Ok(Vec::new()) };
        let chunk = match self.call.wait(response.chunk()) {
            None => return Err(self.call.fail(Failure::TimedOut)),
            Some(Err(error)) => return Err(self.call.fail(of_reqwest(error))),
            Some(Ok(chunk)) => chunk.map(Vec::from).unwrap_or_default(),
        };
        match self.left.checked_sub(chunk.len() as u64) {
            Some(left) => self.left = left,
            None => return Err(self.call.fail(Failure::TooLarge { limit: self.limit })),
        }
        Ok(chunk)
    }
}

/// An exchange, as its three ends share it: gix writes to one and reads from two, one after the other.
#[derive(Clone)]
struct Shared(Arc<Mutex<Exchange>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that the request's body is written to.
pub(crate) struct Post(Shared);

impl Write for Post {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().post.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An end that the headers or the body are read from.
pub(crate) struct Part {
    exchange: Shared,
    is_body: bool,
    ended: bool,
    buffer: Vec<u8>,
    at: usize,
}

impl Part {
    fn headers(exchange: &Shared) -> Self {
        Self { exchange: exchange.clone(), is_body: false, ended: false, buffer: Vec::new(), at: 0 }
    }

    fn body(exchange: &Shared) -> Self {
        Self { is_body: true, ..Self::headers(exchange) }
    }
}

impl BufRead for Part {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.at == self.buffer.len() && !self.ended {
            let mut exchange = self.exchange.lock();
            self.buffer = if self.is_body { exchange.chunk()? } else { exchange.headers()? };
            self.at = 0;
            self.ended = self.buffer.is_empty() || !self.is_body;
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.buffer.len());
    }
}

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

fn of_answer(response: &reqwest::Response, sent: bool) -> Option<Failure> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    match response.status() {
        status if status.is_success() => {
            let is_git = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/x-git-"));
            (!is_git).then_some(Failure::NotGit)
        }
        status if status.is_redirection() => {
            let to = header(LOCATION).and_then(|to| response.url().join(to).ok());
            let to = to.map(|to| holdfast_core::report::cut(&to.origin().ascii_serialization(), 100));
            Some(Failure::Redirect { to })
        }
        StatusCode::UNAUTHORIZED => Some(Failure::Unauthorized { sent }),
        StatusCode::FORBIDDEN => Some(Failure::Forbidden),
        StatusCode::NOT_FOUND | StatusCode::GONE => Some(Failure::NotFound),
        status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
            let seconds = header(RETRY_AFTER).and_then(|text| text.parse().ok());
            let retry_after = seconds.map(|seconds: u64| Duration::from_secs(seconds.min(3600)));
            Some(Failure::Busy { status: status.as_u16(), retry_after })
        }
        status => Some(Failure::Status(status.as_u16())),
    }
}

fn of_reqwest(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    let mut innermost = error.to_string();
    while let Some(current) = cause {
        if let Some(tls) = tls_error(current) {
            return Failure::Tls(tls.to_string());
        }
        innermost = current.to_string();
        cause = current.source();
    }
    if error.is_timeout() { Failure::TimedOut } else { Failure::Unreachable(innermost) }
}

/// An I/O error hides the error that it was made of from the chain of sources.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref::<rustls::Error>().or_else(|| {
        let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
        tls_error(inner)
    })
}
