//! A fresh clone in the mirror's place: for a damaged mirror, and for one with too many packs.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use gix::objs::{Kind, TreeRefIter};
use gix::{ObjectId, Repository};
use holdfast_core::ident::CommitId;
use tokio::time::Instant;

use crate::call::Call;
use crate::failure::{Failure, one_line};
use crate::mirror::Core;
use crate::store;

/// Clones are this far apart, so that a repository that cannot be mirrored is not downloaded at every poll.
const PAUSE: Duration = Duration::from_mins(10);

/// What is known of the mirror's health.
#[derive(Default)]
pub(crate) struct Health {
    /// A commit could not be read, though it should be there; or a read panicked.
    pub(crate) damaged: bool,
    /// The commit that could not be read last.
    pub(crate) unreadable: Option<CommitId>,
    /// The commit that could not be read before the last clone. If it still cannot, the clone is not to blame.
    pub(crate) unreadable_before_clone: Option<CommitId>,
    /// The watched branch was missing at the last fetch, and that was said.
    branch_missing: bool,
    last_clone: Option<Instant>,
}

impl Core {
    pub(crate) fn is_damaged(&self) -> bool {
        self.health().damaged
    }

    /// Whether the last clone is long enough ago.
    pub(crate) fn may_clone(&self) -> bool {
        self.health().last_clone.is_none_or(|last| last.elapsed() >= PAUSE)
    }

    /// Says once that the watched branch is missing: it is no failure, and still seldom what somebody meant.
    pub(crate) fn note_branch(&self, is_missing: bool) {
        let was_missing = std::mem::replace(&mut self.health().branch_missing, is_missing);
        if is_missing && !was_missing {
            let branch = self.reference.shorten().to_string();
            tracing::warn!(branch, "the repository has no such branch yet; push it, or correct `branch`");
        }
    }

    /// Clones into a fresh folder and puts it in the mirror's place, with everything that was kept.
    pub(crate) fn clone_anew(&self, call: &Arc<Call>) -> Result<Option<CommitId>, Failure> {
        self.health().last_clone = Some(Instant::now());
        let folder = |error: std::io::Error| Failure::Mirror(format!("replacing it: {error}"));
        store::remove_all(&self.store.next()).map_err(folder)?;
        let (tip, _packs) = self.update(&self.store.next(), call)?;
        {
            let _nobody_reads = self.swapping.write().unwrap_or_else(PoisonError::into_inner);
            self.carry_over_kept()?;
            self.store.swap().map_err(folder)?;
        }
        let mut health = self.health();
        health.damaged = false;
        health.unreadable_before_clone = health.unreadable.take();
        tracing::info!("the mirror was cloned anew");
        Ok(tip)
    }

    /// Names the kept commits in the fresh clone. One that is no longer in any branch is copied from the old
    /// mirror; where that cannot give it any more, it is lost, and said so.
    fn carry_over_kept(&self) -> Result<(), Failure> {
        let next = store::open(&self.store.next())?;
        let old = store::open(&self.store.current()).ok();
        for (environment, id) in store::kept_by_hand(&self.store.current()) {
            let copied = match &old {
                _ if next.has_object(id) => Ok(()),
                Some(old) => copy(old, &next, id),
                None => Err(gix::Error::from_error(std::io::Error::other("the old mirror cannot be opened"))),
            };
            let kept = copied.and_then(|()| crate::kept::name(&next, &environment, id));
            if let Err(error) = kept {
                let why = one_line(&error);
                tracing::warn!(%environment, commit = %id, why, "the last converged commit was lost with the mirror");
            }
        }
        Ok(())
    }
}

/// Copies an object and all that it needs, but for what is there already.
fn copy(from: &Repository, to: &Repository, id: ObjectId) -> gix::Result<()> {
    let mut missing = vec![id];
    while let Some(id) = missing.pop() {
        if to.has_object(id) {
            continue;
        }
        let object = from.find_object(id)?;
        match object.kind {
            Kind::Commit => {
                let commit = object.clone().try_into_commit()?;
                missing.push(commit.tree_id()?.detach());
                missing.extend(commit.parent_ids().map(gix::Id::detach));
            }
            Kind::Tree => {
                for entry in TreeRefIter::from_bytes(&object.data, gix::hash::Kind::Sha1) {
                    let entry = entry?;
                    // A submodule's commit belongs to another repository.
                    if !entry.mode.is_commit() {
                        missing.push(entry.oid.to_owned());
                    }
                }
            }
            Kind::Tag | Kind::Blob => {}
        }
        gix::objs::Write::write_buf(&to.objects, object.kind, &object.data)?;
    }
    Ok(())
}
