//! `holdfast plan`: what converging would do, for a folder or a commit.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use holdfast_core::ident::CommitId;
use holdfast_core::manifest::{self, Tree};
use holdfast_core::plan::{Action, render};
use holdfast_engine::ports::Repository as _;
use holdfast_engine::run::preview;

use super::connect::connect;
use super::run::engine;
use super::{Verdict, print};
use crate::config::Config;
use crate::directory;
use crate::journal::Sqlite;
use crate::kinds;
use crate::ports::Mirror;

pub(super) async fn plan(
    mut config: Config,
    what: Option<&str>,
    only: Option<&str>,
) -> anyhow::Result<Verdict> {
    let mirror = Arc::new(Mirror::new(&config)?);
    let (tree, commit) = find(&mirror, what).await?;
    let connections = Arc::new(connect(&mut config)?);
    let journal = Arc::new(Sqlite::in_memory().await?);
    let engine = engine(&config, mirror, connections.clone(), journal)?;
    let manifest = match manifest::read(&tree, &engine.kinds, &kinds::validators()) {
        Ok(manifest) => manifest,
        Err(problems) => {
            print(&problems.render(&tree))?;
            return Ok(Verdict::Bad);
        }
    };
    let mut verdict = Verdict::Good;
    let mut found = false;
    for (environment, desired) in &manifest.site.environments {
        if only.is_some_and(|only| only != environment.as_str()) {
            continue;
        }
        found = true;
        let plan = preview(&engine, environment, desired).await;
        if plan.items.iter().any(|item| matches!(item.action, Action::Hold(_))) {
            verdict = Verdict::Bad;
        }
        print(&render(&plan, commit.as_ref()))?;
        print("\n")?;
    }
    connections.close().await;
    match only {
        Some(only) if !found => bail!("the repository has no environment `{only}`"),
        _ => Ok(verdict),
    }
}

async fn find(mirror: &Mirror, what: Option<&str>) -> anyhow::Result<(Tree, Option<CommitId>)> {
    if let Some(folder) = what.map(Path::new).filter(|path| path.is_dir()) {
        return Ok((directory::read(folder)?, None));
    }
    let head = mirror.fetch().await?;
    let commit = match what {
        None => head.context("the repository has no commit on the watched branch yet")?,
        Some(text) => CommitId::new(text)
            .map_err(|error| anyhow::anyhow!("`{text}` is no folder, and as a commit it {error}"))?,
    };
    let tree = mirror.tree(&commit).await?;
    Ok((tree, Some(commit)))
}
