//! What the log is told of runs: news, and nothing twice.

use std::collections::BTreeSet;

use holdfast_core::report::Report;
use tracing::warn;

/// What the log was told of the last run: what stays the same is not said again with every retry.
#[derive(Default)]
pub(crate) struct Said(BTreeSet<(String, String)>);

impl Said {
    pub(crate) fn tell(&mut self, report: &Report) {
        let Report { environment, commit, outcomes: _, unseen, notices, maybe_there: _ } = report;
        let (at, commit) = (environment, commit.short());
        let mut now = BTreeSet::new();
        let mut is_new = |what: &str, of: &str| {
            let said = (of.to_owned(), what.to_owned());
            let is_new = !self.0.contains(&said);
            now.insert(said);
            is_new
        };
        for problem in report.problems().into_iter().filter(|problem| is_new(&problem.text, commit)) {
            let help = (!problem.ways_out.is_empty()).then(|| problem.ways_out.join("; or "));
            warn!(environment = %at, commit, problem = problem.text, help, "a resource did not converge");
        }
        for (kind, why) in unseen.iter().filter(|(kind, why)| is_new(why, kind.as_str())) {
            warn!(environment = %at, kind = %kind, why, "not every object could be seen: none that left the repository goes");
        }
        for notice in notices.iter().filter(|notice| is_new(notice, "")) {
            warn!(environment = %at, notice, "something in the world needs a person");
        }
        self.0 = now;
    }
}
