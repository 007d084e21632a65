//! The handle that the rest of the relay holds, and the threads behind it.
//!
//! Five threads: `log-writer-1` and `-2` append in turns, `log-checkpoint` signs, `log-tiles` derives, `log-spare` keeps a
//! blank segment ready. They end when [`Log::close`] is called or the last handle is dropped; both wait for them.

use crate::derive::Deriver;
use crate::disk::{DirLock, RealDisk};
use crate::error::{AppendError, CloseError, OpenError, PublishError, ReadError};
use crate::publish::Publisher;
use crate::record::MAX_ENTRY;
use crate::shared::{Counters, Job, Shared, answer, lock};
use crate::spare::Spare;
use crate::writer::Writer;
use crate::{Appended, CheckpointSigner, Entry, Head, Options, Published, start};
use paramant_tlog::{Hash, Tree, entry_leaf};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

/// An open log. Cheap to clone; all clones are the same log.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    guard: Arc<Guard>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dir", &self.shared.options.dir).field("head", &self.head()).finish()
    }
}

impl Log {
    /// Opens the log in a directory, which is created when it is missing.
    ///
    /// # Errors
    /// When another process has it open, when it is damaged (file and offset are named), or when the system refuses.
    pub fn open(options: Options, signer: Arc<dyn CheckpointSigner>) -> Result<Log, OpenError> {
        start::open(options, signer, Arc::new(RealDisk))
    }

    pub(crate) fn new(shared: Arc<Shared>, guard: Guard) -> Self {
        Self { shared, guard: Arc::new(guard) }
    }

    /// Appends an entry; `done` is called from a thread that writes when it is durable, or when it will not be. It must be
    /// quick and must not wait for the log. Callbacks of entries that became durable together come in their order, one
    /// after the other; those of two batches may overlap.
    pub fn append(&self, entry: Entry, done: impl FnOnce(Result<Appended, AppendError>) + Send + 'static) {
        let done = Box::new(done);
        if entry.bytes.len() > MAX_ENTRY {
            return answer(done, Err(AppendError::TooLarge(entry.bytes.len())));
        }
        let leaf = entry_leaf(&entry.bytes);
        if let Some((job, refusal)) = self.shared.queue.push(Job { entry, leaf, done }) {
            answer(job.done, Err(refusal));
        }
    }

    /// Number of entries that nobody has gathered yet.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.shared.queue.len()
    }

    /// Appends an entry and waits until it is durable.
    ///
    /// # Errors
    /// As the callback of [`Self::append`].
    pub fn append_blocking(&self, entry: Entry) -> Result<Appended, AppendError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.append(entry, move |outcome| {
            // The receiver waits below for as long as this exists.
            let _ = sender.send(outcome);
        });
        receiver.recv().unwrap_or(Err(AppendError::Failed))
    }

    /// The durable head: everything acknowledged, perhaps more than is published.
    #[must_use]
    pub fn head(&self) -> Head {
        self.shared.read().head
    }

    /// The newest checkpoint that is signed and on disk.
    #[must_use]
    pub fn published(&self) -> Option<Arc<Published>> {
        self.shared.published()
    }

    /// Signs and publishes the durable head now; at shutdown and in tests.
    ///
    /// # Errors
    /// When the signer refuses, the file cannot be written, or the log has failed.
    pub fn publish_now(&self) -> Result<Arc<Published>, PublishError> {
        self.guard.publisher.publish()
    }

    /// One entry, or nothing beyond the durable head.
    ///
    /// # Errors
    /// When it cannot be read, or what is read is damaged.
    pub fn entry(&self, index: u64) -> Result<Option<Entry>, ReadError> {
        self.shared.entry(index)
    }

    /// At most `limit` entries from an index on, up to the durable head.
    ///
    /// # Errors
    /// When they cannot be read, or what is read is damaged.
    pub fn entries(&self, from: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        self.shared.entries(from, limit)
    }

    /// The first `width` (1 to 256) nodes of tile `n` of a level of the SHA-256 tree, or nothing when the published
    /// checkpoint does not reach them.
    ///
    /// # Errors
    /// When the tile cannot be read, or is damaged.
    pub fn tile(&self, level: u8, n: u64, width: u16) -> Result<Option<Vec<u8>>, ReadError> {
        self.shared.published_tile(level, n, width)
    }

    /// The first `width` (1 to 256) entries of bundle `n` in the form of C2SP tlog-tiles, or nothing when the
    /// published checkpoint does not reach them.
    ///
    /// # Errors
    /// When the bundle cannot be read, or is damaged.
    pub fn entry_bundle(&self, n: u64, width: u16) -> Result<Option<Vec<u8>>, ReadError> {
        self.shared.published_bundle(n, width)
    }

    /// The root of the first `size` entries.
    ///
    /// # Errors
    /// Beyond the durable head; when a tile cannot be read, or is damaged.
    pub fn root(&self, tree: Tree, size: u64) -> Result<Hash, ReadError> {
        self.shared.root(tree, size)
    }

    /// The audit path of an entry in the tree of the first `size` entries (RFC 6962 form).
    ///
    /// # Errors
    /// When `index` is not below `size` or `size` is beyond the durable head; when a tile cannot be read.
    pub fn inclusion(&self, tree: Tree, index: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        self.shared.inclusion(tree, index, size)
    }

    /// As [`Log::inclusion`], with the root of that size, if no file must be read for it: so it is for the newest entries.
    #[must_use]
    pub fn inclusion_in_memory(&self, tree: Tree, index: u64, size: u64) -> Option<(Vec<Hash>, Hash)> {
        self.shared.inclusion_in_memory(tree, index, size)
    }

    /// The proof that the first `from` entries are a prefix of the first `to` (RFC 6962 form).
    ///
    /// # Errors
    /// When the sizes are reversed or beyond the durable head; when a tile cannot be read.
    pub fn consistency(&self, tree: Tree, from: u64, to: u64) -> Result<Vec<Hash>, ReadError> {
        self.shared.consistency(tree, from, to)
    }

    /// The first entry at or after `from_index` with this legacy leaf: after a restart, to learn whether an entry whose
    /// acknowledgement was lost is in the log. Reads 32 bytes per entry from `from_index` to the head.
    ///
    /// # Errors
    /// When a tile cannot be read, or is damaged.
    pub fn find_legacy_leaf(&self, leaf: &Hash, from_index: u64) -> Result<Option<u64>, ReadError> {
        self.shared.find_legacy_leaf(leaf, from_index)
    }

    /// Writes the published log into a directory as C2SP tlog-tiles lays it out, with partial tiles; returns its size.
    ///
    /// # Errors
    /// When the log cannot be read, or the directory cannot be written.
    pub fn export(&self, to: &std::path::Path) -> Result<u64, ReadError> {
        self.shared.export(to)
    }

    /// Makes the log's own directory a whole copy in that layout, whose checkpoint lies there already: adds the partial tiles
    /// that its files leave out. For the end of a log's life; returns its size.
    ///
    /// # Errors
    /// As [`Log::export`].
    pub fn complete_directory(&self) -> Result<u64, ReadError> {
        self.shared.complete_directory()
    }

    /// Whether a sync failed: the log takes and signs nothing any more, and the process must end.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// What happened since the log was opened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters.read()
    }

    /// Number of entries whose tiles and bundles are in files: a multiple of 256.
    #[must_use]
    pub fn derived(&self) -> u64 {
        self.shared.read().derived
    }

    /// Appends what is queued, publishes the head, and ends the threads. Other handles can read on, not append.
    ///
    /// # Errors
    /// When the last checkpoint could not be published. Everything acknowledged is durable all the same.
    pub fn close(self) -> Result<(), CloseError> {
        self.guard.finish_appending();
        let published = self.guard.publisher.publish();
        self.guard.stop();
        published.map(|_| ()).map_err(CloseError::from)
    }
}

/// Ends the threads when the last handle is gone, and holds the directory's lock until then.
pub(crate) struct Guard {
    shared: Arc<Shared>,
    publisher: Arc<Publisher>,
    spare: Arc<Spare>,
    writers: Mutex<Vec<JoinHandle<()>>>,
    background: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<DirLock>>,
}

impl Guard {
    /// Starts the threads.
    pub(crate) fn start(
        shared: Arc<Shared>,
        signer: Arc<dyn CheckpointSigner>,
        spare: Arc<Spare>,
        writer: Writer,
        deriver: Deriver,
        dir_lock: DirLock,
    ) -> io::Result<Self> {
        let publisher = Arc::new(Publisher::new(Arc::clone(&shared), signer));
        // Made first: should one of the threads not start, dropping it ends those that did.
        let guard = Self {
            shared: Arc::clone(&shared),
            publisher: Arc::clone(&publisher),
            spare: Arc::clone(&spare),
            writers: Mutex::default(),
            background: Mutex::default(),
            lock: Mutex::new(Some(dir_lock)),
        };
        let named = |name: &str| Builder::new().name(name.to_owned());
        let writer = Arc::new(writer);
        for name in ["log-writer-1", "log-writer-2"] {
            let writer = Arc::clone(&writer);
            lock(&guard.writers).push(named(name).spawn(move || writer.run())?);
        }
        let mut background = Vec::new();
        background.push(named("log-checkpoint").spawn(move || publisher.run())?);
        let for_spare = Arc::clone(&shared);
        background.push(named("log-spare").spawn(move || spare.run(&for_spare))?);
        background.push(named("log-tiles").spawn(move || deriver.run(&shared))?);
        *lock(&guard.background) = background;
        Ok(guard)
    }

    /// Lets the queue be finished and waits for it.
    fn finish_appending(&self) {
        self.shared.queue.close();
        self.shared.derived_bell.ring();
        // Taken before they are waited for: one of them may come here itself.
        let writers = std::mem::take(&mut *lock(&self.writers));
        writers.into_iter().for_each(join);
    }

    fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.finish_appending();
        self.spare.close();
        self.shared.publish_bell.ring();
        self.shared.derive_bell.ring();
        for thread in std::mem::take(&mut *lock(&self.background)) {
            join(thread);
        }
        *lock(&self.lock) = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for a thread, unless it is the one that asks: the last handle may be dropped inside a callback.
fn join(thread: JoinHandle<()>) {
    if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
        tracing::error!("a thread of the log panicked");
    }
}
