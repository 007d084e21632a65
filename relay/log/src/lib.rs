//! The engine of the relay's transparency log: append, prove, publish. Files and threads only; no async, no HTTP, no keys.
//!
//! The write-ahead log is the truth. What has arrived is written as one batch and synced once, then every waiter is
//! answered; two threads take turns, so that the next batch is hashed while one is synced. Checkpoints are signed over durable heads only; tiles and entry bundles are derived
//! in the background up to the published checkpoint. Memory does not grow with the log.
//!
//! Layout of the directory, one writer at a time (`flock` on `lock`):
//!
//! | path | what | durable when |
//! |---|---|---|
//! | `wal/<epoch>.wal` | batches of entries (`segment`, `record`); the oldest are removed once derived | `fdatasync` of the batch, before any waiter is answered |
//! | `checkpoint` | the published signed note | before anyone sees it |
//! | `tile/<L>/<N>`, `tile/entries/<N>` | full tiles and bundles of the SHA-256 tree, C2SP tlog-tiles | before they are forgotten in memory |
//! | `sha3/tile/<L>/<N>` | full tiles of the SHA3-256 tree; level 0 holds the legacy leaves | the same |
//!
//! The order of writes, and what a crash between each two leaves, is told at the head of the modules `start`, `writer`,
//! `publish`, `derive` and `segment`, and together in `docs/log.md`.

mod backlog;
mod backup;
mod batch;
mod copy;
mod derive;
mod disk;
mod edge;
mod error;
mod export;
mod folded;
mod handle;
mod mend;
mod pending;
mod publish;
mod queue;
mod read;
mod record;
mod replay;
mod segment;
mod shared;
mod spare;
mod start;
mod tiles;
mod writer;

#[cfg(test)]
mod crash_matrix;
#[cfg(test)]
mod failing_disk;
#[cfg(test)]
mod gated_disk;
#[cfg(test)]
mod hooked_disk;

pub use backup::{BackupError, ShowFile, backup};
pub use error::{AppendError, CloseError, Corruption, OpenError, PublishError, ReadError, SignError};
pub use handle::Log;
pub use paramant_tlog::{Hash, Tree};
pub use record::MAX_ENTRY;
pub use shared::Counters;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// One entry: its canonical JSON and the leaf it has in the SHA3 tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bytes that are hashed into the SHA-256 tree and published, at most [`MAX_ENTRY`].
    pub bytes: Vec<u8>,
    /// The entry's `l`.
    pub legacy_leaf: Hash,
}

/// Size and roots of the log at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of entries.
    pub size: u64,
    /// Root of the RFC 6962 tree.
    pub sha256_root: Hash,
    /// Root of the published protocol's tree.
    pub sha3_root: Hash,
}

/// An entry that is in the log, durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The entry's index.
    pub index: u64,
    /// The durable head right after the batch that holds it.
    pub head: Head,
}

/// A checkpoint that anyone may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What it states.
    pub head: Head,
    /// The signed note.
    pub note: String,
    /// When it was published; after a restart, when its file was written.
    pub at: SystemTime,
}

/// Whoever holds the log's keys.
pub trait CheckpointSigner: Send + Sync + 'static {
    /// Signs a durable head and returns the whole signed note. May refuse, for instance until a fence has answered.
    ///
    /// # Errors
    /// Says why nothing was signed; the engine asks again at its next turn.
    fn sign(&self, head: &Head) -> Result<String, SignError>;
}

/// Where the log is and how it works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The log's directory.
    pub dir: PathBuf,
    /// How often a head that moved is published.
    pub checkpoint_every: Duration,
    /// The most entries in one batch.
    pub max_batch: usize,
    /// Size of a write-ahead segment, at least 256 KiB.
    pub segment_bytes: u64,
    /// The legacy leaf that an entry's bytes state, if they do. Without it a damaged tile of legacy leaves is named, not
    /// mended.
    pub legacy_leaf: fn(&[u8]) -> Option<Hash>,
}

impl Options {
    /// The usual settings: a checkpoint a second, batches of at most 4,096 entries, segments of 32 MiB.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            checkpoint_every: Duration::from_secs(1),
            max_batch: 4096,
            segment_bytes: 32 << 20,
            legacy_leaf: |_| None,
        }
    }
}
