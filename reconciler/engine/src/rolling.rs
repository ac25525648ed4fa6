//! Rolling changes: of a group only so many may be away at once, counted from what is seen just before each change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_core::desired::Group;
use holdfast_core::ident::{KindName, Name, ResourceId};
use holdfast_core::kind::{Health, Seen};
use holdfast_core::plan::Resolution;
use holdfast_core::planted::{Defect, has};
use serde_json::Value;

use crate::observe::World;

/// The gates of all groups of an environment, for one run.
#[derive(Default)]
pub(crate) struct Rolling {
    /// One at a time counts and enters, else two would each see room for one. (A group's gate would do; groups share
    /// members.)
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The members that are being changed: whatever a look says of them, they may be away in a moment.
    changing: BTreeMap<ResourceId, Grant>,
    /// The members that failed in this run.
    failed: BTreeSet<ResourceId>,
}

/// Why a member may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant {
    /// It is its turn, until it comes to rest.
    Turn,
    /// It was away already. Should it come up in between, it has to wait for its turn.
    WasAway,
}

/// Whether a disruptive change of a member may begin.
pub(crate) enum Entry {
    /// It may, and it counts as away until [`Rolling::leave`].
    Granted,
    /// Others are away: who. `moving` says that one of them is being changed, and comes to rest within its time.
    Wait { what: String, moving: bool },
    /// Too many failed: why the others are left as they are.
    Stopped(String),
}

impl Rolling {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a disruptive change of `id`, for every group that it is a member of.
    pub(crate) async fn enter(&self, world: &World<'_>, id: &ResourceId) -> Entry {
        let groups: Vec<&Group> = world.desired.groups_of(id).collect();
        if groups.is_empty() || has(Defect::NoGroups) || self.state().changing.get(id) == Some(&Grant::Turn) {
            return Entry::Granted;
        }
        for group in &groups {
            if let Some(reason) = self.stopped(group, id) {
                return Entry::Stopped(reason);
            }
        }
        let _turn = self.turn.lock().await;
        let members: BTreeSet<&ResourceId> = groups.iter().flat_map(|group| &group.members).collect();
        let health = look_at(world, &members).await;
        let standing = |member: &ResourceId| health.get(member).copied().unwrap_or(Standing::Unseen);
        let is_away =
            |member: &ResourceId| standing(member) != Standing::Well && !has(Defect::GroupFromMemory);
        let mut grant = Grant::Turn;
        for group in groups {
            let away: Vec<&ResourceId> = {
                let state = self.state();
                let others = group.members.iter().filter(|member| *member != id);
                others.filter(|member| state.changing.contains_key(*member) || is_away(member)).collect()
            };
            // One that was seen to be away does not become more so; one that could not be seen may be well.
            if away.len() + 1 > group.max_unavailable {
                if standing(id) == Standing::Ill {
                    grant = Grant::WasAway;
                    continue;
                }
                let mut state = self.state();
                state.changing.remove(id);
                let moving = away.iter().any(|member| state.changing.contains_key(*member));
                return Entry::Wait { what: its_turn(group, &away), moving };
            }
        }
        self.state().changing.insert(id.clone(), grant);
        Entry::Granted
    }

    /// The member has come to rest: as wanted and healthy, or not.
    pub(crate) fn leave(&self, id: &ResourceId, well: bool) {
        let mut state = self.state();
        if state.changing.remove(id).is_some() && !well {
            state.failed.insert(id.clone());
        }
    }

    fn stopped(&self, group: &Group, id: &ResourceId) -> Option<String> {
        let state = self.state();
        let failed: Vec<String> = group
            .members
            .iter()
            .filter(|member| *member != id && state.failed.contains(*member))
            .map(ResourceId::short)
            .collect();
        (failed.len() >= group.max_failures)
            .then(|| format!("group `{}` is left as it is: {} failed", group.name, failed.join(", ")))
    }
}

fn its_turn(group: &Group, away: &[&ResourceId]) -> String {
    let names: Vec<String> = away.iter().map(|member| member.short()).collect();
    format!(
        "its turn in group `{}`: {} of {} may be away, and {} is",
        group.name,
        group.max_unavailable,
        group.members.len(),
        names.join(", ")
    )
}

/// How a member was seen just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Well,
    Ill,
    /// It counts as away for the others, and as well for itself: unknown never makes room.
    Unseen,
}

/// A fresh look at members.
async fn look_at(world: &World<'_>, members: &BTreeSet<&ResourceId>) -> BTreeMap<ResourceId, Standing> {
    let mut wanted: BTreeMap<KindName, BTreeMap<Name, Value>> = BTreeMap::new();
    for id in members {
        if let Some(resource) = world.desired.resources.get(*id)
            && let Resolution::Ready(spec) = world.resolve(resource)
        {
            wanted.entry(id.kind.clone()).or_default().insert(id.name.clone(), spec);
        }
    }
    let mut health = BTreeMap::new();
    for (kind, wanted) in wanted {
        for (id, seen) in world.look_at_some(&kind, wanted).await {
            let standing = match seen {
                Seen::Unknown(_) => Standing::Unseen,
                Seen::Absent => Standing::Ill,
                Seen::Present { state, .. } => match (world.engine.kinds[&kind].health)(&state) {
                    Health::Healthy => Standing::Well,
                    Health::Unhealthy(_) => Standing::Ill,
                },
            };
            health.insert(id, standing);
        }
    }
    health
}
