//! A git history in memory: commits with their parents, and one branch that is moved as people move branches.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::CommitId;

/// A commit. What it holds is an index into the [`super::super::manifests::Catalogue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Grows with every commit: its time.
    pub number: u64,
    pub parents: Vec<CommitId>,
    pub payload: usize,
}

/// All commits that were ever made, and where the branch stands.
#[derive(Debug, Clone)]
pub struct History {
    seed: u64,
    commits: BTreeMap<CommitId, Commit>,
    branch: Option<CommitId>,
    /// Where the branch stood, one entry a move, the last one where it stands.
    moves: Vec<Option<CommitId>>,
}

impl History {
    /// An empty repository. The seed makes the commits' ids.
    pub fn new(seed: u64) -> Self {
        Self { seed, commits: BTreeMap::new(), branch: None, moves: vec![None] }
    }

    /// Where the branch stands; `None` while there is none.
    pub fn head(&self) -> Option<&CommitId> {
        self.branch.as_ref()
    }

    /// Where the branch stood `moves` moves ago.
    pub fn head_before(&self, moves: usize) -> Option<&CommitId> {
        self.moves[self.moves.len().saturating_sub(moves + 1)].as_ref()
    }

    pub fn get(&self, id: &CommitId) -> Option<&Commit> {
        self.commits.get(id)
    }

    /// Somebody commits on the branch, or begins it.
    pub fn commit(&mut self, payload: usize) -> CommitId {
        let parents = self.branch.clone().into_iter().collect();
        let id = self.add(parents, payload);
        self.set(Some(id.clone()));
        id
    }

    /// Somebody commits on a branch of their own that starts at `parent`.
    pub fn commit_aside(&mut self, parent: Option<&CommitId>, payload: usize) -> CommitId {
        self.add(parent.cloned().into_iter().collect(), payload)
    }

    /// Somebody merges another branch.
    pub fn merge(&mut self, other: &CommitId, payload: usize) -> CommitId {
        let parents = self.branch.iter().chain([other]).cloned().collect();
        let id = self.add(parents, payload);
        self.set(Some(id.clone()));
        id
    }

    /// Somebody pushes by force, to any commit: an ancestor, one of another branch.
    pub fn force(&mut self, to: &CommitId) {
        self.set(Some(to.clone()));
    }

    /// Somebody pushes by force, to the ancestor `back` commits ago (or the first). `None` where there is nothing.
    pub fn rewind(&mut self, back: usize) -> Option<CommitId> {
        let mut at = self.branch.clone()?;
        for _ in 0..back {
            match self.commits[&at].parents.first() {
                Some(parent) => at = parent.clone(),
                None => break,
            }
        }
        self.set(Some(at.clone()));
        Some(at)
    }

    /// Somebody rewrites the history: new commits of the same content that have none of the old ones behind them, as
    /// after `filter-branch`, and one more with `payload`.
    pub fn rewrite(&mut self, payload: usize) -> CommitId {
        let mut payloads = Vec::new();
        let mut at = self.branch.clone();
        while let Some(id) = at {
            let commit = &self.commits[&id];
            payloads.push(commit.payload);
            at = commit.parents.first().cloned();
        }
        let mut parents = Vec::new();
        for payload in payloads.into_iter().rev().chain([payload]) {
            parents = vec![self.add(parents, payload)];
        }
        let id = parents.pop().expect("one was added");
        self.set(Some(id.clone()));
        id
    }

    /// Somebody deletes the branch, or the repository is made anew with nothing in it.
    pub fn remove_branch(&mut self) {
        self.set(None);
    }

    /// All that a commit descends from.
    pub fn before(&self, commit: &CommitId) -> BTreeSet<CommitId> {
        let mut before = self.reachable(commit);
        before.remove(commit);
        before
    }

    /// A commit and all that it descends from.
    pub fn reachable(&self, from: &CommitId) -> BTreeSet<CommitId> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from.clone()];
        while let Some(id) = next.pop() {
            if let Some(commit) = self.commits.get(&id)
                && reached.insert(id)
            {
                next.extend(commit.parents.iter().cloned());
            }
        }
        reached
    }

    /// The newest commits from `newest` on, itself first.
    pub fn recent(&self, newest: &CommitId, count: usize) -> Vec<CommitId> {
        let mut reached: Vec<CommitId> = self.reachable(newest).into_iter().collect();
        reached.sort_by_key(|id| std::cmp::Reverse(self.commits[id].number));
        reached.truncate(count);
        reached
    }

    fn add(&mut self, parents: Vec<CommitId>, payload: usize) -> CommitId {
        let number = self.commits.len() as u64;
        let id = id(self.seed, number);
        self.commits.insert(id.clone(), Commit { number, parents, payload });
        id
    }

    fn set(&mut self, to: Option<CommitId>) {
        if self.branch != to {
            self.branch.clone_from(&to);
            self.moves.push(to);
        }
    }
}

/// An id that looks like a hash, and is another one for each seed and number.
fn id(seed: u64, number: u64) -> CommitId {
    let word = |part: u64| mixed(seed ^ mixed(number * 3 + part + 1));
    let text = format!("{:016x}{:016x}{:08x}", word(0), word(1), word(2) >> 32);
    CommitId::new(text).expect("it has 40 hexadecimal digits")
}

/// The mixing function of `SplitMix64` (<https://prng.di.unimi.it/splitmix64.c>).
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_the_seed_and_never_twice() {
        let ids: BTreeSet<CommitId> =
            (0..20).flat_map(|seed| (0..50).map(move |number| id(seed, number))).collect();
        assert_eq!(ids.len(), 1_000);
        let short: BTreeSet<&str> = ids.iter().map(CommitId::short).collect();
        assert_eq!(short.len(), 1_000, "they are told apart by their first digits");
        assert_eq!(id(7, 3), id(7, 3));
    }

    #[test]
    fn a_branch_grows_merges_rewinds_and_is_rewritten() {
        let mut history = History::new(1);
        assert_eq!(history.head(), None);
        assert_eq!(history.rewind(1), None);
        let first = history.commit(0);
        let aside = history.commit_aside(Some(&first), 1);
        let second = history.commit(2);
        assert!(!history.reachable(&second).contains(&aside));
        let merged = history.merge(&aside, 3);
        assert_eq!(history.reachable(&merged).len(), 4);
        assert_eq!(history.recent(&merged, 3), [merged.clone(), second.clone(), aside.clone()]);
        assert_eq!(history.rewind(2), Some(first.clone()));
        assert_eq!(history.head_before(1), Some(&merged));
        history.force(&merged);
        let rewritten = history.rewrite(9);
        let behind = history.reachable(&rewritten);
        assert_eq!(behind.len(), 4, "first, second, merge, and the new one");
        assert!(behind.is_disjoint(&history.reachable(&merged)));
        assert_eq!(history.get(&rewritten).unwrap().payload, 9);
        history.remove_branch();
        assert_eq!(history.head(), None);
        assert_eq!(history.head_before(1), Some(&rewritten));
        assert_eq!(history.head_before(99), None, "it began without a branch");
    }
}
