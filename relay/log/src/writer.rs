//! The one thread that appends.
//!
//! Takes what has arrived, writes it as one batch, syncs once, then answers every waiter: so a batch is what arrived
//! during the last sync. Order, and what a crash leaves between each two steps:
//!
//! 1. entries and trailer written in one call: a torn batch, cut at the next start; nobody was told of it;
//! 2. `fdatasync`: the whole batch, perhaps unknown to its callers, who may send again;
//! 3. head and edges in memory move on, waiters are answered.
//!
//! An error of a write or sync ends the engine. Only the making of a new segment and tiles that lag behind may refuse
//! a batch and let it be tried again, since nothing of it is written by then.

use crate::backlog::Pace;
use crate::disk::{DirLock, DiskFile};
use crate::record::{self, MAX_RECORD, MAX_TRAILER, State};
use crate::replay::Location;
use crate::segment::{self, DATA_START};
use crate::shared::{Job, Segment, Shared, answer, lock};
use crate::spare::Spare;
use crate::{AppendError, Appended, record::Origin};
use paramant_tlog::tile::HEIGHT;
use paramant_tlog::{Hash, Node};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// The most bytes of entries in one batch: beyond it a batch only gets slower.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// The tail of the write-ahead log, owned by the writer.
pub(crate) struct Tail {
    pub(crate) epoch: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u64,
    pub(crate) capacity: u64,
    pub(crate) state: State,
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) spare: Arc<Spare>,
    pub(crate) tail: Tail,
    pub(crate) pace: Pace,
    /// Held so that nobody else opens the log while this thread may still write.
    pub(crate) _lock: DirLock,
}

impl Writer {
    /// Works until the log is closed and the queue is empty, or the engine has failed.
    pub(crate) fn run(mut self) {
        let mut buffer = Vec::new();
        while let Some(jobs) = self.next_batch() {
            match self.admit() {
                Ok(()) => self.write_batch(jobs, &mut buffer),
                Err(error) => refuse(jobs, &error),
            }
        }
    }

    /// Waits for entries and takes as many as fit. None when closed and empty.
    fn next_batch(&self) -> Option<VecDeque<Job>> {
        let mut queue = lock(&self.shared.queue);
        while queue.jobs.is_empty() {
            if queue.closing {
                return None;
            }
            queue = self.shared.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let left = self.tail.capacity.saturating_sub(self.tail.offset) as usize;
        // When a new segment is due anyway, it has room for a full batch.
        let left =
            if left < MAX_RECORD + MAX_TRAILER { self.shared.options.segment_bytes as usize } else { left };
        let room = left.saturating_sub(MAX_TRAILER + DATA_START as usize).clamp(MAX_RECORD, MAX_BATCH_BYTES);
        let (mut bytes, mut count) = (0, 0);
        for job in queue.jobs.iter().take(self.shared.options.max_batch) {
            bytes += job.entry.bytes.len() + record::HEADER + 32;
            if bytes > room && count > 0 {
                break;
            }
            count += 1;
        }
        let rest = queue.jobs.split_off(count);
        Some(std::mem::replace(&mut queue.jobs, rest))
    }

    /// Whether a batch can be written now. Nothing of it is written when it cannot.
    fn admit(&mut self) -> Result<(), AppendError> {
        self.pace.keep(&self.shared)?;
        if self.shared.has_failed() { Err(AppendError::Failed) } else { self.ensure_room() }
    }

    /// Begins a new segment when the longest entry might not fit into this one.
    fn ensure_room(&mut self) -> Result<(), AppendError> {
        if self.tail.offset + (MAX_RECORD + MAX_TRAILER) as u64 <= self.tail.capacity {
            return Ok(());
        }
        let blank = self.spare.take().map_err(|e| AppendError::NoSegment(e.to_string()))?;
        let wal = self.shared.wal();
        let epoch = self.tail.epoch + 1;
        let begun = blank
            .file
            .write_at(&segment::first_record(epoch, Origin::Rotation, &self.tail.state), 0)
            .and_then(|()| segment::begin(self.shared.disk.as_ref(), &wal, &blank, epoch));
        if let Err(error) = begun {
            self.shared.fail("beginning a segment", &error);
            return Err(AppendError::Failed);
        }
        self.shared.counters.segments.fetch_add(1, Ordering::Relaxed);
        let (file, first) = (Arc::clone(&blank.file), self.tail.state.size());
        let segment = Segment { file: Arc::clone(&file), first, path: segment::path(&wal, epoch) };
        self.shared.write().segments.insert(epoch, segment);
        self.tail.epoch = epoch;
        self.tail.file = file;
        self.tail.offset = DATA_START;
        self.tail.capacity = blank.capacity;
        Ok(())
    }

    fn write_batch(&mut self, jobs: VecDeque<Job>, buffer: &mut Vec<u8>) {
        let Tail { epoch, ref file, offset, ref mut state, .. } = self.tail;
        buffer.clear();
        let mut nodes: [Vec<(Node, Hash)>; 2] = [Vec::new(), Vec::new()];
        let mut locations = Vec::with_capacity(jobs.len());
        let first = state.size();
        for (index, job) in (first..).zip(&jobs) {
            let start = buffer.len();
            record::push_entry(buffer, epoch, index, &job.entry);
            let length = (buffer.len() - start) as u32;
            locations.push(Location { epoch, offset: offset + start as u64, length });
            let [sha256, sha3] = &mut state.ranges;
            let [sha256_nodes, sha3_nodes] = &mut nodes;
            sha256.append(job.leaf, |node, hash| keep(sha256_nodes, node, hash));
            sha3.append(job.entry.legacy_leaf, |node, hash| keep(sha3_nodes, node, hash));
        }
        let head = state.push_trailer(buffer, epoch);

        if let Err(error) = file.write_at(buffer, offset).and_then(|()| file.sync()) {
            self.shared.fail("writing a batch", &error);
            return refuse(jobs, &AppendError::Failed);
        }
        self.tail.offset += buffer.len() as u64;

        {
            let mut durable = self.shared.write();
            for (edge, nodes) in durable.edges.iter_mut().zip(nodes) {
                for (node, hash) in nodes {
                    // The writer completes nodes in order, so each follows the last one held.
                    if edge.push(node, hash).is_err() {
                        tracing::error!(?node, "a tree node out of order");
                    }
                }
            }
            durable.locations.extend(locations);
            durable.head = head;
        }
        self.shared.counters.batches.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.appended.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        for (index, job) in (first..).zip(jobs) {
            answer(job.done, Ok(Appended { index, head }));
        }
    }
}

/// Keeps a completed node if it is one of a tile: memory holds no others.
fn keep(nodes: &mut Vec<(Node, Hash)>, node: Node, hash: Hash) {
    if node.level.is_multiple_of(HEIGHT) {
        nodes.push((node, hash));
    }
}

fn refuse(jobs: VecDeque<Job>, error: &AppendError) {
    for job in jobs {
        answer(job.done, Err(error.clone()));
    }
}
