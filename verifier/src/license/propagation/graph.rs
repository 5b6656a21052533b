//! The order in which a lineage graph is judged: parents before children, cycles cut and named.

use std::collections::HashMap;

use super::{GraphError, Node};

/// The part of a graph that the target descends from.
#[derive(Debug)]
pub(super) struct Order {
    /// Positions of the target and its ancestors, parents first; the target is last.
    pub(super) positions: Vec<usize>,
    /// Node id to position.
    pub(super) index: HashMap<String, usize>,
    /// Rank within `positions`, by position; an edge to a higher rank closes a cycle.
    ranks: HashMap<usize, usize>,
    pub(super) cycles: Vec<Vec<String>>,
    pub(super) diamonds: Vec<String>,
}

impl Order {
    pub(super) fn of(nodes: &[Node], target: &str) -> Result<Self, GraphError> {
        let mut index = HashMap::with_capacity(nodes.len());
        for (position, node) in nodes.iter().enumerate() {
            if index.insert(node.id.clone(), position).is_some() {
                return Err(GraphError::DuplicateNode(node.id.clone()));
            }
        }
        let start = *index.get(target).ok_or_else(|| GraphError::NoTarget(target.to_owned()))?;
        let walk = Walk::new(nodes, &index).from(start);
        let ranks = walk.finished.iter().enumerate().map(|(rank, position)| (*position, rank)).collect();
        let diamonds = diamonds(nodes, &index, &walk.finished);
        Ok(Self { positions: walk.finished, cycles: walk.cycles, diamonds, index, ranks })
    }

    /// Whether the edge from a node to its parent leads back into the node's own descent.
    pub(super) fn closes_cycle(&self, node: usize, parent: usize) -> bool {
        self.ranks.get(&parent) >= self.ranks.get(&node)
    }
}

/// A depth-first walk with its own stack, because a chain may be longer than the thread's.
struct Walk<'a> {
    nodes: &'a [Node],
    index: &'a HashMap<String, usize>,
    states: Vec<State>,
    finished: Vec<usize>,
    cycles: Vec<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

impl<'a> Walk<'a> {
    fn new(nodes: &'a [Node], index: &'a HashMap<String, usize>) -> Self {
        Self { nodes, index, states: vec![State::New; nodes.len()], finished: Vec::new(), cycles: Vec::new() }
    }

    fn from(mut self, start: usize) -> Self {
        // Each entry: a node and how many of its parents were visited.
        let mut path = vec![(start, 0)];
        self.set(start, State::Open);
        while let Some((position, visited)) = path.last().copied() {
            let parent = self.nodes.get(position).and_then(|node| node.parents.get(visited));
            if let Some(last) = path.last_mut() {
                last.1 += 1;
            }
            match parent {
                None => {
                    self.set(position, State::Done);
                    self.finished.push(position);
                    path.pop();
                }
                Some(edge) => self.enter(&mut path, &edge.parent),
            }
        }
        self.cycles.sort();
        self
    }

    fn enter(&mut self, path: &mut Vec<(usize, usize)>, parent: &str) {
        let Some(next) = self.index.get(parent).copied() else { return };
        match self.states.get(next).copied() {
            Some(State::New) => {
                self.set(next, State::Open);
                path.push((next, 0));
            }
            Some(State::Open) => self.cycles.push(self.cycle(path, next)),
            Some(State::Done) | None => {}
        }
    }

    fn cycle(&self, path: &[(usize, usize)], back_to: usize) -> Vec<String> {
        let members = path.iter().skip_while(|(position, _)| *position != back_to);
        let mut ids: Vec<String> =
            members.filter_map(|(position, _)| self.nodes.get(*position)).map(|node| node.id.clone()).collect();
        ids.sort();
        ids
    }

    fn set(&mut self, position: usize, state: State) {
        if let Some(place) = self.states.get_mut(position) {
            *place = state;
        }
    }
}

/// Ids of ancestors that several of the judged nodes were made from, sorted.
fn diamonds(nodes: &[Node], index: &HashMap<String, usize>, judged: &[usize]) -> Vec<String> {
    let mut children: HashMap<usize, usize> = HashMap::new();
    for node in judged.iter().filter_map(|position| nodes.get(*position)) {
        for parent in node.parents.iter().filter_map(|edge| index.get(&edge.parent)) {
            *children.entry(*parent).or_default() += 1;
        }
    }
    let several = children.iter().filter(|(_, count)| **count > 1).filter_map(|(position, _)| nodes.get(*position));
    let mut ids: Vec<String> = several.map(|node| node.id.clone()).collect();
    ids.sort();
    ids
}
