//! Sections 6 and 7: the long log of the specification, which every program makes for itself.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use paramant_protocol::entry::Entry;
use paramant_protocol::leaf;
use paramant_tlog::tile::{self, Coordinates, Resource};
use paramant_tlog::{CompactRange, Hash, Node, Tree, entry_leaf};
use serde::Deserialize;

use crate::files::{hash, read, vectors};

/// Entry `index` of the long log.
pub(crate) fn long_entry(index: u64) -> Entry {
    let blob = leaf::sha256(&index.to_be_bytes());
    let ts = format!("2026-01-02T03:04:05.678{index:039}Z");
    Entry::transfer(leaf::transfer_leaf(&blob, "relay", &ts), "2026-01-02T03:04:05.678Z".parse().unwrap())
}

#[derive(Deserialize)]
struct Roots {
    size: u64,
    sha256_root: String,
    sha256_root_base64: String,
    sha3_root: String,
}

#[test]
fn both_roots_are_the_same_at_every_size() {
    let vectors = vectors::<Roots>("trees.json");
    let mut ranges = (CompactRange::new(Tree::Sha256), CompactRange::new(Tree::Sha3));
    for vector in vectors {
        while ranges.0.size() < vector.size {
            let entry = long_entry(ranges.0.size());
            ranges.0.append(entry_leaf(entry.bytes()), |_, _| {});
            ranges.1.append(entry.leaf(), |_, _| {});
        }
        assert_eq!(ranges.0.root(), hash(&vector.sha256_root), "SHA-256 at {}", vector.size);
        assert_eq!(BASE64_STANDARD.encode(ranges.0.root()), vector.sha256_root_base64);
        assert_eq!(ranges.1.root(), hash(&vector.sha3_root), "SHA3-256 at {}", vector.size);
    }
    assert!(ranges.0.size() > 65_536, "the trees are too small to have a third level of tiles");
}

#[derive(Deserialize)]
struct Tiles {
    size: u64,
    tiles: Vec<TileVector>,
    spellings: Vec<Spelling>,
}

#[derive(Deserialize)]
struct TileVector {
    path: String,
    bytes: usize,
    sha256: String,
}

#[derive(Deserialize)]
struct Spelling {
    path: String,
    level: Option<String>,
    index: Option<String>,
    width: Option<u16>,
}

#[test]
fn tiles_hold_the_same_bytes_under_the_same_paths() {
    let file: Tiles = read("tiles.json");
    let mut nodes: BTreeMap<Node, Hash> = BTreeMap::new();
    let mut range = CompactRange::new(Tree::Sha256);
    for index in 0..file.size {
        range.append(entry_leaf(long_entry(index).bytes()), |node, hash| {
            if node.level % tile::HEIGHT == 0 {
                nodes.insert(node, hash);
            }
        });
    }
    assert!(file.tiles.iter().any(|vector| vector.path == "tile/2/000.p/1"), "no third level");
    for vector in file.tiles {
        let Some(Resource::Tile(place, width)) = tile::parse_path(&vector.path) else {
            panic!("{} is not read", vector.path)
        };
        assert_eq!(place.path(width), vector.path);
        assert_eq!(place.width_at(file.size), width, "{}", vector.path);
        let first = place.index * tile::WIDTH;
        let run: Vec<Hash> = (first..first + u64::from(width))
            .map(|index| nodes[&Node { level: place.level * tile::HEIGHT, index }])
            .collect();
        let bytes = tile::encode(&run);
        assert_eq!(bytes.len(), vector.bytes, "{}", vector.path);
        assert_eq!(leaf::sha256(&bytes), hash(&vector.sha256), "{}", vector.path);
        assert_eq!(tile::decode(&bytes).unwrap(), run);
    }
}

#[test]
fn each_resource_has_one_spelling() {
    let file: Tiles = read("tiles.json");
    let mut refused = 0;
    for vector in file.spellings {
        let found = tile::parse_path(&vector.path);
        let expected = vector.level.map(|level| {
            let index = vector.index.unwrap().parse().unwrap();
            let width = vector.width.unwrap();
            match level.as_str() {
                "entries" => Resource::Bundle(index, width),
                level => Resource::Tile(Coordinates { level: level.parse().unwrap(), index }, width),
            }
        });
        refused += usize::from(expected.is_none());
        assert_eq!(found, expected, "{}", vector.path);
    }
    assert!(refused > 20);
}
