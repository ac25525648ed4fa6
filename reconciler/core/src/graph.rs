//! What needs what: an order in which needs come first, and cycles shown as cycles.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::kosaraju_scc;
use petgraph::graphmap::DiGraphMap;

use crate::ident::ResourceId;

/// The edges of a desired set: each resource with what it needs.
pub type Needs = BTreeMap<ResourceId, BTreeSet<ResourceId>>;

/// All resources, each after what it needs, otherwise in the order of their ids. Needs that are no keys of
/// the map are passed over.
pub fn order(needs: &Needs) -> Result<Vec<ResourceId>, Vec<Cycle>> {
    let cycles = cycles(needs);
    if !cycles.is_empty() {
        return Err(cycles);
    }
    let mut ordered = Vec::with_capacity(needs.len());
    let mut placed = BTreeSet::new();
    for start in needs.keys() {
        // Depth first without recursion: a chain may be as long as a commit is large.
        let mut stack = vec![(start, false)];
        while let Some((id, its_needs_are_placed)) = stack.pop() {
            if placed.contains(id) {
                continue;
            }
            if its_needs_are_placed {
                placed.insert(id);
                ordered.push(id.clone());
                continue;
            }
            stack.push((id, true));
            let unplaced =
                needs[id].iter().filter(|need| needs.contains_key(*need) && !placed.contains(*need));
            stack.extend(unplaced.rev().map(|need| (need, false)));
        }
    }
    Ok(ordered)
}

/// Resources that need each other in a ring: each needs the next, the last needs the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<ResourceId>);

fn cycles(needs: &Needs) -> Vec<Cycle> {
    let ids: Vec<&ResourceId> = needs.keys().collect();
    let index: BTreeMap<&ResourceId, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut graph = DiGraphMap::<usize, ()>::new();
    for (id, its_needs) in needs {
        graph.add_node(index[id]);
        for need in its_needs.iter().filter_map(|need| index.get(need)) {
            graph.add_edge(index[id], *need, ());
        }
    }
    // Not Tarjan: petgraph's is recursive, and a chain may be as long as a commit is large.
    let mut found: Vec<Cycle> = kosaraju_scc(&graph)
        .into_iter()
        .filter(|group| group.len() > 1 || graph.contains_edge(group[0], group[0]))
        .map(|group| Cycle(ring(&graph, &group).into_iter().map(|at| ids[at].clone()).collect()))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// One shortest ring through the first member of a strongly connected group.
fn ring(graph: &DiGraphMap<usize, ()>, group: &[usize]) -> Vec<usize> {
    let members: BTreeSet<usize> = group.iter().copied().collect();
    let start = *members.first().expect("a group has a member");
    let mut came_from = BTreeMap::new();
    let mut frontier = vec![start];
    while !frontier.is_empty() {
        let mut following = Vec::new();
        for at in frontier {
            let mut neighbours: Vec<usize> = graph.neighbors(at).filter(|n| members.contains(n)).collect();
            neighbours.sort_unstable();
            for next in neighbours {
                if next == start {
                    let mut path = vec![at];
                    while let Some(before) = came_from.get(path.last().expect("a path has an end")) {
                        path.push(*before);
                    }
                    path.reverse();
                    return path;
                }
                if let std::collections::btree_map::Entry::Vacant(entry) = came_from.entry(next) {
                    entry.insert(at);
                    following.push(next);
                }
            }
        }
        frontier = following;
    }
    vec![start]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ResourceId {
        ResourceId::try_from(format!("e/Thing/{name}")).unwrap()
    }

    fn needs(edges: &[(&str, &[&str])]) -> Needs {
        edges.iter().map(|(from, to)| (id(from), to.iter().map(|to| id(to)).collect())).collect()
    }

    fn names(ids: &[ResourceId]) -> Vec<&str> {
        ids.iter().map(|id| id.name.as_str()).collect()
    }

    #[test]
    fn needs_come_first_and_ties_go_by_name() {
        let ordered = order(&needs(&[("a", &["c"]), ("b", &[]), ("c", &["d", "x"]), ("d", &[])])).unwrap();
        assert_eq!(names(&ordered), ["d", "c", "a", "b"]);
    }

    #[test]
    fn cycles_are_shown_as_rings() {
        let cycles =
            order(&needs(&[("a", &["b"]), ("b", &["c", "d"]), ("c", &["a"]), ("d", &["d"])])).unwrap_err();
        let shown: Vec<_> = cycles.iter().map(|cycle| names(&cycle.0)).collect();
        assert_eq!(shown, [vec!["a", "b", "c"], vec!["d"]]);
    }

    #[test]
    fn a_chain_of_many_does_not_overflow() {
        let name = |n: u32| format!("n{n:06}");
        let chain: Needs = (0..50_000)
            .map(|n| (id(&name(n)), BTreeSet::from([id(&name(n + 1))])))
            .chain([(id(&name(50_000)), BTreeSet::new())])
            .collect();
        assert_eq!(order(&chain).unwrap().first(), Some(&id(&name(50_000))));
    }
}
