//! The two threads that append, in turns.
//!
//! While one of them waits for the disk, the other gathers what arrives into the next batch, hashes and frames it: so a
//! batch is what arrived during the last sync, and little time is lost between two syncs. Then it takes the turn at the disk,
//! and the first one answers its waiters. Who is answered often appends again: so the turn is put off until all of a batch
//! are answered, unless that takes longer than a sync does. With few entries about, one thread does all of it.
//!
//! Batches are written one after the other: the next one only when the one before is durable, and not at all when it is
//! not. Order, and what a crash leaves between each two steps:
//!
//! 1. gathered, hashed, framed, in memory: nothing on disk;
//! 2. entries and trailer written in one call: a torn batch, cut at the next start; nobody was told of it;
//! 3. `fdatasync`: the whole batch, perhaps unknown to its callers, who may send again;
//! 4. head and edges in memory move on, the turn is given back, waiters are answered.
//!
//! An error of a write or sync ends the engine, and with it the batch that was being gathered. Only the making of a new
//! segment and tiles that lag behind may refuse a batch and let it be tried again, since nothing of it is written by then.

use crate::AppendError;
use crate::backlog::{Backlog, Pace};
use crate::batch::Batch;
use crate::disk::{DirLock, DiskFile};
use crate::queue::Next;
use crate::record::{MAX_RECORD, MAX_TRAILER, Origin, State};
use crate::segment::{self, DATA_START};
use crate::shared::{Segment, Shared, lock};
use crate::spare::Spare;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The end of the write-ahead log, the batch that is being written included.
pub(crate) struct Tail {
    pub(crate) epoch: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u64,
    pub(crate) capacity: u64,
    pub(crate) state: State,
}

impl Tail {
    /// Whether the longest entry and a trailer fit into the segment.
    fn has_room(&self) -> bool {
        self.offset + (MAX_RECORD + MAX_TRAILER) as u64 <= self.capacity
    }
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    spare: Arc<Spare>,
    /// Held by the thread that gathers, until its batch has the turn at the disk: so batches keep their order.
    gathering: Mutex<Gathering>,
    /// Held so that nobody else opens the log while these threads may still write.
    _lock: DirLock,
}

struct Gathering {
    tail: Tail,
    pace: Pace,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        spare: Arc<Spare>,
        tail: Tail,
        backlog: Backlog,
        lock: DirLock,
    ) -> Self {
        let gathering = Mutex::new(Gathering { tail, pace: Pace::new(backlog) });
        Self { shared, spare, gathering, _lock: lock }
    }

    /// Works until the log is closed and the queue is empty, or the engine has failed. Two threads run it.
    pub(crate) fn run(&self) {
        let mut batch = Batch::default();
        while let Some(gathered) = self.gather(&mut batch) {
            // No lock is held and the turn is given back by the time callers are told: one of them may drop the last handle,
            // which waits for the threads.
            match gathered {
                Ok(()) => {
                    let written = self.write(&mut batch);
                    batch.answer(written);
                    self.shared.queue.answered();
                }
                refused => batch.answer(refused),
            }
        }
    }

    /// Gathers the next batch until it has the turn, or until it is known that it cannot be written now; nothing of it
    /// is on the disk then. None when closed and empty.
    fn gather(&self, batch: &mut Batch) -> Option<Result<(), AppendError>> {
        let (shared, queue) = (&self.shared, &self.shared.queue);
        let mut gathering = lock(&self.gathering);
        if !queue.wait_for_entries() {
            return None;
        }
        if let Err(error) = self.admit(&mut gathering) {
            queue.take(&mut batch.taken, shared.options.max_batch);
            return Some(Err(error));
        }
        let tail = &mut gathering.tail;
        let mut room = batch.begin(tail, shared.options.max_batch);
        let mut last = false;
        while let Next::More { last: is_last } = queue.next(&mut batch.taken, &mut room, last) {
            batch.add_taken(tail);
            last = is_last;
        }
        batch.seal(tail);
        Some(Ok(()))
    }

    /// Whether a batch can be written now.
    fn admit(&self, gathering: &mut Gathering) -> Result<(), AppendError> {
        gathering.pace.keep(&self.shared)?;
        if !gathering.tail.has_room() {
            // A segment states what is before it: that must be durable first.
            self.shared.queue.wait_until_written();
        }
        if self.shared.has_failed() {
            return Err(AppendError::Failed);
        }
        if gathering.tail.has_room() { Ok(()) } else { self.begin_segment(&mut gathering.tail) }
    }

    fn begin_segment(&self, tail: &mut Tail) -> Result<(), AppendError> {
        let blank = self.spare.take().map_err(|e| AppendError::NoSegment(e.to_string()))?;
        let wal = self.shared.wal();
        let epoch = tail.epoch + 1;
        let begun = blank
            .file
            .write_at(&segment::first_record(epoch, Origin::Rotation, &tail.state), 0)
            .and_then(|()| segment::begin(self.shared.disk.as_ref(), &wal, &blank, epoch));
        if let Err(error) = begun {
            self.shared.fail("beginning a segment", &error);
            return Err(AppendError::Failed);
        }
        self.shared.counters.segments.fetch_add(1, Ordering::Relaxed);
        let (file, first) = (Arc::clone(&blank.file), tail.state.size());
        let segment = Segment { file: Arc::clone(&file), first, path: segment::path(&wal, epoch) };
        self.shared.write().segments.insert(epoch, segment);
        tail.epoch = epoch;
        tail.file = file;
        tail.offset = DATA_START;
        tail.capacity = blank.capacity;
        Ok(())
    }

    /// Writes a batch that has the turn, and gives the turn back.
    fn write(&self, batch: &mut Batch) -> Result<(), AppendError> {
        let begun = Instant::now();
        let written = self.write_and_commit(batch);
        self.shared.queue.give_back(begun.elapsed());
        written
    }

    fn write_and_commit(&self, batch: &mut Batch) -> Result<(), AppendError> {
        // The batch before this one may have failed while this one was gathered.
        if self.shared.has_failed() {
            return Err(AppendError::Failed);
        }
        if let Err(error) = batch.write() {
            self.shared.fail("writing a batch", &error);
            return Err(AppendError::Failed);
        }
        batch.commit(&mut self.shared.write());
        self.shared.counters.batches.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.appended.fetch_add(batch.len(), Ordering::Relaxed);
        Ok(())
    }
}
