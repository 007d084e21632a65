//! What the tests share: a signer with real keys, entries, and an independent recomputation of both trees.

use digest::Digest;
use paramant_log::{CheckpointSigner, Entry, Hash, Head, Log, Options, SignError};
use paramant_tlog::Checkpoint;
use paramant_tlog::keys::{Ed25519Key, MlDsa44Key, MlDsa65Key, Seed, Signer};
use paramant_tlog::note::Note;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) const ORIGIN: &str = "relay.example.org/log";

/// Signs with one key of each type.
pub(crate) struct Keys {
    pub(crate) ed25519: Ed25519Key,
    pub(crate) ml_dsa_44: MlDsa44Key,
    pub(crate) ml_dsa_65: MlDsa65Key,
}

impl Keys {
    pub(crate) fn new() -> Arc<Self> {
        let seed = |byte| Seed::new([byte; 32]);
        Arc::new(Self {
            ed25519: Ed25519Key::from_seed(ORIGIN, &seed(1)).unwrap(),
            ml_dsa_44: MlDsa44Key::from_seed(ORIGIN, &seed(2)).unwrap(),
            ml_dsa_65: MlDsa65Key::from_seed(ORIGIN, &seed(3)).unwrap(),
        })
    }
}

impl CheckpointSigner for Keys {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        let text = Checkpoint::new(ORIGIN, head.size, head.sha256_root).to_text();
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let keys: [&dyn Signer; 3] = [&self.ed25519, &self.ml_dsa_44, &self.ml_dsa_65];
        Ok(Note::sign(&text, &keys, at)?.to_text())
    }
}

/// Small segments, so that rotation happens, and no checkpoint unless asked for.
pub(crate) fn options(dir: &Path) -> Options {
    Options { checkpoint_every: Duration::from_secs(3600), segment_bytes: 256 * 1024, ..Options::new(dir) }
}

pub(crate) fn open(dir: &Path) -> Log {
    Log::open(options(dir), Keys::new()).unwrap()
}

/// The entry with this number; lengths vary.
pub(crate) fn entry(number: u64) -> Entry {
    let padding = "x".repeat((number * 37 % 211) as usize);
    let bytes = format!("{{\"k\":\"test\",\"n\":{number},\"p\":\"{padding}\"}}").into_bytes();
    let legacy_leaf = sha3::Sha3_256::digest(number.to_be_bytes()).into();
    Entry { bytes, legacy_leaf }
}

/// The legacy leaf of an entry, from the number that its bytes state.
pub(crate) fn legacy_leaf(bytes: &[u8]) -> Option<Hash> {
    let text = std::str::from_utf8(bytes).ok()?;
    let digits = text.split("\"n\":").nth(1)?.split(',').next()?;
    Some(sha3::Sha3_256::digest(digits.parse::<u64>().ok()?.to_be_bytes()).into())
}

/// Appends entries with these numbers, many at a time, and waits for all.
pub(crate) fn append(log: &Log, numbers: std::ops::Range<u64>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let count = numbers.end - numbers.start;
    for number in numbers {
        let sender = sender.clone();
        log.append(entry(number), move |outcome| sender.send((number, outcome)).unwrap());
    }
    for _ in 0..count {
        let (number, outcome) = receiver.recv().unwrap();
        assert_eq!(outcome.unwrap().index, number);
    }
}

/// Waits until the tiles of everything published are in files.
pub(crate) fn wait_derived(log: &Log) {
    let complete = log.published().map_or(0, |published| published.head.size / 256 * 256);
    let give_up = std::time::Instant::now() + Duration::from_secs(60);
    while log.derived() < complete {
        assert!(std::time::Instant::now() < give_up, "derived {} of {complete}", log.derived());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Root of the tree over leaf hashes, straight from the recursive definition of RFC 6962.
pub(crate) fn naive_root(node: &dyn Fn(&Hash, &Hash) -> Hash, leaves: &[Hash], empty: Hash) -> Hash {
    match leaves {
        [] => empty,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node(&naive_root(node, left, empty), &naive_root(node, right, empty))
        }
    }
}

/// Both roots over entries `0..size`, recomputed without the crate under test.
pub(crate) fn expected_head(size: u64) -> Head {
    head_of(&(0..size).map(entry).collect::<Vec<_>>())
}

/// Both roots over these entries, recomputed without the crate under test.
pub(crate) fn head_of(entries: &[Entry]) -> Head {
    fn node<D: Digest<OutputSize = digest::consts::U32>>(left: &Hash, right: &Hash) -> Hash {
        let mut hasher = D::new();
        hasher.update([1]);
        hasher.update(left);
        hasher.update(right);
        hasher.finalize().into()
    }
    let leaf =
        |entry: &Entry| -> Hash { sha2::Sha256::digest([&[0], entry.bytes.as_slice()].concat()).into() };
    let sha256: Vec<Hash> = entries.iter().map(leaf).collect();
    let sha3: Vec<Hash> = entries.iter().map(|entry| entry.legacy_leaf).collect();
    Head {
        size: entries.len() as u64,
        sha256_root: naive_root(&node::<sha2::Sha256>, &sha256, sha2::Sha256::digest([]).into()),
        sha3_root: naive_root(&node::<sha3::Sha3_256>, &sha3, [0; 32]),
    }
}

/// The log holds exactly entries `0..size`, under the right roots.
pub(crate) fn assert_holds(log: &Log, size: u64) {
    assert_eq!(log.head(), expected_head(size));
    let entries = log.entries(0, usize::MAX).unwrap();
    assert_eq!(entries.len() as u64, size);
    for (number, found) in (0..).zip(&entries) {
        assert_eq!(*found, entry(number), "entry {number}");
    }
}

/// Copies a directory tree, as it stands on disk.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}

/// The last segment's file.
pub(crate) fn last_segment(dir: &Path) -> std::path::PathBuf {
    let mut segments: Vec<_> = std::fs::read_dir(dir.join("wal"))
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .collect();
    segments.sort();
    segments.pop().unwrap()
}

/// Flips one bit of a file.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
