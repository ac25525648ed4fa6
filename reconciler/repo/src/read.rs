//! Reading what the mirror has: is one commit an ancestor of another, and what a failed read means.

use std::sync::PoisonError;

use gix::revision::walk::Sorting;
use gix::traverse::commit::simple::CommitTimeOrder;
use gix::{ObjectId, Repository};
use holdfast_core::ident::CommitId;
use holdfast_core::kind::TargetError;

use crate::failure::{Failure, one_line};
use crate::mirror::Core;
use crate::store;

/// Why something could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// Nothing was fetched yet, or the mirror cannot be opened.
    NoMirror(String),
    /// The mirror has no such commit.
    NoCommit(CommitId),
    /// An object should be there and is not, or its bytes are not those of its name.
    Damaged(String),
    /// The commit itself is wrong: however often it is fetched, it stays so.
    Refused(String),
}

impl ReadError {
    pub(crate) fn damaged(error: impl Into<gix::Error>) -> Self {
        Self::Damaged(one_line(&error.into()))
    }
}

impl Core {
    /// Opens the mirror and reads. Meanwhile it is not replaced.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let _not_replaced = self.swapping.read().unwrap_or_else(PoisonError::into_inner);
        let repository = store::open(&self.store.current()).map_err(|failure| match failure {
            Failure::Mirror(why) => ReadError::NoMirror(why),
            other => ReadError::NoMirror(format!("{other:?}")),
        })?;
        work(&repository)
    }

    /// Turns a failed read into the engine's terms. A damaged mirror is cloned anew at the next fetch; what
    /// cannot be read even then is the commit's own fault.
    pub(crate) fn explain(&self, doing: &str, commit: Option<&CommitId>, error: ReadError) -> TargetError {
        match error {
            ReadError::NoMirror(why) => {
                TargetError::unavailable(doing, format!("there is no mirror of the repository yet: {why}"))
            }
            ReadError::NoCommit(commit) => TargetError::unavailable(doing, no_commit(&commit)),
            ReadError::Refused(why) => TargetError::rejected(doing, why),
            ReadError::Damaged(why) => {
                let mut health = self.health();
                if commit.is_some() && health.unreadable_before_clone.as_ref() == commit {
                    let help = "repair the repository with `git fsck` and push a commit that can be read";
                    return TargetError::rejected(
                        doing,
                        format!("a fresh clone cannot be read either ({why}): {help}"),
                    );
                }
                health.damaged = true;
                health.unreadable = commit.cloned();
                let then = "it is cloned anew at the next fetch";
                TargetError::unavailable(doing, format!("the mirror is damaged ({why}): {then}"))
            }
        }
    }
}

/// The object id of a commit that the mirror has.
pub(crate) fn find(repository: &Repository, commit: &CommitId) -> Result<ObjectId, ReadError> {
    let id = id(commit);
    if repository.has_object(id) { Ok(id) } else { Err(ReadError::NoCommit(commit.clone())) }
}

fn id(commit: &CommitId) -> ObjectId {
    ObjectId::from_hex(commit.as_str().as_bytes()).expect("a commit id is 40 hexadecimal digits")
}

/// The commit that a person means by a short id, a branch, or anything else that git would understand.
pub(crate) fn resolve(repository: &Repository, text: &str) -> Result<CommitId, ReadError> {
    let refused = |error: gix::Error| match one_line(&error) {
        why if why.contains("could not be found") => {
            ReadError::Refused("no branch and no commit is called so".to_owned())
        }
        why => ReadError::Refused(why),
    };
    let object = repository.rev_parse_single(text).and_then(|id| id.object()).map_err(refused)?;
    let commit = object.peel_to_commit().map_err(refused)?;
    CommitId::new(commit.id.to_hex().to_string()).map_err(|error| ReadError::Refused(error.to_string()))
}

fn no_commit(commit: &CommitId) -> String {
    format!("the mirror has no commit {}", commit.short())
}

/// The newest commits from `newest` on, itself first.
pub(crate) fn recent(
    repository: &Repository,
    newest: &CommitId,
    count: usize,
) -> Result<Vec<CommitId>, ReadError> {
    let mut recent = Vec::new();
    let walk = repository
        .rev_walk([find(repository, newest)?])
        .sorting(Sorting::ByCommitTime(CommitTimeOrder::NewestFirst))
        .all()
        .map_err(ReadError::damaged)?;
    for step in walk.take(count) {
        let id = step.map_err(ReadError::damaged)?.id;
        recent.extend(CommitId::new(id.to_hex().to_string()).ok());
    }
    Ok(recent)
}

/// Whether `old` is an ancestor of `new`, or `new` itself. The mirror is never shallow: a commit that it does
/// not have is in nobody's history, and nobody can tell what came before it.
pub(crate) fn descends(repository: &Repository, old: &CommitId, new: &CommitId) -> Result<bool, ReadError> {
    let new = find(repository, new).map_err(|error| match error {
        ReadError::NoCommit(commit) => ReadError::Refused(no_commit(&commit)),
        other => other,
    })?;
    let old = id(old);
    if !repository.has_object(old) {
        return Ok(false);
    }
    for step in repository.rev_walk([new]).all().map_err(ReadError::damaged)? {
        if step.map_err(ReadError::damaged)?.id == old {
            return Ok(true);
        }
    }
    Ok(false)
}
