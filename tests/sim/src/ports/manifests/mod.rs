//! Manifests without files: a tree names a typed site by its number. And sites as real files, for the few seeds that
//! go all the way.

mod render;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_core::desired::Site;
use holdfast_core::ident::SiteName;
use holdfast_core::kind::BoxFuture;
use holdfast_core::manifest::{self, Tree, Validators};
use holdfast_core::plan::Kinds;
use holdfast_engine::ports::{Manifests, Refused};

pub use render::render;

/// The file by which a tree names what a commit holds. No real commit has it.
const FILE: &str = "payload";

/// What a commit holds.
#[derive(Clone)]
pub enum Payload {
    /// A site, read and checked already.
    Site(Arc<Site>),
    /// Real files, read and checked as the service does.
    Files(Arc<Tree>),
    /// It is invalid.
    Refused(Refused),
    /// Reading it panics.
    Poison,
    /// Reading it does not end.
    Hangs,
    /// Reading it takes the process with it.
    Kills,
    /// The repository itself cannot give its files: too large, malformed.
    Unreadable(String),
}

/// What all commits of a world hold, by number.
#[derive(Clone, Default)]
pub struct Catalogue(Arc<Mutex<Vec<Payload>>>);

impl Catalogue {
    fn payloads(&self) -> MutexGuard<'_, Vec<Payload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a commit may hold, and gives its number.
    pub fn add(&self, payload: Payload) -> usize {
        let mut payloads = self.payloads();
        payloads.push(payload);
        payloads.len() - 1
    }

    pub fn get(&self, number: usize) -> Option<Payload> {
        self.payloads().get(number).cloned()
    }

    /// The files of a commit.
    ///
    /// # Errors
    /// Why the repository cannot give them.
    pub fn tree(&self, number: usize) -> Result<Tree, String> {
        match self.get(number) {
            Some(Payload::Files(tree)) => Ok(Tree::clone(&tree)),
            Some(Payload::Unreadable(why)) => Err(why),
            _ => {
                let mut tree = Tree::default();
                tree.files.insert(FILE.to_owned(), number.to_string().into_bytes());
                Ok(tree)
            }
        }
    }

    /// What a tree of [`Catalogue::tree`] names; `None` for one of real files.
    fn named(&self, tree: &Tree) -> Option<Payload> {
        let text = std::str::from_utf8(tree.files.get(FILE)?).ok()?;
        self.get(text.parse().ok()?)
    }
}

/// What real files are read with. Making it costs a second, so that all seeds share one.
pub struct Checker {
    pub site: SiteName,
    pub kinds: Kinds,
    pub validators: Validators,
}

impl Checker {
    /// The kinds of all targets, as the service has them.
    pub fn new(site: SiteName) -> Self {
        let kinds: Kinds = [
            holdfast_proxmox::kinds(),
            holdfast_host::kinds(),
            holdfast_vault::kinds(),
            holdfast_argocd::kinds(),
        ]
        .into_iter()
        .flatten()
        .map(|kind| (kind.name.clone(), kind))
        .collect();
        let validators = Validators::new(&kinds);
        Self { site, kinds, validators }
    }

    /// Reads and checks files, as the service does.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn read(&self, tree: &Tree) -> Result<Site, Refused> {
        let checked = manifest::read(tree, &self.kinds, &self.validators)
            .and_then(|manifest| manifest.expect_site(&self.site, tree).map(|()| manifest));
        match checked {
            Ok(manifest) => Ok(manifest.site),
            Err(problems) => {
                Err(Refused { headline: problems.headline().to_owned(), whole: problems.render(tree) })
            }
        }
    }
}

/// One process's reader of commits.
#[derive(Clone)]
pub struct SimManifests {
    pub catalogue: Catalogue,
    /// For the seeds that go all the way.
    pub checker: Option<Arc<Checker>>,
    /// Takes the process with it.
    pub kill: Arc<dyn Fn() + Send + Sync>,
}

impl SimManifests {
    async fn read_one(&self, tree: Tree) -> Result<Site, Refused> {
        match self.catalogue.named(&tree) {
            Some(Payload::Site(site)) => Ok(Site::clone(&site)),
            Some(Payload::Refused(refused)) => Err(refused),
            // Without the hook, which would tell standard error of each.
            Some(Payload::Poison) => std::panic::resume_unwind(Box::new("a poisonous commit")),
            Some(Payload::Hangs) => std::future::pending().await,
            Some(Payload::Kills) => {
                (self.kill)();
                std::future::pending().await
            }
            Some(Payload::Files(_) | Payload::Unreadable(_)) | None => match &self.checker {
                Some(checker) => checker.read(&tree),
                None => Err(Refused::once("this world reads no files")),
            },
        }
    }
}

impl Manifests for SimManifests {
    fn read(&self, tree: Tree) -> BoxFuture<'_, Result<Site, Refused>> {
        Box::pin(self.read_one(tree))
    }
}

#[cfg(test)]
mod tests;
