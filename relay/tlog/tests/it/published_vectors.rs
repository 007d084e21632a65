//! The vectors of the published protocol, §11: SHA3 tree over `L_i = SHA3-256(00 ‖ byte i)`.

use crate::trees::Stored;
use paramant_tlog::{CompactRange, Hash, Tree, legacy, proof, verify};
use sha3::Digest;

const TREE: Tree = Tree::Sha3;

fn leaf(number: u8) -> Hash {
    sha3::Sha3_256::digest([0, number]).into()
}

fn hash(text: &str) -> Hash {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn stored(size: u8) -> Stored {
    Stored::new(TREE, (0..size).map(leaf).collect())
}

const ROOTS: [(u8, &str); 7] = [
    (1, "762ba6a3d9312bf3e6dc71e74f34208e889fc44e6ff400724deecfeda7d5b3ce"),
    (2, "57de176bf29bb6a433d306264f70b5170cd3c1a2188589151cf81ea3bf77e2d8"),
    (3, "74fcbd55a09e7ee84754a8710e01b6205149eea83aa157b7a816291b7671ae5b"),
    (4, "631d189672aaf8b1c5c41d152b361512668f14e862e63a3a85d601086c34cb45"),
    (5, "5a72b8c269317af092f3f6d46113a97497321e20a7e1e90ff4a958e96e144f78"),
    (7, "602d7ecc791dab4b64188bebb7dc80683679cfe57e752dc2d15dc30c7cfe42a4"),
    (8, "8c79e48275b6b7d1fc4a3c7baa2014c36ee437ce3fd1d8fef23a6a1e2bbc79bf"),
];

fn root(size: u8) -> Hash {
    hash(ROOTS.iter().find(|(known, _)| *known == size).unwrap().1)
}

#[test]
fn roots_are_the_published_ones() {
    for (size, expected) in ROOTS {
        let mut range = CompactRange::new(TREE);
        (0..size).for_each(|number| range.append(leaf(number), |_, _| ()));
        assert_eq!(hex::encode(range.root()), expected, "size {size}");
        assert_eq!(hex::encode(proof::root(TREE, &mut stored(size), size.into()).unwrap()), expected);
    }
    assert_eq!(CompactRange::new(TREE).root(), [0; 32]);
}

#[test]
fn paths_are_the_published_ones_with_their_sides() {
    let path = proof::inclusion(TREE, &mut stored(5), 2, 5).unwrap();
    let steps = legacy::steps(2, 5, &path);
    let words: Vec<(String, &str)> =
        steps.iter().map(|step| (hex::encode(step.hash), step.position.as_str())).collect();
    let expected = [
        ("a3f30948550805cb1a32ea5f3f7ede7112a4007b3b1834b4d4c254b8b7d58bd2", "right"),
        ("57de176bf29bb6a433d306264f70b5170cd3c1a2188589151cf81ea3bf77e2d8", "left"),
        ("107c4fb8d19a6c6709a535b4b0d70e0a33bcc09b92732c9a81f8311e43def59f", "right"),
    ];
    assert!(words.iter().map(|(hash, side)| (hash.as_str(), *side)).eq(expected), "{words:?}");
    assert_eq!(legacy::walk(TREE, &leaf(2), &steps), root(5));
    legacy::check(TREE, &leaf(2), 2, 5, &steps, &root(5)).unwrap();

    let path = proof::inclusion(TREE, &mut stored(5), 4, 5).unwrap();
    assert_eq!(path, [root(4)]);
    assert_eq!(legacy::steps(4, 5, &path).first().unwrap().position, verify::Side::Left);
}

#[test]
fn a_path_with_a_wrong_side_is_refused_even_if_its_hashes_are_right() {
    let path = proof::inclusion(TREE, &mut stored(5), 2, 5).unwrap();
    let mut steps = legacy::steps(2, 5, &path);
    steps.last_mut().unwrap().position = verify::Side::Left;
    assert!(legacy::check(TREE, &leaf(2), 2, 5, &steps, &root(5)).is_err());
}

#[test]
fn consistency_proofs_are_the_published_ones() {
    let expected = [
        "60de076463ec7a8faaaf56fb815c013378e862b70526b2795eb65ca24025140a",
        "a3f30948550805cb1a32ea5f3f7ede7112a4007b3b1834b4d4c254b8b7d58bd2",
        "57de176bf29bb6a433d306264f70b5170cd3c1a2188589151cf81ea3bf77e2d8",
        "cb28100e9a1d4b4dc04f3a468c19258740bdd90e00d8b85077fbdaca42afd51c",
    ];
    let path = proof::consistency(TREE, &mut stored(7), 3, 7).unwrap();
    assert!(path.iter().map(hex::encode).eq(expected));
    verify::consistency(TREE, 3, &root(3), 7, &root(7), &path).unwrap();

    let path = proof::consistency(TREE, &mut stored(7), 4, 7).unwrap();
    assert!(
        path.iter().map(hex::encode).eq(["cb28100e9a1d4b4dc04f3a468c19258740bdd90e00d8b85077fbdaca42afd51c"])
    );
    verify::consistency(TREE, 4, &root(4), 7, &root(7), &path).unwrap();
}
