//! A journal and a repository in memory, for the engine's tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use holdfast_core::desired::Site;
use holdfast_core::ident::{CommitId, EnvironmentName, ResourceId, SiteName};
use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::manifest::{Tree, Validators};
use holdfast_core::plan::Kinds;
use holdfast_core::plan::Plan;
use holdfast_core::report::{Report, Status, StatusState};
use holdfast_core::schedule::Moment;
use holdfast_engine::ports::{
    Clock, Context, Epoch, Halt, Journal, JournalError, Known, Lease, Manifests, Refused, Repository, RunId,
};

/// Remembers everything, durable as long as the test.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) statuses: Mutex<Vec<(CommitId, Context, Status)>>,
    pub(crate) reports: Mutex<Vec<Report>>,
    pub(crate) kept: Mutex<BTreeMap<EnvironmentName, CommitId>>,
    /// The repository: commits in order, each a child of the one before, with the files of each.
    pub(crate) commits: Mutex<Vec<(CommitId, Tree)>>,
    /// What the branch points at, where it is not the last commit.
    pub(crate) rewound_to: Mutex<Option<CommitId>>,
    /// Fetches that fail before one goes through.
    pub(crate) outage: Mutex<usize>,
    /// Whether fetches hang.
    pub(crate) hangs: Mutex<bool>,
    /// The end of no run of this commit can be recorded.
    pub(crate) unrecorded: Mutex<Option<CommitId>>,
    /// The commit of the last run.
    pub(crate) begun: Mutex<Option<CommitId>>,
    /// How often the process ended while it read the next commit.
    pub(crate) deaths: Mutex<u32>,
    /// The last commit that each environment converged to.
    pub(crate) converged: Mutex<BTreeMap<EnvironmentName, CommitId>>,
    /// What was removed for which commit.
    pub(crate) removals: Mutex<Vec<(CommitId, ResourceId)>>,
    /// Who has the environment, and how often it changed hands.
    pub(crate) lease: Mutex<(String, u64)>,
}

impl Memory {
    /// Adds a commit with these files.
    pub(crate) fn push(&self, commit: CommitId, files: &[(&str, &str)]) {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        let tree = Tree { files, ..Tree::default() };
        self.commits.lock().expect("no test panics while it holds this").push((commit, tree));
    }

    pub(crate) fn statuses_of(&self, commit: &CommitId) -> Vec<String> {
        let statuses = self.statuses.lock().expect("no test panics while it holds this");
        let of = statuses.iter().filter(|(of, _, _)| of == commit);
        of.map(|(_, _, status)| format!("{}: {}", status.state.as_str(), status.description)).collect()
    }
}

impl Memory {
    /// Wants a status, by the rules that the port states.
    fn want(&self, commit: &CommitId, context: &Context, status: &Status) {
        let mut statuses = self.statuses.lock().expect("no test panics while it holds this");
        let last = statuses.iter().rev().find(|(of, about, _)| of == commit && about == context);
        let may_follow = last.is_none_or(|(_, _, last)| match last.state {
            StatusState::Pending => last != status,
            StatusState::Success => false,
            StatusState::Failure | StatusState::Error => {
                !last.is_terminal() && status.state == StatusState::Success
            }
        });
        if may_follow {
            statuses.push((commit.clone(), context.clone(), status.clone()));
        }
    }
}

impl Journal for Memory {
    fn set_status<'a>(
        &'a self,
        commit: &'a CommitId,
        context: &'a Context,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        self.want(commit, context, status);
        Box::pin(async { Ok(()) })
    }
    fn status<'a>(
        &'a self,
        _: &'a CommitId,
        _: &'a Context,
    ) -> BoxFuture<'a, Result<Option<Status>, JournalError>> {
        Box::pin(async { Ok(None) })
    }
    fn pending(&self) -> BoxFuture<'_, Result<Vec<(CommitId, Context)>, JournalError>> {
        let statuses = self.statuses.lock().expect("no test panics while it holds this");
        let last: BTreeMap<_, _> = statuses
            .iter()
            .map(|(commit, context, status)| ((commit.clone(), context.clone()), status.state))
            .collect();
        let pending = last
            .into_iter()
            .filter(|(_, state)| *state == StatusState::Pending)
            .map(|(key, _)| key)
            .collect();
        Box::pin(async move { Ok(pending) })
    }
    fn lease<'a>(
        &'a self,
        _: &'a EnvironmentName,
        holder: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<Lease, JournalError>> {
        let mut lease = self.lease.lock().expect("no test panics while it holds this");
        if lease.0 != holder {
            *lease = (holder.to_owned(), lease.1 + 1);
        }
        let epoch = Epoch(lease.1);
        Box::pin(async move { Ok(Lease::Held(epoch)) })
    }
    fn epoch<'a>(&'a self, _: &'a EnvironmentName) -> BoxFuture<'a, Result<Option<Epoch>, JournalError>> {
        let epoch = Epoch(self.lease.lock().expect("no test panics while it holds this").1);
        Box::pin(async move { Ok(Some(epoch)) })
    }
    fn attempt<'a>(&'a self, _: &'a CommitId) -> BoxFuture<'a, Result<u32, JournalError>> {
        let deaths = *self.deaths.lock().expect("no test panics while it holds this");
        Box::pin(async move { Ok(deaths) })
    }
    fn attempt_ended<'a>(&'a self, _: &'a CommitId) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async { Ok(()) })
    }
    fn known<'a>(&'a self, _: &'a EnvironmentName) -> BoxFuture<'a, Result<Known, JournalError>> {
        Box::pin(async { Ok(Known::default()) })
    }
    fn removing<'a>(
        &'a self,
        commit: &'a CommitId,
        id: &'a ResourceId,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        let mut removals = self.removals.lock().expect("no test panics while it holds this");
        removals.push((commit.clone(), id.clone()));
        Box::pin(async { Ok(()) })
    }
    fn removed<'a>(
        &'a self,
        _: &'a EnvironmentName,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<BTreeSet<ResourceId>, JournalError>> {
        let removals = self.removals.lock().expect("no test panics while it holds this");
        let of = removals.iter().filter(|(of, _)| of == commit).map(|(_, id)| id.clone()).collect();
        Box::pin(async { Ok(of) })
    }
    fn converged<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>> {
        let converged = self.converged.lock().expect("no test panics while it holds this");
        let converged = converged.get(environment).cloned();
        Box::pin(async { Ok(converged) })
    }
    fn begun<'a>(&'a self, _: &'a EnvironmentName) -> BoxFuture<'a, Result<Option<CommitId>, JournalError>> {
        let begun = self.begun.lock().expect("no test panics while it holds this").clone();
        Box::pin(async { Ok(begun) })
    }
    fn run_started<'a>(
        &'a self,
        commit: &'a CommitId,
        _: &'a Plan,
    ) -> BoxFuture<'a, Result<RunId, JournalError>> {
        *self.begun.lock().expect("no test panics while it holds this") = Some(commit.clone());
        Box::pin(async { Ok(RunId(1)) })
    }
    fn run_finished<'a>(
        &'a self,
        _: RunId,
        report: &'a Report,
        status: &'a Status,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        if self.unrecorded.lock().expect("no test panics while it holds this").as_ref()
            == Some(&report.commit)
        {
            let error =
                JournalError { doing: "recording the end of a run".to_owned(), source: "disk full".into() };
            return Box::pin(async { Err(error) });
        }
        self.reports.lock().expect("no test panics while it holds this").push(report.clone());
        if report.converged() {
            let mut converged = self.converged.lock().expect("no test panics while it holds this");
            converged.insert(report.environment.clone(), report.commit.clone());
        }
        self.want(&report.commit, &Context::Environment(report.environment.clone()), status);
        Box::pin(async { Ok(()) })
    }
}

impl Repository for Memory {
    fn fetch(&self) -> BoxFuture<'_, Result<Option<CommitId>, TargetError>> {
        if *self.hangs.lock().expect("no test panics while it holds this") {
            return Box::pin(std::future::pending());
        }
        let mut outage = self.outage.lock().expect("no test panics while it holds this");
        let answer = if *outage > 0 {
            *outage -= 1;
            Err(TargetError::unavailable("fetching", "connection refused"))
        } else {
            let commits = self.commits.lock().expect("no test panics while it holds this");
            let rewound = self.rewound_to.lock().expect("no test panics while it holds this").clone();
            Ok(rewound.or_else(|| commits.last().map(|(commit, _)| commit.clone())))
        };
        Box::pin(async { answer })
    }
    fn tree<'a>(&'a self, wanted: &'a CommitId) -> BoxFuture<'a, Result<Tree, TargetError>> {
        let commits = self.commits.lock().expect("no test panics while it holds this");
        let tree = commits.iter().find(|(commit, _)| commit == wanted).map(|(_, tree)| tree.clone());
        Box::pin(async { tree.ok_or_else(|| TargetError::rejected("reading the commit", "it is not there")) })
    }
    fn descends<'a>(
        &'a self,
        old: &'a CommitId,
        new: &'a CommitId,
    ) -> BoxFuture<'a, Result<bool, TargetError>> {
        let commits = self.commits.lock().expect("no test panics while it holds this");
        let at = |wanted: &CommitId| commits.iter().position(|(commit, _)| commit == wanted);
        let descends = match (at(old), at(new)) {
            (_, None) => Err(TargetError::rejected("comparing commits", "the mirror has no such commit")),
            (old, new) => Ok(old.is_some() && old <= new),
        };
        Box::pin(async move { descends })
    }
    fn keep<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        commit: &'a CommitId,
    ) -> BoxFuture<'a, Result<(), TargetError>> {
        self.kept
            .lock()
            .expect("no test panics while it holds this")
            .insert(environment.clone(), commit.clone());
        Box::pin(async { Ok(()) })
    }
    fn kept<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> BoxFuture<'a, Result<Option<CommitId>, TargetError>> {
        let kept = self.kept.lock().expect("no test panics while it holds this").get(environment).cloned();
        Box::pin(async move { Ok(kept) })
    }
    fn all_kept(&self) -> BoxFuture<'_, Result<BTreeMap<EnvironmentName, CommitId>, TargetError>> {
        let kept = self.kept.lock().expect("no test panics while it holds this").clone();
        Box::pin(async { Ok(kept) })
    }
}

/// Reads manifests as the service does, where it stands.
pub(crate) struct Reader(pub(crate) SiteName, pub(crate) Kinds, pub(crate) Validators);

impl Manifests for Reader {
    fn read(&self, tree: Tree) -> BoxFuture<'_, Result<Site, Refused>> {
        let read = holdfast_core::manifest::read(&tree, &self.1, &self.2)
            .and_then(|manifest| manifest.expect_site(&self.0, &tree).map(|()| manifest.site));
        let read = read.map_err(|problems| Refused {
            headline: problems.headline().to_owned(),
            whole: problems.render(&tree),
        });
        Box::pin(async { read })
    }
}

/// A clock that stands, and nobody who pauses.
pub(crate) struct Still;

impl Clock for Still {
    fn now(&self) -> Moment {
        Moment(1_800_000_000)
    }
}

impl Halt for Still {
    fn reason(&self) -> Option<String> {
        None
    }
}
