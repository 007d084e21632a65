//! The hash tiles of a large log, without entries, and the write-ahead segment that begins behind them.
//!
//! Written by a process of its own, so that the memory of the one that proves is what a relay would use. Leaves are made
//! up; every node above them is computed. The segment's first record is written here byte for byte as `record` has it.

use crate::load::Keys;
use paramant_log::{CheckpointSigner as _, Head};
use paramant_tlog::tile::{Coordinates, WIDTH};
use paramant_tlog::{CompactRange, Hash, Tree, tile};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the program is called with to write a fixture.
pub(crate) const NAME: &str = "fixture";
/// Where batches begin in a segment, and how long the segment is.
const DATA_START: usize = 8192;
const SEGMENT: usize = 1 << 20;
const EPOCH: u64 = 1;

/// The leaf of an entry: different everywhere, and quick to make.
pub(crate) fn leaf(tree: Tree, index: u64) -> Hash {
    let mut hash = [if tree == Tree::Sha256 { 2 } else { 3 }; 32];
    let (words, _) = hash.as_chunks_mut::<8>();
    for (word, salt) in words.iter_mut().zip([1, 3]) {
        *word = (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt).to_be_bytes();
    }
    hash
}

/// Writes the fixture of a log of so many entries, a multiple of 256.
pub(crate) fn write(dir: &Path, entries: u64) {
    assert!(entries.is_multiple_of(WIDTH), "--entries: a multiple of 256");
    let trees = Tree::BOTH.map(|tree| {
        let dir = dir.to_owned();
        std::thread::spawn(move || tiles(&dir, tree, entries))
    });
    let ranges = trees.map(|tree| tree.join().expect("tiles"));
    let [sha256_root, sha3_root] = ranges.each_ref().map(CompactRange::root);
    let note = Keys::new().sign(&Head { size: entries, sha256_root, sha3_root }).expect("sign");
    std::fs::write(dir.join("checkpoint"), note).expect("write the checkpoint");
    let mut segment = first_record(entries, &ranges);
    segment.resize(DATA_START.max(SEGMENT), 0);
    std::fs::create_dir_all(dir.join("wal")).expect("create wal");
    std::fs::write(dir.join("wal").join(format!("{EPOCH:016x}.wal")), segment).expect("write the segment");
}

/// Writes the full tiles of one tree; returns its right edge.
fn tiles(dir: &Path, tree: Tree, entries: u64) -> CompactRange {
    let home = if tree == Tree::Sha256 { dir.to_owned() } else { dir.join("sha3") };
    let mut range = CompactRange::new(tree);
    let mut started: BTreeMap<u8, Vec<Hash>> = BTreeMap::new();
    let mut directory = PathBuf::new();
    for first in (0..entries).step_by(WIDTH as usize) {
        let leaves: Vec<Hash> = (first..first + WIDTH).map(|index| leaf(tree, index)).collect();
        let mut full = Vec::new();
        range.extend(&leaves, |first, run| {
            if first.level.is_multiple_of(tile::HEIGHT) {
                let level = first.level / tile::HEIGHT;
                let nodes = started.entry(level).or_default();
                nodes.extend_from_slice(run);
                if nodes.len() as u64 == WIDTH {
                    full.push((Coordinates { level, index: first.index / WIDTH }, std::mem::take(nodes)));
                }
            }
        });
        for (place, nodes) in full {
            let path = home.join(place.path(WIDTH as u16));
            if let Some(parent) = path.parent().filter(|parent| *parent != directory) {
                std::fs::create_dir_all(parent).expect("create a directory");
                directory = parent.to_owned();
            }
            std::fs::write(path, nodes.as_flattened()).expect("write a tile");
        }
    }
    range
}

/// `SEG ‖ length ‖ epoch ‖ size ‖ crc32c ‖ origin (1: start) ‖ size ‖ previous ‖ both roots ‖ both ranges`.
fn first_record(entries: u64, ranges: &[CompactRange; 2]) -> Vec<u8> {
    let mut payload = vec![1];
    payload.extend_from_slice(&entries.to_be_bytes());
    payload.extend_from_slice(&[0; 32]);
    for range in ranges {
        payload.extend_from_slice(&range.root());
    }
    for range in ranges {
        payload.extend_from_slice(range.hashes().as_flattened());
    }
    let mut record = b"\xf5SEG".to_vec();
    record.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    record.extend_from_slice(&EPOCH.to_be_bytes());
    record.extend_from_slice(&entries.to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&record), &payload);
    record.extend_from_slice(&crc.to_be_bytes());
    record.extend_from_slice(&payload);
    record
}
