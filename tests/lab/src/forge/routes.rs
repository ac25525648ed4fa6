//! From a request to an answer: token, repository, right, then the path.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State as Handle};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::flavour::Flavour;
use super::statuses::{Post, newest};
use super::{Right, Shared, State};

const MAX_BODY: usize = 1024 * 1024;

/// An answer before it is put on the wire.
struct Reply {
    code: u16,
    body: Value,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    fn new(code: u16, body: Value) -> Self {
        Self { code, body, headers: Vec::new() }
    }
}

type Answer = Result<Reply, Reply>;

pub(super) async fn serve(Handle(shared): Handle<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = axum::extract::Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri);
    let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let flavour = shared.flavour;
    let reply = match axum::body::to_bytes(body, MAX_BODY).await {
        Ok(bytes) => {
            let call = Call {
                flavour,
                base: shared.base.get().map_or("", String::as_str),
                method: parts.method.clone(),
                path: parts.uri.path(),
                query: query.map(|axum::extract::Query(pairs)| pairs).unwrap_or_default(),
                token: authorization.and_then(token),
                body: &bytes,
            };
            call.answer(&mut shared.lock())
        }
        Err(_) => Err(Reply::new(413, json!({ "message": "Request Entity Too Large" }))),
    };
    let reply = reply.unwrap_or_else(|refusal| refusal);
    respond(flavour, &reply, &shared)
}

/// `token …` and `Bearer …` are both taken.
fn token(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer")).then_some(token.trim())
}

fn respond(flavour: Flavour, reply: &Reply, shared: &Shared) -> Response {
    let code = StatusCode::from_u16(reply.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (code, format!("{}\n", reply.body)).into_response();
    let headers = response.headers_mut();
    let json = "application/json; charset=utf-8";
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(json));
    let mut add = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    };
    match flavour {
        Flavour::GitHub => {
            let state = shared.lock();
            add("x-ratelimit-limit", "5000");
            add("x-ratelimit-used", &state.used.to_string());
            add("x-ratelimit-remaining", &5000_u64.saturating_sub(state.used).to_string());
            add("x-ratelimit-reset", &(state.clock.now().as_second() + 3600).to_string());
            add("x-ratelimit-resource", "core");
        }
        Flavour::Forgejo => add("x-forgejo-version", "11.0.3"),
        Flavour::Gitea => {}
    }
    for (name, value) in &reply.headers {
        add(name, value);
    }
    response
}

struct Call<'a> {
    flavour: Flavour,
    base: &'a str,
    method: Method,
    path: &'a str,
    query: BTreeMap<String, String>,
    token: Option<&'a str>,
    body: &'a [u8],
}

impl Call<'_> {
    fn answer(&self, state: &mut State) -> Answer {
        state.used += 1;
        if let Some(seconds) = state.limited_for {
            return Err(self.limited(seconds));
        }
        let rights = match self.token {
            Some(token) => {
                let known = state.tokens.get(token);
                Some(known.ok_or_else(|| Reply::new(401, self.flavour.unauthorized()))?.clone())
            }
            None => None,
        };
        let not_found = || Reply::new(404, self.flavour.not_found());
        let path = self.path.strip_prefix(self.flavour.prefix()).ok_or_else(not_found)?;
        let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let ["repos", owner, name, rest @ ..] = parts.as_slice() else { return Err(not_found()) };
        let repository = format!("{owner}/{name}");
        let right = rights.as_ref().and_then(|rights| rights.get(&repository)).copied();
        if !state.repositories.contains_key(&repository) || right.is_none() {
            // What one may not see does not exist. Gitea asks the anonymous to sign in.
            return Err(match self.token {
                None if !self.flavour.is_github() => Reply::new(
                    401,
                    json!({ "message": "token is required", "url": "http://127.0.0.1/api/swagger" }),
                ),
                _ => not_found(),
            });
        }
        match (&self.method, rest) {
            (&Method::GET, []) => Ok(Reply::new(200, self.repository(&repository, right))),
            (&Method::POST, ["statuses", sha]) => self.post(state, &repository, right, sha),
            (&Method::GET, ["statuses", reference] | ["commits", reference, "statuses"]) => {
                self.list(state, &repository, reference)
            }
            (&Method::GET, ["commits", reference, "status"]) => self.combined(state, &repository, reference),
            (&Method::GET, ["git", "commits", reference]) if !self.flavour.is_github() => {
                self.commit(state, &repository, reference)
            }
            (&Method::GET, ["commits", reference]) if self.flavour.is_github() => {
                self.commit(state, &repository, reference)
            }
            (_, ["statuses", _]) => Err(Reply::new(405, json!({ "message": "Method Not Allowed" }))),
            _ => Err(not_found()),
        }
    }

    fn limited(&self, seconds: u64) -> Reply {
        let message = if self.flavour.is_github() {
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        } else {
            "Too Many Requests"
        };
        let code = if self.flavour.is_github() { 403 } else { 429 };
        let mut reply = Reply::new(code, json!({ "message": message }));
        reply.headers.push(("retry-after", seconds.to_string()));
        reply
    }

    fn repository(&self, repository: &str, right: Option<Right>) -> Value {
        let (owner, name) = repository.split_once('/').unwrap_or_default();
        let push = right == Some(Right::Write);
        json!({
            "id": 1, "name": name, "full_name": repository, "owner": { "id": 1, "login": owner },
            "private": true, "fork": false, "empty": false, "default_branch": "main",
            "clone_url": format!("{}/{repository}.git", self.base), "html_url": format!("{}/{repository}", self.base),
            "permissions": { "admin": false, "push": push, "pull": true },
        })
    }

    fn post(&self, state: &mut State, repository: &str, right: Option<Right>, sha: &str) -> Answer {
        if right != Some(Right::Write) {
            return Err(Reply::new(403, self.flavour.forbidden()));
        }
        let body: Value = serde_json::from_slice(self.body).map_err(|error| {
            let (code, message) = if self.flavour.is_github() {
                (400, "Problems parsing JSON".to_owned())
            } else {
                (422, error.to_string())
            };
            Reply::new(code, json!({ "message": message }))
        })?;
        let Some(commit) = state.resolve(repository, sha).filter(|commit| commit == sha) else {
            return Err(self.unknown_commit(sha));
        };
        let held = |context: &str| {
            let same = |post: &&Post| {
                post.repository == repository
                    && post.commit == commit
                    && post.context.to_lowercase() == context
            };
            state.posts.iter().filter(same).count()
        };
        let (status, target_url, description, context) =
            Post::read(self.flavour, &body, held).map_err(|(code, body)| Reply::new(code, body))?;
        let post = Post {
            id: u64::try_from(state.posts.len()).unwrap_or(u64::MAX).saturating_add(1),
            repository: repository.to_owned(),
            commit,
            context,
            state: status,
            description,
            target_url,
            created_at: state.clock.stamp(),
        };
        let reply = Reply::new(201, post.shown(self.flavour, self.base));
        state.posts.push(post);
        Ok(reply)
    }

    fn unknown_commit(&self, sha: &str) -> Reply {
        if self.flavour.is_github() {
            return Reply::new(
                422,
                json!({
                    "message": format!("No commit found for SHA: {sha}"), "status": "422",
                    "documentation_url": "https://docs.github.com/rest/commits/statuses#create-a-commit-status",
                }),
            );
        }
        let message = format!("object does not exist [id: {sha}, rel_path: ]");
        Reply::new(500, json!({ "message": message, "url": "http://127.0.0.1/api/swagger" }))
    }

    fn commit(&self, state: &State, repository: &str, reference: &str) -> Answer {
        let Some(commit) = state.resolve(repository, reference) else {
            return Err(if self.flavour.is_github() {
                self.unknown_commit(reference)
            } else {
                Reply::new(404, self.flavour.not_found())
            });
        };
        let url = format!("{}{}/repos/{repository}/commits/{commit}", self.base, self.flavour.prefix());
        Ok(Reply::new(200, json!({ "sha": commit, "url": url, "commit": { "message": "" }, "parents": [] })))
    }

    fn resolved(&self, state: &State, repository: &str, reference: &str) -> Result<String, Reply> {
        state.resolve(repository, reference).ok_or_else(|| {
            if self.flavour.is_github() {
                self.unknown_commit(reference)
            } else {
                Reply::new(404, self.flavour.not_found())
            }
        })
    }

    fn list(&self, state: &State, repository: &str, reference: &str) -> Answer {
        let commit = self.resolved(state, repository, reference)?;
        let posts: Vec<&Post> = state.of(repository, &commit).rev().collect();
        Ok(self.page(&posts, |post| post.shown(self.flavour, self.base), |items| json!(items)))
    }

    fn combined(&self, state: &State, repository: &str, reference: &str) -> Answer {
        let commit = self.resolved(state, repository, reference)?;
        let newest = newest(state.of(repository, &commit), self.flavour);
        let states: Vec<&str> = newest.iter().map(|post| post.state.as_str()).collect();
        let state_of_all = self.flavour.combine(&states);
        let total = newest.len();
        Ok(self.page(
            &newest,
            |post| post.shown(self.flavour, self.base),
            |items| {
                json!({
                    "state": state_of_all, "sha": commit, "total_count": total, "statuses": items,
                    "repository": { "full_name": repository },
                })
            },
        ))
    }

    /// One page, with the links to the others.
    fn page(
        &self,
        all: &[&Post],
        show: impl Fn(&Post) -> Value,
        wrap: impl Fn(Vec<Value>) -> Value,
    ) -> Reply {
        let (most, usual) = self.flavour.pages();
        let number = |name: &str| self.query.get(name).and_then(|text| text.parse::<usize>().ok());
        let parameter = self.flavour.size_parameter();
        let size = number(parameter).filter(|size| *size > 0).map_or(usual, |size| size.min(most));
        let page = number("page").unwrap_or(1).max(1);
        let last = all.len().div_ceil(size).max(1);
        let items = all.iter().skip((page - 1) * size).take(size).map(|post| show(post)).collect();
        let mut reply = Reply::new(200, wrap(items));
        let link = |page: usize, rel: &str| {
            format!("<{}{}?{parameter}={size}&page={page}>; rel=\"{rel}\"", self.base, self.path)
        };
        let mut links = Vec::new();
        if page < last {
            links.extend([link(page + 1, "next"), link(last, "last")]);
        }
        if page > 1 {
            links.extend([link(1, "first"), link(page - 1, "prev")]);
        }
        if !links.is_empty() {
            reply.headers.push(("link", links.join(", ")));
        }
        if !self.flavour.is_github() {
            reply.headers.push(("x-total-count", all.len().to_string()));
        }
        reply
    }
}
