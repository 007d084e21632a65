//! Builds what a relay serves, from the same pure crates that a relay uses, and damages it on request.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use paramant_protocol::discovery::Identity;
use paramant_protocol::entry::Entry;
use paramant_protocol::path;
use paramant_protocol::sth::{SignedSth, Sth};
use paramant_protocol::transparency::{LogEntry, LogPage, ProofAnswer, SthAnswer, SthHistory, TreeHeadPage};
use paramant_tlog::keys::{Ed25519Key, MlDsa44Key, MlDsa65Key, Seed, Signer};
use paramant_tlog::note::Note;
use paramant_tlog::proof::{self, ReadNode};
use paramant_tlog::tile::{self, Coordinates, WIDTH};
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::{Checkpoint, CompactRange, Hash, Node, Tree, bundle, entry_leaf};
use serde::Serialize;

use crate::audit::Source;
use crate::error::ClientError;

const ORIGIN: &str = "relay.example/log";

/// A served log.
pub(super) struct TestLog {
    answers: BTreeMap<String, Vec<u8>>,
    /// For pages of tree heads that begin in the middle, as an audit asks for that goes on.
    heads: Vec<SignedSth>,
    /// The same for pages of the JSON log.
    shown: Vec<LogEntry>,
    root: String,
    /// Everything that was asked for.
    pub(super) asked: Mutex<Vec<String>>,
}

impl Source for TestLog {
    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, ClientError> {
        self.asked.lock().unwrap().push(path.to_owned());
        if let Some(answer) = self.answers.get(path) {
            return Ok(Some(answer.clone()));
        }
        let from = |prefix: &str, suffix: &str| -> Option<usize> {
            let from = path.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()?;
            Some(from).filter(|from| *from > 0)
        };
        if let Some(from) = from("/log/sth?from=", "&limit=500") {
            return Ok(Some(serde_json::to_vec(&page(&self.heads, from)).unwrap()));
        }
        let from = from("/v2/ct/log?from=", "&limit=1000");
        Ok(from.map(|from| serde_json::to_vec(&log_page(&self.shown, &self.root, from)).unwrap()))
    }

    fn is_live(&self) -> bool {
        false
    }
}

/// What is served where honesty would serve something else.
#[derive(Default)]
struct Lies {
    /// Entries of the bundles, where they differ from those in the tree.
    bundles: Option<Vec<Entry>>,
    /// Leaves of the JSON interface, where they differ.
    legacy: Option<Vec<Hash>>,
    /// Entries beyond the checkpoint.
    ahead: usize,
    /// Entries beyond everything that the newest tree head claims.
    head_beyond: u64,
}

fn page(heads: &[SignedSth], from: usize) -> TreeHeadPage {
    let sths = heads.iter().skip(from).take(500).cloned().collect();
    TreeHeadPage { total: heads.len() as u64, from: from as u64, sths }
}

/// From JSON, so that fields which a relay may add do not matter here.
fn log_page(shown: &[LogEntry], root: &str, from: usize) -> LogPage {
    let entries: Vec<&LogEntry> = shown.iter().skip(from).take(1000).collect();
    let size = shown.len();
    let page =
        serde_json::json!({"ok": true, "size": size, "tree_size": size, "root": root, "entries": entries});
    serde_json::from_value(page).unwrap()
}

struct Nodes(BTreeMap<(u8, u64), Hash>);

impl ReadNode for Nodes {
    type Error = ();

    fn node(&mut self, node: Node) -> Result<Hash, ()> {
        self.0.get(&(node.level, node.index)).copied().ok_or(())
    }
}

fn entry(number: usize, fork: bool) -> Entry {
    let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
    let seed = format!("{number}{}", if fork { " forked" } else { "" });
    Entry::transfer(paramant_protocol::leaf::sha3(seed.as_bytes()), at)
}

fn entries(size: usize) -> Vec<Entry> {
    (0..size).map(|number| entry(number, false)).collect()
}

impl TestLog {
    pub(super) fn new(size: usize) -> Self {
        Self::with_seed(size, 1)
    }

    pub(super) fn with_seed(size: usize, seed: u8) -> Self {
        Self::serve(&entries(size), seed, Lies::default())
    }

    pub(super) fn forked(size: usize, at: usize) -> Self {
        let forked: Vec<Entry> = (0..size).map(|number| entry(number, number == at)).collect();
        Self::serve(&forked, 1, Lies::default())
    }

    pub(super) fn without_entry(size: usize, at: usize) -> Self {
        let mut bundles = entries(size + 1);
        bundles.remove(at);
        Self::serve(&entries(size), 1, Lies { bundles: Some(bundles), ..Lies::default() })
    }

    pub(super) fn with_swapped_entries(size: usize, at: usize) -> Self {
        let mut bundles = entries(size);
        bundles.swap(at, at + 1);
        Self::serve(&entries(size), 1, Lies { bundles: Some(bundles), ..Lies::default() })
    }

    /// The SHA3-256 tree is built over a leaf that is really an inner node over two hidden leaves.
    pub(super) fn hiding_a_subtree(size: usize) -> Self {
        let mut legacy: Vec<Hash> = entries(size).iter().map(Entry::leaf).collect();
        legacy[7] = paramant_protocol::leaf::node(&[1; 32], &[2; 32]);
        Self::serve(&entries(size), 1, Lies { legacy: Some(legacy), ..Lies::default() })
    }

    pub(super) fn ahead_of_its_checkpoint(size: usize, ahead: usize) -> Self {
        Self::serve(&entries(size + ahead), 1, Lies { ahead, ..Lies::default() })
    }

    pub(super) fn with_head_beyond(size: usize) -> Self {
        Self::serve(&entries(size), 1, Lies { head_beyond: 3, ..Lies::default() })
    }

    fn serve(all: &[Entry], seed: u8, lies: Lies) -> Self {
        let mut log = Self {
            answers: BTreeMap::new(),
            heads: Vec::new(),
            shown: Vec::new(),
            root: String::new(),
            asked: Mutex::default(),
        };
        let under = all.len() - lies.ahead;
        let size = under as u64;
        let seed = |more: u8| Seed::new([seed + more; 32]);
        let ed25519 = Ed25519Key::from_seed(ORIGIN, &seed(0)).unwrap();
        let small = MlDsa44Key::from_seed(ORIGIN, &seed(1)).unwrap();
        let identity = MlDsa65Key::from_seed(ORIGIN, &seed(2)).unwrap();
        let keys: [&dyn Signer; 3] = [&ed25519, &small, &identity];
        log.put("/log/vkeys", keys.map(|key| format!("{}\n", key.verifier())).concat().into_bytes());
        log.json("/v2/pubkey", &Identity::of(identity.verifier().public_key()));

        // The SHA-256 tree, its tiles and bundles, and the checkpoint.
        let (mut sha256, mut nodes) = (CompactRange::new(Tree::Sha256), Nodes(BTreeMap::new()));
        for entry in all.iter().take(under) {
            sha256.append(entry_leaf(entry.bytes()), |node, hash| {
                nodes.0.insert((node.level, node.index), hash);
            });
        }
        for level in 0..8u8 {
            for index in 0..tile::nodes_at(level, size).div_ceil(WIDTH) {
                let place = Coordinates { level, index };
                let width = place.width_at(size);
                let first = index * WIDTH;
                let run: Vec<Hash> =
                    (first..first + u64::from(width)).map(|at| nodes.0[&(level * 8, at)]).collect();
                log.put(&format!("/log/{}", place.path(width)), tile::encode(&run));
            }
        }
        let shown = lies.bundles.as_deref().unwrap_or(all);
        for (index, chunk) in shown.iter().take(under).collect::<Vec<_>>().chunks(256).enumerate() {
            let mut bytes = Vec::new();
            for entry in chunk {
                assert!(bundle::push(&mut bytes, entry.bytes()));
            }
            log.put(&format!("/log/{}", tile::bundle_path(index as u64, chunk.len() as u16)), bytes);
        }
        let text = Checkpoint::new(ORIGIN, size, sha256.root()).to_text();
        let note = Note::sign(&text, &keys, 1_767_323_045).unwrap().to_text();
        log.put("/log/checkpoint", note.clone().into_bytes());
        let last = size - 1;
        let proven = TlogProof {
            extra: Some(all[under - 1].bytes().to_vec()),
            index: last,
            path: proof::inclusion(Tree::Sha256, &mut nodes, last, size).unwrap(),
            checkpoint: note,
        };
        log.put(&format!("/log/proof/{last}"), proven.to_text().into_bytes());

        // The SHA3-256 tree and the JSON interface.
        let legacy = lies.legacy.unwrap_or_else(|| all.iter().map(Entry::leaf).collect());
        let (mut sha3, mut nodes) = (CompactRange::new(Tree::Sha3), Nodes(BTreeMap::new()));
        let (mut roots, mut shown, mut heads) = (Vec::new(), Vec::new(), Vec::new());
        let head = |size: u64, root: &Hash| -> SignedSth {
            let head = Sth::new("https://relay.example", root, size, 1_767_323_000_000 + size as i64);
            let signature = identity.sign_document(&head.sign_bytes().unwrap()).unwrap();
            head.signed(&signature)
        };
        for (index, (entry, leaf)) in all.iter().zip(&legacy).enumerate() {
            sha3.append(*leaf, |node, hash| {
                nodes.0.insert((node.level, node.index), hash);
            });
            roots.push(sha3.root());
            shown.push(LogEntry {
                index: index as u64,
                kind: Some(entry.kind().name().into()),
                leaf_hash: hex::encode(leaf),
                tree_hash: hex::encode(sha3.root()),
                ts: entry.hour().into(),
            });
            if index % 7 == 0 && index < 100 || (index + 1) % 50 == 0 || index + 1 == all.len() {
                heads.push(head(index as u64 + 1, &sha3.root()));
            }
        }
        let count = all.len() as u64;
        if lies.head_beyond > 0 {
            heads.push(head(count + lies.head_beyond, &[9; 32]));
        }
        let newest = SthAnswer { ok: true, sth: heads[heads.len() - 1].clone(), pk_hash: None };
        log.json("/v2/sth", &newest);
        let (ok, total) = (true, heads.len() as u64);
        let sths = heads[heads.len().saturating_sub(100)..].to_vec();
        log.json("/v2/sth/history?limit=100", &SthHistory { ok, count: sths.len() as u64, total, sths });
        log.json("/log/sth?from=0&limit=500", &page(&heads, 0));
        log.heads = heads;
        let root = hex::encode(sha3.root());
        let mut from = 0;
        while from == 0 || from < shown.len() {
            log.json(&format!("/v2/ct/log?from={from}&limit=1000"), &log_page(&shown, &root, from));
            from = if shown.len() > 10_000 { (from + 1000).max(shown.len() - 1000) } else { from + 1000 };
        }
        (log.shown, log.root) = (shown, root);
        let siblings = proof::inclusion(Tree::Sha3, &mut nodes, last, size).unwrap();
        let steps = path::steps(last, size, &siblings).unwrap();
        let root = hex::encode(roots[under - 1]);
        let answer = ProofAnswer {
            ok,
            index: last,
            leaf_hash: hex::encode(legacy[under - 1]),
            tree_hash: root.clone(),
            proof: steps.clone(),
            ts: all[under - 1].hour().into(),
            audit_path: Some(steps),
            root: Some(root),
            tree_size: Some(size),
        };
        log.json(&format!("/v2/ct/proof/{last}"), &answer);
        log
    }

    fn json(&mut self, path: &str, value: &impl Serialize) {
        self.put(path, serde_json::to_vec(value).unwrap());
    }

    pub(super) fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.answers.insert(path.to_owned(), bytes);
    }

    pub(super) fn remove(&mut self, path: &str) -> Vec<u8> {
        self.answers.remove(path).unwrap()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        self.answers.keys().cloned().collect::<Vec<_>>().into_iter()
    }

    pub(super) fn length(&self, path: &str) -> usize {
        self.answers[path].len()
    }

    pub(super) fn text(&self, path: &str) -> String {
        String::from_utf8(self.answers[path].clone()).unwrap()
    }

    /// Flips the lowest bit of a byte; answers what was there.
    pub(super) fn flip(&mut self, path: &str, at: usize) -> Vec<u8> {
        let bytes = self.answers.get_mut(path).unwrap();
        let before = bytes.clone();
        bytes[at] ^= 1;
        before
    }

    /// Where the values of a JSON text are: every string and number, with its key.
    pub(super) fn values(&self, path: &str) -> Vec<(String, usize, usize)> {
        let text = self.text(path);
        let mut found = Vec::new();
        for (at, _) in text.match_indices("\":") {
            let key = text[..at].rsplit('"').next().unwrap().to_owned();
            let start = at + 2 + usize::from(text[at + 2..].starts_with('"'));
            let end = start + text[start..].find(['"', ',', '}', ']']).unwrap();
            if end > start && !text[start..].starts_with(['[', '{']) {
                found.push((key, start, end));
            }
        }
        found
    }
}
