//! I6: a read that failed, was partial or is implausibly empty never counts as absence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::ident::{CommitId, EnvironmentName, KindName, Name, ResourceId};

use super::{Actor, Checks, Effect, Facts, Finding, How, Invariant};
use crate::model::Time;

type Sight = (u8, EnvironmentName, KindName);

/// What each process was told last.
#[derive(Default)]
pub(super) struct Looks {
    /// Whether its last look at all of a kind was whole.
    whole: BTreeMap<Sight, bool>,
    /// The names that it was told absent although they are there.
    lied: BTreeMap<Sight, BTreeSet<Name>>,
    /// The names that it was told anything about since its last run came to an end.
    told: BTreeMap<Sight, BTreeSet<Name>>,
    /// The commit that it took up last, and when.
    taken: BTreeMap<(u8, EnvironmentName), (CommitId, Time)>,
    /// What it wrote to in its present run.
    written: BTreeSet<(u8, ResourceId)>,
}

/// So long after a newer commit was taken up an older one's run may begin something new: its process may have stood
/// still in between.
const BEGUN_BEFORE: Duration = Duration::from_mins(20);

impl Checks {
    /// A process was told of these names whether they are there.
    pub(crate) fn told<'a>(
        &self,
        process: u8,
        environment: &EnvironmentName,
        kind: &KindName,
        names: impl Iterator<Item = &'a Name>,
    ) {
        let sight = (process, environment.clone(), kind.clone());
        self.book().looks.told.entry(sight).or_default().extend(names.cloned());
    }

    /// A process ended a run: what it saw is of the past.
    pub(crate) fn run_over(&self, process: u8, environment: &EnvironmentName) {
        let stays = |of: &u8, at: &EnvironmentName| (of, at) != (&process, environment);
        let mut book = self.book();
        book.looks.told.retain(|(of, at, _), _| stays(of, at));
        book.looks.written.retain(|(of, id)| stays(of, &id.environment));
    }

    /// A process took a commit up, to converge to it.
    pub(crate) fn taken(&self, at: Time, process: u8, environment: &EnvironmentName, commit: &CommitId) {
        let mut book = self.book();
        let taken = &mut book.looks.taken;
        let place = taken.entry((process, environment.clone())).or_insert_with(|| (commit.clone(), at));
        if place.0 != *commit {
            *place = (commit.clone(), at);
        }
    }

    /// A process is about to write, whatever becomes of it: it has seen what it writes to.
    pub(crate) fn attempted(&self, at: Time, actor: &Actor) {
        let sight = (actor.process, actor.id.environment.clone(), actor.id.kind.clone());
        let mut book = self.book();
        let seen = book.looks.told.get(&sight).is_some_and(|names| names.contains(&actor.id.name));
        let breach = (!seen).then(|| format!("`{}` was asked for of what was not seen", actor.what));
        book.find(Invariant::Looks, at, Finding::of(breach));
        let is_new = book.looks.written.insert((actor.process, actor.id.clone()));
        let mine = book.facts.acts_for(actor.process, &actor.id.environment);
        let taken = book.looks.taken.get(&(actor.process, actor.id.environment.clone()));
        if let (true, Some(mine), Some((taken, since))) = (is_new, mine, taken)
            && book.facts.is_newer(taken, mine)
            && at > *since + BEGUN_BEFORE
        {
            let told =
                format!("`{}` was begun for {}, long after {} came", actor.what, mine.short(), taken.short());
            book.find(Invariant::Order, at, Finding::Breach(told));
        }
    }
}

impl Looks {
    pub(super) fn looked(
        &mut self,
        process: u8,
        environment: &EnvironmentName,
        kind: &KindName,
        whole: bool,
    ) {
        self.whole.insert((process, environment.clone(), kind.clone()), whole);
    }

    pub(super) fn lied<'a>(
        &mut self,
        process: u8,
        environment: &EnvironmentName,
        kind: &KindName,
        asked: impl Iterator<Item = &'a Name>,
        lied: &[Name],
    ) {
        let told = self.lied.entry((process, environment.clone(), kind.clone())).or_default();
        for name in asked {
            told.remove(name);
        }
        told.extend(lied.iter().cloned());
    }

    pub(super) fn effect(&self, facts: &Facts, effect: &Effect<'_>) -> Finding {
        let Some(actor) = effect.actor.filter(|_| effect.how == How::Write) else { return Finding::Silent };
        let sight = (actor.process, actor.id.environment.clone(), actor.id.kind.clone());
        let mut finding = Finding::Silent;
        let lied = self.lied.get(&sight).is_some_and(|names| names.contains(&actor.id.name));
        if lied {
            let known = facts.known.get(&actor.id.environment);
            finding = Finding::Holds;
            if known.is_some_and(|known| known.contains(&actor.id)) {
                return Finding::Breach(format!(
                    "`{}` was done after a list without it, although the journal knows it",
                    actor.what
                ));
            }
        }
        if let Some((key, _)) = effect.gone().next() {
            finding = Finding::Holds;
            if self.whole.get(&sight) == Some(&false) {
                return Finding::Breach(format!("{key} went after a look that was not whole"));
            }
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, environment, id, object};
    use super::*;

    #[test]
    fn nothing_goes_after_half_a_look_and_nothing_is_made_after_an_empty_one() {
        let mut world = World::new();
        let kind = KindName::fixed("VaultPolicy");
        let web = object("home/core/VaultPolicy/web@web", "web", "a");
        let mut looks = Looks::default();
        let removal = |world: &World, looks: &Looks| {
            world.write("web", How::Write, &[("web", &web)], None).check(|f, e| looks.effect(f, e))
        };
        looks.looked(1, &environment(), &kind, true);
        assert_eq!(removal(&world, &looks), Finding::Holds);
        looks.looked(1, &environment(), &kind, false);
        assert!(matches!(removal(&world, &looks), Finding::Breach(_)));
        let making = |world: &World, looks: &Looks| {
            world.write("web", How::Write, &[], Some(("web", &web))).check(|f, e| looks.effect(f, e))
        };
        assert_eq!(making(&world, &looks), Finding::Silent);
        let name = id("web").name;
        looks.lied(1, &environment(), &kind, [&name].into_iter(), std::slice::from_ref(&name));
        assert_eq!(making(&world, &looks), Finding::Holds, "nobody could know");
        world.0.known.insert(environment(), BTreeSet::from([id("web")]));
        assert!(matches!(making(&world, &looks), Finding::Breach(_)));
    }
}
