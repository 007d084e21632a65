//! Paths, tiles and bundles of C2SP tlog-tiles.

use paramant_tlog::bundle::{self, BundleError};
use paramant_tlog::tile::{self, Coordinates, Resource};
use paramant_tlog::{CompactRange, Hash, Node, Tree};

#[test]
fn paths_are_spelled_as_the_specification_spells_them() {
    let tile = |level, index| Coordinates { level, index };
    let table = [
        (Resource::Tile(tile(0, 0), 256), "tile/0/000"),
        (Resource::Tile(tile(0, 0), 5), "tile/0/000.p/5"),
        (Resource::Tile(tile(1, 67), 256), "tile/1/067"),
        (Resource::Tile(tile(0, 1234), 256), "tile/0/x001/234"),
        (Resource::Tile(tile(0, 1234), 5), "tile/0/x001/234.p/5"),
        (Resource::Tile(tile(5, 1_234_067), 256), "tile/5/x001/x234/067"),
        (Resource::Bundle(999, 256), "tile/entries/999"),
        (Resource::Bundle(1000, 255), "tile/entries/x001/000.p/255"),
    ];
    for (resource, path) in table {
        let spelled = match resource {
            Resource::Tile(tile, width) => tile.path(width),
            Resource::Bundle(index, width) => tile::bundle_path(index, width),
        };
        assert_eq!(spelled, path);
        assert_eq!(tile::parse_path(path), Some(resource), "{path}");
    }
}

#[test]
fn other_spellings_of_a_path_are_refused() {
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/234",
        "tile/8/000",
        "tile/00/000",
        "tile/+1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/05",
        "tile/0/000.p/",
        "tile/0/x001/x234",
        "tile/0/000/",
        "/tile/0/000",
        "tile/entries/1",
        "tile/-1/000",
        "tile/0/../000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(tile::parse_path(path), None, "{path}");
    }
}

#[test]
fn a_tile_is_as_wide_as_the_tree_allows() {
    let width = |level, index, size| Coordinates { level, index }.width_at(size);
    assert_eq!(width(0, 0, 0), 0);
    assert_eq!(width(0, 0, 255), 255);
    assert_eq!(width(0, 0, 70000), 256);
    assert_eq!(width(0, 273, 70000), 112);
    assert_eq!(width(0, 274, 70000), 0);
    assert_eq!(width(1, 0, 255), 0);
    assert_eq!(width(1, 1, 70000), 17);
    assert_eq!(width(2, 0, 70000), 1);
    assert_eq!(width(200, 0, u64::MAX), 0);
    assert_eq!(width(0, u64::MAX, u64::MAX), 0);
}

#[test]
fn any_node_follows_from_the_run_of_its_tile() {
    let mut range = CompactRange::new(Tree::Sha3);
    let mut nodes = std::collections::HashMap::new();
    for number in 0..1024u64 {
        let mut leaf = [0; 32];
        leaf[..8].copy_from_slice(&number.to_le_bytes());
        range.append(leaf, |node, hash| {
            nodes.insert(node, hash);
        });
    }
    for (node, hash) in &nodes {
        let (tile, run) = Coordinates::holding(*node);
        let in_tile = |position: usize| -> Hash {
            nodes[&Node { level: tile.level * 8, index: tile.index * 256 + position as u64 }]
        };
        let run: Vec<Hash> = run.map(in_tile).collect();
        assert_eq!(tile::node_from_run(Tree::Sha3, &run), *hash, "{node:?}");
    }
}

#[test]
fn tiles_of_odd_lengths_are_refused() {
    assert_eq!(tile::decode(&tile::encode(&[[1; 32], [2; 32]])), Some(vec![[1; 32], [2; 32]]));
    for length in [0, 31, 33, 257 * 32] {
        assert_eq!(tile::decode(&vec![0; length]), None, "{length}");
    }
}

#[test]
fn bundles_come_back_as_they_went_in() {
    let entries: Vec<Vec<u8>> = (0..256).map(|n| vec![n as u8; n]).collect();
    let mut bytes = Vec::new();
    for entry in &entries {
        assert!(bundle::push(&mut bytes, entry));
    }
    assert_eq!(bundle::decode(&bytes).unwrap(), entries);
    assert_eq!(bundle::decode(bundle::prefix(&bytes, 10).unwrap()).unwrap(), entries[..10]);
    assert_eq!(bundle::prefix(&bytes, 256).unwrap(), bytes);
    assert!(bundle::push(&mut bytes, b"one more"));
    assert_eq!(bundle::decode(&bytes), Err(BundleError::TooMany));
    assert!(!bundle::push(&mut bytes, &vec![0; 65536]));
}

#[test]
fn cut_bundles_are_refused_at_every_length() {
    let mut bytes = Vec::new();
    assert!(bundle::push(&mut bytes, b"first"));
    let whole_first = bytes.len();
    assert!(bundle::push(&mut bytes, b"second"));
    for length in 1..bytes.len() {
        let found = bundle::decode(&bytes[..length]);
        assert_eq!(found.is_ok(), length == whole_first, "{length}: {found:?}");
    }
    assert!(bundle::prefix(&bytes, 3).is_err());
}
