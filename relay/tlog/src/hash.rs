//! The two hash functions and what each tree hashes.
//!
//! | | SHA-256 tree | SHA3-256 tree |
//! |---|---|---|
//! | leaf | `SHA-256(00 ‖ entry)` | the published 32-byte leaf `l`, taken as it is |
//! | node | `SHA-256(01 ‖ left ‖ right)` | `SHA3-256(01 ‖ left ‖ right)` |
//! | empty | `SHA-256("")` | 32 zero bytes |
//!
//! Everything else in the crate takes a [`Tree`] and asks here.

use crate::keccak;
use sha2::Sha256;
use sha3::{Digest, Sha3_256};

/// A node, leaf or root of either tree.
pub type Hash = [u8; 32];

/// Which of the two trees over the same entries is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tree {
    /// RFC 6962: tiles, checkpoints, witnesses, every outside tool.
    Sha256,
    /// The published protocol (§6.1): JSON API, signed tree heads, receipts.
    Sha3,
}

impl Tree {
    /// Both trees, in the order in which they are stored.
    pub const BOTH: [Tree; 2] = [Tree::Sha256, Tree::Sha3];

    /// The root of a tree without leaves.
    #[must_use]
    pub fn empty_root(self) -> Hash {
        match self {
            Tree::Sha256 => Sha256::digest([]).into(),
            Tree::Sha3 => [0; 32],
        }
    }

    /// The parent of two neighbours: `H(01 ‖ left ‖ right)`.
    #[must_use]
    pub fn node(self, left: &Hash, right: &Hash) -> Hash {
        let mut preimage = [1u8; 65];
        let (_, children) = preimage.split_at_mut(1);
        let (l, r) = children.split_at_mut(32);
        l.copy_from_slice(left);
        r.copy_from_slice(right);
        match self {
            Tree::Sha256 => Sha256::digest(preimage).into(),
            Tree::Sha3 => Sha3_256::digest(preimage).into(),
        }
    }

    /// The parents of neighbours, pair by pair: [`Self::node`] of each, but several at a time where that is faster.
    #[must_use]
    pub fn parents(self, pairs: &[[Hash; 2]]) -> Vec<Hash> {
        match self {
            Tree::Sha256 => pairs.iter().map(|[left, right]| self.node(left, right)).collect(),
            Tree::Sha3 => keccak::nodes(pairs),
        }
    }

    /// The root over a run of neighbours of one level, in the RFC 6962 shape; the empty root for an empty run.
    #[must_use]
    pub fn fold(self, hashes: &[Hash]) -> Hash {
        let mut level = hashes.to_vec();
        if level.is_empty() {
            return self.empty_root();
        }
        while level.len() > 1 {
            let (pairs, odd) = level.as_chunks::<2>();
            let mut above = self.parents(pairs);
            above.extend_from_slice(odd);
            level = above;
        }
        level.first().copied().unwrap_or_else(|| self.empty_root())
    }
}

/// The RFC 6962 leaf of an entry in the SHA-256 tree. (The SHA3 tree's leaf is the entry's own `l`.)
#[must_use]
pub fn entry_leaf(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(entry);
    hasher.finalize().into()
}

/// Plain SHA-256, for the digests of the formats around the tree (key ids, trailer chains).
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}
