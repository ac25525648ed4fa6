//! One request and its answer: the token, encodings, time-outs, caps, and what an error says.

use std::time::Duration;

use holdfast_core::kind::chain;
use hyper::ext::ReasonPhrase;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::errors::{ApiError, Refused};
use super::{forms, tls};
use crate::settings::{Settings, SettingsError};

/// The server gives each of its own hops 30 s; what it says then is worth waiting for.
const TIMEOUT: Duration = Duration::from_secs(35);
const CONNECT: Duration = Duration::from_secs(5);
/// The server closes idle connections after 5 s: ours must be gone before.
const IDLE: Duration = Duration::from_secs(4);
/// A thousand guests in /cluster/resources take about half a mebibyte.
const MOST_BYTES: usize = 8 << 20;
/// Requests under way at once, over all kinds and environments.
const AT_ONCE: usize = 8;
/// What a server may make us wait.
const LONGEST_RETRY_AFTER: u64 = 300;

/// The pairs of a form or a query.
pub(crate) type Pairs<'a> = &'a [(&'a str, &'a str)];

pub(crate) struct Http {
    client: reqwest::Client,
    base: String,
    authorization: HeaderValue,
    places: Semaphore,
}

impl Http {
    pub(crate) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let base = settings.base()?;
        let builder = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT)
            .timeout(TIMEOUT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(AT_ONCE)
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")));
        let client = tls::trust(builder, settings, base.scheme() == "http")?
            .build()
            .map_err(|error| SettingsError::Client(chain(&error)))?;
        Ok(Self {
            client,
            base: format!("{}/api2/json", base.as_str().trim_end_matches('/')),
            authorization: settings.authorization()?,
            places: Semaphore::new(AT_ONCE),
        })
    }

    /// Reads `data`. Asked once more where the connection was being closed just then.
    pub(crate) async fn get(&self, path: &str, query: Pairs<'_>) -> Result<Value, ApiError> {
        Ok(self.get_whole(path, query, TIMEOUT).await?["data"].take())
    }

    /// As [`Http::get`], with an own limit: a guest agent that does not answer must not hold up a look.
    pub(crate) async fn get_within(
        &self,
        path: &str,
        query: Pairs<'_>,
        limit: Duration,
    ) -> Result<Value, ApiError> {
        Ok(self.get_whole(path, query, limit).await?["data"].take())
    }

    /// Reads the whole answer: logs have their `total` beside `data`.
    pub(crate) async fn get_whole(
        &self,
        path: &str,
        query: Pairs<'_>,
        limit: Duration,
    ) -> Result<Value, ApiError> {
        match self.send(Method::GET, path, query, limit).await {
            Err(error) if error.is_broken() => self.send(Method::GET, path, query, limit).await,
            result => result,
        }
    }

    /// Writes are never repeated here: whether a broken one was done is for the next look to tell.
    pub(crate) async fn post(&self, path: &str, form: Pairs<'_>) -> Result<Value, ApiError> {
        Ok(self.send(Method::POST, path, form, TIMEOUT).await?["data"].take())
    }

    pub(crate) async fn put(&self, path: &str, form: Pairs<'_>) -> Result<Value, ApiError> {
        Ok(self.send(Method::PUT, path, form, TIMEOUT).await?["data"].take())
    }

    /// A body on anything but POST and PUT is refused by the server, so its parameters go in the query.
    pub(crate) async fn delete(&self, path: &str, query: Pairs<'_>) -> Result<Value, ApiError> {
        Ok(self.send(Method::DELETE, path, query, TIMEOUT).await?["data"].take())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        pairs: Pairs<'_>,
        limit: Duration,
    ) -> Result<Value, ApiError> {
        // Every holder of a place has a time-out, so the wait is bounded too. Nothing closes the semaphore.
        let _place = self.places.acquire().await;
        let encoded = forms::encode(pairs.iter().copied());
        let has_body = matches!(method, Method::POST | Method::PUT);
        let mut url = format!("{}{path}", self.base);
        if !has_body && !encoded.is_empty() {
            url.push('?');
            url.push_str(&encoded);
        }
        let mut request =
            self.client.request(method, url).timeout(limit).header(AUTHORIZATION, self.authorization.clone());
        if has_body && encoded.is_empty() {
            // Said, since a proxy in between may insist on it.
            request = request.header(CONTENT_LENGTH, 0);
        } else if has_body {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(encoded);
        }
        let response = request.send().await.map_err(|error| failure(error, limit))?;
        answer(response, limit).await
    }
}

/// Reads an answer: JSON where it went well, whatever tells why where it did not.
async fn answer(mut response: Response, limit: Duration) -> Result<Value, ApiError> {
    let status = response.status().as_u16();
    let reason = response.extensions().get::<ReasonPhrase>().map_or_else(
        || response.status().canonical_reason().unwrap_or_default().to_owned(),
        |reason| String::from_utf8_lossy(reason.as_bytes()).into_owned(),
    );
    let retry_after = retry_after(&response);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(error, limit))? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(ApiError::TooLarge(MOST_BYTES));
        }
        body.extend_from_slice(&chunk);
    }
    if (200..300).contains(&status) {
        let read: Value =
            serde_json::from_slice(&body).map_err(|error| ApiError::Unreadable(error.to_string()))?;
        return if read.is_object() {
            Ok(read)
        } else {
            Err(ApiError::Unreadable("it is no object".to_owned()))
        };
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let errors = body["errors"].as_object().into_iter().flatten();
    Err(ApiError::Refused(Refused {
        status,
        message: body["message"]
            .as_str()
            .filter(|text| !text.trim().is_empty())
            .unwrap_or(&reason)
            .to_owned(),
        errors: errors.map(|(key, text)| (key.clone(), plain(text))).collect(),
        retry_after,
    }))
}

/// A JSON value as the text that it stands for; the API gives numbers and texts in turn.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Seconds alone: a date would need a clock, and the API sends neither by itself.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(text.trim().parse::<u64>().ok()?.min(LONGEST_RETRY_AFTER)))
}

/// Why nothing, or not all, was answered. The URL is left out: `doing` says it in words.
fn failure(error: reqwest::Error, limit: Duration) -> ApiError {
    let error = error.without_url();
    let text = chain(&error);
    if is_tls(&error) {
        ApiError::Untrusted(text)
    } else if error.is_connect() {
        ApiError::Unreachable(innermost(&error))
    } else if error.is_timeout() {
        ApiError::Timeout(limit)
    } else {
        ApiError::Broken(text)
    }
}

/// What the system itself said: a status has room for one line, and the layers above add nothing to it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Whether it was we who did not accept the server's certificate.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(rustls::Error::InvalidCertificate(_) | rustls::Error::General(_)) = tls_error(inner) {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// I/O errors carry others within that are not their sources, several deep.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<std::io::Error>() {
        Some(outer) => tls_error(outer.get_ref()?),
        None => error.downcast_ref(),
    }
}
