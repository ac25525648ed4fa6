//! The worker of the outbox: posts what is wanted on commits, one at a time, however long the forge is away.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::SiteName;
use holdfast_engine::chance::Chance;
use holdfast_forge::Forge;
use holdfast_forge::outbox::Pacer;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::clock::now;
use crate::journal::{Due, Sqlite};

/// The longest sleep without a look at the table, in seconds.
const LOOK_EVERY: i64 = 30;

/// Posts until `shutdown`, and then what is due at that moment. Without a forge there is nothing to do:
/// `holdfast status` shows the same.
pub(crate) async fn post_all(
    journal: Arc<Sqlite>,
    forge: Option<Forge>,
    site: SiteName,
    shutdown: CancellationToken,
) {
    let Some(forge) = forge else { return };
    let chance = Chance::new(u64::from(std::process::id()));
    let mut pacer = Pacer::default();
    loop {
        let pause = match post_next(&journal, &forge, &site, &mut pacer, &chance).await {
            Ok(pause) => pause,
            Err(error) => {
                error!(error = %error, "the outbox could not be read");
                LOOK_EVERY
            }
        };
        if pause <= 0 {
            continue;
        }
        if shutdown.is_cancelled() {
            return;
        }
        let pause = Duration::from_secs(pause.unsigned_abs());
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = journal.posts.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Posts one status if one is due. Gives the seconds until the next is.
async fn post_next(
    journal: &Sqlite,
    forge: &Forge,
    site: &SiteName,
    pacer: &mut Pacer,
    chance: &Chance,
) -> Result<i64, sqlx::Error> {
    let due = journal.due().await?;
    let next =
        due.into_iter().filter_map(|due| due.row.due_at().map(|at| (at, due))).min_by_key(|(at, _)| *at);
    let Some((at, due)) = next else { return Ok(LOOK_EVERY) };
    let wait = at.max(pacer.next_slot()) - now();
    if wait > 0 {
        return Ok(wait.min(LOOK_EVERY));
    }
    post(journal, forge, site, chance, &due).await?;
    pacer.wrote(now());
    Ok(0)
}

async fn post(
    journal: &Sqlite,
    forge: &Forge,
    site: &SiteName,
    chance: &Chance,
    due: &Due,
) -> Result<(), sqlx::Error> {
    let context = due.context.text(site);
    let answer = forge.post(&due.commit, &context, &due.row.wanted, None).await;
    match &answer {
        Ok(()) => debug!(
            commit = due.commit.short(),
            context,
            state = due.row.wanted.state.as_str(),
            "posted a status"
        ),
        Err(error) => {
            warn!(commit = due.commit.short(), context, error = %error, "a status could not be posted");
        }
    }
    journal.answered(due, &answer, now(), chance.fraction()).await
}
