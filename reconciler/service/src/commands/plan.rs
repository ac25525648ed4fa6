//! `holdfast plan`: what converging would do, for a folder or a commit.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::manifest::{self, Manifest, Tree};
use holdfast_core::plan::{Action, render};
use holdfast_core::scrub::Scrubber;
use holdfast_core::secret;
use holdfast_engine::ports::Repository as _;
use holdfast_engine::run::preview;

use super::connect::{Mistakes, connect};
use super::run::engine;
use super::validate::print_warnings;
use super::{Verdict, print};
use crate::config::Config;
use crate::journal::Sqlite;
use crate::logs::tell;
use crate::ports::Mirror;
use crate::{directory, kinds, stamp_key};

pub(super) async fn plan(
    mut config: Config,
    what: Option<&str>,
    only: Option<&str>,
    scrubber: &Scrubber,
) -> anyhow::Result<Verdict> {
    // A mirror of its own: the service may be fetching into the other one just now.
    let folder = tempfile::Builder::new().prefix("holdfast-plan-").tempdir().context("making a folder")?;
    config.repository.mirror_dir = folder.path().join("mirror");
    let mut mistakes = Mistakes::default();
    let mirror = mistakes.of("repository", Mirror::new(&config)).map(Arc::new);
    let connections = Arc::new(connect(&mut config, &mut mistakes, scrubber));
    mistakes.none()?;
    let mirror = mirror.expect("it is there, or its mistake was told");
    let (tree, commit) = find(&mirror, what).await?;
    let read = manifest::read(&tree, &kinds::all(), &kinds::validators())
        .and_then(|manifest| manifest.expect_site(&config.site, &tree).map(|()| manifest));
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(problems) => {
            print(scrubber, &problems.render(&tree))?;
            return Ok(Verdict::Bad);
        }
    };
    print_warnings(&manifest, &tree, scrubber)?;
    let chosen = choose(&manifest, only)?;
    let key = match stamp_key::find(config.stamp_key.as_ref(), &config.state, scrubber) {
        Ok(Some(key)) => key,
        missing => {
            if has_secrets(&manifest) {
                tell_no_key(&config.state, missing.err(), scrubber);
            }
            stamp_key::passing()?
        }
    };
    let journal = Arc::new(Sqlite::in_memory().await?);
    let engine = engine(&config, mirror, connections.clone(), journal, key);
    let mut verdict = Verdict::Good;
    for (environment, desired) in &manifest.site.environments {
        if !chosen.contains(&environment) {
            continue;
        }
        let plan = preview(&engine, environment, desired).await;
        if plan.items.iter().any(|item| matches!(item.action, Action::Hold(_))) {
            verdict = Verdict::Bad;
        }
        print(scrubber, &format!("{}\n", render(&plan, commit.as_ref())))?;
    }
    connections.close().await;
    Ok(verdict)
}

/// The environments that are asked for.
fn choose<'m>(manifest: &'m Manifest, only: Option<&str>) -> anyhow::Result<Vec<&'m EnvironmentName>> {
    let all = || manifest.site.environments.iter().map(|(name, _)| name);
    let Some(only) = only else { return Ok(all().collect()) };
    let chosen: Vec<_> = all().filter(|name| name.as_str() == only).collect();
    if chosen.is_empty() {
        let known: Vec<String> = all().map(|name| format!("`{name}`")).collect();
        bail!("the repository has no environment `{only}`; it has {}", known.join(", "));
    }
    Ok(chosen)
}

fn has_secrets(manifest: &Manifest) -> bool {
    let mut resources = manifest.site.environments.iter().flat_map(|(_, desired)| desired.resources.values());
    resources.any(|resource| !secret::references_in(&resource.spec).is_empty())
}

/// Without the service's key nobody can tell whether a secret is there already.
fn tell_no_key(state: &Path, why: Option<anyhow::Error>, scrubber: &Scrubber) {
    let why = why.map_or_else(|| "it is not there".to_owned(), |error| format!("{error:#}"));
    let text = format!(
        "note: without the service's {} ({why}) all that holds a secret is shown as changed",
        state.join("stamp.key").display()
    );
    tell(scrubber, &text);
}

async fn find(mirror: &Mirror, what: Option<&str>) -> anyhow::Result<(Tree, Option<CommitId>)> {
    if let Some(folder) = what.map(Path::new).filter(|path| path.is_dir()) {
        return Ok((directory::read(folder)?, None));
    }
    let head = mirror.fetch().await?;
    let commit = match what {
        None => head.context("the repository has no commit on the watched branch yet")?,
        Some(text) => mirror.resolve(text).await?,
    };
    let tree = mirror.tree(&commit).await?;
    Ok((tree, Some(commit)))
}
