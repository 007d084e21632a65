//! Section 17.2 over the whole log of the specification: both roots, every tree head, anchors, the rotation, the end.

use paramant_protocol::entry::{Body, Entry, Kind};
use paramant_protocol::sth::SignedSth;
use paramant_tlog::vkey::{Algorithm, VerifierKey};
use paramant_tlog::{CompactRange, Tree, entry_leaf};
use serde::Deserialize;

use crate::files::{bytes, hash, keys, read, signed_by};
use crate::heads::chain;
use crate::notes::open;

#[derive(Deserialize)]
struct Story {
    origin: String,
    identity: String,
    fingerprint: String,
    entries: Vec<String>,
    checkpoints: Vec<Point>,
    tree_heads: Vec<SignedSth>,
}

#[derive(Deserialize)]
struct Point {
    size: usize,
    keys: Vec<String>,
    note: String,
}

impl Story {
    fn entries(&self) -> Vec<Entry> {
        self.entries.iter().map(|text| Entry::parse(text.as_bytes()).unwrap()).collect()
    }
}

#[test]
fn the_story_holds_from_its_first_entry_to_its_last() {
    let story: Story = read("story.json");
    let signed = signed_by(&story.identity);
    assert_eq!(paramant_protocol::leaf::sha3(&bytes(&story.identity)), hash(&story.fingerprint));
    let entries = story.entries();
    let mut trees = (CompactRange::new(Tree::Sha256), CompactRange::new(Tree::Sha3));
    let (mut points, mut heads) = (0, 0);
    for (size, entry) in (1..).zip(&entries) {
        trees.0.append(entry_leaf(entry.bytes()), |_, _| {});
        trees.1.append(entry.leaf(), |_, _| {});
        for point in story.checkpoints.iter().filter(|point| point.size == size) {
            let checkpoint = open(&point.note, &keys(&point.keys)).unwrap();
            assert_eq!(
                (checkpoint.origin.as_str(), checkpoint.root),
                (story.origin.as_str(), trees.0.root())
            );
            points += 1;
        }
        for head in story.tree_heads.iter().filter(|head| head.tree_size == size as u64) {
            assert_eq!(head.verify(&signed).unwrap().root().unwrap(), trees.1.root());
            heads += 1;
        }
        if let Some(Body::SthAnchor(anchor)) = entry.body() {
            let count = usize::try_from(anchor.count).unwrap();
            assert_eq!(anchor.chain.0, chain(&story.tree_heads[..count]));
        }
    }
    assert_eq!((points, heads), (story.checkpoints.len(), story.tree_heads.len()));
    assert_eq!(entries.last().unwrap().kind(), Kind::LogClosed);
}

#[test]
fn the_rotation_is_followed_from_the_first_keys_alone() {
    let story: Story = read("story.json");
    let mut trusted = keys(&story.checkpoints[0].keys);
    for (index, entry) in story.entries().iter().enumerate() {
        if let Some(Body::LogKeyRotated(rotated)) = entry.body() {
            if let Some(added) = &rotated.added {
                let added = VerifierKey::parse(added).unwrap();
                assert_eq!(added.name(), story.origin);
                trusted.push(added);
            }
            if let Some(retired) = &rotated.retired {
                let before = trusted.len();
                trusted.retain(|key| key.to_string() != *retired);
                assert_eq!(trusted.len() + 1, before, "a key was retired that was not in force");
            }
        }
        for point in story.checkpoints.iter().filter(|point| point.size == index + 1) {
            open(&point.note, &trusted).unwrap_or_else(|error| panic!("size {}: {error}", point.size));
            let mut named = point.keys.clone();
            let mut ours: Vec<String> = trusted.iter().map(ToString::to_string).collect();
            named.sort();
            ours.sort();
            assert_eq!(named, ours, "size {}", point.size);
        }
    }
    assert!(trusted.iter().any(|key| key.algorithm() == Algorithm::MlDsa65));
}
