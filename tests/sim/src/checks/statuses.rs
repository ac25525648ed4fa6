//! I8: every commit and context ends in one final status; success and "superseded" are never taken back.

use std::collections::BTreeMap;

use holdfast_core::ident::CommitId;
use holdfast_core::report::{Context, Status, StatusState};

use super::{Facts, Finding};

/// What the forge shows, by commit and context.
#[derive(Default)]
pub(super) struct Statuses(BTreeMap<(CommitId, Context), Status>);

impl Statuses {
    pub(super) fn posted(
        &mut self,
        facts: &Facts,
        commit: &CommitId,
        context: &Context,
        status: &Status,
    ) -> Finding {
        let before = self.0.insert((commit.clone(), context.clone()), status.clone());
        Finding::of(
            taken_back(before.as_ref(), status, facts).or_else(|| wrong_words(facts, commit, status)).map(
                |why| {
                    format!(
                        "{} {context:?}: `{}: {}` {why}",
                        commit.short(),
                        status.state.as_str(),
                        status.description
                    )
                },
            ),
        )
    }

    pub(super) fn shown(&self, commit: &CommitId, context: &Context) -> Option<Status> {
        self.0.get(&(commit.clone(), context.clone())).cloned()
    }

    /// Nothing is left pending.
    pub(super) fn end(&self, only: Option<&CommitId>) -> Vec<Finding> {
        let of = |((commit, context), status): (&(CommitId, Context), &Status)| {
            Finding::of((status.state == StatusState::Pending).then(|| {
                format!("{} {context:?} is left at `pending: {}`", commit.short(), status.description)
            }))
        };
        self.0.iter().filter(|((commit, _), _)| only.is_none_or(|only| only == commit)).map(of).collect()
    }
}

fn taken_back(before: Option<&Status>, now: &Status, facts: &Facts) -> Option<String> {
    let before = before.filter(|before| *before != now)?;
    // A claim goes by the clock: where two processes have different ones, an older post may land, and is mended.
    if facts.clocks_differ && now.state == StatusState::Pending {
        return None;
    }
    let said = format!("came after `{}: {}`", before.state.as_str(), before.description);
    match before.state {
        StatusState::Pending => None,
        StatusState::Success => (now.state != StatusState::Success).then_some(said),
        StatusState::Failure | StatusState::Error => {
            (before.is_terminal() || now.state != StatusState::Success).then_some(said)
        }
    }
}

/// "Superseded by" names a commit that there is, and not an older one.
fn wrong_words(facts: &Facts, commit: &CommitId, status: &Status) -> Option<String> {
    let told = |words: &str| status.description.contains(words);
    if told("internal error") && !told("this commit") && !told("planning it panicked") {
        return Some("is a fault of the engine".to_owned());
    }
    let by = status.description.strip_prefix("superseded by ")?;
    let known = facts.commits.keys().find(|known| known.short() == by.trim());
    match known {
        None => Some("names a commit that there is not".to_owned()),
        Some(by) if by == commit => Some("names itself".to_owned()),
        Some(by) if facts.is_only_older(by, commit) => Some("names an older commit".to_owned()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, commit, environment};
    use super::*;
    use StatusState::{Error, Failure, Pending, Success};

    #[test]
    fn what_is_final_stays_and_nothing_is_left_pending() {
        let world = World::new();
        let context = Context::Environment(environment());
        let run = |statuses: &[(StatusState, &str)]| {
            let mut shown = Statuses::default();
            let posted = statuses.iter().map(|(state, text)| {
                shown.posted(&world.0, &commit('a'), &context, &Status::new(*state, text))
            });
            let breaches = posted.collect::<Vec<_>>().into_iter().chain(shown.end(None));
            breaches.filter(|finding| matches!(finding, Finding::Breach(_))).count()
        };
        assert_eq!(run(&[(Pending, "x"), (Pending, "y"), (Failure, "f"), (Success, "s"), (Success, "s")]), 0);
        assert_eq!(run(&[(Pending, "x")]), 1);
        assert_eq!(run(&[(Success, "s"), (Failure, "f")]), 1);
        assert_eq!(run(&[(Failure, "f"), (Failure, "g")]), 1);
        assert_eq!(run(&[(Error, "superseded by bbbbbbb"), (Success, "s")]), 1);
        assert_eq!(run(&[(Error, "superseded by ccccccc")]), 1);
        assert_eq!(run(&[(Error, "superseded by aaaaaaa")]), 1);
        assert_eq!(run(&[(Error, "superseded by bbbbbbb")]), 0);
        assert_eq!(run(&[(Error, "internal error: the run broke off")]), 1);
    }
}
