//! The published protocol's form of an audit path (protocol §6.1): each step says `{hash, position}`.
//!
//! Written for existing clients, which read the sides. Our own verifiers take the sides from index and size and
//! refuse a path that names others; see [`check`].

use crate::hash::{Hash, Tree};
use crate::verify::{self, Side, VerifyError};

/// One step of a published audit path: the sibling and the side it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The sibling.
    pub hash: Hash,
    /// Where the sibling stands: `right` means `H(01 ‖ current ‖ hash)`.
    pub position: Side,
}

impl Side {
    /// The word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Left => "left",
            Side::Right => "right",
        }
    }
}

/// Adds the sides to an RFC 6962 audit path of leaf `index` in a tree of `size` leaves.
#[must_use]
pub fn steps(index: u64, size: u64, path: &[Hash]) -> Vec<Step> {
    let step = |(position, hash): (Side, &Hash)| Step { hash: *hash, position };
    verify::sides(index, size).into_iter().zip(path).map(step).collect()
}

/// The root that a published path leads to, as published clients compute it: sides from the path itself.
///
/// Proves nothing about the index; use [`check`] where an index is at stake.
#[must_use]
pub fn walk(tree: Tree, leaf: &Hash, path: &[Step]) -> Hash {
    path.iter().fold(*leaf, |current, step| match step.position {
        Side::Left => tree.node(&step.hash, &current),
        Side::Right => tree.node(&current, &step.hash),
    })
}

/// Checks a published path strictly: length and sides must be those of index and size.
///
/// # Errors
/// Says what does not fit; a step that names the wrong side leads to [`VerifyError::WrongRoot`].
pub fn check(
    tree: Tree,
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Step],
    root: &Hash,
) -> Result<(), VerifyError> {
    let hashes: Vec<Hash> = path.iter().map(|step| step.hash).collect();
    verify::inclusion(tree, leaf, index, size, &hashes, root)?;
    let named = path.iter().map(|step| step.position);
    if named.eq(verify::sides(index, size)) { Ok(()) } else { Err(VerifyError::WrongRoot) }
}
