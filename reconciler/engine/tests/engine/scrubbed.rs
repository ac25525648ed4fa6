//! What a store reads is a secret from then on, and no journal gets one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_core::any_kind::PlannedStep;
use holdfast_core::kind::{BoxFuture, Change, Risk, TargetError};
use holdfast_core::plan::{Action, Hold, Item, Plan};
use holdfast_core::report::{Outcome, Report, Status, StatusState};
use holdfast_core::scrub::Scrubber;
use holdfast_core::secret::{SecretDocument, SecretStore};
use holdfast_engine::ports::{Context, Journal as _, RunId};
use holdfast_engine::scrubbed::{LearningStore, ScrubbedJournal, cleaned};
use secrecy::SecretString;
use serde_json::json;

use super::memory::Memory;
use super::world::{commit, environment, id};

/// A store with one document.
struct Store(&'static [(&'static str, &'static str)]);

impl SecretStore for Store {
    fn target(&self) -> &'static str {
        "safe"
    }

    fn read<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<SecretDocument, TargetError>> {
        let values =
            self.0.iter().map(|(key, value)| ((*key).to_owned(), SecretString::from(*value))).collect();
        Box::pin(async { Ok(SecretDocument { version: 1, values }) })
    }
}

async fn scrubber(values: &'static [(&'static str, &'static str)]) -> Scrubber {
    let scrubber = Scrubber::default();
    let store = LearningStore::new(Arc::new(Store(values)), scrubber.clone());
    assert_eq!(store.read("kv/any").await.expect("it is there").values.len(), values.len());
    scrubber
}

fn report(why: &str) -> Report {
    let error = TargetError::rejected("setting the password of it", why);
    let failed = Outcome::Failed { step: "set the password".to_owned(), error };
    Report {
        environment: environment(),
        commit: commit('a'),
        outcomes: BTreeMap::from([
            (id("web"), failed),
            (id("db"), Outcome::Applied(vec!["start it".to_owned()])),
        ]),
        unseen: BTreeMap::new(),
        notices: BTreeSet::from([format!("it warned: {why}")]),
        maybe_there: BTreeSet::new(),
    }
}

#[tokio::test]
async fn what_was_read_stands_in_no_report_and_no_status() {
    let scrubber = scrubber(&[("password", "correct horse"), ("user", "me")]).await;
    let memory = Arc::new(Memory::default());
    let journal = ScrubbedJournal::new(memory.clone(), scrubber);
    let context = Context::Environment(environment());
    let pending = Status::new(StatusState::Pending, "trying `correct horse` as me");
    journal.set_status(&commit('a'), &context, &pending).await.expect("it is kept");
    let report = report("400: `correct horse` (Y29ycmVjdCBob3JzZQ==) is no password");
    journal.run_finished(RunId(1), &report, &report.status()).await.expect("it is kept");
    let lines = memory.statuses_of(&commit('a'));
    assert_eq!(lines[0], "pending: trying `[redacted]` as me");
    assert!(lines[1].ends_with("400: `[redacted]` ([redacted]==) is no password"), "{lines:?}");
    let kept = memory.reports.lock().expect("no test panics while it holds this").pop().expect("it was kept");
    let text = serde_json::to_string(&kept).expect("plain data");
    assert!(text.contains("[redacted]") && !text.contains("horse") && !text.contains("Y29y"), "{text}");
    assert_eq!(kept.outcomes.keys().collect::<Vec<_>>(), [&id("db"), &id("web")]);
}

#[tokio::test]
async fn a_secret_that_the_end_of_a_status_would_cut_is_taken_out_before() {
    let scrubber = scrubber(&[("password", "correct horse battery staple")]).await;
    let memory = Arc::new(Memory::default());
    let journal = ScrubbedJournal::new(memory.clone(), scrubber);
    for pad in 40..110 {
        let report = report(&format!("{} correct horse battery staple {}", "x".repeat(pad), "y".repeat(90)));
        assert!(report.status().description.contains('…'), "it is cut");
        memory.statuses.lock().expect("no test panics while it holds this").clear();
        journal.run_finished(RunId(1), &report, &report.status()).await.expect("it is kept");
        let line = memory.statuses_of(&commit('a')).pop().expect("it was kept");
        assert!(!line.contains("corr") && line.chars().count() <= 149, "{line}");
    }
}

#[tokio::test]
async fn what_gives_data_its_shape_stays_and_the_texts_do_not() {
    // All of them are also names of variants, of fields or of resources.
    let scrubber =
        scrubber(&[("a", "create"), ("b", "quiet!"), ("c", "unseen"), ("d", "changes"), ("e", "proxy-1")])
            .await;
    let step = PlannedStep {
        text: "write `quiet!` to create".to_owned(),
        risk: Risk::Quiet,
        changes: vec![Change::new("motd", "unseen", "proxy-1")],
        secrets: Vec::new(),
        step: json!({ "create": ["quiet!"] }),
    };
    let unseen = Action::Hold(Hold::Unseen(TargetError::unavailable("looking", "proxy-1 is unseen")));
    let plan = Plan {
        environment: environment(),
        items: vec![
            Item { id: id("proxy-1"), action: Action::Create(vec![step]) },
            Item { id: id("other"), action: unseen },
        ],
        notices: BTreeSet::new(),
        unseen: BTreeMap::new(),
    };
    let clean = cleaned(&scrubber, &plan).into_owned();
    assert_eq!(clean.items[0].id, id("proxy-1"));
    let Action::Create(steps) = &clean.items[0].action else { panic!("{clean:?}") };
    assert_eq!(steps[0].text, "write `[redacted]` to [redacted]");
    assert_eq!(steps[0].changes, [Change::new("motd", "[redacted]", "[redacted]")]);
    assert_eq!(steps[0].step["create"], json!(["[redacted]"]));
    let Action::Hold(Hold::Unseen(error)) = &clean.items[1].action else { panic!("{clean:?}") };
    assert_eq!(error.to_string(), "looking: [redacted] is [redacted]");
    assert_eq!(cleaned(&Scrubber::default(), &plan).into_owned(), plan);
}
