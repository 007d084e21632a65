//! The part of a tree that is not yet in tile files: the nodes of every tile that is not full, or full but not written.
//!
//! One [`Edge`] per tree. For each tile level it holds the nodes from the first tile that has no file. In a quiet log
//! that is less than 256 nodes a level, whatever the size; under load, what the background writing lags behind. Of the levels between,
//! which no file has, it holds what the newest two tiles need, so that the proof of an entry just appended hashes next to nothing.

use std::collections::VecDeque;

use paramant_tlog::range::Node;
use paramant_tlog::tile::{HEIGHT, WIDTH};
use paramant_tlog::{Hash, Tree};

/// Nodes not yet in files, level by level.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    tree: Tree,
    levels: Vec<Level>,
    /// By level of the tree; those of tiles stay empty.
    between: Vec<Newest>,
}

/// The newest nodes of one level between those of tiles.
#[derive(Debug, Clone, Default)]
struct Newest {
    first: u64,
    nodes: VecDeque<Hash>,
}

impl Newest {
    fn push(&mut self, index: u64, hash: Hash, most: usize) {
        if self.first + self.nodes.len() as u64 != index {
            *self = Self { first: index, nodes: VecDeque::new() };
        }
        if self.nodes.len() == most {
            self.nodes.pop_front();
            self.first += 1;
        }
        self.nodes.push_back(hash);
    }

    fn get(&self, index: u64) -> Option<Hash> {
        self.nodes.get(usize::try_from(index.checked_sub(self.first)?).ok()?).copied()
    }
}

#[derive(Debug, Clone, Default)]
struct Level {
    /// Number of the first node held; a multiple of 256.
    first: u64,
    nodes: Vec<Hash>,
}

/// A node that differs from the one held, or does not follow the last one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) node: Node,
}

impl Edge {
    /// The edge of a tree whose full tiles below `derived` leaves are all in files. Nodes of the started tiles of the
    /// upper levels are to be [pushed](Self::push) before use.
    pub(crate) fn new(tree: Tree, derived: u64) -> Self {
        let levels = (0..=paramant_tlog::tile::MAX_LEVEL)
            .map(|level| Level { first: first_without_file(level, derived), nodes: Vec::new() })
            .collect();
        let between = vec![Newest::default(); usize::from((paramant_tlog::tile::MAX_LEVEL + 1) * HEIGHT)];
        Self { tree, levels, between }
    }

    pub(crate) fn tree(&self) -> Tree {
        self.tree
    }

    /// The first node of a tile level that is held here.
    pub(crate) fn first(&self, level: u8) -> u64 {
        self.levels.get(usize::from(level)).map_or(0, |level| level.first)
    }

    /// The nodes of a tile level that are held here.
    pub(crate) fn nodes(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], |level| level.nodes.as_slice())
    }

    /// Takes a completed node. One of a tile level that is held already must be the same.
    pub(crate) fn push(&mut self, node: Node, hash: Hash) -> Result<(), Mismatch> {
        let above_tile = node.level % HEIGHT;
        if above_tile > 0 {
            if let Some(newest) = self.between.get_mut(usize::from(node.level)) {
                newest.push(node.index, hash, 2 * (WIDTH as usize >> above_tile));
            }
            return Ok(());
        }
        let Some(level) = self.levels.get_mut(usize::from(node.level / HEIGHT)) else { return Ok(()) };
        let Some(position) = node.index.checked_sub(level.first) else { return Ok(()) };
        match level.nodes.get(position as usize) {
            Some(held) if *held == hash => Ok(()),
            None if position == level.nodes.len() as u64 => {
                level.nodes.push(hash);
                Ok(())
            }
            _ => Err(Mismatch { node }),
        }
    }

    /// Takes neighbours, as [`Self::push`] takes one node.
    pub(crate) fn push_run(&mut self, first: Node, hashes: &[Hash]) -> Result<(), Mismatch> {
        let level = first.level;
        (first.index..).zip(hashes).try_for_each(|(index, hash)| self.push(Node { level, index }, *hash))
    }

    /// One node, if it is held.
    pub(crate) fn node(&self, node: Node) -> Option<Hash> {
        if node.level.is_multiple_of(HEIGHT) {
            return self.run(node.level / HEIGHT, node.index, 1)?.first().copied();
        }
        self.between.get(usize::from(node.level))?.get(node.index)
    }

    /// A run of nodes of a tile level, when all of them are held here.
    pub(crate) fn run(&self, level: u8, start: u64, length: usize) -> Option<&[Hash]> {
        let level = self.levels.get(usize::from(level))?;
        let position = usize::try_from(start.checked_sub(level.first)?).ok()?;
        level.nodes.get(position..position + length)
    }

    /// Forgets the nodes of tiles that are in files now.
    pub(crate) fn trim(&mut self, derived: u64) {
        for (number, level) in (0u8..).zip(&mut self.levels) {
            let first = first_without_file(number, derived);
            let gone = first.saturating_sub(level.first).min(level.nodes.len() as u64);
            level.nodes.drain(..gone as usize);
            level.first += gone;
        }
    }
}

/// The first node of the first tile of this level that is not full in a tree of `derived` leaves.
pub(crate) fn first_without_file(level: u8, derived: u64) -> u64 {
    paramant_tlog::tile::nodes_at(level, derived) / WIDTH * WIDTH
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use paramant_tlog::range::CompactRange;

    use super::*;

    #[test]
    fn nodes_between_tiles_are_those_over_the_run_below_and_only_the_newest_are_kept() {
        for tree in Tree::BOTH {
            let mut edge = Edge::new(tree, 0);
            let mut range = CompactRange::new(tree);
            let leaves: Vec<Hash> =
                (0..2000_u64).map(|n| [n.to_be_bytes(); 4].concat().try_into().unwrap()).collect();
            range.extend(&leaves, |first, run| edge.push_run(first, run).unwrap());
            for (level, index) in [(1, 999), (3, 249), (7, 14), (9, 2)] {
                let run = &leaves[(index << level) as usize..((index + 1) << level) as usize];
                assert_eq!(edge.node(Node { level, index }), Some(tree.fold(run)), "{level} {index}");
            }
            assert_eq!(edge.node(Node { level: 1, index: 1000 }), None, "not there yet");
            assert_eq!(edge.node(Node { level: 1, index: 700 }), None, "left to its tile");
            assert!(edge.between.iter().all(|newest| newest.nodes.len() <= 256));
        }
    }
}
