//! `holdfast run`: the service.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_core::secret::StampKey;
use holdfast_engine::Engine;
use holdfast_engine::chance::Chance;
use holdfast_engine::watch::watch;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Verdict;
use super::connect::connect;
use crate::config::Config;
use crate::journal::Sqlite;
use crate::kinds;
use crate::outbox;
use crate::ports::{Connections, Mirror, stamp_key};

/// How long changes that were begun may take to finish once the service is told to end.
const END_WITHIN: Duration = Duration::from_mins(2);

pub(super) async fn run(mut config: Config) -> anyhow::Result<Verdict> {
    std::fs::create_dir_all(&config.state).with_context(|| format!("creating {}", config.state.display()))?;
    let journal = Arc::new(Sqlite::open(&config.state).await?);
    let mirror = Arc::new(Mirror::new(&config)?);
    let connections = Arc::new(connect(&mut config)?);
    let forge =
        config.forge.take().map(holdfast_forge::Forge::new).transpose().context("the section [forge]")?;
    let engine = Arc::new(engine(&config, mirror.clone(), connections.clone(), journal.clone())?);
    let validators = Arc::new(kinds::validators());
    let shutdown = on_signal()?;
    let wake = Arc::new(Notify::new());
    info!(site = %config.site, "the service started");
    let waking = mirror.wake_on_change(wake.clone());
    let posting = tokio::spawn(outbox::post_all(journal, forge, config.site.clone(), shutdown.clone()));
    let mut watching = tokio::spawn(watch(engine, validators, wake, shutdown.clone()));
    tokio::select! {
        joined = &mut watching => joined.context("the watcher broke off")?,
        () = shutdown.cancelled() => {
            info!("ending: what was begun is finished first");
            if tokio::time::timeout(END_WITHIN, &mut watching).await.is_err() {
                warn!("a change did not finish in time; the next start looks at what became of it");
            }
        }
    }
    drop(waking);
    shutdown.cancel();
    // The outbox is durable: what it could not post now, the next start posts.
    drop(tokio::time::timeout(Duration::from_secs(10), posting).await);
    connections.close().await;
    info!("the service ended");
    Ok(Verdict::Good)
}

/// Wires the engine. Pure but for the stamp key, which is made where there is none.
pub(super) fn engine(
    config: &Config,
    mirror: Arc<Mirror>,
    connections: Arc<Connections>,
    journal: Arc<Sqlite>,
) -> anyhow::Result<Engine> {
    let key: [u8; 32] = stamp_key(config.stamp_key.as_ref(), &config.state)?;
    Ok(Engine {
        site: config.site.clone(),
        kinds: kinds::all(),
        repository: mirror,
        targets: connections,
        journal,
        stamp_key: StampKey::new(key),
        limits: config.limits.clone(),
        chance: Chance::new(u64::from(std::process::id()) ^ crate::clock::now().unsigned_abs()),
    })
}

/// A token that SIGTERM and SIGINT cancel.
fn on_signal() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(token)
}
