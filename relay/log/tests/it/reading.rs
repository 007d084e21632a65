//! Proofs, tiles, bundles and searches, against independent recomputation.

use crate::support::{append, entry, expected_head, open, wait_derived};
use paramant_log::{AppendError, Entry, Head, ReadError};
use paramant_tlog::{Tree, bundle, entry_leaf, tile, verify};

fn leaf(tree: Tree, number: u64) -> [u8; 32] {
    match tree {
        Tree::Sha256 => entry_leaf(&entry(number).bytes),
        Tree::Sha3 => entry(number).legacy_leaf,
    }
}

fn root(tree: Tree, head: &Head) -> [u8; 32] {
    match tree {
        Tree::Sha256 => head.sha256_root,
        Tree::Sha3 => head.sha3_root,
    }
}

#[test]
fn proofs_verify_before_and_after_the_tiles_are_in_files() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..1500);
    for round in ["from memory", "from files"] {
        for tree in Tree::BOTH {
            for size in [1, 2, 255, 256, 257, 1000, 1024, 1500] {
                let expected = root(tree, &expected_head(size));
                for index in [0, size / 3, size - 1] {
                    let path = log.inclusion(tree, index, size).unwrap();
                    verify::inclusion(tree, &leaf(tree, index), index, size, &path, &expected)
                        .unwrap_or_else(|e| panic!("{round}, {tree:?}, {index} in {size}: {e}"));
                }
                let old = root(tree, &expected_head(size / 2));
                let path = log.consistency(tree, size / 2, size).unwrap();
                verify::consistency(tree, size / 2, &old, size, &expected, &path)
                    .unwrap_or_else(|e| panic!("{round}, {tree:?}, {} to {size}: {e}", size / 2));
            }
        }
        log.publish_now().unwrap();
        wait_derived(&log);
    }
}

#[test]
fn the_newest_entries_are_proven_without_a_file_and_older_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..1500);
    log.publish_now().unwrap();
    wait_derived(&log);
    for tree in Tree::BOTH {
        for size in [1400, 1500] {
            for index in [1280, 1300, size - 1] {
                let (path, root_found) = log.inclusion_in_memory(tree, index, size).unwrap();
                assert_eq!(root_found, root(tree, &expected_head(size)));
                assert_eq!(path, log.inclusion(tree, index, size).unwrap());
            }
        }
        assert!(log.inclusion_in_memory(tree, 700, 1500).is_none(), "its tile is in a file");
        assert!(log.inclusion_in_memory(tree, 1500, 1500).is_none());
        assert!(log.inclusion_in_memory(tree, 1500, 1501).is_none());
    }
}

#[test]
fn questions_beyond_the_head_are_errors_not_answers() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..3);
    assert!(matches!(log.root(Tree::Sha256, 4), Err(ReadError::BeyondHead { asked: 4, size: 3 })));
    assert!(matches!(log.inclusion(Tree::Sha3, 3, 3), Err(ReadError::BeyondHead { .. })));
    assert!(matches!(log.inclusion(Tree::Sha3, 0, 4), Err(ReadError::BeyondHead { .. })));
    assert!(matches!(log.consistency(Tree::Sha3, 3, 2), Err(ReadError::SizesReversed { .. })));
    assert!(log.entry(3).unwrap().is_none());
    assert!(log.entry(u64::MAX).unwrap().is_none());
    assert!(log.entries(u64::MAX, 10).unwrap().is_empty());
}

#[test]
fn tiles_and_bundles_stop_at_the_published_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..300);
    assert!(log.tile(0, 0, 1).unwrap().is_none());
    assert!(log.entry_bundle(0, 1).unwrap().is_none());
    log.publish_now().unwrap();
    append(&log, 300..600);
    assert!(log.tile(0, 1, 44).unwrap().is_some());
    assert!(log.tile(0, 1, 45).unwrap().is_none());
    assert!(log.entry_bundle(1, 44).unwrap().is_some());
    assert!(log.entry_bundle(1, 45).unwrap().is_none());
    assert!(log.tile(1, 0, 1).unwrap().is_some());
    assert!(log.tile(1, 0, 2).unwrap().is_none());
    assert!(log.tile(0, 0, 0).unwrap().is_none());
    assert!(log.tile(0, u64::MAX, 1).unwrap().is_none());
    assert!(log.tile(200, 0, 1).unwrap().is_none());
}

#[test]
fn tiles_and_bundles_hold_the_leaves_and_entries() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..700);
    log.publish_now().unwrap();
    for round in ["first look", "from files"] {
        for (n, width) in [(0, 256), (0, 7), (1, 256), (2, 188), (2, 1)] {
            let nodes = tile::decode(&log.tile(0, n, width).unwrap().unwrap()).unwrap();
            let bytes = log.entry_bundle(n, width).unwrap().unwrap();
            let entries = bundle::decode(&bytes).unwrap();
            assert_eq!(nodes.len(), usize::from(width), "{round}");
            assert_eq!(entries.len(), usize::from(width), "{round}");
            for (number, (node, bytes)) in (n * 256..).zip(nodes.iter().zip(entries)) {
                assert_eq!(bytes, entry(number).bytes, "{round}");
                assert_eq!(*node, entry_leaf(bytes), "{round}");
            }
        }
        wait_derived(&log);
    }
}

#[test]
fn a_legacy_leaf_is_found_from_where_the_search_begins() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..800);
    log.publish_now().unwrap();
    wait_derived(&log);
    for number in [0, 255, 256, 511, 799] {
        let leaf = entry(number).legacy_leaf;
        assert_eq!(log.find_legacy_leaf(&leaf, 0).unwrap(), Some(number));
        assert_eq!(log.find_legacy_leaf(&leaf, number).unwrap(), Some(number));
        assert_eq!(log.find_legacy_leaf(&leaf, number + 1).unwrap(), None);
    }
    assert_eq!(log.find_legacy_leaf(&[7; 32], 0).unwrap(), None);
}

#[test]
fn the_longest_entry_fits_and_a_longer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let longest = Entry { bytes: vec![b'x'; paramant_log::MAX_ENTRY], legacy_leaf: [1; 32] };
    for index in 0..40 {
        assert_eq!(log.append_blocking(longest.clone()).unwrap().index, index);
    }
    let longer = Entry { bytes: vec![b'x'; paramant_log::MAX_ENTRY + 1], legacy_leaf: [1; 32] };
    assert!(matches!(log.append_blocking(longer), Err(AppendError::TooLarge(16385))));
    assert_eq!(log.entry(39).unwrap().unwrap(), longest);
}

#[test]
fn a_closed_log_refuses_appends_and_still_answers_reads() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..10);
    let other = log.clone();
    log.close().unwrap();
    assert!(matches!(other.append_blocking(entry(10)), Err(AppendError::Closed)));
    assert_eq!(other.entry(9).unwrap().unwrap(), entry(9));
}
