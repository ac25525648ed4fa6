//! What a test sees of a host's SSH traffic, and how it disturbs it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::http::Moment;

/// One command that was run over SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    pub user: String,
    pub command: String,
    /// Bytes that came in on standard input.
    pub script: u64,
    /// Bytes of standard output and error that went out.
    pub output: u64,
    /// Absent while it runs, and where a signal ended it or the connection broke.
    pub status: Option<u32>,
}

/// What goes wrong with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks after this many bytes of the script: the shell got these, and runs what they say.
    CutScript(u64),
    /// The connection breaks after this many bytes of output. The command meets a closed pipe.
    CutOutput(u64),
    /// The command runs to its end, and then the connection breaks without a byte of output.
    CutAfter,
    /// The command is accepted, nothing runs, and nothing ever comes back.
    Silence,
}

type Matcher = Box<dyn Fn(&Exec) -> bool + Send>;
type Watcher = Box<dyn FnMut(&Exec, Moment) + Send>;
type Reader = Box<dyn FnMut(&[u8]) -> bool + Send>;

#[derive(Default)]
struct Inner {
    connections: usize,
    execs: Vec<Exec>,
    /// Grows with each reset, so that a command from before it is not written into what came after.
    epoch: u64,
    latency: Duration,
    faults: VecDeque<(Matcher, Fault)>,
    watcher: Option<Watcher>,
    reader: Option<Reader>,
    open: CancellationToken,
}

/// The handle by which a test watches and disturbs one host.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<Inner>>);

/// Where a running command is written down.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    epoch: u64,
    index: usize,
}

impl Wire {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections were accepted since the last [`Wire::reset`].
    pub fn connections(&self) -> usize {
        self.inner().connections
    }

    /// All commands since the last [`Wire::reset`], in the order in which they began.
    pub fn execs(&self) -> Vec<Exec> {
        self.inner().execs.clone()
    }

    /// Forgets what was counted.
    pub fn reset(&self) {
        let mut inner = self.inner();
        inner.connections = 0;
        inner.execs.clear();
        inner.epoch += 1;
    }

    /// Lets every byte arrive this much later, in both directions.
    pub fn set_latency(&self, latency: Duration) {
        self.inner().latency = latency;
    }

    /// Disturbs the next command that fits, once. Several are used in the order in which they were added.
    pub fn fail_next(&self, fits: impl Fn(&Exec) -> bool + Send + 'static, fault: Fault) {
        self.inner().faults.push_back((Box::new(fits), fault));
    }

    /// Takes back what [`Wire::fail_next`] ordered and was not used.
    pub fn clear_faults(&self) {
        self.inner().faults.clear();
    }

    /// Calls `watcher` before and after every command, synchronously: what crash tests hang on.
    pub fn watch(&self, watcher: impl FnMut(&Exec, Moment) + Send + 'static) {
        self.inner().watcher = Some(Box::new(watcher));
    }

    /// Calls `reader` with each part of a script as it arrives, before the shell gets it. Where it answers `false`, the
    /// connection breaks instead.
    pub fn read_scripts(&self, reader: impl FnMut(&[u8]) -> bool + Send + 'static) {
        self.inner().reader = Some(Box::new(reader));
    }

    pub(super) fn passes(&self, part: &[u8]) -> bool {
        let Some(mut reader) = self.inner().reader.take() else { return true };
        let passes = reader(part);
        self.inner().reader.get_or_insert(reader);
        passes
    }

    /// Breaks all connections that are open.
    pub fn cut_all(&self) {
        std::mem::take(&mut self.inner().open).cancel();
    }

    pub(super) fn latency(&self) -> Duration {
        self.inner().latency
    }

    /// Counts a connection; the token that breaks it.
    pub(super) fn connected(&self) -> CancellationToken {
        let mut inner = self.inner();
        inner.connections += 1;
        inner.open.child_token()
    }

    pub(super) fn begin(&self, user: &str, command: &str) -> (Slot, Option<Fault>) {
        let exec =
            Exec { user: user.to_owned(), command: command.to_owned(), script: 0, output: 0, status: None };
        let mut inner = self.inner();
        let at = inner.faults.iter().position(|(fits, _)| fits(&exec));
        let fault = at.and_then(|at| inner.faults.remove(at)).map(|(_, fault)| fault);
        inner.execs.push(exec.clone());
        let slot = Slot { epoch: inner.epoch, index: inner.execs.len() - 1 };
        drop(inner);
        self.notify(&exec, Moment::Before);
        (slot, fault)
    }

    pub(super) fn update(&self, slot: Slot, change: impl FnOnce(&mut Exec)) {
        let mut inner = self.inner();
        if inner.epoch == slot.epoch
            && let Some(exec) = inner.execs.get_mut(slot.index)
        {
            change(exec);
        }
    }

    pub(super) fn end(&self, slot: Slot, status: Option<u32>) {
        self.update(slot, |exec| exec.status = status);
        let exec = self.inner().execs.get(slot.index).cloned();
        if let Some(exec) = exec {
            self.notify(&exec, Moment::After);
        }
    }

    /// The watcher is called without the lock, so that it may use this handle.
    fn notify(&self, exec: &Exec, moment: Moment) {
        let Some(mut watcher) = self.inner().watcher.take() else { return };
        watcher(exec, moment);
        self.inner().watcher.get_or_insert(watcher);
    }
}
