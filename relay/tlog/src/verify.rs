//! Verifying inclusion and consistency (RFC 9162 §2.1.3.2 and §2.1.4.2), for anyone who holds a proof.
//!
//! The length of the path and the side of each sibling come from index and size alone: a proof of another length is
//! refused before anything is hashed, and sides that a proof names are never looked at.

use crate::hash::{Hash, Tree};

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The leaf cannot be in a tree of that size.
    #[error("index {index} is not below the tree size {size}")]
    IndexBeyondSize {
        /// The leaf claimed.
        index: u64,
        /// The size claimed.
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
    /// The number of hashes does not belong to index and size.
    #[error("the proof has {found} hashes, the sizes call for {expected}")]
    WrongLength {
        /// Hashes in the proof.
        found: usize,
        /// Hashes the sizes call for.
        expected: usize,
    },
    /// The hashes lead to another root than the (new) tree's.
    #[error("the proof leads to another root")]
    WrongRoot,
    /// The hashes lead to another root than the old tree's.
    #[error("the proof leads to another root of the old tree")]
    WrongOldRoot,
}

/// Checks that `leaf` is leaf number `index` of the tree with this size and root.
///
/// # Errors
/// Says what does not fit.
pub fn inclusion(
    tree: Tree,
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), VerifyError> {
    let found = inclusion_root(tree, leaf, index, size, path)?;
    if found == *root { Ok(()) } else { Err(VerifyError::WrongRoot) }
}

/// The root that an audit path leads to.
///
/// # Errors
/// When index, size and path length do not belong together.
pub fn inclusion_root(
    tree: Tree,
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
) -> Result<Hash, VerifyError> {
    if index >= size {
        return Err(VerifyError::IndexBeyondSize { index, size });
    }
    let sides = sides(index, size);
    if sides.len() != path.len() {
        return Err(VerifyError::WrongLength { found: path.len(), expected: sides.len() });
    }
    let climb = |hash: Hash, (side, sibling): (&Side, &Hash)| match side {
        Side::Left => tree.node(sibling, &hash),
        Side::Right => tree.node(&hash, sibling),
    };
    Ok(sides.iter().zip(path).fold(*leaf, climb))
}

/// Checks that the tree `(from, old_root)` is a prefix of the tree `(to, new_root)`.
///
/// # Errors
/// Says what does not fit. An old tree of size zero is consistent with any tree when its root is the empty one.
pub fn consistency(
    tree: Tree,
    from: u64,
    old_root: &Hash,
    to: u64,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), VerifyError> {
    if from > to {
        return Err(VerifyError::SizesReversed { from, to });
    }
    if from == 0 || from == to {
        if !path.is_empty() {
            return Err(VerifyError::WrongLength { found: path.len(), expected: 0 });
        }
        let expected = if from == 0 { tree.empty_root() } else { *new_root };
        return if *old_root == expected { Ok(()) } else { Err(VerifyError::WrongOldRoot) };
    }

    // The path starts at the largest complete subtree that ends the old tree; when the old tree is itself such a
    // subtree of the new one, its root is that start and is left out of the proof.
    let level = from.trailing_zeros();
    let sides = sides((from - 1) >> level, ((to - 1) >> level) + 1);
    let starts_at_old_root = from.is_power_of_two();
    let expected = sides.len() + usize::from(!starts_at_old_root);
    if path.len() != expected {
        return Err(VerifyError::WrongLength { found: path.len(), expected });
    }
    let (start, path) = match path.split_first() {
        Some((first, rest)) if !starts_at_old_root => (*first, rest),
        _ => (*old_root, path),
    };

    let (mut old, mut new) = (start, start);
    for (side, sibling) in sides.iter().zip(path) {
        match side {
            Side::Left => {
                old = tree.node(sibling, &old);
                new = tree.node(sibling, &new);
            }
            Side::Right => new = tree.node(&new, sibling),
        }
    }
    if old != *old_root {
        return Err(VerifyError::WrongOldRoot);
    }
    if new != *new_root {
        return Err(VerifyError::WrongRoot);
    }
    Ok(())
}

/// On which side of the path a sibling stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The sibling is hashed first.
    Left,
    /// The sibling is hashed second.
    Right,
}

/// The sides of all siblings from leaf `index` up to the root of a tree of `size` leaves; levels at which the node
/// has no sibling are skipped. Empty when the index is not in the tree.
#[must_use]
pub fn sides(index: u64, size: u64) -> Vec<Side> {
    let mut sides = Vec::new();
    let Some(mut last) = size.checked_sub(1) else { return sides };
    let mut at = index;
    while last > 0 && at <= last {
        if at & 1 == 1 {
            sides.push(Side::Left);
        } else if at < last {
            sides.push(Side::Right);
        }
        at >>= 1;
        last >>= 1;
    }
    sides
}
