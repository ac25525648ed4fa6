//! A panic in a kind's code is a failure of what it worked on, and of nothing else.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use holdfast_core::kind::TargetError;

/// Awaits `work`. What it left half done when it panicked is looked at again like everything else.
pub(crate) async fn guarded<T>(doing: &str, work: impl Future<Output = T>) -> Result<T, TargetError> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_words_that_may_hold_a_value| {
        TargetError::rejected(doing, "internal error: it panicked; see the service's log")
    })
}
