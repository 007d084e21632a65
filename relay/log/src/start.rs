//! Opening a log: what is read, what is copied, and in which order.
//!
//! 1. lock the directory; remove what an interrupted start or writer left under temporary names;
//! 2. read `checkpoint`, the last durable checkpoint; a log shorter than it, or with another root there, is damaged;
//! 3. take the started tiles of the upper levels from the tile files, replay the write-ahead log over them;
//! 4. copy every entry above the checkpoint (and small segments before it, so that restarts do not pile them up) from
//!    the bytes just read into a new segment, sync it, rename it, sync the directory: replay may have read cached
//!    pages that never reached the disk, and only what is durable may be signed;
//! 5. remove the segments this replaces. A crash before 4 is complete leaves the old segments in force, a crash after
//!    it the new one.
//!
//! Only then do the threads start, and the first signature can follow.

use crate::backlog::Backlog;
use crate::copy::Copier;
use crate::derive::Deriver;
use crate::disk::{self, Disk, DiskFile, LockError};
use crate::edge::Edge;
use crate::error::{Corruption, OpenError, ReadError, open_io};
use crate::handle::{Guard, Log};
use crate::mend::Mender;
use crate::record::{MAX_TRAILER, Origin};
use crate::replay::{self, Live, Replayed, corrupt};
use crate::segment::{self, DATA_START};
use crate::shared::{Durable, Segment, Shared};
use crate::spare::Spare;
use crate::writer::{Tail, Writer};
use crate::{CheckpointSigner, Options, Published, publish, tiles};
use paramant_tlog::note::Note;
use paramant_tlog::tile::{Coordinates, WIDTH, nodes_at};
use paramant_tlog::{Checkpoint, Hash, Node, Tree};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

/// Segments hold at least a few of the longest entries. The crash matrix fills smaller ones.
const MIN_SEGMENT: u64 = if cfg!(test) { 48 * 1024 } else { 256 * 1024 };

/// The checkpoint that was on disk.
struct Stored {
    note: String,
    checkpoint: Checkpoint,
    at: SystemTime,
}

pub(crate) fn open(
    options: Options,
    signer: Arc<dyn CheckpointSigner>,
    disk: Arc<dyn Disk>,
) -> Result<Log, OpenError> {
    open_with(options, Backlog::default(), signer, disk)
}

pub(crate) fn open_with(
    options: Options,
    backlog: Backlog,
    signer: Arc<dyn CheckpointSigner>,
    disk: Arc<dyn Disk>,
) -> Result<Log, OpenError> {
    if options.segment_bytes < MIN_SEGMENT {
        return Err(OpenError::Settings("segment_bytes is below 256 KiB"));
    }
    if options.max_batch == 0 {
        return Err(OpenError::Settings("max_batch is zero"));
    }
    if options.checkpoint_every.is_zero() {
        return Err(OpenError::Settings("checkpoint_every is zero"));
    }
    let dir = options.dir.clone();
    let wal = dir.join("wal");
    disk::create_dirs(disk.as_ref(), &dir, &wal).map_err(|error| open_io(&wal)(error.into()))?;
    let lock = disk.lock(&dir.join("lock")).map_err(|error| match error {
        LockError::Held => OpenError::Locked(dir.clone()),
        LockError::Network => OpenError::NetworkFileSystem(dir.clone()),
        LockError::Io(source) => OpenError::Io { path: dir.join("lock"), source },
    })?;
    remove_leftovers(disk.as_ref(), &wal)?;
    let stored = read_checkpoint(disk.as_ref(), &dir)?;

    let mut found = replay::find(disk.as_ref(), &wal)?;
    if found.live.is_empty() && disk.has_dir(&dir.join("tile")) {
        return Err(corrupt(&wal, 0, "there are tiles but no write-ahead log").into());
    }
    let oldest = found.live.first().map_or(0, |segment| segment.start.size());
    // Segments are removed only when all groups they touch are in files, so the group that `oldest` cuts is.
    let derived = oldest.next_multiple_of(WIDTH);
    let published_size = stored.as_ref().map_or(0, |stored| stored.checkpoint.size);
    let mut edges = match edges_from_tiles(disk.as_ref(), &dir, derived, found.live.first()) {
        Err(OpenError::Corrupt(damage)) => {
            let mender = Mender { disk: disk.as_ref(), dir: &dir, legacy_leaf: options.legacy_leaf };
            if !mend_tiles(&mender, found.live.first())? {
                return Err(damage.into());
            }
            edges_from_tiles(disk.as_ref(), &dir, derived, found.live.first())?
        }
        other => other?,
    };

    let mut wanted: Vec<u64> = found.live.iter().map(|segment| segment.start.size()).collect();
    wanted.extend([derived, published_size]);
    let mut replayed = replay::replay(&mut found.live, &mut edges, derived, &wanted)?;
    if let Some((path, offset)) = &replayed.cut {
        tracing::warn!(file = %path.display(), offset, "cut a final batch that was never completed");
    }
    let published = check_checkpoint(&dir, stored, &replayed)?;

    let mut segments: BTreeMap<u64, Segment> = BTreeMap::new();
    for live in &found.live {
        let (file, first, path) = (Arc::clone(&live.reader.file), live.start.size(), live.path.clone());
        segments.insert(live.reader.epoch, Segment { file, first, path });
    }
    let epoch = found.highest_epoch + 1;
    let from = copy_from(&found.live, derived, published_size, options.segment_bytes);
    let tail = copy_tail(disk.as_ref(), &wal, &options, epoch, from, &mut replayed, &segments)?;
    let replaced = segments.iter().filter(|(_, segment)| segment.first >= from).map(|(epoch, _)| *epoch);
    for epoch in replaced.collect::<Vec<_>>() {
        if let Some(segment) = segments.remove(&epoch) {
            found.superseded.push(segment.path);
        }
    }
    for path in &found.superseded {
        disk.remove(path).map_err(open_io(path))?;
    }
    disk.sync_dir(&wal).map_err(open_io(&wal))?;
    let (file, first) = (Arc::clone(&tail.file), from);
    segments.insert(epoch, Segment { file, first, path: segment::path(&wal, epoch) });

    let durable = Durable {
        head: tail.state.head(),
        edges,
        derived,
        locations: VecDeque::from(replayed.locations),
        segments,
    };
    let start = replayed.snapshots.remove(&derived).ok_or_else(|| {
        corrupt(
            &wal,
            0,
            format!("the log begins at entry {oldest} and ends before entry {derived}, whose group is cut"),
        )
    })?;
    let deriver = Deriver::new(start, &durable);
    let shared = Arc::new(Shared::new(options, disk, durable, published));
    let spare = Arc::new(Spare::default());
    let writer = Writer::new(Arc::clone(&shared), Arc::clone(&spare), tail, backlog, lock.clone());
    let guard =
        Guard::start(Arc::clone(&shared), signer, spare, writer, deriver, lock).map_err(open_io(&dir))?;
    Ok(Log::new(shared, guard))
}

fn remove_leftovers(disk: &dyn Disk, wal: &Path) -> Result<(), OpenError> {
    for name in disk.list(wal).map_err(open_io(wal))? {
        if name.ends_with(".tmp") {
            disk.remove(&wal.join(name)).map_err(open_io(wal))?;
        }
    }
    Ok(())
}

fn read_checkpoint(disk: &dyn Disk, dir: &Path) -> Result<Option<Stored>, OpenError> {
    let path = dir.join(publish::FILE);
    let Some(bytes) = disk.read(&path).map_err(open_io(&path))? else { return Ok(None) };
    let note = Note::parse(&bytes).map_err(|e| corrupt(&path, 0, e.to_string()))?;
    let checkpoint = Checkpoint::parse(&note.text).map_err(|e| corrupt(&path, 0, e.to_string()))?;
    let at = disk.modified(&path).unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Some(Stored { note: note.to_text(), checkpoint, at }))
}

/// The log must reach the last durable checkpoint and have its root there: all that was signed was durable.
fn check_checkpoint(
    dir: &Path,
    stored: Option<Stored>,
    replayed: &Replayed,
) -> Result<Option<Published>, Corruption> {
    let Some(stored) = stored else { return Ok(None) };
    let size = stored.checkpoint.size;
    let path = dir.join(publish::FILE);
    let Some(state) = replayed.snapshots.get(&size) else {
        let (file, offset) = replayed.cut.clone().unwrap_or((path, 0));
        let found = replayed.state.size();
        let what = format!("the checkpoint states {size} entries, the write-ahead log leads to {found}");
        return Err(corrupt(&file, offset, what));
    };
    let head = state.head();
    if head.sha256_root != stored.checkpoint.root {
        return Err(corrupt(
            &path,
            0,
            format!("the checkpoint of size {size} states another root than the entries"),
        ));
    }
    Ok(Some(Published { head, note: stored.note, at: stored.at }))
}

/// The part of both trees that is above the tile files, checked against the state that the oldest segment begins with.
fn edges_from_tiles(
    disk: &dyn Disk,
    dir: &Path,
    derived: u64,
    oldest: Option<&Live>,
) -> Result<[Edge; 2], OpenError> {
    let mut edges = Tree::BOTH.map(|tree| Edge::new(tree, derived));
    for edge in &mut edges {
        restore_upper_levels(disk, dir, edge, derived)?;
    }
    if let Some(segment) = oldest {
        for (range, edge) in segment.start.ranges.iter().zip(&edges) {
            check_against_tiles(disk, dir, range, edge, &segment.path)?;
        }
    }
    Ok(edges)
}

/// Makes the tiles again that contradict the state of the oldest segment; true when some were replaced.
fn mend_tiles(mender: &Mender<'_>, oldest: Option<&Live>) -> Result<bool, OpenError> {
    let mut mended = false;
    for range in oldest.iter().flat_map(|segment| &segment.start.ranges) {
        for (node, hash) in range.nodes() {
            mended |= mender.mend_below(range.tree(), node, hash).map_err(read_failed)?;
        }
    }
    Ok(mended)
}

fn read_failed(error: ReadError) -> OpenError {
    match error {
        ReadError::Corrupt(damage) => damage.into(),
        ReadError::Io { path, source } => OpenError::Io { path, source },
        other => corrupt(Path::new("tile"), 0, other.to_string()).into(),
    }
}

/// Fills the levels above the leaves with the nodes of started tiles, each the root of a full tile below it.
fn restore_upper_levels(disk: &dyn Disk, dir: &Path, edge: &mut Edge, derived: u64) -> Result<(), OpenError> {
    for level in 1..=paramant_tlog::tile::MAX_LEVEL {
        for index in edge.first(level)..nodes_at(level, derived) {
            let tile = Coordinates { level: level - 1, index };
            let nodes = tile_nodes(disk, dir, edge.tree(), tile)?;
            let node = Node { level: level * paramant_tlog::tile::HEIGHT, index };
            // Pushed in order from the first on, so it always follows.
            if edge.push(node, edge.tree().fold(&nodes)).is_err() {
                return Err(corrupt(&tiles::tile_path(dir, edge.tree(), tile), 0, "out of order").into());
            }
        }
    }
    Ok(())
}

/// The oldest segment's snapshot must be what the tile files say.
fn check_against_tiles(
    disk: &dyn Disk,
    dir: &Path,
    range: &paramant_tlog::CompactRange,
    edge: &Edge,
    segment: &Path,
) -> Result<(), OpenError> {
    for (node, hash) in range.nodes() {
        let (tile, run) = Coordinates::holding(node);
        let (start, length) = (tile.index * WIDTH + run.start as u64, run.len());
        let found = match edge.run(tile.level, start, length) {
            Some(nodes) => range.tree().fold(nodes),
            None => {
                let nodes = tile_nodes(disk, dir, range.tree(), tile)?;
                range.tree().fold(nodes.get(run).unwrap_or_default())
            }
        };
        if found != hash {
            // Nodes above the lowest level were computed from the tiles below them.
            let (file, count) = match tile.level.checked_sub(1) {
                Some(level) => (Coordinates { level, index: start }, length),
                None => (tile, 1),
            };
            let path = tiles::tile_path(dir, range.tree(), file);
            let what = format!(
                "one of the {count} tiles from this one on contradicts the state in {}",
                segment.display()
            );
            return Err(corrupt(&path, 0, what).into());
        }
    }
    Ok(())
}

fn tile_nodes(disk: &dyn Disk, dir: &Path, tree: Tree, tile: Coordinates) -> Result<Vec<Hash>, OpenError> {
    tiles::read_tile(disk, dir, tree, tile).map_err(read_failed)?.ok_or_else(|| {
        corrupt(&tiles::tile_path(dir, tree, tile), 0, "the tile is missing, its segment is gone").into()
    })
}

/// Lets the disk work while a long copy is still being made: what was written is synced in between, by another thread. A copy
/// of usual length is synced once, at its end.
struct SyncAhead<'scope> {
    bell: mpsc::SyncSender<()>,
    rung_at: Cell<u64>,
    thread: std::thread::ScopedJoinHandle<'scope, io::Result<()>>,
}

impl<'scope> SyncAhead<'scope> {
    const EVERY: u64 = 64 << 20;

    fn begin<'env>(scope: &'scope std::thread::Scope<'scope, 'env>, file: &'env dyn DiskFile) -> Self {
        let (bell, rings) = mpsc::sync_channel(1);
        let thread = scope.spawn(move || rings.iter().try_for_each(|()| file.sync()));
        Self { bell, rung_at: Cell::new(0), thread }
    }

    fn written_to(&self, offset: u64) {
        // A bell that still rings, or that nobody hears any more, is left alone: the end tells.
        if offset - self.rung_at.get() >= Self::EVERY && self.bell.try_send(()).is_ok() {
            self.rung_at.set(offset);
        }
    }

    /// A sync that failed counts, whatever a later one says.
    fn end(self) -> io::Result<()> {
        drop(self.bell);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Name of the segment that a start writes, until it is complete.
const START_NAME: &str = "start.tmp";

/// The size from which entries are copied: the checkpoint, or further back to the beginning of segments that together
/// fill less than half of one, so that a log which restarts often does not collect nearly empty segments.
fn copy_from(live: &[Live], derived: u64, published: u64, segment_bytes: u64) -> u64 {
    let mut from = published;
    let mut bytes = 0;
    for segment in live.iter().rev() {
        bytes += segment.used - DATA_START;
        if bytes > segment_bytes / 2 {
            break;
        }
        from = from.min(segment.start.size().max(derived));
    }
    from
}

/// Writes the entries from `from` on into a new segment, makes it durable and returns it as the log's tail.
fn copy_tail(
    disk: &dyn Disk,
    wal: &Path,
    options: &Options,
    epoch: u64,
    from: u64,
    replayed: &mut Replayed,
    segments: &BTreeMap<u64, Segment>,
) -> Result<Tail, OpenError> {
    let failed = || open_io(wal);
    let state = replayed.snapshots.get(&from).cloned();
    let mut state = state.ok_or_else(|| corrupt(wal, 0, format!("no state at size {from}")))?;
    let last = replayed.state.size();
    let skip = usize::try_from(from - replayed.first_location.min(from)).unwrap_or(usize::MAX);
    let copied = replayed.locations.get_mut(skip..).unwrap_or_default();

    let bytes: u64 = copied.iter().map(|location| u64::from(location.length)).sum();
    let batches = copied.len().div_ceil(options.max_batch) as u64;
    let needed = DATA_START + bytes + batches * MAX_TRAILER as u64;
    let capacity = options.segment_bytes.max(needed + options.segment_bytes / 2);
    let blank = segment::unfilled(disk, wal, START_NAME, capacity).map_err(failed())?;
    let first = segment::first_record(epoch, Origin::Start, &state);
    blank.file.write_at(&first, 0).map_err(failed())?;

    let mut offset = DATA_START;
    let (mut copier, mut buffer) = (Copier::new(segments, epoch), Vec::new());
    std::thread::scope(|scope| {
        let ahead = SyncAhead::begin(scope, blank.file.as_ref());
        for batch in copied.chunks_mut(options.max_batch) {
            buffer.clear();
            copier.batch(batch, offset, &mut state, &mut buffer)?;
            blank.file.write_at(&buffer, offset).map_err(failed())?;
            offset += buffer.len() as u64;
            ahead.written_to(offset);
        }
        ahead.end().map_err(failed())
    })?;
    segment::write_zeros(blank.file.as_ref(), offset, capacity).map_err(failed())?;
    if state.size() != last || state.ranges != replayed.state.ranges {
        return Err(corrupt(&blank.path, 0, "the copy differs from what was read a moment ago").into());
    }
    segment::begin(disk, wal, &blank, epoch).map_err(failed())?;
    Ok(Tail { epoch, file: blank.file, offset, capacity, state })
}
