//! A batch on its way: hashed and framed in memory, perhaps while the one before it is being synced, then written.
//!
//! Until it has the turn at the disk nothing of it is on the disk and nothing in memory that readers see has changed, so
//! after an error it is simply dropped: its callers are refused, and the engine has ended.

use crate::disk::DiskFile;
use crate::queue::Room;
use crate::record;
use crate::replay::Location;
use crate::shared::{Done, Durable, Job, answer};
use crate::writer::Tail;
use crate::{AppendError, Appended, Head};
use paramant_tlog::{Hash, Node};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// The most bytes of entries in one batch: beyond it a batch only gets slower.
const MAX_BYTES: usize = 4 << 20;

/// Used again and again by one thread: its memory stays.
#[derive(Default)]
pub(crate) struct Batch {
    /// Entries that were taken from the queue and are not framed yet.
    pub(crate) taken: VecDeque<Job>,
    place: Option<Place>,
    /// Index of the first entry.
    first: u64,
    bytes: Vec<u8>,
    locations: Vec<Location>,
    leaves: [Vec<Hash>; 2],
    /// Completed nodes of tile levels, SHA-256 tree first: runs of neighbours.
    nodes: [Vec<(Node, Vec<Hash>)>; 2],
    done: Vec<Done>,
    head: Option<Head>,
}

/// Where a batch is written.
struct Place {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Batch {
    /// Begins a batch at the end of the log; returns what it has room for.
    pub(crate) fn begin(&mut self, tail: &Tail, most_entries: usize) -> Room {
        self.place = Some(Place { file: Arc::clone(&tail.file), offset: tail.offset });
        self.first = tail.state.size();
        self.bytes.clear();
        self.locations.clear();
        self.nodes.iter_mut().for_each(Vec::clear);
        self.head = None;
        Room::new(tail.capacity.saturating_sub(tail.offset), MAX_BYTES, most_entries)
    }

    /// Frames what was taken and adds it to both trees of the tail.
    pub(crate) fn add_taken(&mut self, tail: &mut Tail) {
        let Tail { epoch, offset, ref mut state, .. } = *tail;
        self.leaves.iter_mut().for_each(Vec::clear);
        let [sha256_leaves, sha3_leaves] = &mut self.leaves;
        for (index, Job { entry, leaf, done }) in (state.size()..).zip(self.taken.drain(..)) {
            let start = self.bytes.len();
            record::push_entry(&mut self.bytes, epoch, index, &entry.legacy_leaf, &entry.bytes);
            let length = (self.bytes.len() - start) as u32;
            self.locations.push(Location { epoch, offset: offset + start as u64, length });
            sha256_leaves.push(leaf);
            sha3_leaves.push(entry.legacy_leaf);
            self.done.push(done);
        }
        for ((range, leaves), nodes) in state.ranges.iter_mut().zip(&self.leaves).zip(&mut self.nodes) {
            range.extend(leaves, |first, run| nodes.push((first, run.to_vec())));
        }
    }

    /// Ends the batch with its trailer. The tail stands behind it from now on.
    pub(crate) fn seal(&mut self, tail: &mut Tail) {
        self.head = Some(tail.state.push_trailer(&mut self.bytes, tail.epoch));
        tail.offset += self.bytes.len() as u64;
    }

    /// Writes the batch and syncs once: durable when it returns.
    pub(crate) fn write(&self) -> io::Result<()> {
        let Some(Place { file, offset }) = &self.place else { return Ok(()) };
        file.write_at(&self.bytes, *offset)?;
        file.sync()
    }

    /// Adds the batch, durable by now, to what readers see.
    pub(crate) fn commit(&mut self, durable: &mut Durable) {
        for (edge, nodes) in durable.edges.iter_mut().zip(&mut self.nodes) {
            for (first, run) in nodes.drain(..) {
                // Nodes are completed in order, so each follows the last one held.
                if edge.push_run(first, &run).is_err() {
                    tracing::error!(?first, "a tree node out of order");
                }
            }
        }
        durable.locations.extend(self.locations.drain(..));
        if let Some(head) = self.head {
            durable.head = head;
        }
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> u64 {
        self.done.len() as u64
    }

    /// Tells everybody whose entry is or was to be in this batch.
    pub(crate) fn answer(&mut self, outcome: Result<(), AppendError>) {
        let outcome = outcome.and_then(|()| self.head.ok_or(AppendError::Failed));
        let told = |index| outcome.clone().map(|head| Appended { index, head });
        for (index, done) in (self.first..).zip(self.done.drain(..)) {
            answer(done, told(index));
        }
        // Only of a batch that was refused before it was framed.
        for job in self.taken.drain(..) {
            answer(job.done, told(0));
        }
    }
}
