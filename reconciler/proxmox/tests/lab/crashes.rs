//! A crash at every place, and a connection that is cut at every request: what comes after just goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use holdfast_core::plan::Action;
use holdfast_lab::http::{Fault, Moment};
use holdfast_lab::proxmox::{Event, TaskMode};
use serde_json::json;
use tokio::sync::Notify;

use crate::manifests::{whole, with};
use crate::world::{Lab, NAME, Rest};

/// Labs that live at once.
const AT_ONCE: usize = 12;

/// It goes on to the end, and there is one guest.
async fn goes_on(lab: &Lab, place: &str) {
    let (_, rest) = lab.converge(NAME, &whole()).await;
    assert_eq!(rest, Rest::Settled, "{place}");
    lab.is_whole();
    let history = lab.pve.world().history;
    let count = |is: fn(&Event) -> bool| history.iter().filter(|event| is(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Cloned { .. })), 1, "{place}");
    assert_eq!(count(|event| matches!(event, Event::Started { .. })), 1, "{place}");
    lab.is_settled(NAME, &whole()).await;
}

/// How many requests a guest takes from nothing to settled, when nothing goes wrong.
async fn requests() -> usize {
    let lab = Lab::start().await;
    lab.converge(NAME, &whole()).await;
    lab.wire.requests().len()
}

#[tokio::test]
async fn a_crash_after_any_step_just_continues() {
    for crash in 1..=5 {
        let mut lab = Lab::start().await;
        let mut steps = 0;
        while steps < crash {
            match lab.turn(NAME, &whole()).await {
                Ok(done) => steps += done.len(),
                Err(rest) => assert!(rest.is_tried_again(), "{rest:?}"),
            }
        }
        lab = lab.reborn();
        goes_on(&lab, &format!("after step {crash}")).await;
    }
}

#[tokio::test]
async fn a_crash_at_any_request_just_continues() {
    let places = (0..requests().await).flat_map(|at| [(at, Moment::Before), (at, Moment::After)]);
    iter(places)
        .for_each_concurrent(AT_ONCE, |(at, moment)| async move {
            let lab = Lab::start().await;
            let crash = Arc::new(Notify::new());
            let (crashes, mut count) = (Arc::clone(&crash), 0);
            lab.wire.watch(move |_, now| {
                if now == moment {
                    count += 1;
                    if count == at + 1 {
                        crashes.notify_one();
                    }
                }
            });
            let spec = whole();
            tokio::select! {
                biased;
                () = crash.notified() => {}
                _ = lab.converge(NAME, &spec) => {}
            }
            goes_on(&lab.reborn(), &format!("{moment:?} request {at}")).await;
        })
        .await;
}

#[tokio::test]
async fn a_crash_before_a_new_cloud_init_image_is_made_up_for() {
    for done in 0..=3 {
        let lab = Lab::start().await;
        let spec =
            |user: &str| with(101, &json!({ "description": "by hand", "cloudInit": { "user": user } }));
        assert_eq!(lab.converge(NAME, &spec("ops")).await.1, Rest::Settled);
        let Action::Update(mut steps) = lab.next(NAME, &spec("admin")).await else { panic!("it is set") };
        let lines: Vec<&str> = steps.iter().map(|step| step.text.as_str()).collect();
        assert_eq!(
            lines,
            [
                "set user of vm 101",
                "write the cloud-init drive of vm 101 anew, for its next boot",
                "note that the cloud-init drive of vm 101 is written",
            ]
        );
        steps.truncate(done);
        lab.apply(NAME, &Action::Update(steps)).await;
        let (_, rest) = lab.reborn().converge(NAME, &spec("admin")).await;
        assert_eq!(rest, Rest::Settled, "after {done} steps");
        let guest = lab.guest(101);
        let image = guest.seed.expect("there is a cloud-init drive").user_data;
        assert!(image.contains("user: admin"), "after {done} steps: {image}");
        assert!(guest.config["description"].starts_with("by hand\n\nholdfast: "), "{:?}", guest.config);
        assert!(!guest.config["description"].contains("seed"), "{:?}", guest.config);
        assert_eq!(guest.boots, 1);
        lab.is_settled(NAME, &spec("admin")).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_at_any_request_is_no_failure() {
    let places = (0..requests().await).flat_map(|at| [(at, Fault::CutBefore), (at, Fault::CutAfter)]);
    iter(places)
        .for_each_concurrent(AT_ONCE, |(at, fault)| async move {
            let lab = Lab::start().await;
            let count = AtomicUsize::new(0);
            lab.wire.fail_next(move |_| count.fetch_add(1, Ordering::Relaxed) == at, fault);
            goes_on(&lab, &format!("{fault:?} at request {at}")).await;
        })
        .await;
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[tokio::test]
async fn whatever_breaks_together_there_is_one_guest_in_the_end() {
    const FAULTS: [Fault; 5] =
        [Fault::CutBefore, Fault::CutAfter, Fault::Status(596), Fault::Status(500), Fault::Status(503)];
    iter(1..=24)
        .for_each_concurrent(AT_ONCE, |seed| async move {
            let lab = Lab::start().await;
            let mut dice = Dice(seed);
            for _ in 0..12 {
                let count = AtomicUsize::new(dice.roll(60));
                let strikes = move |_: &_| count.fetch_sub(1, Ordering::Relaxed) == 0;
                lab.wire.fail_next(strikes, FAULTS[dice.roll(FAULTS.len())]);
            }
            let locked = "can't lock file '/var/lock/qemu-server/lock-101.conf' - got timeout";
            for kind in ["qmclone", "qmconfig", "resize", "qmstart", "qmconfig"] {
                lab.pve.next_task(
                    kind,
                    match dice.roll(4) {
                        0 => TaskMode::Lost { done: true },
                        1 if kind != "qmclone" => TaskMode::Fail(locked.to_owned()),
                        2 => TaskMode::OnNode("pve2".to_owned()),
                        _ => TaskMode::Warn,
                    },
                );
            }
            goes_on(&lab, &format!("seed {seed}")).await;
        })
        .await;
}

#[tokio::test]
async fn a_worker_that_is_killed_is_looked_after() {
    for kind in ["qmclone", "qmconfig", "resize", "qmstart"] {
        for done in [true, false] {
            if (kind, done) == ("qmclone", false) {
                continue;
            }
            let lab = Lab::start().await;
            lab.pve.next_task(kind, TaskMode::Lost { done });
            goes_on(&lab, &format!("{kind}, done: {done}")).await;
        }
    }
}

#[tokio::test]
async fn a_clone_that_is_killed_half_way_is_left_to_a_person() {
    let lab = Lab::start().await;
    lab.pve.next_task("qmclone", TaskMode::Lost { done: false });
    let (done, rest) = lab.go(NAME, &whole()).await;
    assert_eq!(done, Vec::<String>::new());
    assert!(rest.is_tried_again() && rest.why().contains("outcome unknown"), "{rest:?}");
    let (done, rest) = lab.go(NAME, &whole()).await;
    assert_eq!((done.len(), rest), (0, Rest::Waits("vm 101 is locked (clone)".to_owned())));
    // Somebody sees the remains, and clears them away.
    lab.pve.remove(101).unwrap();
    let (_, rest) = lab.converge(NAME, &whole()).await;
    assert_eq!(rest, Rest::Settled);
}
