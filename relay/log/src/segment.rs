//! The files of the write-ahead log: `wal/<epoch in 16 hex digits>.wal`.
//!
//! A segment reads as zeros and is synced before its first use, so that a sector that was never written can be told; where
//! the zeros are written, a batch later costs one `fdatasync` without any metadata. Its first record is the state of both trees before its first entry; that is the snapshot from which
//! a restart replays. Order of writes for a new segment, and what a crash leaves between each two:
//!
//! 1. zeros written (or promised by the file system) and synced under `wal/spare-<n>.tmp`: removed at the next start;
//! 2. first record written and synced (at start: first record, copied batches and zeros behind them, synced at once): the
//!    same;
//! 3. renamed to its number and directory synced: the segment counts, even if still without entries;
//! 4. batches: a torn last one has no valid trailer and is cut.

use crate::disk::{Disk, DiskFile};
use crate::record::{self, MAX_TRAILER, Origin, Record, State};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the batches begin: after the room for the first record.
pub(crate) const DATA_START: u64 = 8192;
/// How much is read at once.
const READ_AHEAD: usize = 1 << 20;

const _: () = assert!((MAX_TRAILER as u64) <= DATA_START);

/// The segment's file name.
pub(crate) fn path(wal: &Path, epoch: u64) -> PathBuf {
    wal.join(format!("{epoch:016x}.wal"))
}

/// The number in a segment's file name.
pub(crate) fn epoch_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|epoch| format!("{epoch:016x}") == digits)
}

/// A file of zeros under a temporary name, durable as it is.
pub(crate) struct Blank {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) capacity: u64,
}

/// How the zeros of a blank come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zeros {
    /// Written: a sync later changes no metadata, which makes it quicker.
    Written,
    /// Only promised by the file system, where it can: nothing is written twice, which counts when much is.
    Promised,
}

/// Makes a blank segment.
pub(crate) fn blank(
    disk: &dyn Disk,
    wal: &Path,
    name: &str,
    capacity: u64,
    zeros: Zeros,
) -> io::Result<Blank> {
    let path = wal.join(name);
    let file = disk.create(&path)?;
    if zeros == Zeros::Written || !file.reserve(capacity)? {
        write_zeros(file.as_ref(), 0, capacity)?;
    }
    file.sync()?;
    Ok(Blank { file, path, capacity })
}

/// A segment to be filled by whoever opens the log, of which only the part before the batches is blank yet. Nothing of it
/// is durable.
pub(crate) fn unfilled(disk: &dyn Disk, wal: &Path, name: &str, capacity: u64) -> io::Result<Blank> {
    let path = wal.join(name);
    let file = disk.create(&path)?;
    write_zeros(file.as_ref(), 0, DATA_START)?;
    Ok(Blank { file, path, capacity })
}

/// Fills a part of a segment with zeros.
pub(crate) fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; READ_AHEAD];
    let mut at = from;
    while at < to {
        let length = (to - at).min(READ_AHEAD as u64);
        file.write_at(zeros.get(..length as usize).unwrap_or(&zeros), at)?;
        at += length;
    }
    Ok(())
}

/// The bytes of a segment's first record.
pub(crate) fn first_record(epoch: u64, origin: Origin, state: &State) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAX_TRAILER);
    state.push_segment(&mut bytes, epoch, origin);
    bytes
}

/// Gives a blank whose first record (and copied batches) are written its number. Durable when it returns.
pub(crate) fn begin(disk: &dyn Disk, wal: &Path, blank: &Blank, epoch: u64) -> io::Result<()> {
    blank.file.sync()?;
    disk.rename(&blank.path, &path(wal, epoch))?;
    disk.sync_dir(wal)
}

/// Reads a segment from front to back with one buffer.
pub(crate) struct SegmentReader {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) epoch: u64,
    length: u64,
    buffer: Vec<u8>,
    buffered_from: u64,
}

impl SegmentReader {
    pub(crate) fn new(file: Arc<dyn DiskFile>, epoch: u64) -> io::Result<Self> {
        let length = file.length()?;
        Ok(Self { file, epoch, length, buffer: Vec::new(), buffered_from: 0 })
    }

    /// Up to `wanted` bytes from an offset; fewer only at the end of the file.
    pub(crate) fn bytes(&mut self, offset: u64, wanted: usize) -> io::Result<&[u8]> {
        let end = (offset + wanted as u64).min(self.length);
        let buffered_to = self.buffered_from + self.buffer.len() as u64;
        if offset < self.buffered_from || end > buffered_to {
            let room = self.length.saturating_sub(offset).min(READ_AHEAD.max(wanted) as u64);
            self.buffer.resize(room as usize, 0);
            let read = self.file.read_at(&mut self.buffer, offset)?;
            self.buffer.truncate(read);
            self.buffered_from = offset;
        }
        let start = (offset - self.buffered_from) as usize;
        let stop = self.buffer.len().min(start + wanted);
        Ok(self.buffer.get(start..stop).unwrap_or_default())
    }

    /// The record at an offset, if there is a valid one.
    pub(crate) fn record(&mut self, offset: u64) -> io::Result<Option<Record<'_>>> {
        let Some(length) = record::claimed_length(self.bytes(offset, record::HEADER)?) else {
            return Ok(None);
        };
        let epoch = self.epoch;
        Ok(record::parse(self.bytes(offset, length)?, epoch))
    }

    /// The segment's first record.
    pub(crate) fn first(&mut self) -> io::Result<Option<(Origin, State)>> {
        let first = self.record(0)?.filter(|record| record.kind == record::Kind::Segment);
        Ok(first.and_then(|record| {
            State::parse_segment(record.payload).filter(|(_, state)| state.size() == record.index)
        }))
    }

    /// Where the next valid record at or after an offset begins, at whatever byte.
    pub(crate) fn next_valid(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        while at < self.length {
            let window = self.bytes(at, READ_AHEAD)?;
            let [mark, ..] = record::Kind::Entry.mark();
            let Some(found) = window.iter().position(|byte| *byte == mark) else {
                at += window.len().max(1) as u64;
                continue;
            };
            at += found as u64;
            if self.record(at)?.is_some() {
                return Ok(Some(at));
            }
            at += 1;
        }
        Ok(None)
    }

    /// Whether a sector of what was written between the offsets is still as it was filled: zeros. Of the first sector
    /// only the part from `from` on was to be written then; the part before it was durable already.
    pub(crate) fn has_unwritten_sector(&mut self, from: u64, to: u64) -> io::Result<bool> {
        const SECTOR: u64 = 512;
        let mut at = from;
        while at < to {
            let end = (at + 1).next_multiple_of(SECTOR);
            // The last sector holds the beginning of what stands at `to`, so it was written.
            if end > to {
                break;
            }
            let length = (end - at) as usize;
            let sector = self.bytes(at, length)?;
            if sector.len() == length && sector.iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            at = end;
        }
        Ok(false)
    }
}
