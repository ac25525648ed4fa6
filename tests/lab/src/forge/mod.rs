//! A simulated forge: commit statuses on Gitea, Forgejo and GitHub, each refusing what the real one refuses.

mod commits;
mod flavour;
mod routes;
mod statuses;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::Router;

pub use self::flavour::Flavour;
pub use self::statuses::Post;

use self::commits::Commits;
use crate::clock::Clock;
use crate::http::{Server, Wire};

/// What a token may do with a repository. Without a right the repository does not exist for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Read,
    /// May also post statuses.
    Write,
}

#[derive(Default)]
struct State {
    /// By `owner/name`.
    repositories: BTreeMap<String, Commits>,
    tokens: BTreeMap<String, BTreeMap<String, Right>>,
    posts: Vec<Post>,
    /// Requests, for the rate-limit headers.
    used: u64,
    limited_for: Option<u64>,
    clock: Clock,
}

impl State {
    fn resolve(&self, repository: &str, reference: &str) -> Option<String> {
        self.repositories.get(repository)?.resolve(reference)
    }

    fn of(&self, repository: &str, commit: &str) -> impl DoubleEndedIterator<Item = &Post> {
        self.posts.iter().filter(move |post| post.repository == repository && post.commit == commit)
    }
}

struct Shared {
    flavour: Flavour,
    /// The address, known once the port is.
    base: OnceLock<String>,
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running forge. Dropping it closes its port.
pub struct Forge {
    /// Counts and disturbs the requests.
    pub wire: Wire,
    server: Server,
    shared: Arc<Shared>,
}

impl Forge {
    /// Starts a forge without repositories on a free port.
    pub async fn start(flavour: Flavour) -> std::io::Result<Self> {
        Self::start_on(flavour, None).await
    }

    /// As [`Forge::start`], on a given port.
    pub async fn start_on(flavour: Flavour, port: Option<u16>) -> std::io::Result<Self> {
        let wire = Wire::default();
        let shared = Arc::new(Shared { flavour, base: OnceLock::new(), state: Mutex::default() });
        let router = Router::new().fallback(routes::serve).with_state(Arc::clone(&shared));
        let server = Server::start(router, &wire, port).await?;
        shared.base.get_or_init(|| server.url());
        Ok(Self { wire, server, shared })
    }

    /// The base address; clients of Gitea add `/api/v1` themselves.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Makes an empty repository, such as `me/infra`, if it is not there.
    pub fn add_repository(&self, repository: &str) {
        self.shared.lock().repositories.entry(repository.to_owned()).or_default();
    }

    /// Takes a repository away: 404 from then on.
    pub fn remove_repository(&self, repository: &str) {
        self.shared.lock().repositories.remove(repository);
    }

    /// Lets the repository know the commits of a bare git repository on disk; it is asked each time.
    pub fn serve_commits_of(&self, repository: &str, bare: impl Into<PathBuf>) {
        self.shared.lock().repositories.entry(repository.to_owned()).or_default().read_from(bare.into());
    }

    /// Lets the repository know a commit.
    pub fn add_commit(&self, repository: &str, commit: &str) {
        self.shared.lock().repositories.entry(repository.to_owned()).or_default().register(commit);
    }

    /// Gives a token a right on a repository.
    pub fn allow(&self, token: &str, repository: &str, right: Right) {
        let mut state = self.shared.lock();
        state.tokens.entry(token.to_owned()).or_default().insert(repository.to_owned(), right);
    }

    /// Takes a token back: 401 from then on.
    pub fn revoke(&self, token: &str) {
        self.shared.lock().tokens.remove(token);
    }

    /// Refuses everything with a rate limit and this `Retry-After` in seconds, until it is taken back by `None`.
    pub fn limit(&self, retry_after: Option<u64>) {
        self.shared.lock().limited_for = retry_after;
    }

    /// Every status that was accepted, in order.
    pub fn posts(&self) -> Vec<Post> {
        self.shared.lock().posts.clone()
    }

    /// The newest status of a commit and context, in any repository.
    pub fn latest(&self, commit: &str, context: &str) -> Option<Post> {
        let state = self.shared.lock();
        state.posts.iter().rev().find(|post| post.commit == commit && post.context == context).cloned()
    }

    /// Appends so many equal statuses, as a client did that posted without end.
    pub fn fill(&self, commit: &str, repository: &str, context: &str, count: usize) {
        let mut state = self.shared.lock();
        let created_at = state.clock.stamp();
        for _ in 0..count {
            let post = Post {
                id: u64::try_from(state.posts.len()).unwrap_or(u64::MAX).saturating_add(1),
                repository: repository.to_owned(),
                commit: commit.to_owned(),
                context: context.to_owned(),
                state: "pending".to_owned(),
                description: String::new(),
                target_url: String::new(),
                created_at: created_at.clone(),
            };
            state.posts.push(post);
        }
    }

    /// The clock of `created_at`.
    pub fn clock(&self) -> Clock {
        self.shared.lock().clock.clone()
    }
}
