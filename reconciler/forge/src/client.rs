//! Posting a commit's status and reading them back, over requests that are bounded and follow no redirect.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::ident::CommitId;
use holdfast_core::report::{Status, StatusState};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LINK};
use reqwest::{RequestBuilder, Response};
use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::dialect::{Dialect, Verdict};
use crate::error::PostError;
use crate::settings::{Settings, SettingsError};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a request may take, its answer included.
const REQUEST: Duration = Duration::from_secs(30);
/// The largest body that is read, in bytes: a page of a hundred statuses is about 200 KiB.
const MAX_BODY: usize = 4 << 20;
/// The most pages that are read: GitHub holds at most 1,000 statuses a context.
const MAX_PAGES: u32 = 40;
/// How all of our contexts begin.
const OURS: &str = "holdfast/";

/// One repository on one forge.
pub struct Forge {
    http: reqwest::Client,
    /// The repository's address in the API.
    repository: String,
    dialect: &'static dyn Dialect,
}

/// The body of a status, the same on all forges.
#[derive(Serialize)]
struct Posted<'a> {
    state: &'static str,
    context: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
}

/// A status as it is listed. GitHub calls the state `state`, the others call it `status`.
#[derive(Deserialize)]
pub(crate) struct Listed {
    #[serde(default)]
    id: u64,
    context: String,
    description: Option<String>,
    state: Option<StateText>,
    status: Option<StateText>,
}

/// A state, also one that we never post.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum StateText {
    Known(StatusState),
    Other(String),
}

impl Forge {
    /// Checks the settings; nothing is sent yet.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let repository = settings.repository_url()?;
        let dialect = settings.kind.dialect();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, settings.authorization()?);
        headers.insert(ACCEPT, HeaderValue::from_static(dialect.accept()));
        // No proxy: where the token goes is said by `url` alone, not by the environment.
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .https_only(repository.starts_with("https:"))
            .connect_timeout(CONNECT)
            .timeout(REQUEST);
        if let Some(pem) = settings.ca_pem {
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| SettingsError::Ca)?;
            if certificates.is_empty() {
                return Err(SettingsError::Ca);
            }
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder.build().map_err(SettingsError::Client)?;
        Ok(Self { http, repository, dialect })
    }

    /// Posts a status. Repeating an equal one is harmless.
    pub async fn post(
        &self,
        commit: &CommitId,
        context: &str,
        status: &Status,
        target_url: Option<&str>,
    ) -> Result<(), PostError> {
        let posted =
            Posted { state: status.state.as_str(), context, description: &status.description, target_url };
        let request = self.http.post(format!("{}/statuses/{commit}", self.repository)).json(&posted);
        let answer = match send(request).await? {
            Ok(_taken) => return Ok(()),
            Err(answer) => answer,
        };
        match self.dialect.judge(&answer) {
            Verdict::Is(error) => Err(error),
            Verdict::LookForCommit => Err(self.look_for(commit, &answer).await?),
        }
    }

    /// Our own statuses of a commit, the newest of each context. Anybody with write access can set any context:
    /// what is read back helps to tidy up, and decides nothing.
    pub async fn statuses(&self, commit: &CommitId) -> Result<Vec<(String, Status)>, PostError> {
        let (parameter, size) = self.dialect.page();
        let mut newest: BTreeMap<String, Listed> = BTreeMap::new();
        let mut seen = 0;
        for page in 1..=MAX_PAGES {
            let url = format!("{}/commits/{commit}/statuses?{parameter}={size}&page={page}", self.repository);
            let response = match send(self.http.get(url)).await? {
                Ok(response) => response,
                Err(answer) => {
                    return Err(match self.dialect.judge(&answer) {
                        Verdict::Is(error) => error,
                        Verdict::LookForCommit => answer.usual(self.dialect.scope()),
                    });
                }
            };
            let headers = response.headers().clone();
            let listed = list(response).await?;
            seen += listed.len();
            let is_last = listed.is_empty() || !has_more(&headers, seen);
            for status in listed.into_iter().filter(|status| status.context.starts_with(OURS)) {
                let is_newer = newest.get(&status.context).is_none_or(|known| known.id < status.id);
                if is_newer {
                    newest.insert(status.context.clone(), status);
                }
            }
            if is_last {
                return Ok(newest.into_values().filter_map(Listed::read).collect());
            }
        }
        Err(PostError::Unclear { why: format!("the commit has more than {MAX_PAGES} pages of statuses") })
    }

    /// Tells an unknown commit from a broken forge.
    async fn look_for(&self, commit: &CommitId, answer: &Answer) -> Result<PostError, PostError> {
        let url = format!("{}/{}/{commit}", self.repository, self.dialect.commits());
        Ok(match send(self.http.get(url)).await? {
            Err(looked) if looked.status == 404 => PostError::NoSuchCommit,
            Ok(_) | Err(_) => answer.usual(self.dialect.scope()),
        })
    }
}

impl Listed {
    /// `None` for a state that we never post.
    pub(crate) fn read(self) -> Option<(String, Status)> {
        match self.status.or(self.state) {
            Some(StateText::Known(state)) => {
                Some((self.context, Status::new(state, self.description.unwrap_or_default())))
            }
            Some(StateText::Other(state)) => {
                tracing::debug!(context = self.context, state, "somebody else set a status of ours");
                None
            }
            None => None,
        }
    }
}

/// Sends a request. A failure to do so says nothing about what the forge did with it.
async fn send(request: RequestBuilder) -> Result<Result<Response, Answer>, PostError> {
    let response = request.send().await.map_err(away)?;
    if response.status().is_success() {
        return Ok(Ok(response));
    }
    let (status, headers, url) =
        (response.status().as_u16(), response.headers().clone(), response.url().clone());
    // What cannot be read of a refusal only makes it less clear.
    let body = read(response).await.unwrap_or_default();
    Ok(Err(Answer { status, headers, url, body }))
}

/// Reads a body that is not larger than it should be.
async fn read(mut response: Response) -> Result<Vec<u8>, PostError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(PostError::Unclear { why: "the answer is too large to be read".to_owned() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn list(response: Response) -> Result<Vec<Listed>, PostError> {
    let body = read(response).await?;
    // Not the parser's text: it repeats what it found.
    let unreadable =
        |_| PostError::Unclear { why: "the list of statuses is not one: check `url`".to_owned() };
    serde_json::from_slice(&body).map_err(unreadable)
}

/// Whether there are more pages: `Link` says so, or the total does. A short page says nothing, since a forge may
/// hold fewer to a page than were asked for.
pub(crate) fn has_more(headers: &HeaderMap, seen: usize) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(link) = text(LINK.as_str()) {
        return link.contains("rel=\"next\"");
    }
    text("x-total-count").and_then(|total| total.parse().ok()).is_some_and(|total: usize| seen < total)
}

/// The request did not get an answer. The innermost cause says why.
fn away(error: reqwest::Error) -> PostError {
    let error = error.without_url();
    let why = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        holdfast_core::report::cut(&holdfast_core::kind::chain(&error), 200)
    };
    PostError::TryAgain { after: None, why }
}
