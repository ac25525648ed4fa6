//! What the watcher promises: every commit is read, checked, handed on and told, whatever it holds.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::kind::Owner;
use holdfast_core::report::{Status, StatusState};
use holdfast_engine::ports::{Context, Journal as _, Repository as _};
use holdfast_engine::watch::watch;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::memory::Memory;
use crate::world::{World, commit, engine, environment, id};

const SITE: (&str, &str) = (
    "holdfast.yaml",
    "apiVersion: holdfast/v1\nkind: Site\nmetadata: { name: home }\nspec: { environments: [attic] }\n",
);

fn thing(value: &str) -> String {
    format!("apiVersion: holdfast/v1\nkind: Thing\nmetadata: {{ name: a }}\nspec: {{ value: {value} }}\n")
}

/// An earlier life converged to a commit.
fn converged(memory: &Memory, commit: CommitId) {
    *memory.begun.lock().unwrap() = Some(commit.clone());
    memory.converged.lock().unwrap().insert(environment(), commit.clone());
    memory.kept.lock().unwrap().insert(environment(), commit);
}

struct Service {
    memory: Arc<Memory>,
    world: World,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Service {
    fn start(prepare: impl FnOnce(&Memory)) -> Self {
        let world = World::default();
        let (engine, memory) = engine(&world);
        prepare(&memory);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(watch(engine, Arc::new(Notify::new()), shutdown.clone()));
        Self { memory, world, shutdown, running }
    }

    fn push(&self, digit: char, value: &str) {
        self.memory.push(commit(digit), &[SITE, ("environments/attic/a.yaml", &thing(value))]);
    }

    /// Lets the service work until a status of the commit starts so.
    async fn until(&self, of: &CommitId, text: &str) {
        for _ in 0..100_000 {
            if self.memory.statuses_of(of).iter().any(|status| status.starts_with(text)) {
                return;
            }
            // Reading a commit is on a thread, which stops the clock's advance: both have to move.
            tokio::time::sleep(Duration::from_millis(50)).await;
            tokio::task::yield_now().await;
        }
        panic!("{text} never came: {:?}", self.memory.statuses_of(of));
    }

    async fn end(self) -> World {
        self.shutdown.cancel();
        self.running.await.expect("the watcher ends well");
        self.world
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_checked_and_converged() {
    let service = Service::start(|_| {});
    service.push('a', "one");
    service.until(&commit('a'), "success: converged").await;
    let statuses = service.memory.statuses_of(&commit('a'));
    assert_eq!(
        statuses,
        [
            "pending: reading the commit",
            "success: valid: 1 resource in 1 environment",
            "pending: converging 1 resource",
            "success: converged: 1 resource, 1 changed"
        ]
    );
    assert_eq!(service.end().await.attic().writes, ["a=one"]);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_commit_changes_nothing_and_the_next_one_mends_it() {
    let service = Service::start(|_| {});
    service.push('a', "one");
    service.until(&commit('a'), "success: converged").await;
    service.memory.push(commit('b'), &[SITE, ("environments/attic/a.yaml", "kind: [\n")]);
    service.until(&commit('b'), "failure: ").await;
    assert_eq!(
        service.memory.statuses_of(&commit('b')).len(),
        2,
        "it has a status for its validity, and no other"
    );
    service.push('c', "two");
    service.until(&commit('c'), "success: converged").await;
    assert_eq!(service.end().await.attic().writes, ["a=one", "a=two"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_goes_backwards_is_held() {
    let service = Service::start(|_| {});
    service.push('a', "one");
    service.until(&commit('a'), "success: converged").await;
    service.push('b', "two");
    service.until(&commit('b'), "success: converged").await;
    service.push('c', "three");
    service.until(&commit('c'), "success: converged").await;
    let elsewhere = [SITE, ("environments/attic/a.yaml", &thing("other"))];
    service.memory.push(commit('0'), &elsewhere);
    service.memory.commits.lock().unwrap().rotate_right(1);
    *service.memory.rewound_to.lock().unwrap() = Some(commit('0'));
    service.until(&commit('0'), "failure: held: it does not descend from ccccccc").await;
    assert_eq!(service.end().await.attic().writes, ["a=one", "a=two", "a=three"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_before_one_that_was_begun_is_held() {
    let service = Service::start(|_| {});
    service.push('a', "one");
    service.until(&commit('a'), "success: converged").await;
    // It is applied, and does not come up: begun, and never converged.
    service.world.attic().stay_down.insert("a".to_owned());
    service.push('b', "two");
    service.until(&commit('b'), "failure: not healthy in time").await;
    *service.memory.rewound_to.lock().unwrap() = Some(commit('a'));
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(service.world.attic().writes, ["a=one", "a=two"]);
    // What is pushed on top of it is taken.
    *service.memory.rewound_to.lock().unwrap() = None;
    service.world.attic().stay_down.clear();
    service.push('c', "one");
    service.until(&commit('c'), "success: converged").await;
    service.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_on_an_invalid_commit_goes_on_with_the_one_that_was_begun() {
    // What another life left: `b` was begun after `a` converged, and made another thing.
    let two = format!("{}---\n{}", thing("two"), thing("new").replace("name: a", "name: b"));
    let begun = |memory: &Memory| {
        memory.push(commit('a'), &[SITE, ("environments/attic/a.yaml", &thing("one"))]);
        memory.push(commit('b'), &[SITE, ("environments/attic/a.yaml", &two)]);
        memory.push(commit('c'), &[SITE, ("environments/attic/a.yaml", "kind: Nonsense")]);
        memory.kept.lock().unwrap().insert(environment(), commit('a'));
    };
    // What the journal knows: a converged commit and a later run; nothing; the run of who only looked since it was lost.
    let known = [(Some('a'), Some('b'), "a=two"), (None, None, ""), (None, Some('a'), "")];
    for (converged, last, expected) in known {
        let service = Service::start(|memory| {
            begun(memory);
            *memory.begun.lock().unwrap() = last.map(commit);
            memory.converged.lock().unwrap().extend(converged.map(|digit| (environment(), commit(digit))));
        });
        service.world.put("a", "one", Owner::Ours(id("a")));
        service.world.put("b", "new", Owner::Ours(id("b")));
        service.until(&commit('c'), "failure: ").await;
        tokio::time::sleep(Duration::from_mins(30)).await;
        assert_eq!(service.end().await.attic().writes.join(" "), expected, "nothing goes, whatever is known");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_journal_knows_of_a_history_that_is_gone_stops_nothing() {
    let pending = Status::new(StatusState::Pending, "converging 1 resource");
    let context = Context::Environment(environment());
    let service = Service::start(|memory| {
        memory.push(commit('a'), &[SITE, ("environments/attic/a.yaml", &thing("one"))]);
        *memory.begun.lock().unwrap() = Some(commit('f'));
        memory.statuses.lock().unwrap().push((commit('f'), context, pending));
    });
    service.until(&commit('a'), "success: converged").await;
    service.until(&commit('f'), "error: superseded by aaaaaaa").await;
    service.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_older_commit_supersedes_no_newer_one() {
    let service = Service::start(|_| {});
    service.push('a', "one");
    service.until(&commit('a'), "success: converged").await;
    // Another process, that is ahead, has begun `b`; the mirror here is behind.
    let files = [SITE, ("environments/attic/a.yaml", &thing("two"))];
    service.memory.push(commit('b'), &files);
    *service.memory.rewound_to.lock().unwrap() = Some(commit('a'));
    let context = Context::Environment(EnvironmentName::new("cellar").unwrap());
    let pending = Status::new(StatusState::Pending, "converging");
    service.memory.set_status(&commit('b'), &context, &pending).await.unwrap();
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(service.memory.statuses_of(&commit('b')), ["pending: converging"]);
    service.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_another_process_fetched_first_is_not_superseded_by_an_older_one() {
    let pending = Status::new(StatusState::Pending, "converging 1 resource");
    let context = Context::Environment(environment());
    let service = Service::start(|memory| {
        memory.push(commit('a'), &[SITE, ("environments/attic/a.yaml", &thing("one"))]);
        memory.statuses.lock().unwrap().push((commit('b'), context, pending));
    });
    service.until(&commit('a'), "success: valid").await;
    service.push('b', "two");
    service.until(&commit('b'), "success: converged").await;
    let of = service.memory.statuses_of(&commit('b'));
    assert!(!of.iter().any(|status| status.starts_with("error")), "{of:?}");
    service.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_ended_the_service_each_time_is_not_read_again() {
    let service = Service::start(|memory| *memory.deaths.lock().unwrap() = 2);
    let context = Context::Environment(environment());
    let pending = Status::new(StatusState::Pending, "converging");
    service.memory.set_status(&commit('a'), &context, &pending).await.unwrap();
    service.push('a', "one");
    service.until(&commit('a'), "failure: the service ended 2 times while it read this commit").await;
    let of = service.memory.statuses_of(&commit('a'));
    assert_eq!(
        of.iter().filter(|status| status.starts_with("failure: the service ended")).count(),
        2,
        "{of:?}"
    );
    *service.memory.deaths.lock().unwrap() = 0;
    service.push('b', "two");
    service.until(&commit('b'), "success: converged").await;
    assert_eq!(service.end().await.attic().writes, ["a=two"]);
}

#[tokio::test(start_paused = true)]
async fn a_rewind_that_the_site_allows_by_name_is_taken() {
    let service = Service::start(|_| {});
    service.push('b', "two");
    service.until(&commit('b'), "success: converged").await;
    let rewind = format!("[{}]", commit('b').as_str());
    let site = SITE.1.replace("[attic] }", &format!("[attic], rewind: {rewind} }}"));
    service.memory.push(commit('0'), &[(SITE.0, &site), ("environments/attic/a.yaml", &thing("zero"))]);
    service.memory.commits.lock().unwrap().rotate_right(1);
    *service.memory.rewound_to.lock().unwrap() = Some(commit('0'));
    service.until(&commit('0'), "success: converged").await;
    assert_eq!(service.end().await.attic().writes, ["a=two", "a=zero"]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_repository_and_an_outage_are_waited_out() {
    let service = Service::start(|memory| *memory.outage.lock().unwrap() = 7);
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!(*service.memory.outage.lock().unwrap(), 0);
    service.push('a', "one");
    service.until(&commit('a'), "success: converged").await;
    service.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_repository_of_another_site_is_refused() {
    let service = Service::start(|_| {});
    let other = (SITE.0, SITE.1.replace("home", "cabin"));
    service
        .memory
        .push(commit('a'), &[(other.0, other.1.as_str()), ("environments/attic/a.yaml", &thing("one"))]);
    service
        .until(
            &commit('a'),
            "failure: the repository is of site `cabin`, but site `home` is served (holdfast.yaml:3)",
        )
        .await;
    assert_eq!(service.end().await.attic().writes, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_life_left_pending_is_ended() {
    let service = Service::start(|_| {});
    let context = Context::Environment(environment());
    let pending = Status::new(StatusState::Pending, "converging 1 resources");
    service.memory.set_status(&commit('0'), &context, &pending).await.unwrap();
    service.push('a', "one");
    service.until(&commit('0'), "error: superseded by aaaaaaa").await;
    service.until(&commit('a'), "success: converged").await;
    assert_eq!(service.memory.kept(&environment()).await.unwrap(), Some(commit('a')));
    service.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_end_could_not_be_recorded_is_ended_by_the_next() {
    let service = Service::start(|memory| *memory.unrecorded.lock().unwrap() = Some(commit('a')));
    service.push('a', "one");
    service.until(&commit('a'), "pending: converging").await;
    tokio::time::sleep(Duration::from_mins(3)).await;
    service.push('b', "two");
    service.until(&commit('b'), "success: converged").await;
    service.until(&commit('a'), "error: superseded by bbbbbbb").await;
    service.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_does_not_keep_the_service_from_ending() {
    let service = Service::start(|memory| *memory.hangs.lock().unwrap() = true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ended = tokio::time::timeout(Duration::from_secs(1), service.end()).await;
    assert!(ended.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_start_on_an_invalid_commit_looks_after_the_last_converged_one() {
    let service = Service::start(|memory| {
        memory.push(commit('a'), &[SITE, ("environments/attic/a.yaml", &thing("one"))]);
        memory.push(commit('b'), &[SITE, ("environments/attic/a.yaml", "kind: [\n")]);
        converged(memory, commit('a'));
    });
    service.until(&commit('b'), "failure: ").await;
    service.until(&commit('a'), "success: converged").await;
    service.push('c', "two");
    service.until(&commit('c'), "success: converged").await;
    assert_eq!(service.end().await.attic().writes, ["a=one", "a=two"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_on_a_commit_that_goes_backwards_looks_after_the_last_converged_one() {
    let service = Service::start(|memory| {
        memory.push(commit('a'), &[SITE, ("environments/attic/a.yaml", &thing("one"))]);
        memory.push(commit('b'), &[SITE, ("environments/attic/a.yaml", &thing("two"))]);
        converged(memory, commit('b'));
        *memory.rewound_to.lock().unwrap() = Some(commit('a'));
    });
    service.until(&commit('a'), "failure: held: it does not descend from bbbbbbb").await;
    service.until(&commit('b'), "success: converged").await;
    assert_eq!(service.end().await.attic().writes, ["a=two"]);
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_left_is_not_taken_up_again_by_a_bad_commit() {
    let left = EnvironmentName::new("cellar").unwrap();
    let both = SITE.1.replace("[attic]", "[attic, cellar]");
    let service = Service::start(|memory| {
        let cellar = ("environments/cellar/b.yaml", thing("b").replace("name: a", "name: b"));
        memory.push(
            commit('a'),
            &[(SITE.0, &both), ("environments/attic/a.yaml", &thing("one")), (cellar.0, &cellar.1)],
        );
        memory.push(commit('b'), &[SITE, ("environments/attic/a.yaml", &thing("one"))]);
        memory.push(commit('c'), &[SITE, ("environments/attic/a.yaml", "kind: [\n")]);
        converged(memory, commit('b'));
        memory.kept.lock().unwrap().insert(left, commit('a'));
    });
    service.until(&commit('b'), "success: converged").await;
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!(service.end().await.attic().writes, ["a=one"]);
}

#[tokio::test(start_paused = true)]
async fn a_first_run_removes_nothing_and_the_next_commit_does() {
    let service = Service::start(|_| {});
    service.world.put("old", "o", Owner::Ours(id("old")));
    service.push('a', "one");
    service.until(&commit('a'), "success: converged: 1 resource, 1 changed").await;
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!(service.world.attic().writes, ["a=one"]);
    let reports = service.memory.reports.lock().unwrap().clone();
    assert!(reports.iter().all(|report| report.notices.iter().any(|notice| notice.contains("`Thing/old`"))));
    service.push('b', "two");
    service.until(&commit('b'), "success: converged").await;
    assert_eq!(service.end().await.attic().writes, ["a=one", "a=two", "old=-"]);
}
