//! One fetch while it lasts: its deadline, how to stop it, and what the transport found wrong.

use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Shared by the waiting side and the blocking thread.
pub(crate) struct Call {
    pub(crate) deadline: Instant,
    pub(crate) runtime: Handle,
    /// What gix asks between two objects.
    pub(crate) interrupted: AtomicBool,
    token: CancellationToken,
    failure: Mutex<Option<Failure>>,
    program: Mutex<Option<Program>>,
}

/// A program at the other end of two pipes, and where its last words arrive once it closed them.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) last_words: Option<Receiver<String>>,
}

impl Call {
    pub(crate) fn new(deadline: Instant) -> Arc<Self> {
        Arc::new(Self {
            deadline,
            runtime: Handle::current(),
            interrupted: AtomicBool::new(false),
            token: CancellationToken::new(),
            failure: Mutex::new(None),
            program: Mutex::new(None),
        })
    }

    /// Ends whatever is going on, at once and for good.
    pub(crate) fn stop(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.token.cancel();
        if let Some(program) = &mut *lock(&self.program) {
            kill(&mut program.child);
        }
    }

    /// Waits on a blocking thread, no longer than until the deadline. `None` when the time is up.
    pub(crate) fn wait<F: Future>(&self, future: F) -> Option<F::Output> {
        self.runtime.block_on(async {
            tokio::select! {
                () = self.token.cancelled() => None,
                done = tokio::time::timeout_at(self.deadline, future) => done.ok(),
            }
        })
    }

    /// Notes what went wrong; the first finding is the cause, later ones follow from it.
    pub(crate) fn fail(&self, failure: Failure) -> std::io::Error {
        let text = format!("{failure:?}");
        lock(&self.failure).get_or_insert(failure);
        std::io::Error::other(text)
    }

    /// What the transport found wrong, if anything.
    pub(crate) fn failure(&self) -> Option<Failure> {
        lock(&self.failure).take()
    }

    /// Takes charge of a program, so that [`Call::stop`] ends it.
    pub(crate) fn run(&self, mut program: Program) {
        let mut slot = lock(&self.program);
        if self.interrupted.load(Ordering::SeqCst) {
            kill(&mut program.child);
        }
        *slot = Some(program);
    }

    /// Ends the program and gives its last words. It has closed its output, or is not needed any more.
    pub(crate) fn end_program(&self) -> String {
        let receiver = lock(&self.program).as_mut().and_then(|program| program.last_words.take());
        // A second at most: a grandchild may hold the pipe open. Meanwhile a stop still finds the program.
        let wait = Duration::from_secs(1);
        let words = receiver.and_then(|words| words.recv_timeout(wait).ok()).unwrap_or_default();
        if let Some(mut program) = lock(&self.program).take() {
            kill(&mut program.child);
            if let Err(error) = program.child.wait() {
                tracing::debug!(%error, "a program could not be waited for");
            }
        }
        words
    }
}

/// Stops a fetch that nobody waits for any more, such as at the end of the service.
pub(crate) struct StopOnDrop(pub(crate) Arc<Call>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn kill(child: &mut Child) {
    // It fails where the program has ended already, which is as good.
    if let Err(error) = child.kill() {
        tracing::debug!(%error, "a program had ended before it was stopped");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
