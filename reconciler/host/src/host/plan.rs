//! What to do about a host: the pure plan, put together from what each sort of part wants.

use std::collections::BTreeMap;

use holdfast_core::kind::{Next, Refusal};

use super::ledger::{Entry, Part};
use super::parts;
use super::spec::HostSpec;
use super::state::HostState;
use super::step::{Act, HostStep, Place};

/// A plan in the making. The lists are in the order in which they run.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub packages: Vec<Act>,
    pub directories: Vec<Act>,
    pub files: Vec<Act>,
    /// Units whose own file goes are stopped first.
    pub stops: Vec<Act>,
    /// Files that left go before services start, so that what starts does not read them any more.
    pub removed_files: Vec<Act>,
    /// Whether systemd must read its unit files again.
    pub reload: bool,
    pub services: Vec<Act>,
    pub removed_directories: Vec<Act>,
    pub forgotten: Vec<Act>,
    /// What is as wanted where nothing on the host says whose it is.
    pub adopted: Option<BTreeMap<Part, Entry>>,
    /// What stops the whole host: going on would break a promise.
    pub refusals: Vec<Refusal>,
    /// What a person must settle, while all else goes on.
    pub conflicts: Vec<Refusal>,
    pub waits: Vec<String>,
    /// What the manifest names and the look did not show.
    pub unseen: Vec<String>,
}

/// The next steps from `seen` to `want`.
pub(super) fn plan(want: Option<&HostSpec>, seen: Option<&HostState>) -> Next<HostStep> {
    match (want, seen) {
        (Some(want), Some(seen)) => converge(want, seen),
        (None, None) => Next::Settled,
        (Some(_), None) => Next::Wait("a look at the host".to_owned()),
        (None, Some(_)) => Next::Refuse(Refusal::new(
            "no manifest says any more how the host is reached",
            "declare it with empty lists first, so that what is Holdfast's on it goes, and then remove it",
        )),
    }
}

fn converge(want: &HostSpec, seen: &HostState) -> Next<HostStep> {
    let mut draft = Draft::default();
    parts::package::plan(want, seen, &mut draft);
    parts::directory::plan(want, seen, &mut draft);
    parts::file::plan(want, seen, &mut draft);
    parts::removal::plan(want, seen, &mut draft);
    parts::service::plan(want, seen, &mut draft);
    let place = Place {
        connection: want.connection.clone(),
        machine_id: seen.machine_id.clone(),
        ledger_sha256: seen.ledger_sha256.clone(),
    };
    draft.adopted = parts::adoption::plan(want, seen);
    draft.finish(&place)
}

impl Draft {
    fn finish(self, at: &Place) -> Next<HostStep> {
        if !self.unseen.is_empty() {
            return Next::Wait(format!("a look at {}", self.unseen.join(", ")));
        }
        if let Some(refusal) = merged(self.refusals) {
            return Next::Refuse(refusal);
        }
        let reload = self.reload.then_some(Act::ReloadSystemd);
        let acts: Vec<Act> = [self.packages, self.directories, self.files, self.stops, self.removed_files]
            .into_iter()
            .flatten()
            .chain(reload)
            .chain([self.services, self.removed_directories, self.forgotten].into_iter().flatten())
            .collect();
        let steps =
            |acts: Vec<Act>| Next::Do(acts.into_iter().map(|act| HostStep { at: at.clone(), act }).collect());
        let adopted = self.adopted.and_then(|entries| parts::adoption::beside(entries, &acts));
        if !acts.is_empty() {
            return steps(adopted.into_iter().chain(acts).collect());
        }
        match merged(self.conflicts) {
            Some(conflict) => Next::Refuse(conflict),
            None if self.waits.is_empty() => adopted.map_or(Next::Settled, |act| steps(vec![act])),
            None => Next::Wait(self.waits.join(", ")),
        }
    }
}

/// All reasons at once.
fn merged(refusals: Vec<Refusal>) -> Option<Refusal> {
    let mut refusals = refusals.into_iter();
    let mut all = refusals.next()?;
    for refusal in refusals {
        all.why = format!("{}; {}", all.why, refusal.why);
        for way_out in refusal.ways_out {
            if !all.ways_out.contains(&way_out) {
                all.ways_out.push(way_out);
            }
        }
    }
    Some(all)
}
