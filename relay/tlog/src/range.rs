//! The right edge of a growing tree: all that is needed to append and to know the root.
//!
//! A compact range holds the roots of the complete subtrees that tile `[0, size)`, largest first: one per set bit of
//! `size`. Memory is at most 64 hashes whatever the size. Used by the log engine, by audits and by the file that
//! recomputes tiles.

use crate::hash::{Hash, Tree};

/// A complete subtree: the node over the leaves `[index << level, (index + 1) << level)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// Height above the leaves.
    pub level: u8,
    /// Position among the nodes of its level.
    pub index: u64,
}

/// The complete subtrees that tile `[0, size)`, and so the root of a tree of that size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactRange {
    tree: Tree,
    size: u64,
    nodes: Vec<Hash>,
}

/// Why stored hashes are not a compact range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a compact range of size {size} has {expected} hashes, found {found}")]
pub struct WrongWidth {
    size: u64,
    expected: usize,
    found: usize,
}

impl CompactRange {
    /// The range of an empty tree.
    #[must_use]
    pub fn new(tree: Tree) -> Self {
        Self { tree, size: 0, nodes: Vec::new() }
    }

    /// A range taken up again from stored hashes, largest subtree first.
    ///
    /// # Errors
    /// When the number of hashes does not belong to the size.
    pub fn resume(tree: Tree, size: u64, nodes: Vec<Hash>) -> Result<Self, WrongWidth> {
        let expected = size.count_ones() as usize;
        if nodes.len() != expected {
            return Err(WrongWidth { size, expected, found: nodes.len() });
        }
        Ok(Self { tree, size, nodes })
    }

    /// Which tree this is the edge of.
    #[must_use]
    pub fn tree(&self) -> Tree {
        self.tree
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The subtree roots, largest first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.nodes
    }

    /// The places of [`Self::hashes`] in the tree, in the same order.
    pub fn nodes(&self) -> impl Iterator<Item = (Node, Hash)> + '_ {
        cover(0, self.size).zip(self.nodes.iter().copied())
    }

    /// Adds one leaf and reports each node that became complete, leaf first, then upwards.
    pub fn append(&mut self, leaf: Hash, completed: impl FnMut(Node, Hash)) {
        self.climb(Node { level: 0, index: self.size }, leaf, completed);
        self.size += 1;
    }

    /// Adds a complete subtree of `2^level` leaves by its root, and reports it and each node above that became complete.
    /// False, and nothing added, when the size is no multiple of the subtree's width: it would stand elsewhere.
    #[must_use]
    pub fn append_subtree(&mut self, level: u8, root: Hash, completed: impl FnMut(Node, Hash)) -> bool {
        let Some(width) = 1u64.checked_shl(u32::from(level)) else { return false };
        let Some(size) = self.size.checked_add(width).filter(|_| self.size.is_multiple_of(width)) else {
            return false;
        };
        self.climb(Node { level, index: self.size >> level }, root, completed);
        self.size = size;
        true
    }

    fn climb(&mut self, start: Node, root: Hash, mut completed: impl FnMut(Node, Hash)) {
        let (mut node, mut hash) = (start, root);
        completed(node, hash);
        // Each trailing one bit of the old size is a complete left neighbour waiting for this node.
        while node.index & 1 == 1 {
            let Some(left) = self.nodes.pop() else { break };
            hash = self.tree.node(&left, &hash);
            node = Node { level: node.level + 1, index: node.index >> 1 };
            completed(node, hash);
        }
        self.nodes.push(hash);
    }

    /// Adds many leaves, level by level, and reports the run of nodes of each level that became complete: leaves first, then
    /// upwards, each run with the place of its first node. Faster than one by one, with the same outcome.
    pub fn extend(&mut self, leaves: &[Hash], mut completed: impl FnMut(Node, &[Hash])) {
        let mut first = Node { level: 0, index: self.size };
        let mut run = leaves.to_vec();
        let mut without_sibling = Vec::new();
        while !run.is_empty() {
            completed(first, &run);
            // The first node of an odd index is a right one: its left neighbour is the smallest subtree so far.
            if first.index & 1 == 1
                && let Some(left) = self.nodes.pop()
            {
                run.insert(0, left);
            }
            let (pairs, odd) = run.as_chunks::<2>();
            without_sibling.extend_from_slice(odd);
            let parents = self.tree.parents(pairs);
            run = parents;
            first = Node { level: first.level + 1, index: first.index >> 1 };
        }
        self.nodes.extend(without_sibling.into_iter().rev());
        self.size += leaves.len() as u64;
    }

    /// The root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        bag(self.tree, &self.nodes)
    }

    /// The root over all leaves so far and those under these subtrees, which follow them, largest first and smaller than
    /// any of the range's own: what [`crate::block::Block::prefix`] gives.
    #[must_use]
    pub fn root_with(&self, following: &[Hash]) -> Hash {
        let nodes: Vec<Hash> = self.nodes.iter().chain(following).copied().collect();
        bag(self.tree, &nodes)
    }
}

/// Joins subtree roots (largest first) into one root: smaller ones are folded in from the right.
pub(crate) fn bag(tree: Tree, nodes: &[Hash]) -> Hash {
    let mut from_the_right = nodes.iter().rev().copied();
    let Some(last) = from_the_right.next() else { return tree.empty_root() };
    from_the_right.fold(last, |right, left| tree.node(&left, &right))
}

/// The complete subtrees that tile `[start, end)`, where `start` is aligned to every subtree in it, left to right.
///
/// True for every range that RFC 6962 recursion visits: `start` is a multiple of the least power of two not below the width.
pub(crate) fn cover(start: u64, end: u64) -> impl Iterator<Item = Node> {
    let mut at = start;
    std::iter::from_fn(move || {
        let width = end.checked_sub(at).filter(|width| *width > 0)?;
        let level = width.ilog2();
        let node = Node { level: u8::try_from(level).ok()?, index: at >> level };
        at += 1u64 << level;
        Some(node)
    })
}

/// The complete subtrees that tile `[start, end)` for any `start`, left to right, each as large as its place allows: in this
/// order they can be added to a range of size `start` with [`CompactRange::append_subtree`].
pub fn tiling(start: u64, end: u64) -> impl Iterator<Item = Node> {
    let mut at = start;
    std::iter::from_fn(move || {
        let width = end.checked_sub(at).filter(|width| *width > 0)?;
        let level = width.ilog2().min(at.trailing_zeros());
        let node = Node { level: u8::try_from(level).ok()?, index: at >> level };
        at += 1u64 << level;
        Some(node)
    })
}
