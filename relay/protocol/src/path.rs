//! Audit paths as the JSON interface shows them: each step names its sibling and the side it stands on (protocol §6.1).
//!
//! The side is implied by (index, tree size). Published clients read it from the step; we write it for them, and when we
//! verify we compute it and refuse a step that says otherwise, or a path whose length is not the one the tree has.

use paramant_tlog::verify;
use serde::{Deserialize, Serialize};

use crate::leaf::{self, Hash};

/// Which side of the node on the way up the sibling stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// H(01 ‖ sibling ‖ node)
    Left,
    /// H(01 ‖ node ‖ sibling)
    Right,
}

/// One step of an audit path, bottom-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The sibling, lower-case hex.
    pub hash: String,
    /// Its side.
    pub position: Side,
}

/// Why a path proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The index lies outside the tree.
    #[error("entry {index} is not in a tree of {size} entries")]
    Outside {
        /// The entry.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A path of another length than the tree's shape demands.
    #[error("the path for entry {index} in a tree of {size} has {expected} steps, not {found}")]
    Length {
        /// The entry.
        index: u64,
        /// The tree's size.
        size: u64,
        /// Steps the shape demands.
        expected: usize,
        /// Steps found.
        found: usize,
    },
    /// A step that names the wrong side.
    #[error("step {step} stands on the other side than (index, tree size) say")]
    WrongSide {
        /// Counted from the leaf, from 0.
        step: usize,
    },
    /// A sibling that is not 32 bytes of lower-case hex.
    #[error("step {step} is not 64 lower-case hex digits")]
    NotAHash {
        /// Counted from the leaf, from 0.
        step: usize,
    },
    /// The path leads elsewhere.
    #[error("the path leads to {found}, not to the root {expected}")]
    OtherRoot {
        /// The root that was to be reached.
        expected: String,
        /// The root reached.
        found: String,
    },
}

impl From<verify::Side> for Side {
    fn from(side: verify::Side) -> Self {
        match side {
            verify::Side::Left => Self::Left,
            verify::Side::Right => Self::Right,
        }
    }
}

/// The sides of the siblings of entry `index` in a tree of `size`, bottom-up. `None` outside the tree.
pub fn sides(index: u64, size: u64) -> Option<Vec<Side>> {
    (index < size).then(|| verify::sides(index, size).into_iter().map(Side::from).collect())
}

/// Dresses the bare siblings of a proof (RFC 6962 order) as the JSON interface shows them. `None` when their number is not
/// what the tree's shape demands.
pub fn steps(index: u64, size: u64, siblings: &[Hash]) -> Option<Vec<Step>> {
    let sides = sides(index, size)?;
    (sides.len() == siblings.len()).then(|| {
        sides
            .into_iter()
            .zip(siblings)
            .map(|(position, hash)| Step { hash: hex::encode(hash), position })
            .collect()
    })
}

/// Checks that `steps` lead from `leaf` at `index` to `root` of the SHA3-256 tree of `size`.
pub fn check(leaf: &Hash, index: u64, size: u64, steps: &[Step], root: &Hash) -> Result<(), PathError> {
    let sides = sides(index, size).ok_or(PathError::Outside { index, size })?;
    if sides.len() != steps.len() {
        return Err(PathError::Length { index, size, expected: sides.len(), found: steps.len() });
    }
    let mut hash = *leaf;
    for (number, (side, step)) in sides.into_iter().zip(steps).enumerate() {
        if step.position != side {
            return Err(PathError::WrongSide { step: number });
        }
        let sibling = parse_hash(&step.hash).ok_or(PathError::NotAHash { step: number })?;
        hash = match side {
            Side::Left => leaf::node(&sibling, &hash),
            Side::Right => leaf::node(&hash, &sibling),
        };
    }
    if &hash == root {
        return Ok(());
    }
    Err(PathError::OtherRoot { expected: hex::encode(root), found: hex::encode(hash) })
}

/// Reads 64 lower-case hex digits.
pub fn parse_hash(text: &str) -> Option<Hash> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(hash)
}

/// An auditor reads millions of these: no table, no second pass.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn leaf_of(byte: u8) -> Hash {
        leaf::sha3(&[0, byte])
    }

    /// The published shape, written as published: pair neighbours, an odd last node moves up.
    fn tree(leaves: &[Hash]) -> Vec<Vec<Hash>> {
        let mut levels = vec![leaves.to_vec()];
        while levels.last().unwrap().len() > 1 {
            let level = levels.last().unwrap();
            let next = level
                .chunks(2)
                .map(|pair| if pair.len() == 2 { leaf::node(&pair[0], &pair[1]) } else { pair[0] });
            let next = next.collect();
            levels.push(next);
        }
        levels
    }

    fn root(size: u8) -> Hash {
        let leaves: Vec<_> = (0..size).map(leaf_of).collect();
        tree(&leaves).last().unwrap()[0]
    }

    fn siblings(index: usize, levels: &[Vec<Hash>]) -> Vec<Hash> {
        let mut node = index;
        let mut path = Vec::new();
        for level in levels {
            if let Some(sibling) = level.get(node ^ 1) {
                path.push(*sibling);
            }
            node /= 2;
        }
        path
    }

    #[test]
    fn roots_match_the_published_vectors() {
        for (size, expected) in [
            (1, "762ba6a3d9312bf3e6dc71e74f34208e889fc44e6ff400724deecfeda7d5b3ce"),
            (2, "57de176bf29bb6a433d306264f70b5170cd3c1a2188589151cf81ea3bf77e2d8"),
            (3, "74fcbd55a09e7ee84754a8710e01b6205149eea83aa157b7a816291b7671ae5b"),
            (4, "631d189672aaf8b1c5c41d152b361512668f14e862e63a3a85d601086c34cb45"),
            (5, "5a72b8c269317af092f3f6d46113a97497321e20a7e1e90ff4a958e96e144f78"),
            (7, "602d7ecc791dab4b64188bebb7dc80683679cfe57e752dc2d15dc30c7cfe42a4"),
            (8, "8c79e48275b6b7d1fc4a3c7baa2014c36ee437ce3fd1d8fef23a6a1e2bbc79bf"),
        ] {
            assert_eq!(hex::encode(root(size)), expected, "tree of {size}");
        }
    }

    #[test]
    fn the_published_paths_verify() {
        let step = |position, hash: &str| Step { hash: hash.into(), position };
        let two_in_five = [
            step(Side::Right, "a3f30948550805cb1a32ea5f3f7ede7112a4007b3b1834b4d4c254b8b7d58bd2"),
            step(Side::Left, "57de176bf29bb6a433d306264f70b5170cd3c1a2188589151cf81ea3bf77e2d8"),
            step(Side::Right, "107c4fb8d19a6c6709a535b4b0d70e0a33bcc09b92732c9a81f8311e43def59f"),
        ];
        check(&leaf_of(2), 2, 5, &two_in_five, &root(5)).unwrap();
        let four_in_five =
            [step(Side::Left, "631d189672aaf8b1c5c41d152b361512668f14e862e63a3a85d601086c34cb45")];
        check(&leaf_of(4), 4, 5, &four_in_five, &root(5)).unwrap();
    }

    #[test]
    fn a_path_that_says_its_own_sides_is_refused() {
        let leaves: Vec<_> = (0..5).map(leaf_of).collect();
        let levels = tree(&leaves);
        let good = steps(2, 5, &siblings(2, &levels)).unwrap();
        let mut wrong = good.clone();
        wrong[0].position = Side::Left;
        assert_eq!(check(&leaves[2], 2, 5, &wrong, &root(5)), Err(PathError::WrongSide { step: 0 }));
        assert!(matches!(check(&leaves[2], 2, 5, &good[..2], &root(5)), Err(PathError::Length { .. })));
        assert!(matches!(check(&leaves[2], 5, 5, &good, &root(5)), Err(PathError::Outside { .. })));
        assert!(matches!(check(&leaves[2], 2, 5, &good, &root(4)), Err(PathError::OtherRoot { .. })));
        let mut upper = good.clone();
        upper[1].hash = upper[1].hash.to_uppercase();
        assert_eq!(check(&leaves[2], 2, 5, &upper, &root(5)), Err(PathError::NotAHash { step: 1 }));
    }

    #[test]
    fn every_entry_of_every_small_tree_has_a_path() {
        for size in 1..=33u8 {
            let leaves: Vec<_> = (0..size).map(leaf_of).collect();
            let levels = tree(&leaves);
            for index in 0..size {
                let (index64, size64) = (u64::from(index), u64::from(size));
                let path = steps(index64, size64, &siblings(usize::from(index), &levels)).unwrap();
                check(&leaves[usize::from(index)], index64, size64, &path, &root(size)).unwrap();
            }
        }
    }

    proptest! {
        #[test]
        fn sides_end_for_every_position(index in any::<u64>(), size in any::<u64>()) {
            match sides(index, size) {
                Some(sides) => prop_assert!(index < size && sides.len() <= 64),
                None => prop_assert!(index >= size),
            }
        }

        #[test]
        fn no_text_makes_the_hash_reader_panic(text in any::<String>()) {
            let _ = parse_hash(&text);
        }
    }
}
