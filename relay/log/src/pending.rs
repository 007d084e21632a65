//! Entries on their way into both trees, many at once: a start hashes everything above the checkpoint twice, so it uses two
//! cores for it.

use paramant_tlog::{CompactRange, Hash, Node, entry_leaf};
use std::ops::Range;

/// Fewer bytes than this are hashed before a second thread has started.
const WORTH_A_THREAD: usize = 64 * 1024;
/// Share of the leaves, of 16, that this thread computes while the other one grows the SHA3 tree and computes the rest.
const OWN_SHARE: usize = 9;

/// Is shown a run of new nodes of one level, and the first of them.
type Seen<'a> = &'a mut (dyn FnMut(Node, &[Hash]) + Send);

/// Entries that were read and are not in the trees yet.
#[derive(Default)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    entries: Vec<Range<usize>>,
    legacy_leaves: Vec<Hash>,
}

impl Pending {
    pub(crate) fn push(&mut self, legacy_leaf: Hash, entry: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(entry);
        self.entries.push(start..self.bytes.len());
        self.legacy_leaves.push(legacy_leaf);
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Adds all of them to the SHA-256 and the SHA3 tree, and shows each run of new nodes.
    pub(crate) fn grow(
        &mut self,
        [sha256, sha3]: &mut [CompactRange; 2],
        [seen_sha256, seen_sha3]: [Seen<'_>; 2],
    ) {
        let (bytes, legacy_leaves) = (&self.bytes, &self.legacy_leaves);
        let leaves = |entries: &[Range<usize>]| -> Vec<Hash> {
            entries.iter().map(|place| entry_leaf(bytes.get(place.clone()).unwrap_or_default())).collect()
        };
        let leaves = if bytes.len() < WORTH_A_THREAD {
            sha3.extend(legacy_leaves, seen_sha3);
            leaves(&self.entries)
        } else {
            let (own, others) = self.entries.split_at(self.entries.len() * OWN_SHARE / 16);
            std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    sha3.extend(legacy_leaves, seen_sha3);
                    leaves(others)
                });
                let mut all = leaves(own);
                // Hashing does not panic; if it did, the panic goes on here.
                all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
                all
            })
        };
        sha256.extend(&leaves, seen_sha256);
        self.bytes.clear();
        self.entries.clear();
        self.legacy_leaves.clear();
    }
}
