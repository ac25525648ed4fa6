//! The invariants: what must hold at every instant, checked at every effect and every word that leaves.

mod brake;
mod data;
mod facts;
mod groups;
mod lease;
mod looks;
mod marks;
mod order;
mod secrets;
mod statuses;
mod terms;
#[cfg(test)]
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_core::desired::Desired;
use holdfast_core::ident::{CommitId, EnvironmentName, KindName, Name, ResourceId};
use holdfast_core::kind::Risk;
use holdfast_core::plan::Plan;
use holdfast_core::report::{Context, Report, Status};
use holdfast_engine::ports::Epoch;

pub use facts::{Facts, Pushed};
pub use secrets::CANARIES;
pub(crate) use terms::Finding;
pub use terms::{Actor, Breach, Effect, How, Invariant, Wrong};

use crate::model::{Object, Time};
use crate::wire::Port;

/// The checks of one simulated world.
#[derive(Clone)]
pub struct Checks(Arc<Mutex<Book>>);

struct Book {
    facts: Facts,
    fired: BTreeMap<Invariant, u64>,
    breaches: Vec<Breach>,
    groups: groups::Groups,
    brake: brake::Brake,
    looks: looks::Looks,
    statuses: statuses::Statuses,
    /// How often something was made and went, by system and key.
    lives: BTreeMap<(Port, String), (u64, u64)>,
    /// What somebody else touched.
    meddled: BTreeSet<(Port, String)>,
    /// When the world was last touched by anybody but us.
    touched: Option<Time>,
    /// What is said is not searched for secrets.
    deaf: bool,
    effects: u64,
}

impl Book {
    fn find(&mut self, invariant: Invariant, at: Time, finding: Finding) {
        if finding == Finding::Silent {
            return;
        }
        *self.fired.entry(invariant).or_default() += 1;
        if let Finding::Breach(what) = finding {
            self.breaches.push(Breach { invariant, at, what });
        }
    }
}

impl Checks {
    pub fn new(facts: Facts) -> Self {
        Self(Arc::new(Mutex::new(Book {
            facts,
            fired: BTreeMap::new(),
            breaches: Vec::new(),
            groups: groups::Groups::default(),
            brake: brake::Brake::default(),
            looks: looks::Looks::default(),
            statuses: statuses::Statuses::default(),
            lives: BTreeMap::new(),
            meddled: BTreeSet::new(),
            touched: None,
            deaf: false,
            effects: 0,
        })))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there now, in one system.
    pub(crate) fn stands(&self, port: Port, objects: Arc<BTreeMap<String, Object>>) {
        self.book().facts.objects.insert(port, objects);
    }

    /// An effect happened.
    pub(crate) fn effect(&self, effect: &Effect<'_>) {
        let mut book = self.book();
        book.effects += 1;
        let Book { facts, groups, brake, looks, .. } = &mut *book;
        let findings = [
            (Invariant::Marks, marks::effect(facts, effect)),
            (Invariant::Data, data::effect(facts, effect)),
            (Invariant::Groups, groups.effect(facts, effect)),
            (Invariant::Brake, brake.effect(facts, effect)),
            (Invariant::Looks, looks.effect(facts, effect)),
            (Invariant::Lease, lease::effect(facts, effect)),
            (Invariant::Order, order::effect(facts, effect)),
        ];
        for (invariant, finding) in findings {
            book.find(invariant, effect.at, finding);
        }
        for (key, before, after) in effect.changed() {
            let key = (effect.port, key.clone());
            if !effect.is_ours() {
                book.meddled.insert(key.clone());
            }
            // What lands late is nobody's to know of either.
            if !effect.is_ours() || effect.how == How::Late {
                book.touched = Some(effect.at);
            }
            let (made, gone) = match (before, after) {
                (None, Some(_)) => (1, 0),
                (Some(_), None) => (0, 1),
                (Some(before), Some(after)) if before.birth != after.birth => (1, 1),
                _ => (0, 0),
            };
            let lives = book.lives.entry(key).or_default();
            (lives.0, lives.1) = (lives.0 + made, lives.1 + gone);
        }
    }

    /// A process looked at all of a kind: whether that was whole.
    pub(crate) fn looked(&self, process: u8, environment: &EnvironmentName, kind: &KindName, whole: bool) {
        self.book().looks.looked(process, environment, kind, whole);
    }

    /// A look of a process failed.
    pub(crate) fn unseen(&self, at: Time, process: u8, port: Port) {
        self.book().groups.unseen.insert((process, port), at);
    }

    /// Which of the names that were asked for it was told absent although they are there.
    pub(crate) fn lied<'a>(
        &self,
        process: u8,
        environment: &EnvironmentName,
        kind: &KindName,
        asked: impl Iterator<Item = &'a Name>,
        lied: &[Name],
    ) {
        self.book().looks.lied(process, environment, kind, asked, lied);
    }

    /// A process sends a write out.
    pub(crate) fn actor(&self, process: u8, id: ResourceId, what: String, risk: Risk) -> Actor {
        let book = self.book();
        let wrong = Wrong {
            lease: lease::wrong(&book.facts, process, &id, &what),
            order: order::wrong(&book.facts, process, &id, &what),
            of: book.facts.acts_for(process, &id.environment).cloned(),
        };
        Actor { process, id, what, risk, wrong }
    }

    /// A text leaves: into the journal, the log, a status.
    pub(crate) fn said(&self, at: Time, place: &str, text: &str) {
        let mut book = self.book();
        if book.deaf {
            return;
        }
        let finding = secrets::said(place, text);
        book.find(Invariant::Secrets, at, finding);
    }

    /// The forge took a status.
    pub fn posted(&self, at: Time, commit: &CommitId, context: &Context, status: &Status) {
        let mut book = self.book();
        let Book { facts, statuses, .. } = &mut *book;
        let finding = statuses.posted(facts, commit, context, status);
        book.find(Invariant::Statuses, at, finding);
        if !book.deaf {
            book.find(Invariant::Secrets, at, secrets::said("a status", &status.description));
        }
    }

    /// The statuses that stand at the end; of one commit alone where nobody can remember the others.
    pub(crate) fn statuses_end(&self, at: Time, only: Option<&CommitId>) {
        let mut book = self.book();
        for finding in book.statuses.end(only) {
            book.find(Invariant::Statuses, at, finding);
        }
    }

    /// The status that the forge shows.
    pub fn shown(&self, commit: &CommitId, context: &Context) -> Option<Status> {
        self.book().statuses.shown(commit, context)
    }

    pub(crate) fn leased(&self, process: u8, environment: &EnvironmentName, epoch: Epoch) {
        self.book().facts.leased(process, environment, epoch);
    }

    /// The how manieth head a commit is.
    pub(crate) fn head_of(&self, commit: &CommitId) -> u64 {
        self.book().facts.head_of(commit)
    }

    pub(crate) fn run_started(&self, process: u8, commit: &CommitId, head: u64, plan: &Plan) {
        self.book().facts.run_started(process, commit, head, &plan.environment);
    }

    pub(crate) fn run_finished(&self, report: &Report) {
        self.book().facts.run_finished(report);
    }

    /// Two processes may not have the same time any more.
    pub(crate) fn clocks_differ(&self) {
        self.book().facts.clocks_differ = true;
    }

    /// The journal was lost: epochs begin anew, and nothing is known.
    pub(crate) fn journal_lost(&self) {
        self.book().facts.journal_lost();
    }

    /// The service ended so often while this commit was read that it is not read any more.
    pub(crate) fn quarantined(&self, commit: &CommitId) {
        self.book().facts.quarantined.insert(commit.clone());
    }

    pub(crate) fn is_quarantined(&self, commit: &CommitId) -> bool {
        self.book().facts.quarantined.contains(commit)
    }

    /// What is said is not searched for secrets.
    pub(crate) fn deaf(&self) {
        self.book().deaf = true;
    }

    /// A commit was made.
    pub(crate) fn committed(&self, commit: CommitId, pushed: Pushed) {
        self.book().facts.commits.insert(commit, pushed);
    }

    pub(crate) fn knows(&self, commit: &CommitId) -> bool {
        self.book().facts.commits.contains_key(commit)
    }

    /// What a commit wants of an environment.
    pub(crate) fn desired(&self, commit: &CommitId, environment: &EnvironmentName) -> Option<Arc<Desired>> {
        self.book().facts.desired(commit, environment).cloned()
    }

    /// A commit becomes the head of the branch.
    pub(crate) fn head(&self, commit: &CommitId) {
        self.book().facts.head(commit);
    }

    /// A finding of the frame itself.
    pub(crate) fn find(&self, invariant: Invariant, at: Time, breach: Option<String>) {
        self.book().find(invariant, at, Finding::of(breach));
    }

    /// What has changed so far: effects, and when others touched the world last.
    pub(crate) fn changes(&self) -> (u64, Option<Time>) {
        let book = self.book();
        (book.effects, book.touched)
    }

    /// When anybody but us touched the world last.
    pub(crate) fn touched(&self) -> Option<Time> {
        self.book().touched
    }

    /// Whether somebody else ever changed what stands there.
    pub(crate) fn touched_by_others(&self) -> bool {
        !self.book().meddled.is_empty()
    }

    /// Something happened outside that a success may not know of.
    pub(crate) fn touch(&self, at: Time) {
        self.book().touched = Some(at);
    }

    pub fn breaches(&self) -> Vec<Breach> {
        self.book().breaches.clone()
    }

    pub fn is_clean(&self) -> bool {
        self.book().breaches.is_empty()
    }

    /// How often each invariant had something to check.
    pub fn fired(&self) -> BTreeMap<Invariant, u64> {
        self.book().fired.clone()
    }

    pub(crate) fn lives(&self) -> BTreeMap<(Port, String), (u64, u64)> {
        self.book().lives.clone()
    }

    pub(crate) fn meddled(&self) -> BTreeSet<(Port, String)> {
        self.book().meddled.clone()
    }
}
