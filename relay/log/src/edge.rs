//! The part of a tree that is not yet in tile files: the nodes of every tile that is not full, or full but not written.
//!
//! One [`Edge`] per tree. For each tile level it holds the nodes from the first tile that has no file. In a quiet log
//! that is less than 256 nodes a level, whatever the size; under load, what the background writing lags behind.

use paramant_tlog::range::Node;
use paramant_tlog::tile::{HEIGHT, WIDTH};
use paramant_tlog::{Hash, Tree};

/// Nodes not yet in files, level by level.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    tree: Tree,
    levels: Vec<Level>,
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
        Self { tree, levels }
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

    /// Takes a completed node; nodes between tile levels are not kept. A node that is held already must be the same.
    pub(crate) fn push(&mut self, node: Node, hash: Hash) -> Result<(), Mismatch> {
        if !node.level.is_multiple_of(HEIGHT) {
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
