//! The commits that must never leave the mirror: the last one that each environment converged to.

use std::collections::BTreeMap;

use gix::refs::transaction::PreviousValue;
use gix::{ObjectId, Repository};
use holdfast_core::ident::{CommitId, EnvironmentName};

use crate::read::ReadError;
use crate::store::KEPT;

/// Names a commit under the environment's reference.
pub(crate) fn name(repository: &Repository, environment: &EnvironmentName, id: ObjectId) -> gix::Result<()> {
    let name = format!("{KEPT}{environment}");
    repository.reference(name, id, PreviousValue::Any, "holdfast: converged").map(drop)
}

/// Keeps a commit that the mirror has.
pub(crate) fn keep(
    repository: &Repository,
    environment: &EnvironmentName,
    commit: &CommitId,
) -> Result<(), ReadError> {
    let id = crate::read::find(repository, commit)?;
    name(repository, environment, id).map_err(ReadError::damaged)
}

/// The commit that was kept last. `None` also where the mirror lost it.
pub(crate) fn kept(
    repository: &Repository,
    environment: &EnvironmentName,
) -> Result<Option<CommitId>, ReadError> {
    let name = format!("{KEPT}{environment}");
    let reference = repository.try_find_reference(&name).map_err(ReadError::damaged)?;
    let id = reference.and_then(|reference| reference.try_id().map(gix::Id::detach));
    Ok(id.filter(|id| repository.has_object(id)).and_then(|id| CommitId::new(id.to_hex().to_string()).ok()))
}

/// What is kept of all environments.
pub(crate) fn all(repository: &Repository) -> Result<BTreeMap<EnvironmentName, CommitId>, ReadError> {
    let mut all = BTreeMap::new();
    let references = repository.references().map_err(ReadError::damaged)?;
    for reference in references.prefixed(KEPT).map_err(ReadError::damaged)? {
        let reference = reference.map_err(|error| ReadError::Damaged(error.to_string()))?;
        let name = reference.name().as_bstr().to_string();
        let environment = name.strip_prefix(KEPT).and_then(|name| EnvironmentName::new(name).ok());
        if let Some(environment) = environment
            && let Some(commit) = kept(repository, &environment)?
        {
            all.insert(environment, commit);
        }
    }
    Ok(all)
}
