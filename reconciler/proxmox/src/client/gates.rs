//! What must not be done too often at once: clones of a template, allocations on a storage.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::kind::TargetError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long one waits for those before it. They have deadlines of their own, so that this is seldom reached.
const PATIENCE: Duration = Duration::from_mins(10);

/// Counted gates by name. Cloning locks the template for a second at most, and each allocation locks its
/// storage: what comes too soon fails with a timeout, so it waits here instead.
#[derive(Default)]
pub(crate) struct Gates(Mutex<BTreeMap<String, Arc<Semaphore>>>);

impl Gates {
    /// Waits for a place among `places`. The place is held until the permit is dropped.
    pub(crate) async fn enter(
        &self,
        name: String,
        places: usize,
    ) -> Result<OwnedSemaphorePermit, TargetError> {
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(gates.entry(name.clone()).or_insert_with(|| Arc::new(Semaphore::new(places))))
        };
        match tokio::time::timeout(PATIENCE, gate.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(TargetError::unavailable(
                format!("waiting for the {name}"),
                "those before it take too long",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_passes_at_a_time_and_names_do_not_hinder_each_other() {
        let gates = Gates::default();
        let first = gates.enter("clone of template 9000".to_owned(), 1).await.unwrap();
        let other = gates.enter("clone of template 9001".to_owned(), 1).await;
        assert!(other.is_ok());
        let second = gates.enter("clone of template 9000".to_owned(), 1);
        tokio::pin!(second);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut second).await.is_err(), "it waits");
        drop(first);
        assert!(second.await.is_ok());
    }
}
