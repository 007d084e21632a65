//! Trees and proofs against `ct-merkle`, in both hash functions.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use digest::{Digest, Output};
use paramant_tlog::proof::{self, ReadNode};
use paramant_tlog::verify::{self, VerifyError};
use paramant_tlog::{CompactRange, Hash, Node, Tree, entry_leaf};
use proptest::prelude::*;
use std::collections::HashMap;
use std::convert::Infallible;

/// All complete nodes of a tree, as a store would hold them.
pub(crate) struct Stored {
    pub(crate) range: CompactRange,
    nodes: HashMap<Node, Hash>,
}

impl Stored {
    pub(crate) fn new(tree: Tree, leaves: Vec<Hash>) -> Self {
        let mut stored = Self { range: CompactRange::new(tree), nodes: HashMap::new() };
        for leaf in leaves {
            stored.range.append(leaf, |node, hash| assert!(stored.nodes.insert(node, hash).is_none()));
        }
        stored
    }
}

impl ReadNode for Stored {
    type Error = Infallible;

    fn node(&mut self, node: Node) -> Result<Hash, Infallible> {
        Ok(self.nodes[&node])
    }
}

fn entry(number: u64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

fn leaf<D: Digest<OutputSize = digest::consts::U32>>(entry: &[u8]) -> Hash {
    D::digest([&[0], entry].concat()).into()
}

fn leaf_of(tree: Tree, entry: &[u8]) -> Hash {
    match tree {
        Tree::Sha256 => leaf::<sha2::Sha256>(entry),
        Tree::Sha3 => leaf::<sha3::Sha3_256>(entry),
    }
}

/// Compares everything about one size with the oracle.
fn agree<D: Digest<OutputSize = digest::consts::U32>>(tree: Tree, size: u64, index: u64, old: u64) {
    let mut oracle = MemoryBackedTree::<D, Vec<u8>>::new();
    (0..size).for_each(|number| oracle.push(entry(number)));
    let mut ours = Stored::new(tree, (0..size).map(|number| leaf_of(tree, &entry(number))).collect());
    let root = ours.range.root();
    let oracle_root: RootHash<D> = oracle.root();
    assert_eq!(root.as_slice(), oracle_root.as_bytes().as_slice(), "root of {size}");
    assert_eq!(proof::root(tree, &mut ours, size).unwrap(), root);

    let path = proof::inclusion(tree, &mut ours, index, size).unwrap();
    let theirs: InclusionProof<D> = oracle.prove_inclusion(usize::try_from(index).unwrap());
    assert_eq!(path.concat(), theirs.as_bytes(), "inclusion of {index} in {size}");
    let leaf = leaf_of(tree, &entry(index));
    verify::inclusion(tree, &leaf, index, size, &path, &root).unwrap();

    let old_root = proof::root(tree, &mut ours, old).unwrap();
    let path = proof::consistency(tree, &mut ours, old, size).unwrap();
    verify::consistency(tree, old, &old_root, size, &root, &path).unwrap();
    if old > 0 && old < size {
        let theirs: ConsistencyProof<D> = oracle.prove_consistency(usize::try_from(size - old).unwrap());
        assert_eq!(path.concat(), theirs.as_bytes(), "consistency {old} to {size}");
        let digests: Vec<Output<D>> = path.iter().map(|hash| hash.as_slice().try_into().unwrap()).collect();
        let old_root = RootHash::<D>::new(old_root.as_slice().try_into().unwrap(), old);
        oracle_root.verify_consistency(&old_root, &ConsistencyProof::from_digests(digests.iter())).unwrap();
    }
}

#[test]
fn every_small_tree_agrees_with_the_oracle() {
    for size in 1..=33 {
        for index in 0..size {
            agree::<sha2::Sha256>(Tree::Sha256, size, index, index);
            agree::<sha3::Sha3_256>(Tree::Sha3, size, index, index);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn larger_trees_agree_with_the_oracle(size in 34u64..700, index: prop::sample::Index, old: prop::sample::Index) {
        let below = |index: prop::sample::Index| index.index(usize::try_from(size).unwrap()) as u64;
        agree::<sha2::Sha256>(Tree::Sha256, size, below(index), below(old));
        agree::<sha3::Sha3_256>(Tree::Sha3, size, below(index), below(old));
    }

    #[test]
    fn a_proof_with_one_bit_flipped_proves_nothing(
        size in 2u64..400, index: prop::sample::Index, hit: prop::sample::Index, bit in 0usize..256,
    ) {
        let tree = Tree::Sha256;
        let leaves: Vec<Hash> = (0..size).map(|number| leaf_of(tree, &entry(number))).collect();
        let mut stored = Stored::new(tree, leaves.clone());
        let index = index.index(leaves.len()) as u64;
        let root = stored.range.root();
        let mut path = proof::inclusion(tree, &mut stored, index, size).unwrap();
        let hit = hit.index(path.len());
        path[hit][bit / 8] ^= 1 << (bit % 8);
        let leaf = leaves[usize::try_from(index).unwrap()];
        prop_assert_eq!(verify::inclusion(tree, &leaf, index, size, &path, &root), Err(VerifyError::WrongRoot));
    }

    #[test]
    fn hostile_sizes_and_lengths_are_refused_without_panic(
        index: u64, size: u64, from: u64, to: u64, path in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        for tree in Tree::BOTH {
            let _ = verify::inclusion(tree, &[1; 32], index, size, &path, &[2; 32]).unwrap_err();
            let _ = verify::consistency(tree, from, &[1; 32], to, &[2; 32], &path).unwrap_err();
        }
    }
}

#[test]
fn the_length_of_a_proof_follows_from_index_and_size() {
    let tree = Tree::Sha256;
    let leaves: Vec<Hash> = (0..7).map(|number| leaf_of(tree, &entry(number))).collect();
    let mut stored = Stored::new(tree, leaves.clone());
    let root = stored.range.root();
    let path = proof::inclusion(tree, &mut stored, 6, 7).unwrap();
    assert_eq!(path.len(), 2);
    let longer = [path.as_slice(), &[[0; 32]]].concat();
    let shorter = &path[..1];
    for wrong in [longer.as_slice(), shorter, &[]] {
        let found = verify::inclusion(tree, &leaves[6], 6, 7, wrong, &root);
        assert_eq!(found, Err(VerifyError::WrongLength { found: wrong.len(), expected: 2 }));
    }
    // An inner node passed off as a leaf needs a shorter path than its claimed index and size call for.
    let inner = tree.node(&leaves[0], &leaves[1]);
    let path = proof::inclusion(tree, &mut stored, 0, 7).unwrap();
    assert!(verify::inclusion(tree, &inner, 0, 7, &path[1..], &root).is_err());
}

#[test]
fn questions_without_an_answer_are_errors() {
    let mut stored = Stored::new(Tree::Sha3, vec![[1; 32]; 3]);
    assert!(proof::inclusion(Tree::Sha3, &mut stored, 3, 3).is_err());
    assert!(proof::inclusion(Tree::Sha3, &mut stored, 0, 0).is_err());
    assert!(proof::consistency(Tree::Sha3, &mut stored, 3, 2).is_err());
    assert!(proof::consistency(Tree::Sha3, &mut stored, 0, 3).unwrap().is_empty());
    assert!(proof::consistency(Tree::Sha3, &mut stored, 3, 3).unwrap().is_empty());
    assert!(verify::consistency(Tree::Sha3, 0, &[1; 32], 3, &stored.range.root(), &[]).is_err());
    assert!(verify::consistency(Tree::Sha3, 3, &[1; 32], 3, &stored.range.root(), &[]).is_err());
}

#[test]
fn a_range_taken_up_again_grows_like_one_that_was_never_put_down() {
    for tree in Tree::BOTH {
        let mut whole = CompactRange::new(tree);
        for number in 0..600 {
            let resumed = CompactRange::resume(tree, whole.size(), whole.hashes().to_vec()).unwrap();
            assert_eq!(resumed, whole);
            whole.append(entry_leaf(&entry(number)), |_, _| ());
        }
        assert!(CompactRange::resume(tree, 3, vec![[0; 32]]).is_err());
    }
}

/// Every completed node of a range that grows by runs of these lengths, and the range at the end.
fn grown(tree: Tree, runs: &[usize]) -> (HashMap<Node, Hash>, CompactRange) {
    let (mut nodes, mut range, mut number) = (HashMap::new(), CompactRange::new(tree), 0);
    for run in runs {
        let leaves: Vec<Hash> = (number..).take(*run).map(|number| leaf_of(tree, &entry(number))).collect();
        number += *run as u64;
        range.extend(&leaves, |first, hashes| {
            for (index, hash) in (first.index..).zip(hashes) {
                let node = Node { level: first.level, index };
                assert!(nodes.insert(node, *hash).is_none(), "{node:?} completed twice");
            }
        });
    }
    (nodes, range)
}

#[test]
fn a_range_that_grows_by_runs_is_the_one_that_grows_leaf_by_leaf() {
    for tree in Tree::BOTH {
        for first in 0..=34 {
            for second in 0..=34 {
                let leaves =
                    (0..(first + second) as u64).map(|number| leaf_of(tree, &entry(number))).collect();
                let one_by_one = Stored::new(tree, leaves);
                let (nodes, range) = grown(tree, &[first, second]);
                assert_eq!(range, one_by_one.range, "{first} and {second}");
                assert_eq!(nodes, one_by_one.nodes, "{first} and {second}");
            }
        }
    }
}

proptest! {
    #[test]
    fn runs_of_any_lengths_lead_to_the_same_tree(runs in prop::collection::vec(0usize..300, 0..8)) {
        let size = runs.iter().sum::<usize>() as u64;
        for tree in Tree::BOTH {
            let one_by_one = Stored::new(tree, (0..size).map(|number| leaf_of(tree, &entry(number))).collect());
            let (nodes, range) = grown(tree, &runs);
            prop_assert_eq!(&range, &one_by_one.range);
            prop_assert_eq!(range.root(), one_by_one.range.root());
            prop_assert_eq!(&nodes, &one_by_one.nodes);
        }
    }
}
