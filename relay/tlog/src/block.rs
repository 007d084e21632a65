//! The nodes over one entry bundle: up to 256 neighbouring leaves and every complete node above them.
//!
//! For whoever walks a log bundle by bundle: the root of a full block goes into the log's [`crate::CompactRange`] as one subtree, and
//! the tree's root at any size within the block costs a few hashes.

use crate::hash::{Hash, Tree};
use crate::tile::WIDTH;

/// Height of a full block: that of a tile.
pub const HEIGHT: u8 = crate::tile::HEIGHT;

/// Leaves, and the complete nodes above them, level by level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    levels: Vec<Vec<Hash>>,
}

impl Block {
    /// The block over these leaves. None for more than 256.
    #[must_use]
    pub fn new(tree: Tree, leaves: Vec<Hash>) -> Option<Self> {
        if leaves.len() as u64 > WIDTH {
            return None;
        }
        let mut levels = vec![leaves];
        while let Some(last) = levels.last().filter(|level| level.len() > 1) {
            levels.push(tree.parents(last.as_chunks::<2>().0)); // an odd last one has no parent yet
        }
        Some(Self { levels })
    }

    /// The leaves.
    #[must_use]
    pub fn leaves(&self) -> &[Hash] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// The root of a full block; none while it has fewer than 256 leaves.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        self.levels.get(usize::from(HEIGHT)).and_then(|top| top.first()).copied()
    }

    /// The complete subtrees over the first `count` leaves, largest first. Shorter when there are fewer leaves.
    #[must_use]
    pub fn prefix(&self, count: usize) -> Vec<Hash> {
        let count = count.min(self.leaves().len());
        let mut from = 0;
        let mut nodes = Vec::new();
        for (level, hashes) in self.levels.iter().enumerate().rev() {
            if count & (1 << level) != 0 {
                nodes.extend(hashes.get(from >> level));
                from += 1 << level;
            }
        }
        nodes
    }
}
