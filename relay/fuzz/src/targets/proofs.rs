//! Proofs: the offline file, and bare hashes under index and size.

use paramant_protocol::path as published;
use paramant_tlog::tlog_proof::{MAX_PROOF, TlogProof};
use paramant_tlog::{Hash, Tree, legacy, verify};

use crate::seeds::{bytes, texts};
use crate::{Memory, Target};

pub(super) const TLOG_PROOF: Target = Target {
    name: "tlog-proof",
    check: tlog_proof,
    seeds: offline_proofs,
    words: &[
        "c2sp.org/tlog-proof@v1\n",
        "extra ",
        "index ",
        "\n",
        "\n\n",
        "=",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
    ],
    memory: Memory::COPIES,
};

/// The good and the refused ones of the specification.
pub(super) fn offline_proofs() -> Vec<Vec<u8>> {
    let mut seeds = texts("tlog-proofs.json", &["proof"]);
    seeds.extend(texts("tlog-proofs-refused.json", &["note"]));
    seeds
}

fn tlog_proof(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(proof) = TlogProof::parse(text) else { return };
    assert!(text.len() <= MAX_PROOF && proof.path.len() <= 64);
    assert_eq!(proof.to_text(), text, "written again it is another proof");
    assert_eq!(TlogProof::parse(&proof.to_text()).as_ref(), Ok(&proof));
}

pub(super) const PROOF: Target = Target {
    name: "proof",
    check: proof,
    seeds: proofs,
    words: &["\0\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\u{1}", "\0\0\0\0\0\0\0\u{7}"],
    memory: Memory { base: 64 * 1024, per_byte: 256 },
};

/// Index and size in eight bytes each, then 32 bytes for each hash.
fn proofs() -> Vec<Vec<u8>> {
    let hashes = bytes("proofs.json", &["path"]);
    let sizes = [
        (0u64, 1u64),
        (0, 2),
        (5, 7),
        (6, 7),
        (255, 256),
        (256, 257),
        (69_999, 70_000),
        (u64::MAX - 1, u64::MAX),
    ];
    let length = |(index, size)| verify::sides(index, size).len();
    sizes
        .into_iter()
        .map(|at| {
            let path = hashes.iter().cycle().take(length(at) + 2).flatten().copied();
            [at.0.to_be_bytes(), at.1.to_be_bytes()].concat().into_iter().chain(path).collect()
        })
        .collect()
}

fn proof(input: &[u8]) {
    let Some((index, rest)) = input.split_first_chunk::<8>() else { return };
    let Some((size, rest)) = rest.split_first_chunk::<8>() else { return };
    let (index, size) = (u64::from_be_bytes(*index), u64::from_be_bytes(*size));
    let (hashes, _) = rest.as_chunks::<32>();
    let leaf: Hash = [9; 32];
    let sides = verify::sides(index, size);
    assert!(sides.len() <= 64);
    for tree in Tree::BOTH {
        // Whatever came first, the right number of hashes is taken, and only that.
        for count in [hashes.len(), sides.len().min(hashes.len())] {
            let path = &hashes[..count];
            let root = verify::inclusion_root(tree, &leaf, index, size, path);
            assert_eq!(root.is_ok(), index < size && count == sides.len());
            let Ok(root) = root else { continue };
            assert_eq!(verify::inclusion(tree, &leaf, index, size, path, &root), Ok(()));
            assert!(verify::inclusion(tree, &leaf, index, size, path, &[1; 32]).is_err());
            three_ways_agree(tree, &leaf, (index, size), path, &root);
        }
        // An old size of no tree, or hashes too few or too many, never panic and never hold by chance.
        assert!(verify::consistency(tree, index, &[1; 32], size, &[2; 32], hashes).is_err());
    }
}

/// The published form, written and checked by two modules, leads where the bare path does.
fn three_ways_agree(tree: Tree, leaf: &Hash, (index, size): (u64, u64), path: &[Hash], root: &Hash) {
    let steps = legacy::steps(index, size, path);
    assert_eq!(&legacy::walk(tree, leaf, &steps), root);
    assert_eq!(legacy::check(tree, leaf, index, size, &steps, root), Ok(()));
    if tree == Tree::Sha3 {
        let steps = published::steps(index, size, path).expect("the right number of hashes");
        assert_eq!(published::check(leaf, index, size, &steps, root), Ok(()));
        if let Some(first) = steps.first() {
            let mut turned = steps.clone();
            turned[0].position = match first.position {
                published::Side::Left => published::Side::Right,
                published::Side::Right => published::Side::Left,
            };
            assert!(
                published::check(leaf, index, size, &turned, root).is_err(),
                "a side was taken from the proof"
            );
        }
    }
}
