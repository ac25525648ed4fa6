//! The journal as the outbox's worker sees it.

use holdfast_core::ident::CommitId;
use holdfast_core::kind::BoxFuture;
use holdfast_core::report::{Context, Status};
use holdfast_engine::ports::JournalError;
use holdfast_forge::PostError;
use holdfast_forge::ports::{Due, Rows};

use super::{Sqlite, failed};

impl Rows for Sqlite {
    type Error = JournalError;

    fn due(&self) -> BoxFuture<'_, Result<Vec<Due>, JournalError>> {
        Box::pin(async { self.all_due().await.map_err(failed("reading the outbox")) })
    }

    fn claim<'a>(
        &'a self,
        due: &'a Due,
        by: &'a str,
        now: i64,
    ) -> BoxFuture<'a, Result<Option<Due>, JournalError>> {
        Box::pin(async move { self.claim_due(due, by, now).await.map_err(failed("claiming a status")) })
    }

    fn take_up(&self, now: i64) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move { self.take_up_due(now).await.map_err(failed("taking up the outbox")) })
    }

    fn answered<'a>(
        &'a self,
        due: &'a Due,
        answer: &'a Result<(), PostError>,
        now: i64,
        jitter: f64,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.note_answer(due, answer, now, jitter).await.map_err(failed("recording the forge's answer"))
        })
    }

    fn stands<'a>(
        &'a self,
        due: &'a Due,
        status: &'a Status,
        now: i64,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.note_shown(due, status, now).await.map_err(failed("recording what the forge shows"))
        })
    }

    fn close<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
        end: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            self.close_unknown(commit, context, end).await.map_err(failed("recording a status"))?;
            self.posts.notify_one();
            Ok(())
        })
    }

    fn closed(&self) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async { self.note_closed().await.map_err(failed("recording that all has its end")) })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.posts.notified())
    }
}
