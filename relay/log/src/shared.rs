//! What the threads of one log share, and the rules about who changes it.
//!
//! [`Durable`] is changed by the writer (after a sync) and by the deriving thread (after files are durable); readers
//! take its lock for the time of a copy. [`Queue`] is between callers and the writer. `published` is set only after
//! the checkpoint file is durable.

use crate::disk::{Disk, DiskFile};
use crate::edge::Edge;
use crate::folded::UpperTiles;
use crate::queue::Queue;
use crate::replay::Location;
use crate::{AppendError, Appended, Entry, Head, Options, Published};
use paramant_tlog::Hash;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// Called with the outcome of an append.
pub(crate) type Done = Box<dyn FnOnce(Result<Appended, AppendError>) + Send>;

/// An entry on its way to the threads that write.
pub(crate) struct Job {
    pub(crate) entry: Entry,
    /// Its leaf in the SHA-256 tree: hashed on the caller's thread, since the writer has enough to do.
    pub(crate) leaf: Hash,
    pub(crate) done: Done,
}

/// The log as far as it is durable.
pub(crate) struct Durable {
    pub(crate) head: Head,
    /// SHA-256, then SHA3.
    pub(crate) edges: [Edge; 2],
    /// Number of entries whose bundles and tiles are in files: a multiple of 256.
    pub(crate) derived: u64,
    /// Places of the entries from `derived` on.
    pub(crate) locations: VecDeque<Location>,
    /// Segments that hold them, with the tree size before their first entry.
    pub(crate) segments: BTreeMap<u64, Segment>,
}

/// A segment that readers may need.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

/// Counters since the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Entries acknowledged.
    pub appended: u64,
    /// Batches, each with one `fdatasync`.
    pub batches: u64,
    /// Segments begun, each with two further syncs.
    pub segments: u64,
    /// Checkpoints published.
    pub checkpoints: u64,
}

#[derive(Default)]
pub(crate) struct AtomicCounters {
    pub(crate) appended: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
}

impl AtomicCounters {
    pub(crate) fn read(&self) -> Counters {
        Counters {
            appended: self.appended.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
        }
    }
}

/// A flag that threads wait on.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    condition: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.condition.notify_all();
    }

    /// Waits until rung or the time is over, and resets.
    pub(crate) fn wait(&self, at_most: Duration) {
        let waiting = self.condition.wait_timeout_while(lock(&self.rung), at_most, |rung| !*rung);
        *waiting.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// Everything the threads and handles of one log share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) durable: RwLock<Durable>,
    pub(crate) queue: Queue,
    pub(crate) published: RwLock<Option<Arc<Published>>>,
    pub(crate) stopping: AtomicBool,
    failed: AtomicBool,
    pub(crate) publish_bell: Bell,
    pub(crate) derive_bell: Bell,
    pub(crate) derived_bell: Bell,
    /// Held while a damaged tile is written again.
    pub(crate) mending: Mutex<()>,
    pub(crate) counters: AtomicCounters,
    pub(crate) upper_tiles: UpperTiles,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        disk: Arc<dyn Disk>,
        durable: Durable,
        published: Option<Published>,
    ) -> Self {
        Self {
            options,
            disk,
            durable: RwLock::new(durable),
            queue: Queue::default(),
            published: RwLock::new(published.map(Arc::new)),
            stopping: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            publish_bell: Bell::default(),
            derive_bell: Bell::default(),
            derived_bell: Bell::default(),
            mending: Mutex::default(),
            counters: AtomicCounters::default(),
            upper_tiles: UpperTiles::default(),
        }
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.options.dir.join("wal")
    }

    /// A look at the durable log. A thread that panicked with the lock cannot have left it half changed: every change
    /// is made of pushes that are complete one by one, and the head comes last.
    pub(crate) fn read(&self) -> std::sync::RwLockReadGuard<'_, Durable> {
        self.durable.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> std::sync::RwLockWriteGuard<'_, Durable> {
        self.durable.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn published(&self) -> Option<Arc<Published>> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Size of the newest published checkpoint.
    pub(crate) fn published_size(&self) -> u64 {
        self.published().map_or(0, |published| published.head.size)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends the engine: nothing is signed or acknowledged any more, and all who wait are told.
    pub(crate) fn fail(&self, doing: &str, error: &dyn std::fmt::Display) {
        tracing::error!(doing, %error, "the transparency log has failed; the process must restart");
        self.failed.store(true, Ordering::Release);
        let waiting = self.queue.fail();
        self.publish_bell.ring();
        self.derive_bell.ring();
        self.derived_bell.ring();
        for job in waiting {
            answer(job.done, Err(AppendError::Failed));
        }
    }
}

/// Calls back; a callback that panics harms itself only.
pub(crate) fn answer(done: Done, outcome: Result<Appended, AppendError>) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || done(outcome))).is_err() {
        tracing::error!("the callback of an append panicked");
    }
}

/// Locks; the values behind these locks are never left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
