//! Generating roots, inclusion proofs and consistency proofs (RFC 6962 §2.1) from stored nodes.
//!
//! The store gives complete subtrees only ([`ReadNode`]); the ragged right edge is put together here. A proof asks for
//! O(log n) nodes, and those of one path lie in few tiles: at most four per tree at 10^8 entries, eight for old sizes.

use crate::hash::{Hash, Tree};
use crate::range::{Node, bag, cover};

/// Where complete subtrees are read from.
pub trait ReadNode {
    /// What can go wrong in the store.
    type Error;

    /// The hash of a complete subtree.
    ///
    /// # Errors
    /// Whatever the store reports; the callers here never ask for a node beyond the size they were given.
    fn node(&mut self, node: Node) -> Result<Hash, Self::Error>;
}

/// A question that has no answer whatever the store holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E> {
    /// The leaf is not in a tree of that size.
    #[error("index {index} is not below the tree size {size}")]
    IndexBeyondSize {
        /// The leaf asked for.
        index: u64,
        /// The tree asked about.
        size: u64,
    },
    /// A tree cannot be consistent with a smaller one.
    #[error("old size {from} is above new size {to}")]
    SizesReversed {
        /// The size said to be old.
        from: u64,
        /// The size said to be new.
        to: u64,
    },
    /// The store failed.
    #[error("reading a tree node: {0}")]
    Store(E),
}

/// The root of the first `size` leaves.
///
/// # Errors
/// When the store cannot give a node.
pub fn root<R: ReadNode>(tree: Tree, store: &mut R, size: u64) -> Result<Hash, R::Error> {
    subtree(tree, store, 0, size)
}

/// The audit path of leaf `index` in the tree of `size` leaves, from the leaf upwards.
///
/// # Errors
/// When the index is not in the tree, or the store cannot give a node.
pub fn inclusion<R: ReadNode>(
    tree: Tree,
    store: &mut R,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProofError<R::Error>> {
    if index >= size {
        return Err(ProofError::IndexBeyondSize { index, size });
    }
    let (mut low, mut high) = (0, size);
    let mut path = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        let (sibling_low, sibling_high);
        if index < middle {
            (sibling_low, sibling_high) = (middle, high);
            high = middle;
        } else {
            (sibling_low, sibling_high) = (low, middle);
            low = middle;
        }
        path.push(subtree(tree, store, sibling_low, sibling_high).map_err(ProofError::Store)?);
    }
    path.reverse();
    Ok(path)
}

/// The RFC 6962 proof that the tree of `from` leaves is a prefix of the tree of `to` leaves.
///
/// Empty when `from` is zero or equals `to`.
///
/// # Errors
/// When the sizes are reversed, or the store cannot give a node.
pub fn consistency<R: ReadNode>(
    tree: Tree,
    store: &mut R,
    from: u64,
    to: u64,
) -> Result<Vec<Hash>, ProofError<R::Error>> {
    if from > to {
        return Err(ProofError::SizesReversed { from, to });
    }
    if from == 0 || from == to {
        return Ok(Vec::new());
    }
    let (mut low, mut high) = (0, to);
    let mut known_to_verifier = true;
    let mut path = Vec::new();
    loop {
        if from == high {
            if !known_to_verifier {
                path.push(subtree(tree, store, low, high).map_err(ProofError::Store)?);
            }
            break;
        }
        let middle = low + split(high - low);
        if from <= middle {
            path.push(subtree(tree, store, middle, high).map_err(ProofError::Store)?);
            high = middle;
        } else {
            path.push(subtree(tree, store, low, middle).map_err(ProofError::Store)?);
            low = middle;
            known_to_verifier = false;
        }
    }
    path.reverse();
    Ok(path)
}

/// The largest power of two below `width`, for widths of two and more: where RFC 6962 splits a tree.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

fn subtree<R: ReadNode>(tree: Tree, store: &mut R, low: u64, high: u64) -> Result<Hash, R::Error> {
    let nodes = cover(low, high).map(|node| store.node(node)).collect::<Result<Vec<_>, _>>()?;
    Ok(bag(tree, &nodes))
}
