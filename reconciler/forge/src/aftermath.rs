//! After a journal was lost: what an earlier life of the service left pending on the forge gets its end.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::{CommitId, SiteName};
use holdfast_core::kind::chain;
use holdfast_core::report::{Context, Status, StatusState};
use tracing::{info, warn};

use crate::ports::{Commits, Rows, Statuses};

/// So many commits are looked at: no service leaves more behind, since each new commit ends the one before.
const COMMITS: usize = 20;
/// The pauses between tries, which double from the first to the longest. There is no last try: nothing is left pending.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// Reads the statuses of the newest commits back from the forge, and supersedes those of ours that are pending and of
/// which this journal knows nothing. However long that takes: where the service ends before, the next start goes on.
/// Housekeeping: anybody with write access can set any status, and nothing else follows from what is read.
pub async fn close_what_was_left<R: Rows, S: Statuses, C: Commits>(
    rows: Arc<R>,
    commits: Arc<C>,
    forge: Arc<S>,
    site: SiteName,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        match close(&*rows, &*commits, &*forge, &site).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(why) => warn!(why, "what an earlier journal left pending could not be looked for yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// `false` where there is no commit yet.
async fn close(
    rows: &impl Rows,
    commits: &impl Commits,
    forge: &impl Statuses,
    site: &SiteName,
) -> Result<bool, String> {
    let recent = commits.newest(COMMITS).await.map_err(|error| error.to_string())?;
    let Some((head, before)) = recent.split_first() else { return Ok(false) };
    for commit in before {
        for (context, _) in pending(forge, site, commit).await? {
            info!(
                commit = commit.short(),
                context = context.text(site),
                "an earlier journal left this pending"
            );
            let end = Status::superseded(head);
            rows.close(commit, &context, &end).await.map_err(|error| chain(&error))?;
        }
    }
    // The newest is taken up in a moment; should it be overtaken before, it is known to be pending.
    for (context, status) in pending(forge, site, head).await? {
        rows.close(head, &context, &status).await.map_err(|error| chain(&error))?;
    }
    rows.closed().await.map_err(|error| chain(&error))?;
    Ok(true)
}

/// Our contexts of a commit that are pending on the forge.
async fn pending(
    forge: &impl Statuses,
    site: &SiteName,
    commit: &CommitId,
) -> Result<Vec<(Context, Status)>, String> {
    let statuses = forge.statuses(commit).await.map_err(|error| error.to_string())?;
    let pending = statuses.into_iter().filter(|(_, status)| status.state == StatusState::Pending);
    Ok(pending.filter_map(|(context, status)| Some((Context::of_text(&context, site)?, status))).collect())
}
