//! Tiles and bundles that are damaged months after they were written: never served, mended where it can be, named otherwise.

use crate::support::{Keys, append, assert_holds, entry, expected_head, flip, options, wait_derived};
use paramant_log::{Log, OpenError, Options, ReadError};
use paramant_tlog::{Tree, entry_leaf, verify};
use std::path::Path;

/// A log of 4,000 entries whose tiles are all in files, closed; the legacy leaf of an entry can be had from its bytes.
fn with_tiles() -> (tempfile::TempDir, Options) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { legacy_leaf: crate::support::legacy_leaf, ..options(dir.path()) };
    let log = Log::open(options.clone(), Keys::new()).unwrap();
    append(&log, 0..4000);
    log.publish_now().unwrap();
    wait_derived(&log);
    log.close().unwrap();
    (dir, options)
}

fn damage(path: &Path, how: &str) {
    match how {
        "flipped" => flip(path, 100),
        "cut short" => std::fs::write(path, b"half a tile").unwrap(),
        _ => std::fs::remove_file(path).unwrap(),
    }
}

#[test]
fn a_tile_damaged_before_the_start_is_computed_again_from_the_entries() {
    let (dir, options) = with_tiles();
    for file in ["tile/0/000", "tile/0/002", "sha3/tile/0/002"] {
        for how in ["flipped", "cut short", "removed"] {
            let path = dir.path().join(file);
            let good = std::fs::read(&path).unwrap();
            damage(&path, how);
            let log = Log::open(options.clone(), Keys::new()).unwrap_or_else(|e| panic!("{file} {how}: {e}"));
            assert_holds(&log, 4000);
            assert_eq!(std::fs::read(&path).unwrap(), good, "{file} {how}");
        }
    }
}

#[test]
fn a_tile_damaged_while_the_log_is_open_is_never_served_and_computed_again() {
    let (dir, options) = with_tiles();
    let log = Log::open(options, Keys::new()).unwrap();
    for how in ["flipped", "cut short", "removed"] {
        for (tree, file) in [(Tree::Sha256, "tile/0/003"), (Tree::Sha3, "sha3/tile/0/003")] {
            let path = dir.path().join(file);
            let good = std::fs::read(&path).unwrap();
            // Asked for as a tile, as part of proofs, as part of entries.
            damage(&path, how);
            if tree == Tree::Sha256 {
                assert_eq!(log.tile(0, 3, 256).unwrap().unwrap(), good, "{how}");
            } else {
                assert_eq!(log.entry(3 * 256 + 7).unwrap().unwrap(), entry(3 * 256 + 7), "{how}");
            }
            assert_eq!(std::fs::read(&path).unwrap(), good, "{file} {how}");

            damage(&path, how);
            // The damaged node is the sibling of this one.
            let index = 3 * 256 + 2;
            let leaf = |number| match tree {
                Tree::Sha256 => entry_leaf(&entry(number).bytes),
                Tree::Sha3 => entry(number).legacy_leaf,
            };
            let head = expected_head(4000);
            let root = if tree == Tree::Sha256 { head.sha256_root } else { head.sha3_root };
            let path_up = log.inclusion(tree, index, 4000).unwrap();
            verify::inclusion(tree, &leaf(index), index, 4000, &path_up, &root).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), good, "{file} {how}, by a proof");
        }
    }
}

#[test]
fn a_damaged_bundle_is_never_served_and_named_with_its_offset() {
    let (dir, options) = with_tiles();
    let log = Log::open(options, Keys::new()).unwrap();
    let path = dir.path().join("tile/entries/001");
    let good = std::fs::read(&path).unwrap();
    // The length of an entry, an entry in the middle, the very last byte, one byte too many.
    let third: usize = (256..258).map(|number| entry(number).bytes.len() + 2).sum();
    let last = good.len() - entry(511).bytes.len() - 2;
    for (at, offset) in [(third + 1, third), (third + 9, third), (good.len() - 1, last)] {
        flip(&path, at);
        for refused in
            [log.entry_bundle(1, 256).map(drop), log.entry_bundle(1, 1).map(drop), log.entry(300).map(drop)]
        {
            let Err(ReadError::Corrupt(found)) = refused else { panic!("byte {at}: {refused:?}") };
            assert!(found.file.ends_with("tile/entries/001"), "{found}");
            assert_eq!(usize::try_from(found.offset).unwrap(), offset, "byte {at}: {found}");
        }
        flip(&path, at);
        assert_eq!(log.entry_bundle(1, 256).unwrap().unwrap(), good);
    }
    std::fs::write(&path, [good.as_slice(), &[0, 0]].concat()).unwrap();
    assert!(matches!(log.entry_bundle(1, 256), Err(ReadError::Corrupt(_))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(log.entry_bundle(1, 256), Err(ReadError::Corrupt(_))));
    assert_eq!(log.entry(3999).unwrap().unwrap(), entry(3999), "the others are not touched");
    let elsewhere = tempfile::tempdir().unwrap();
    assert!(log.export(elsewhere.path()).is_err(), "no export is made of what is damaged");
    assert!(!elsewhere.path().join("checkpoint").exists());
}

#[test]
fn a_tile_that_cannot_be_computed_again_is_named_and_not_served() {
    let (dir, options) = with_tiles();
    let named = |refused: &ReadError, file: &str| match refused {
        ReadError::Corrupt(found) => assert!(found.file.ends_with(file), "{found}"),
        other => panic!("{other}"),
    };
    // The tile and the entries it would be computed from.
    let log = Log::open(options.clone(), Keys::new()).unwrap();
    flip(&dir.path().join("tile/0/004"), 9);
    flip(&dir.path().join("tile/entries/004"), 9);
    named(&log.tile(0, 4, 256).unwrap_err(), "tile/0/004");
    drop(log);
    flip(&dir.path().join("tile/0/004"), 9);
    flip(&dir.path().join("tile/entries/004"), 9);
    // Legacy leaves, by an engine that does not know where an entry states its own.
    let ignorant = Options { legacy_leaf: |_| None, ..options };
    let log = Log::open(ignorant.clone(), Keys::new()).unwrap();
    flip(&dir.path().join("sha3/tile/0/004"), 9);
    named(&log.entry(4 * 256).unwrap_err(), "sha3/tile/0/004");
    named(&log.inclusion(Tree::Sha3, 4 * 256 + 1, 4000).unwrap_err(), "sha3/tile/0/004");
    drop(log);
    let refused = Log::open(ignorant, Keys::new());
    let Err(OpenError::Corrupt(found)) = refused else { panic!("{refused:?}") };
    assert!(found.file.contains("sha3/tile/0/"), "{found}");
}

#[test]
fn a_damaged_tile_of_an_upper_level_is_computed_again_even_over_a_damaged_one() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { legacy_leaf: crate::support::legacy_leaf, ..options(dir.path()) };
    let log = Log::open(options.clone(), Keys::new()).unwrap();
    for part in 0..17 {
        append(&log, part * 4000..(part + 1) * 4000);
        log.publish_now().unwrap();
        wait_derived(&log);
    }
    for file in ["tile/1/000", "sha3/tile/1/000"] {
        let tree = if file.starts_with("sha3") { Tree::Sha3 } else { Tree::Sha256 };
        let (upper, lower) = (dir.path().join(file), dir.path().join(file.replace("/1/000", "/0/007")));
        let good = [&upper, &lower].map(|path| std::fs::read(path).unwrap());
        let old = log.consistency(tree, 5000, 68_000).unwrap();
        flip(&upper, 32 * 20);
        flip(&lower, 3);
        assert_eq!(log.consistency(tree, 5000, 68_000).unwrap(), old, "{file}");
        let index = 7 * 256 + 1;
        assert_eq!(log.inclusion(tree, index, 68_000).unwrap().len(), 17, "{file}");
        assert_eq!([&upper, &lower].map(|path| std::fs::read(path).unwrap()), good, "{file}");
    }
}
