//! Coming to rest: what has to be so once the newest commit has come to its end, whatever became of those before.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName};
use holdfast_core::report::{Context, Status, StatusState};

use crate::checks::Invariant;
use crate::faults::FaultKind;
use crate::model::Time;
use crate::stage::Stage;
use crate::truth::Standing;
use crate::workload::expect::{Expectation, whichever};
use crate::workload::{Body, Push};

/// How long a world may take to converge once nothing fails any more.
const WITHIN: Duration = Duration::from_hours(10);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_secs(40);
/// After so long without coming to rest, a person does what the service asks for: pushes a commit.
const PATIENCE: Duration = Duration::from_hours(3);

/// What may come of the newest commit, whatever became of those before.
pub(crate) fn whichever_expected(stage: &Stage) -> BTreeMap<EnvironmentName, Expectation> {
    let Some((last, _)) = stage.pushed.last_key_value() else { return BTreeMap::new() };
    let Some(sketch) = stage.workload.pushes[*last].body.sketch() else { return BTreeMap::new() };
    let before: Vec<_> = stage.pushed.keys().filter(|at| *at != last).collect();
    let before: Vec<_> =
        before.into_iter().filter_map(|at| stage.workload.pushes[*at].body.sketch()).collect();
    whichever(&before, sketch)
}

/// Waits until the newest commit came to the end that is expected. Says so where it does not in time.
pub(crate) async fn comes_to_rest(
    stage: &mut Stage,
    expected: &BTreeMap<EnvironmentName, Expectation>,
    from: Time,
) -> bool {
    let mut last = "nothing was looked at".to_owned();
    let mut asked_for = false;
    while stage.home.wire.now() < from + WITHIN {
        stage.until(stage.home.wire.now() + LOOK_EVERY).await;
        if !stage.home.checks.is_clean() {
            return false;
        }
        match why_not_at_rest(stage, expected, from).await {
            None => {
                let now = stage.home.wire.now();
                stage.home.checks.find(Invariant::Converges, now, None);
                return true;
            }
            Some(why) => last = why,
        }
        // "If they are really gone, push a commit."
        if stage.home.wire.now() >= from + PATIENCE
            && !asked_for
            && (!only_drifts(&last) || stage.home.wire.now() >= from + PATIENCE * 2)
            && let Some(mut sketch) = stage.newest_sketch().cloned()
        {
            let stranded = stage.stranded();
            if stranded.is_empty() && !stage.home.checks.touched_by_others() {
                continue;
            }
            asked_for = true;
            // "Push one that does, or list that one under `rewind:`."
            sketch.rewind = stranded;
            stage.push_more(Push {
                label: "nothing new, as asked for".to_owned(),
                body: Body::Site(Box::new(sketch)),
                rotates: Vec::new(),
                rest: Duration::ZERO,
            });
        }
    }
    let now = stage.home.wire.now();
    stage.home.checks.find(Invariant::Converges, now, Some(format!("it does not come to rest: {last}")));
    false
}

/// Whether a commit was told to have converged and but little of it has changed since: nobody is asked for a push.
fn only_drifts(why: &str) -> bool {
    why.contains("is told `success") && why.contains("Moving") && why.matches("\", \"").count() < 2
}

/// What is missing until the newest commit has come to its expected end.
async fn why_not_at_rest(
    stage: &Stage,
    expected: &BTreeMap<EnvironmentName, Expectation>,
    from: Time,
) -> Option<String> {
    let tip = stage.tip()?.clone();
    let (at, _) = stage.pushed.last_key_value()?;
    if stage.processes() == 0 {
        return Some("nobody is there".to_owned());
    }
    let valid = matches!(stage.workload.pushes[*at].body, Body::Site(_));
    if stage.home.journal.owes() {
        return Some("something is still to be told".to_owned());
    }
    let fired = stage.home.wire.fired();
    // What was drifting is put right at the next look, by whichever commit is looked after.
    let drifts = || {
        let since = stage.home.wire.now().saturating_sub(from);
        (!fired.is_empty() && since < Duration::from_hours(2)).then(|| "what drifted".to_owned())
    };
    // Ordinary crashes while it was read: it is taken for poison, and nothing more comes of it.
    if stage.home.checks.is_quarantined(&tip) {
        return drifts();
    }
    let shown = |context: &Context| stage.home.checks.shown(&tip, context);
    let wanted = if valid { StatusState::Success } else { StatusState::Failure };
    match shown(&Context::Validate) {
        Some(status) if status.state == wanted => {}
        // The branch went back for a while, and it was overtaken by what is older.
        Some(status) if status.state == StatusState::Error && status.is_terminal() => {}
        status => return Some(format!("{} validate: {status:?}, not {wanted:?}", tip.short())),
    }
    let meddled = stage.home.checks.touched_by_others();
    // A list that was short may have been called a success.
    let lied =
        [FaultKind::Short, FaultKind::Empty, FaultKind::Stale].iter().any(|kind| fired.contains_key(kind));
    if !valid {
        return drifts();
    }
    for environment in stage.wanted().unwrap_or_default() {
        let Some(status) = shown(&Context::Environment(environment.clone())) else {
            return Some(format!("{environment} has no status"));
        };
        let expectation = expected.get(&environment).cloned().unwrap_or_default();
        let why =
            unlike(stage, &tip, &environment, &status, &expectation, (meddled, lied, !fired.is_empty()))
                .await;
        if why.is_some() {
            return why;
        }
    }
    None
}

/// What is wrong with how an environment stands, or with what is told of it. `meddled`: somebody else changed things;
/// `lied`: a list was not whole; `disturbed`: anything at all went wrong.
async fn unlike(
    stage: &Stage,
    tip: &CommitId,
    environment: &EnvironmentName,
    status: &Status,
    expectation: &Expectation,
    (meddled, lied, disturbed): (bool, bool, bool),
) -> Option<String> {
    if status.state == StatusState::Pending {
        return Some(format!("{environment} is pending"));
    }
    let desired = stage.truth.desired(tip, environment)?;
    let standing = stage.truth.standing_at(tip, environment, &desired).await;
    let may_match = expectation.converges() || expectation.may_converge;
    let is_held = |held: &[String]| {
        expectation.holds.iter().any(|phrase| {
            held.iter().any(|line| line.contains(phrase)) || status.description.contains(phrase)
        })
    };
    // The branch went back for a while, and it was overtaken by what is older: that is final as well.
    let overtaken = status.state == StatusState::Error && status.is_terminal();
    let fits = match &standing {
        Standing::Matches if overtaken => true,
        Standing::Matches => (may_match || meddled) && status.state == StatusState::Success,
        // What drifts back again and again is corrected in its time.
        Standing::Held(held) if held.iter().any(|line| line.contains("drifts back")) => false,
        // What drifts after a success is told elsewhere: the commit keeps it.
        Standing::Held(_) if meddled || lied => status.state != StatusState::Pending,
        // An error that was told first stays, until the commit is seen converged. Of commits that were carried out in part
        // there may be more to remove than of any that was carried out.
        Standing::Held(held) => {
            let braked = disturbed && held.iter().any(|line| line.contains("would be removed in one commit"));
            (braked || is_held(held)) && matches!(status.state, StatusState::Failure | StatusState::Error)
        }
        // Who started a guest before it had its address has to start it again.
        Standing::Moving(lines) if meddled && lines.iter().all(|line| line.contains("connecting to")) => {
            status.description.contains("out of reach")
        }
        Standing::Moving(lines) => {
            // What a system refuses to do stays to be done.
            let refused = |line: &String| expectation.holds.iter().any(|phrase| line.contains(phrase));
            // A guest that cannot be made is away, and the others of its group stay as they are.
            let disrupts = |line: &String| line.contains("reboot") || line.starts_with("Host/");
            let waits = |line: &String| disrupts(line) && lines.iter().any(refused);
            status.state != StatusState::Pending && lines.iter().all(|line| refused(line) || waits(line))
        }
    };
    (!fits).then(|| {
        let told = format!("`{}: {}`", status.state.as_str(), status.description);
        format!("{environment} stands at {standing:?}, is told {told}, and {expectation:?}")
    })
}
