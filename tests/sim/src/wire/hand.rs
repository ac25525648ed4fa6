//! The frame's hand on the wire: what it sets, counts and keeps.

use std::collections::{BTreeMap, BTreeSet};

use super::{Port, Wire};
use crate::faults::{FaultKind, Faults, Strike};
use crate::trace::Trace;

impl Wire {
    /// Another choice of faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.inner().faults = faults;
    }

    /// The process is gone, from this moment on: none of its calls comes back.
    pub fn kill(&self, process: u8) {
        self.inner().dead.insert(process);
    }

    /// The process crashes by itself.
    pub fn fall(&self, process: u8) {
        let mut inner = self.inner();
        if inner.dead.insert(process) {
            inner.fallen.push(process);
            self.0.fell.notify_one();
        }
    }

    /// The process stands still: none of its calls comes back before [`Wire::wake`].
    pub fn pause(&self, process: u8) {
        self.inner().paused.insert(process);
    }

    pub fn wake(&self, process: u8) {
        self.inner().paused.remove(&process);
        self.0.woke.notify_waiters();
    }

    /// A system is down, or up again.
    pub fn set_down(&self, port: Port, down: bool) {
        let mut inner = self.inner();
        if down {
            inner.down.insert(port);
        } else {
            inner.down.remove(&port);
        }
    }

    /// The processes that crashed since this was asked last.
    pub fn take_fallen(&self) -> Vec<u8> {
        std::mem::take(&mut self.inner().fallen)
    }

    /// Comes back when a process crashed.
    pub async fn fell(&self) {
        self.0.fell.notified().await;
    }

    /// A fault that is no call's happened.
    pub fn note_fault(&self, kind: FaultKind) {
        *self.inner().fired.entry(kind).or_default() += 1;
    }

    /// A line of the trace.
    pub fn trace(&self, text: &str) {
        let now = self.now();
        self.inner().trace.line(now, text);
    }

    /// A line beside the trace: it is shown, and not hashed.
    pub fn aside(&self, text: &str) {
        let now = self.now();
        self.inner().trace.aside(now, text);
    }

    pub fn keep_whole_trace(&self) {
        self.inner().trace.keep_all();
    }

    pub fn with_trace<T>(&self, read: impl FnOnce(&Trace) -> T) -> T {
        read(&self.inner().trace)
    }

    /// How often each kind of fault happened.
    pub fn fired(&self) -> BTreeMap<FaultKind, u64> {
        self.inner().fired.clone()
    }

    /// The faults that struck calls.
    pub fn strikes(&self) -> BTreeSet<Strike> {
        self.inner().strikes.clone()
    }

    /// Writes so far, over all ports and processes.
    pub fn writes(&self) -> u64 {
        self.inner().writes
    }

    /// Writes so far through one port.
    pub fn writes_of(&self, port: Port) -> u64 {
        self.inner().numbers.get(&(port, true)).copied().unwrap_or_default()
    }

    /// Calls so far through one port.
    pub fn asked(&self, port: Port) -> u64 {
        self.inner().asked.get(&port).copied().unwrap_or_default()
    }
}
