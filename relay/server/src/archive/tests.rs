//! Archives over a real log, read by an outside program and by the tree mathematics alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use paramant_protocol::entry::Entry;
use paramant_protocol::sth::SignedSth;
use paramant_tlog::note::Note;
use paramant_tlog::proof::{self, ReadNode};
use paramant_tlog::tile::Coordinates;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::{Checkpoint, Hash, Node, Tree, bundle, entry_leaf};

use super::*;
use crate::test_relay::TestRelay;

/// Appends until there are so many entries, and publishes.
async fn filled(relay: &TestRelay, size: u64) {
    let log = &relay.app.core.log;
    let mut waiting = Vec::new();
    for number in log.head().size..size {
        let leaf = paramant_protocol::leaf::sha3(&number.to_be_bytes());
        let entry = Entry::transfer(leaf, jiff::Timestamp::now());
        let entry = crate::log_service::Entry { legacy_leaf: leaf, bytes: entry.into_bytes() };
        waiting.push(log.append(entry));
    }
    for appended in futures::future::join_all(waiting).await {
        appended.unwrap();
    }
    // The tree head over the last entry belongs to the archive.
    assert!(log.sth_covering(size - 1, Duration::from_secs(5)).await.is_some());
    log.engine().publish_now().unwrap();
}

fn archives(relay: &TestRelay, level: u8) -> Arc<Archives> {
    Arc::new(Archives::of_level(
        relay.app.core.log.clone(),
        relay.app.core.witnesses.clone(),
        &relay.app.core.data,
        level,
    ))
}

async fn ready(archives: &Arc<Archives>, number: u64) -> Arc<Plan> {
    match archives.plan(number, None).await.unwrap() {
        Asked::Ready(plan) => plan,
        other => panic!("{other:?}"),
    }
}

fn read(archives: &Arc<Archives>, plan: &Arc<Plan>, first: u64, last: u64) -> Vec<u8> {
    let mut cursor = archives.read(Arc::clone(plan), first, last);
    let mut bytes = Vec::new();
    while let Some(chunk) = cursor.next_chunk().unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

fn whole(archives: &Arc<Archives>, plan: &Arc<Plan>) -> Vec<u8> {
    let bytes = read(archives, plan, 0, u64::MAX - 1);
    assert_eq!(bytes.len() as u64, plan.length);
    bytes
}

/// Unpacked by Python, which compares every CRC.
fn unpacked(zip: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let (path, into) = (dir.path().join("a.zip"), dir.path().join("out"));
    std::fs::write(&path, zip).unwrap();
    let output =
        Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&path).arg(&into).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut files = BTreeMap::new();
    collect(&into, &into, &mut files);
    files
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

/// Nodes from the tiles of one archive and nothing else.
struct Tiles<'a>(&'a BTreeMap<String, Vec<u8>>, u64);

impl ReadNode for Tiles<'_> {
    type Error = String;

    fn node(&mut self, node: Node) -> Result<Hash, String> {
        let (tile, run) = Coordinates::holding(node);
        let path = tile.path(tile.width_at(self.1));
        let bytes = self.0.get(&path).ok_or_else(|| format!("{path} is missing"))?;
        let nodes = paramant_tlog::tile::decode(bytes).unwrap();
        Ok(Tree::Sha256.fold(&nodes[run]))
    }
}

/// Everything an auditor does with an archive alone. Answers the checkpoint's size.
fn audited(files: &BTreeMap<String, Vec<u8>>, first: u64, entries: u64) -> u64 {
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    let note = Note::parse(&files["checkpoint"]).unwrap();
    let keys: Vec<VerifierKey> = text("vkeys").lines().map(|key| key.parse().unwrap()).collect();
    assert_eq!(note.open(&keys).unwrap().len(), 3);
    let checkpoint = Checkpoint::parse(&note.text).unwrap();
    let root = proof::root(Tree::Sha256, &mut Tiles(files, checkpoint.size), checkpoint.size).unwrap();
    assert_eq!(root, checkpoint.root, "the tiles lead to another root");
    let mut index = first;
    for number in first / 256..(first + entries).div_ceil(256) {
        let width = Coordinates { level: 0, index: number }.width_at(first + entries);
        let tile = paramant_tlog::tile::decode(&files[&Coordinates { level: 0, index: number }.path(width)])
            .unwrap();
        let bundled = bundle::decode(&files[&paramant_tlog::tile::bundle_path(number, width)]).unwrap();
        assert_eq!(bundled.len(), usize::from(width));
        for (entry, leaf) in bundled.iter().zip(tile) {
            assert_eq!(entry_leaf(entry), leaf, "{index}");
            index += 1;
        }
    }
    assert_eq!(index, first + entries);
    let heads: Vec<SignedSth> =
        text("sth.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(heads.iter().all(|head| (first + 1..=first + entries).contains(&head.tree_size)));
    // One covers the last entry of the log; others may have had their entries between two tree heads.
    assert!(first + entries < checkpoint.size || !heads.is_empty());
    checkpoint.size
}

#[tokio::test(flavor = "multi_thread")]
async fn each_archive_alone_leads_to_the_checkpoint_it_carries() {
    let relay = TestRelay::start().await;
    filled(&relay, 700).await;
    // Of 256 entries each, so that a small log has complete ones.
    let archives = archives(&relay, 1);
    let (spans, size) = archives.spans();
    assert_eq!((spans.len(), size), (3, 700));
    for (number, entries) in [(0, 256), (1, 256), (2, 188)] {
        let plan = ready(&archives, number).await;
        let files = unpacked(&whole(&archives, &plan));
        assert_eq!(audited(&files, number * 256, entries), 700);
        assert!(files["README.txt"].starts_with(format!("Archive {number} ").as_bytes()));
    }
    assert!(matches!(archives.plan(3, None).await.unwrap(), Asked::Absent));
    assert!(matches!(archives.plan(u64::MAX, None).await.unwrap(), Asked::Absent));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_archive_of_a_small_log_is_the_whole_log() {
    let relay = TestRelay::start().await;
    filled(&relay, 600).await;
    let archives = archives(&relay, LEVEL);
    let plan = ready(&archives, 0).await;
    let files = unpacked(&whole(&archives, &plan));
    assert_eq!(audited(&files, 0, 600), 600);
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "README.txt",
            "checkpoint",
            "policy",
            "sth.ndjson",
            "tile/0/000",
            "tile/0/001",
            "tile/0/002.p/88",
            "tile/1/000.p/2",
            "tile/entries/000",
            "tile/entries/001",
            "tile/entries/002.p/88",
            "vkeys",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_part_is_the_part_of_the_whole() {
    let relay = TestRelay::start().await;
    filled(&relay, 300).await;
    let archives = archives(&relay, LEVEL);
    let plan = ready(&archives, 0).await;
    let all = whole(&archives, &plan);
    let length = plan.length;
    let mut places: Vec<u64> = (0..length).step_by(997).collect();
    places.extend([0, 1, length - 23, length - 22, length - 1]);
    for first in places {
        for last in [first, (first + 5000).min(length - 1), length - 1] {
            let part = read(&archives, &plan, first, last);
            assert_eq!(part, all[first as usize..=last as usize], "{first}-{last}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_archive_never_changes_and_the_last_one_can_be_gone_on_with() {
    let relay = TestRelay::start().await;
    filled(&relay, 300).await;
    let first = archives(&relay, 1);
    let (complete, open) = (ready(&first, 0).await, ready(&first, 1).await);
    let before = whole(&first, &complete);
    filled(&relay, 400).await;
    // Within a minute the last one stays as it is.
    assert_eq!(ready(&first, 1).await.etag, open.etag);
    let relay = relay.restart().await;
    let again = archives(&relay, 1);
    let plan = ready(&again, 0).await;
    assert_eq!(plan.etag, complete.etag);
    assert!(whole(&again, &plan) == before, "the complete archive changed");
    let newer = ready(&again, 1).await;
    assert_ne!(newer.etag, open.etag);
    filled(&relay, 520).await;
    // The one that was the last is complete now: it is another, and the old one goes on for whoever began with it.
    assert_ne!(ready(&again, 1).await.etag, newer.etag);
    let Asked::Ready(gone_on) = again.plan(1, Some(&newer.etag)).await.unwrap() else { panic!("gone") };
    assert_eq!(gone_on.etag, newer.etag);
    assert_eq!(whole(&again, &gone_on).len() as u64, newer.length);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_wrongly_is_found_out_and_forgotten() {
    let relay = TestRelay::start().await;
    filled(&relay, 300).await;
    let first = archives(&relay, 1);
    let good = whole(&first, &ready(&first, 0).await);
    // Another file's sum under a checksum that holds: as after a restored copy.
    let sums = first.folder.join("0.tiles");
    std::fs::copy(first.folder.join("0.bundles"), &sums).unwrap();
    let second = archives(&relay, 1);
    let mut cursor = second.read(ready(&second, 0).await, 0, u64::MAX - 1);
    let failed = loop {
        match cursor.next_chunk() {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(failed, Err(ArchiveError::Changed(name)) if name == "tile/0/000"));
    second.forget(0);
    assert!(whole(&second, &ready(&second, 0).await) == good);
}

#[test]
fn a_span_takes_from_the_rest_of_the_tree_only_what_the_root_needs() {
    let span = Span::new(0, 3).unwrap();
    // 2^24 entries are in it; the tree has 5 more full nodes of level 0 behind them, and 7 hashes.
    let size = (1 << 24) + 5 * 256 + 7;
    let expected = [(1, 0..256), (2, 0..1), (0, 65541..65542), (1, 256..257), (3, 0..1)];
    assert_eq!(span.upper_tiles(size), expected);
    assert_eq!(span.upper_tiles(1 << 24), [(1, 0..256), (2, 0..1), (3, 0..1)]);
    assert_eq!(span.upper_tiles(1000), [(1, 0..1)]);
    assert!(span.is_complete(1 << 24) && !span.is_complete((1 << 24) - 1));
}
