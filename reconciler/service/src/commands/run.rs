//! `holdfast run`: the service.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_core::scrub::Scrubber;
use holdfast_core::secret::StampKey;
use holdfast_engine::Engine;
use holdfast_engine::budget::Budget;
use holdfast_engine::chance::Chance;
use holdfast_engine::scrubbed::ScrubbedJournal;
use holdfast_engine::watch::watch;
use holdfast_forge::Forge;
use holdfast_forge::aftermath::close_what_was_left;
use holdfast_forge::worker::{Ways, post_all};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::Verdict;
use super::connect::{Mistakes, connect};
use crate::clock::WallClock;
use crate::config::Config;
use crate::journal::Sqlite;
use crate::lock::Lock;
use crate::ports::{Connections, Mirror, PauseFile, Reader};
use crate::{kinds, stamp_key};

/// How long changes that were begun may take to finish once the service is told to end.
const END_WITHIN: Duration = Duration::from_mins(2);

pub(super) async fn run(mut config: Config, scrubber: &Scrubber) -> anyhow::Result<Verdict> {
    let _lock = Lock::take(&config.state)?;
    let mut mistakes = Mistakes::default();
    let mirror = mistakes.of("repository", Mirror::new(&config)).map(Arc::new);
    let forge =
        config.forge.take().and_then(|settings| mistakes.of("forge", Forge::new(settings))).map(Arc::new);
    let connections = Arc::new(connect(&mut config, &mut mistakes, scrubber));
    mistakes.none()?;
    let mirror = mirror.expect("it is there, or its mistake was told");
    let journal = Arc::new(Sqlite::open(&config.state).await?);
    journal.end_leases().await.context("taking over from the last process")?;
    let key = stamp_key::find_or_make(config.stamp_key.as_ref(), &config.state, scrubber)?;
    let engine = Arc::new(engine(&config, mirror.clone(), connections.clone(), journal.clone(), key));
    let signals = Signals::listen()?;
    let wake = Arc::new(Notify::new());
    info!(site = %config.site, version = env!("CARGO_PKG_VERSION"), "the service started");
    let waking = mirror.wake_on_change(wake.clone());
    let nothing_more = CancellationToken::new();
    let aftermath = match &forge {
        Some(forge) if journal.is_new().await.context("reading the journal")? => {
            let (journal, mirror, forge) = (journal.clone(), mirror.clone(), forge.clone());
            let work = close_what_was_left(journal, mirror, forge, config.site.clone());
            Some(AbortOnDropHandle::new(tokio::spawn(work)))
        }
        _ => None,
    };
    let posting = {
        let (site, nothing_more) = (config.site.clone(), nothing_more.clone());
        tokio::spawn(async move {
            // Without a forge there is nothing to post: `holdfast status` shows the same.
            let Some(forge) = forge else { return };
            post_all(journal, forge, site, ways_of_posting(), nothing_more).await;
        })
    };
    let mut watching = tokio::spawn(watch(engine, wake, signals.end.clone()));
    tokio::select! {
        joined = &mut watching => joined.context("the watcher broke off")?,
        () = signals.end.cancelled() => {
            info!("ending: what was begun is finished first; a second signal ends it at once");
            let in_time = tokio::select! {
                biased;
                () = signals.at_once.cancelled() => false,
                ended = tokio::time::timeout(END_WITHIN, &mut watching) => ended.is_ok(),
            };
            if !in_time {
                warn!("a change did not finish in time; the next start looks at what became of it");
            }
        }
    }
    drop((waking, aftermath));
    // Only now, so that the last words of the runs are posted too. The outbox is durable: what it could not post
    // by then, the next start posts.
    nothing_more.cancel();
    tokio::select! {
        biased;
        () = signals.at_once.cancelled() => {}
        _ = tokio::time::timeout(Duration::from_secs(10), posting) => {}
    }
    connections.close().await;
    info!("the service ended");
    Ok(Verdict::Good)
}

fn ways_of_posting() -> Ways {
    let chance = Chance::new(u64::from(std::process::id()));
    let name = format!("{} since {}", std::process::id(), crate::clock::now());
    Ways { name, now: Box::new(crate::clock::now), jitter: Box::new(move || chance.fraction()) }
}

/// Wires the engine.
pub(super) fn engine(
    config: &Config,
    mirror: Arc<Mirror>,
    connections: Arc<Connections>,
    journal: Arc<Sqlite>,
    stamp_key: StampKey,
) -> Engine {
    let journal = ScrubbedJournal::new(journal, connections.scrubber.clone());
    Engine {
        site: config.site.clone(),
        kinds: kinds::all(),
        repository: mirror,
        manifests: Arc::new(Reader {
            site: config.site.clone(),
            kinds: Arc::new((kinds::all(), kinds::validators())),
        }),
        targets: connections,
        journal: Arc::new(journal),
        clock: Arc::new(WallClock),
        halt: Arc::new(PauseFile::new(&config.state)),
        holder: format!("{} since {}", std::process::id(), crate::clock::now()),
        budget: Budget::default(),
        stamp_key,
        limits: config.limits.clone(),
        chance: Chance::new(u64::from(std::process::id()) ^ crate::clock::now().unsigned_abs()),
    }
}

/// What SIGTERM and SIGINT ask for.
struct Signals {
    /// The first: to end well.
    end: CancellationToken,
    /// The second: to end at once, as a crash would.
    at_once: CancellationToken,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let signals = Self { end: CancellationToken::new(), at_once: CancellationToken::new() };
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let tokens = [signals.end.clone(), signals.at_once.clone()];
        tokio::spawn(async move {
            for token in tokens {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(signals)
    }
}
