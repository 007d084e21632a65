//! The relay's log as the rest of the process sees it: append and wait, tree heads, proofs.

use std::time::Duration;

pub use self::interim::{Appended, Entry, Hash, Head};

/// Stand-ins with the shapes of `paramant-log`, until that crate has them.
mod interim {
    /// A node.
    pub type Hash = [u8; 32];
    /// As in `paramant-log`.
    #[derive(Debug, Clone)]
    pub struct Entry {
        /// Canonical JSON.
        pub bytes: Vec<u8>,
        /// Its `l`.
        pub legacy_leaf: Hash,
    }
    /// As in `paramant-log`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Head {
        /// Entries.
        pub size: u64,
        /// RFC 6962.
        pub sha256_root: Hash,
        /// As published.
        pub sha3_root: Hash,
    }
    /// As in `paramant-log`.
    #[derive(Debug, Clone, Copy)]
    pub struct Appended {
        /// Of the entry.
        pub index: u64,
        /// The durable head right after the batch that holds it.
        pub head: Head,
    }
}

/// A handle on the log; cheap to clone.
#[derive(Debug, Clone)]
pub struct LogService {}

/// A legacy signed tree head (protocol section 6.4): exactly these six keys on the wire.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SignedTreeHead {
    /// The public URL, or the origin.
    pub relay_id: String,
    /// Lower-case hex.
    pub sha3_root: String,
    /// Unix milliseconds.
    pub timestamp: i64,
    /// Entries.
    pub tree_size: u64,
    /// Always 1.
    pub version: u32,
    /// Base64 ML-DSA-65 over the canonical JSON of the other five.
    pub signature: String,
}

/// The log cannot take or read an entry. When it is the disk's fault the process is already ending.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log is closed or failed.
    #[error("the log takes no more entries")]
    Closed,
    /// Reading failed.
    #[error("the log could not be read: {0}")]
    Read(String),
}

impl LogService {
    /// Appends and waits until the entry is durable.
    ///
    /// # Errors
    /// [`LogError::Closed`]; the caller answers 503 and must not acknowledge.
    pub async fn append(&self, _entry: Entry) -> Result<Appended, LogError> {
        Err(LogError::Closed)
    }

    /// Appends without waiting; `done` runs on the log's writer thread and must be quick.
    pub fn append_with(&self, _entry: Entry, done: impl FnOnce(Result<Appended, LogError>) + Send + 'static) {
        done(Err(LogError::Closed));
    }

    /// The newest tree head whose size exceeds `index`, waiting at most `patience` for the next one (at most ten are signed
    /// a second; the first after a quiet moment comes at once). `None`: not in time, answer `sth: null`.
    pub async fn sth_covering(&self, _index: u64, _patience: Duration) -> Option<SignedTreeHead> {
        None
    }

    /// The newest tree head.
    pub fn latest_sth(&self) -> Option<SignedTreeHead> {
        None
    }

    /// The durable head.
    pub fn head(&self) -> Head {
        Head { size: 0, sha256_root: [0; 32], sha3_root: [0; 32] }
    }

    /// The path of `index` in the SHA3 tree of `size` entries, bottom up, and that tree's root.
    ///
    /// # Errors
    /// When `size` exceeds the durable head or the disk fails.
    pub fn legacy_inclusion(&self, _index: u64, _size: u64) -> Result<(Vec<Hash>, Hash), LogError> {
        Err(LogError::Closed)
    }

    /// The index of the entry with this legacy leaf at or after `from`, for the start-up pass over pending rows.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn find_legacy_leaf(&self, _leaf: &Hash, _from: u64) -> Result<Option<u64>, LogError> {
        Err(LogError::Closed)
    }

    /// The log's name in checkpoints.
    pub fn origin(&self) -> &str {
        ""
    }

    /// `relay_id` of tree heads and receipts: the public URL, or the origin.
    pub fn relay_id(&self) -> String {
        String::new()
    }
}
