//! One fetch: the references in one round trip, then the objects that are missing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::protocol::transport::client::blocking_io::http::connect_http;
use gix::remote::{Direction, fetch, ref_map};
use gix::{Repository, bstr::BString};
use holdfast_core::ident::CommitId;

use crate::call::Call;
use crate::failure::{Failure, one_line};
use crate::http::Client;
use crate::mirror::Core;
use crate::process::{self, KeyFile};
use crate::settings::Access;
use crate::store;

/// All branches, so that any of them can be named; no tags, no pull requests.
const BRANCHES: &str = "+refs/heads/*:refs/heads/*";

/// With more packs than this a fresh clone is cheaper than every later look-up.
const MAX_PACKS: usize = 100;

impl Core {
    /// Brings the mirror up to date, or replaces it where it is damaged or has grown too many packs.
    pub(crate) fn refresh(&self, call: &Arc<Call>) -> Result<Option<CommitId>, Failure> {
        if self.is_damaged() && self.may_clone() {
            return self.clone_anew(call);
        }
        match self.update(&self.store.current(), call) {
            Err(Failure::Mirror(why)) if self.may_clone() => {
                tracing::warn!(why, "the mirror is damaged and is cloned anew");
                self.clone_anew(call)
            }
            Err(failure) => Err(failure),
            Ok((tip, packs)) => {
                if packs > MAX_PACKS
                    && self.may_clone()
                    && let Err(failure) = self.clone_anew(call)
                {
                    tracing::warn!(?failure, "the mirror has many packs and could not be cloned anew");
                }
                Ok(tip)
            }
        }
    }

    /// Fetches into a folder. Gives the newest commit of the watched branch, and the number of packs.
    pub(crate) fn update(
        &self,
        folder: &std::path::Path,
        call: &Arc<Call>,
    ) -> Result<(Option<CommitId>, usize), Failure> {
        let result = self.exchange(folder, call);
        let words = call.end_program();
        result.map_err(|failure| {
            let found = call.failure().or_else(|| process::of_words(&words));
            match (found, failure) {
                _ if call.interrupted.load(Ordering::SeqCst) => Failure::TimedOut,
                (Some(found), _) => found,
                (None, Failure::Answer(why)) => {
                    process::last_line(&words).map_or(Failure::Answer(why), Failure::Said)
                }
                (None, failure) => failure,
            }
        })
    }

    fn exchange(
        &self,
        folder: &std::path::Path,
        call: &Arc<Call>,
    ) -> Result<(Option<CommitId>, usize), Failure> {
        let answer = |error: gix::Error| Failure::Answer(one_line(&error));
        let mirror = |error: gix::Error| Failure::Mirror(one_line(&error));
        let repository = store::open_or_create(folder)?;
        // Lives as long as the program that reads it.
        let (transport, _key_file) = self.connect(call)?;
        let remote = repository
            .remote_at(self.remote.to_string())
            .and_then(|remote| remote.with_refspecs([BRANCHES], Direction::Fetch))
            .map_err(answer)?
            .with_fetch_tags(fetch::Tags::None);
        let mut connection = remote.to_connection_with_transport(transport);
        // Else gix would ask the helpers of the host's git, or a terminal.
        connection.set_credentials(|_action| Ok(None));
        connection.set_transport_options(Box::new(()));
        let prepared =
            connection.prepare_fetch(gix::progress::Discard, ref_map::Options::default()).map_err(answer)?;
        // Before the update: a new `a/b` has no place beside an `a` that is gone over there.
        let there = prepared.ref_map().mappings.iter().filter_map(|mapping| mapping.local.clone()).collect();
        prune(&repository, &there).map_err(mirror)?;
        prepared.receive(gix::progress::Discard, &call.interrupted).map_err(mirror)?;
        let tip = self.tip(&repository)?;
        self.note_branch(tip.is_none());
        Ok((tip, store::packs(&repository)))
    }

    /// A transport for one fetch. The old protocol: it lists the references in the first answer, which makes
    /// the poll of an unchanged repository one round trip; version 2 needs two.
    fn connect(&self, call: &Arc<Call>) -> Result<(Box<dyn Transport + Send>, Option<KeyFile>), Failure> {
        match &self.access {
            Access::Http { url, client, login } => {
                let client = Client { http: client.clone(), login: login.clone(), call: Arc::clone(call) };
                let url = gix::url::parse(url.as_str()).map_err(|error| Failure::Answer(one_line(&error)))?;
                Ok((Box::new(connect_http(client, url, Protocol::V1, false)), None))
            }
            Access::Ssh { ssh, key, known_hosts } => {
                let key = KeyFile::write(&self.store.private(), key)
                    .map_err(|error| Failure::Mirror(format!("writing the ssh key: {error}")))?;
                Ok((Box::new(process::ssh(ssh, key.path(), known_hosts, call)?), Some(key)))
            }
            Access::Local(path) => Ok((Box::new(process::local(path, call)?), None)),
        }
    }

    /// The newest commit of the watched branch, as the mirror has it.
    fn tip(&self, repository: &Repository) -> Result<Option<CommitId>, Failure> {
        let mirror = |error: gix::Error| Failure::Mirror(one_line(&error));
        let Some(reference) = repository.try_find_reference(self.reference.as_ref()).map_err(mirror)? else {
            return Ok(None);
        };
        let id = reference.try_id().map(gix::Id::detach);
        let id = id.ok_or_else(|| Failure::Mirror("a branch is a symbolic reference".to_owned()))?;
        let kind = repository.find_header(id).map_err(mirror)?.kind();
        if kind != gix::objs::Kind::Commit {
            return Err(Failure::Answer(format!("the branch names a {kind} instead of a commit")));
        }
        let id = CommitId::new(id.to_hex().to_string());
        id.map(Some).map_err(|_not_sha1| Failure::Answer("only SHA-1 repositories are read".to_owned()))
    }
}

/// Deletes the branches that are gone over there: gix does not.
fn prune(repository: &Repository, there: &BTreeSet<BString>) -> gix::Result<()> {
    for reference in repository.references()?.prefixed("refs/heads/")? {
        let reference = reference?;
        if !there.contains(reference.name().as_bstr()) {
            reference.delete()?;
        }
    }
    Ok(())
}
