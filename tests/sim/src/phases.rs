//! What comes after a world has converged: the quiet hour, and in some seeds a lost journal or an outage.

use std::time::Duration;

use holdfast_core::ident::EnvironmentName;
use holdfast_core::plan::Action;
use holdfast_core::report::{Context, StatusState};

use crate::checks::Invariant;
use crate::events::Event;
use crate::faults::FaultKind;
use crate::place::Stands;
use crate::stage::Stage;
use crate::truth::Standing;
use crate::wire::Port;
use crate::workload::sketch::{GUEST, POLICY};
use crate::workload::{Body, Push, Sketch};

/// The quiet hour.
const QUIET: Duration = Duration::from_hours(1);
/// An outage is measured for so long, and what does not need the system that is away is done within it.
const OUTAGE: Duration = Duration::from_hours(3);
/// So long it takes until what was saved up for retries is spent.
const SPENDING: Duration = Duration::from_hours(6);

/// An hour in which nothing may be written anywhere but into the journal.
pub(crate) async fn quiet_hour(stage: &mut Stage) {
    let ports = [Port::Proxmox, Port::Hosts, Port::Vault, Port::Kubernetes, Port::Forge];
    // What was put off, and what is to be told, comes first.
    stage.until(stage.home.wire.now() + Duration::from_mins(10)).await;
    // A look that began before the faults stopped may have missed what the next one puts right.
    if !all_match(stage).await {
        stage.until(stage.home.wire.now() + stage.limits().resync * 2).await;
    }
    stage.home.wire.trace("the quiet hour begins");
    let writes = |stage: &Stage| ports.map(|port| stage.home.wire.writes_of(port));
    let objects = |stage: &Stage| stage.home.stands().map(Stands::objects);
    let objects_before = objects(stage);
    let before = writes(stage);
    stage.until(stage.home.wire.now() + QUIET).await;
    let after = writes(stage);
    // What a system refuses is tried again now and then, and changes nothing.
    let tries = !all_match(stage).await && objects(stage) == objects_before;
    let moved: Vec<String> = ports
        .iter()
        .zip(before.iter().zip(after))
        .filter(|(port, (before, after))| *before != after && !(tries && **port != Port::Forge))
        .map(|(port, (before, after))| format!("{port:?} {}", after - before))
        .collect();
    let breach = (!moved.is_empty()).then(|| format!("writes in a quiet hour: {}", moved.join(", ")));
    let now = stage.home.wire.now();
    stage.home.checks.find(Invariant::Converges, now, breach);
    let known = stage.tip().filter(|_| are_forgotten(stage));
    stage.home.checks.statuses_end(now, known);
    poison(stage);
}

/// Whether nobody knows of older commits any more: the journal was lost, and the branch did not have them then.
fn are_forgotten(stage: &Stage) -> bool {
    let fired = stage.home.wire.fired();
    let any = |kinds: &[FaultKind]| kinds.iter().any(|kind| fired.contains_key(kind));
    any(&[FaultKind::JournalLost, FaultKind::Torn])
        && any(&[FaultKind::Rewind, FaultKind::Rewritten, FaultKind::RefGone])
}

/// A bad commit has its failure, unless a newer one came before anybody read it.
fn poison(stage: &Stage) {
    let now = stage.home.wire.now();
    let all = stage.pushed.iter().filter(|(_, commit)| !are_forgotten(stage) || Some(*commit) == stage.tip());
    for (at, commit) in all {
        let body = &stage.workload.pushes[*at].body;
        if matches!(body, Body::Site(_)) {
            continue;
        }
        if let Some(status) = stage.home.checks.shown(commit, &Context::Validate) {
            let wrong = !matches!(status.state, StatusState::Failure | StatusState::Error);
            let told = format!("{} is {body:?} and stands at `{}`", commit.short(), status.description);
            stage.home.checks.find(Invariant::Poison, now, wrong.then_some(told));
        }
    }
}

/// The journal is deleted, and the service starts again: it finds everything by the marks, and does nothing.
pub(crate) async fn without_journal(stage: &mut Stage) {
    let writes = |stage: &Stage| Port::TARGETS.map(|port| stage.home.wire.writes_of(port));
    let before = writes(stage);
    stage.later(stage.home.wire.now(), Event::JournalLost);
    stage.until(stage.home.wire.now() + Duration::from_hours(1)).await;
    let breach = (writes(stage) != before).then(|| {
        "something was written after the journal was lost, though nothing was to be done".to_owned()
    });
    let now = stage.home.wire.now();
    stage.home.checks.find(Invariant::Journal, now, breach);
}

/// A system goes away for hours. It is asked no more often than when it was well, and what does not need it is done.
pub(crate) async fn outage(stage: &mut Stage, dice: u64) {
    let at = usize::try_from(dice % 4).unwrap_or(0);
    let port = Port::TARGETS[at];
    let Some(sketch) = stage.newest_sketch().cloned() else { return };
    stage.home.wire.trace(&format!("{port:?} is down for hours"));
    set_down(stage, port, true);
    // What was saved up for retries is spent first.
    stage.until(stage.home.wire.now() + SPENDING).await;
    let before = stage.home.wire.asked(port);
    stage.until(stage.home.wire.now() + OUTAGE).await;
    let asked = stage.home.wire.asked(port) - before;
    let resync = stage.limits().resync;
    // As often as a healthy one is looked at, at most, in each environment.
    let looks = OUTAGE.as_secs() * 10 / (resync.as_secs() * 9) + 2;
    let healthy: usize = sketch
        .rooms
        .values()
        .map(|room| match port {
            Port::Hosts => room.hosts.len(),
            // What an environment needs of another one is looked at there.
            Port::Proxmox => 1 + room.borrowed_from().len(),
            _ => 1,
        })
        .sum();
    // Two processes have a budget each.
    let healthy = healthy as u64 * looks * stage.processes().max(1) as u64;
    let breach = (asked > (healthy * 11).div_ceil(10)).then(|| {
        format!("{port:?} was asked {asked} times in an outage, and would be {healthy} times at most if it were well")
    });
    let now = stage.home.wire.now();
    stage.home.checks.find(Invariant::Budget, now, breach);
    blocks_only_what_needs_it(stage, sketch, port).await;
    set_down(stage, port, false);
    stage.home.checks.touch(stage.home.wire.now());
}

/// Vault is away with its secrets.
fn set_down(stage: &Stage, port: Port, down: bool) {
    stage.home.wire.set_down(port, down);
    if port == Port::Vault {
        stage.home.wire.set_down(Port::Secrets, down);
    }
}

/// While a system is away, somebody changes something that does not need it.
async fn blocks_only_what_needs_it(stage: &mut Stage, mut sketch: Sketch, away: Port) {
    let Some((environment, room)) = sketch.rooms.iter_mut().next() else { return };
    let environment: EnvironmentName = environment.clone();
    let changed = if away == Port::Vault {
        let Some((name, guest)) = room.guests.iter_mut().next() else { return };
        "changed while vault was away".clone_into(&mut guest.description);
        // A password is read in vault.
        if guest.password {
            return;
        }
        (GUEST, name.clone())
    } else {
        let free = room.policies.iter_mut().find(|(_, policy)| policy.needs.is_empty());
        let Some((name, policy)) = free else { return };
        policy.writes = !policy.writes;
        (POLICY, name.clone())
    };
    stage.push_more(Push {
        label: format!("while {away:?} is away"),
        body: Body::Site(Box::new(sketch)),
        rotates: Vec::new(),
        rest: Duration::ZERO,
    });
    stage.until(stage.home.wire.now() + Duration::from_hours(1)).await;
    let Some(tip) = stage.tip().cloned() else { return };
    let Some(desired) = stage.truth.desired(&tip, &environment) else { return };
    if desired.pause.is_some() {
        return;
    }
    // The branch is at what was rewritten still: nothing of it is carried out.
    let status = stage.home.checks.shown(&tip, &Context::Environment(environment.clone()));
    if status.is_some_and(|status| status.description.contains("does not descend from")) {
        return;
    }
    // The truth knows no outage.
    let plan = stage.truth.plan(&environment, &desired).await;
    let item = plan.items.iter().find(|item| (&item.id.kind, &item.id.name) == (&changed.0, &changed.1));
    let open = item.filter(|item| item.action != Action::Keep);
    let breach = open.map(|item| format!("{} waits although it does not need {away:?}", item.id.short()));
    let now = stage.home.wire.now();
    stage.home.checks.find(Invariant::Outage, now, breach);
}

/// Whether everything stands as the newest commit wants it.
pub(crate) async fn all_match(stage: &Stage) -> bool {
    let Some(tip) = stage.tip() else { return false };
    for environment in stage.wanted().unwrap_or_default() {
        let Some(desired) = stage.truth.desired(tip, &environment) else { return false };
        if stage.truth.standing_at(tip, &environment, &desired).await != Standing::Matches {
            return false;
        }
    }
    stage.wanted().is_some()
}
