//! The journal's file on a machine's disk, and everything that may happen to it there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::report::Context;
use holdfast_engine::ports::Epoch;
use holdfast_forge::outbox::Row;

use super::tables::{Run, Tables};

/// The journal's file on a machine's disk. It outlives processes.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Disk>>);

#[derive(Default)]
pub(super) struct Disk {
    /// Who has it open keeps it, also when another is put in its place.
    pub(super) file: Arc<Mutex<File>>,
    pub(super) full: bool,
    pub(super) put_aside: u32,
    forgets_texts: bool,
    /// Everything that was ever written as text.
    texts: Vec<String>,
}

#[derive(Default)]
pub(super) struct File {
    pub(super) tables: Tables,
    pub(super) torn: bool,
}

/// A copy of the journal, to be put back later.
#[derive(Clone)]
pub struct Backup(Tables);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.0)
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        let file = self.disk().file.clone();
        let file = lock(&file);
        read(&file.tables)
    }

    /// The file is lost, as with the state folder. A process that has it open goes on with it, and nobody else sees it.
    pub fn lose(&self) {
        self.disk().file = Arc::default();
    }

    /// A write is torn: the file is broken. Nobody can use it any more, and the next start puts it aside.
    pub fn tear(&self) {
        let file = self.disk().file.clone();
        lock(&file).torn = true;
    }

    /// The disk is full, or no more: writes fail, reads work.
    pub fn set_full(&self, full: bool) {
        self.disk().full = full;
    }

    pub fn backup(&self) -> Backup {
        Backup(self.read(Tables::clone))
    }

    /// An older state is put in its place, as a machine's backup or a disk that lied about what it had written.
    pub fn restore(&self, Backup(tables): Backup) {
        self.disk().file = Arc::new(Mutex::new(File { tables, torn: false }));
    }

    /// How often a broken one was put aside.
    pub fn put_aside(&self) -> u32 {
        self.disk().put_aside
    }

    /// Whether texts are collected for the canaries: plans and reports are rendered only then. They are, at first.
    pub fn collect_texts(&self, collect: bool) {
        self.disk().forgets_texts = !collect;
    }

    /// Everything that was written as text since this was asked last.
    pub fn take_texts(&self) -> Vec<String> {
        std::mem::take(&mut self.disk().texts)
    }

    /// The runs that are recorded, in the order in which they began.
    pub fn runs(&self) -> Vec<Run> {
        self.read(Tables::runs)
    }

    /// What is wanted on each commit, and how far the forge has it.
    pub fn statuses(&self) -> BTreeMap<(CommitId, Context), Row> {
        self.read(Tables::statuses)
    }

    /// Whether anything is still to be told.
    pub(crate) fn owes(&self) -> bool {
        self.read(Tables::owes)
    }

    /// The newest epoch of an environment: the truth, for the checks.
    pub fn epoch(&self, environment: &EnvironmentName) -> Option<Epoch> {
        self.read(|tables| tables.epoch(environment))
    }

    pub(super) fn tell(&self, text: impl FnOnce() -> String) {
        let mut disk = self.disk();
        if !disk.forgets_texts {
            let text = text();
            disk.texts.push(text);
        }
    }
}
