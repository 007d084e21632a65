//! Reading the write-ahead log back at start.
//!
//! Segments are read in the order of their numbers. A later segment that begins at size F replaces whatever earlier
//! ones hold at F and above (it was written by a start that copied it). Every record is checked, every entry is hashed
//! into both trees, and every trailer must state what came out and name the trailer before it.
//!
//! Only in the last segment may something be cut: a final batch without a valid trailer. A trailer counts as valid
//! only if all it covers is there: when the machine lost power, the sector of the trailer may have reached the disk
//! before another sector of its batch, which is then still filled with zeros, the first one from where the batch begins.
//! Anything else that does not fit is damage, and names file and offset.

use crate::disk::Disk;
use crate::edge::Edge;
use crate::error::{Corruption, OpenError, open_io};
use crate::pending::Pending;
use crate::record::{self, Kind, Origin, State};
use crate::segment::{self, DATA_START, SegmentReader};
use paramant_tlog::hash::sha256;
use paramant_tlog::tile::HEIGHT;
use paramant_tlog::{Hash, Node};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where an entry's record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

impl Location {
    /// The offset behind the record.
    pub(crate) fn end(self) -> u64 {
        self.offset + u64::from(self.length)
    }
}

/// A segment that takes part in the log.
pub(crate) struct Live {
    pub(crate) reader: SegmentReader,
    pub(crate) path: PathBuf,
    pub(crate) start: State,
    pub(crate) origin: Origin,
    /// Tree size at which a later segment takes over.
    pub(crate) limit: u64,
    /// Bytes of it that were read as batches.
    pub(crate) used: u64,
}

/// The segments found, before their batches are read.
pub(crate) struct Found {
    pub(crate) live: Vec<Live>,
    /// Files of which nothing counts any more.
    pub(crate) superseded: Vec<PathBuf>,
    pub(crate) highest_epoch: u64,
}

/// What the log holds.
pub(crate) struct Replayed {
    pub(crate) state: State,
    /// Locations of the entries from `first_location` on.
    pub(crate) locations: Vec<Location>,
    pub(crate) first_location: u64,
    /// States at the sizes that were asked for.
    pub(crate) snapshots: BTreeMap<u64, State>,
    /// Entries of a final batch that was cut, and where it began.
    pub(crate) cut: Option<(PathBuf, u64)>,
}

pub(crate) fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> Corruption {
    Corruption { file: path.display().to_string(), offset, what: what.into() }
}

/// Finds the segments and decides which of them count up to where.
pub(crate) fn find(disk: &dyn Disk, wal: &Path) -> Result<Found, OpenError> {
    let names = disk.list(wal).map_err(open_io(wal))?;
    let mut epochs: Vec<u64> = names.iter().filter_map(|name| segment::epoch_of(name)).collect();
    epochs.sort_unstable();
    let mut live: Vec<Live> = Vec::new();
    let mut superseded = Vec::new();
    let mut limit = u64::MAX;
    for epoch in epochs.iter().rev().copied() {
        let path = segment::path(wal, epoch);
        let file = disk.open(&path).map_err(open_io(&path))?;
        let mut reader = SegmentReader::new(file, epoch).map_err(open_io(&path))?;
        let first = reader.first().map_err(open_io(&path))?;
        let (origin, start) =
            first.ok_or_else(|| corrupt(&path, 0, "the segment's first record is not valid"))?;
        let size = start.size();
        // A rotation never begins where an earlier segment does; a start may, and replaces it.
        if size >= limit {
            superseded.push(path);
            continue;
        }
        live.push(Live { reader, path, start, origin, limit, used: DATA_START });
        limit = size;
    }
    live.reverse();
    Ok(Found { live, superseded, highest_epoch: epochs.last().copied().unwrap_or(0) })
}

/// Reads all batches. `edges` take the nodes that are not in tile files, `snapshots` are the sizes whose state is
/// wanted, `first_location` the first entry whose place is.
pub(crate) fn replay(
    live: &mut [Live],
    edges: &mut [Edge; 2],
    first_location: u64,
    wanted: &[u64],
) -> Result<Replayed, OpenError> {
    let first = live.first().map_or_else(State::empty, |segment| segment.start.clone());
    let mut replayed = Replayed {
        snapshots: BTreeMap::from([(first.size(), first.clone())]),
        state: first,
        locations: Vec::new(),
        first_location,
        cut: None,
    };
    for segment in live.iter_mut() {
        let Live { path, start, origin, .. } = &*segment;
        if replayed.state.ranges != start.ranges {
            let (found, expected) = (replayed.state.size(), start.size());
            let what =
                format!("the segment begins at size {expected}, the log before it leads to size {found}");
            let what = if found == expected { format!("{what} with other roots") } else { what };
            return Err(corrupt(path, 0, what).into());
        }
        if *origin == Origin::Rotation && replayed.state.previous != start.previous {
            return Err(corrupt(path, 0, "the segment does not follow the trailer before it").into());
        }
        replayed.state.previous = start.previous;
        replay_segment(segment, edges, wanted, &mut replayed)?;
    }
    Ok(replayed)
}

/// One batch as it is read: applied to the log only with its trailer.
struct Batch {
    start: u64,
    state: State,
    /// Entries that `state` does not hold yet.
    pending: Pending,
    /// Runs of completed nodes of tile levels.
    nodes: [Vec<(Node, Vec<Hash>)>; 2],
    locations: Vec<Location>,
    snapshots: BTreeMap<u64, State>,
}

impl Batch {
    fn after(state: &State, offset: u64) -> Self {
        let state = state.clone();
        let (pending, nodes) = Default::default();
        Self { start: offset, state, pending, nodes, locations: Vec::new(), snapshots: BTreeMap::new() }
    }

    /// Tree size after the last entry read.
    fn size(&self) -> u64 {
        self.state.size() + self.pending.len()
    }

    /// Adds the entries read so far to both trees.
    fn grow(&mut self) {
        let [sha256, sha3] = &mut self.nodes;
        let (mut keep_sha256, mut keep_sha3) = (keep(sha256), keep(sha3));
        self.pending.grow(&mut self.state.ranges, [&mut keep_sha256, &mut keep_sha3]);
    }

    /// Adds what was read to the log.
    fn commit(self, path: &Path, edges: &mut [Edge; 2], replayed: &mut Replayed) -> Result<(), OpenError> {
        for (edge, nodes) in edges.iter_mut().zip(self.nodes) {
            for (first, run) in nodes {
                edge.push_run(first, &run).map_err(|mismatch| {
                    let tree = edge.tree();
                    let what = format!("{:?} of the {tree:?} tree differs from the tile file", mismatch.node);
                    corrupt(path, self.start, what)
                })?;
            }
        }
        replayed.state = self.state;
        replayed.locations.extend(self.locations);
        replayed.snapshots.extend(self.snapshots);
        Ok(())
    }
}

/// Keeps the nodes that tiles hold.
fn keep(nodes: &mut Vec<(Node, Vec<Hash>)>) -> impl FnMut(Node, &[Hash]) + Send {
    |first, run| {
        if first.level.is_multiple_of(HEIGHT) {
            nodes.push((first, run.to_vec()));
        }
    }
}

fn replay_segment(
    segment: &mut Live,
    edges: &mut [Edge; 2],
    wanted: &[u64],
    replayed: &mut Replayed,
) -> Result<(), OpenError> {
    let is_last = segment.limit == u64::MAX;
    let Live { reader, path, limit, used, .. } = segment;
    let epoch = reader.epoch;
    let mut batch = Batch::after(&replayed.state, DATA_START);
    if wanted.contains(&batch.state.size()) {
        batch.snapshots.insert(batch.state.size(), batch.state.clone());
    }
    let mut offset = DATA_START;
    loop {
        if batch.size() == *limit {
            batch.grow();
            // A later segment takes over here, perhaps inside a batch; its first record states both roots and, after
            // a rotation, the trailer before it. The caller compares.
            let record = reader.record(offset).map_err(open_io(path))?;
            if let Some(trailer) = record.filter(|record| record.kind == Kind::Trailer)
                && State::parse(trailer.payload).is_some_and(|stated| stated == batch.state)
            {
                batch.state.previous = sha256(trailer.payload);
            }
            *used = offset;
            return batch.commit(path, edges, replayed);
        }
        let record = reader.record(offset).map_err(open_io(path))?;
        let length = record.as_ref().map_or(0, record::Record::length) as u64;
        match record {
            Some(record) if record.kind == Kind::Entry && record.index == batch.size() => {
                let (leaf, bytes) = record::entry(record.payload)
                    .ok_or_else(|| corrupt(path, offset, "an entry without leaf"))?;
                batch.pending.push(leaf, bytes);
                if record.index >= replayed.first_location {
                    batch.locations.push(Location { epoch, offset, length: length as u32 });
                }
                if wanted.contains(&batch.size()) {
                    batch.grow();
                    batch.snapshots.insert(batch.state.size(), batch.state.clone());
                }
            }
            Some(record) if record.kind == Kind::Trailer => {
                batch.grow();
                let stated = State::parse(record.payload)
                    .ok_or_else(|| corrupt(path, offset, "a trailer that contradicts itself"))?;
                if stated != batch.state {
                    return Err(
                        corrupt(path, offset, "a trailer that states other roots than its entries").into()
                    );
                }
                let hash = sha256(record.payload);
                batch.state.previous = hash;
                batch.commit(path, edges, replayed)?;
                batch = Batch::after(&replayed.state, offset + length);
            }
            Some(record) => {
                let what = format!(
                    "a {:?} record with index {}, expected entry {}",
                    record.kind,
                    record.index,
                    batch.size()
                );
                return Err(corrupt(path, offset, what).into());
            }
            None if is_last => {
                *used = batch.start;
                if may_be_cut(reader, path, &batch, offset)? {
                    replayed.cut = Some((path.clone(), batch.start));
                }
                return Ok(());
            }
            None => {
                let what = format!("no valid record, expected entry {} or a trailer", batch.size());
                return Err(corrupt(path, offset, what).into());
            }
        }
        offset += length;
    }
}

/// Whether what stands from `offset` on is a torn final batch (true), nothing at all (false), or damage (error).
fn may_be_cut(
    reader: &mut SegmentReader,
    path: &Path,
    batch: &Batch,
    offset: u64,
) -> Result<bool, OpenError> {
    let mut search = offset;
    let mut trailer: Option<u64> = None;
    while let Some(at) = reader.next_valid(search).map_err(open_io(path))? {
        let Some(record) = reader.record(at).map_err(open_io(path))? else { break };
        search = at + record.length() as u64;
        let follows = match record.kind {
            Kind::Segment => false,
            Kind::Entry => trailer.is_none(),
            // The batch's own trailer: it names the same trailer before it.
            Kind::Trailer => {
                trailer.is_none()
                    && State::parse(record.payload).is_some_and(|s| s.previous == batch.state.previous)
            }
        };
        if !follows {
            let what = format!(
                "no valid record, expected entry {}, and batches follow at offset {at}",
                batch.size()
            );
            return Err(corrupt(path, offset, what).into());
        }
        if record.kind == Kind::Trailer {
            trailer = Some(at);
        }
    }
    if let Some(trailer) = trailer
        && !reader.has_unwritten_sector(batch.start, trailer).map_err(open_io(path))?
    {
        let what =
            format!("no valid record, but the batch's trailer at offset {trailer} says it was complete");
        return Err(corrupt(path, offset, what).into());
    }
    let rest_is_blank = batch.start == offset && trailer.is_none() && {
        let window = reader.bytes(offset, record::HEADER).map_err(open_io(path))?;
        window.iter().all(|byte| *byte == 0)
    };
    Ok(!rest_is_blank)
}
