//! Reading a log's directory while another process goes on writing it, so that what was read is a log.
//!
//! The order of reading is the promise, as the order of writing is for a crash:
//!
//! 1. every segment is opened: one that is removed from here on stays readable, and all that was durable before is in them
//!    or in tiles;
//! 2. `checkpoint` is read: the oldest segment of 1 begins at or below it, since only what lies under a published checkpoint is
//!    ever removed;
//! 3. segments that were begun meanwhile are opened: everything under that checkpoint is in a segment that is open now, or
//!    in tiles;
//! 4. each segment is read up to its last valid trailer: what is being written behind that is not part of the copy;
//! 5. full tiles and bundles under the checkpoint are read: they never change, and those under the oldest segment are there.

use crate::disk::{Disk, DiskFile, RealDisk};
use crate::error::{OpenError, open_io};
use crate::record::Kind;
use crate::replay::corrupt;
use crate::segment::{self, DATA_START, SegmentReader};
use crate::tiles::{bundle_path, tile_path};
use paramant_tlog::note::Note;
use paramant_tlog::tile::{self, Coordinates, MAX_LEVEL, WIDTH};
use paramant_tlog::{Checkpoint, Tree};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often reading begins again because a segment went before it was opened.
const ATTEMPTS: u32 = 20;

/// Receives one file: its path in the directory, its length, its bytes.
pub type ShowFile<'a> = dyn FnMut(&Path, u64, &mut dyn Read) -> io::Result<()> + 'a;

/// Why a log was not read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory is not that of a log, or is damaged.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The files could not be written where they were to go.
    #[error("cannot write {}: {source}", path.display())]
    Show {
        /// Which file of the log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Shows every file of a log that its restart needs, while the log may be open elsewhere. Returns the size of its checkpoint.
///
/// # Errors
/// When a file cannot be read, is damaged, or `show` refuses it.
pub fn backup(dir: &Path, show: &mut ShowFile<'_>) -> Result<u64, BackupError> {
    let disk = RealDisk;
    let wal = dir.join("wal");
    let (segments, checkpoint) = held(&disk, dir, &wal)?;
    let path = dir.join("checkpoint");
    let size = checkpoint.as_deref().map_or(Ok(0), |note| size_of(note, &path))?;

    let mut show = |path: &Path, length: u64, bytes: &mut dyn Read| {
        show(path, length, bytes).map_err(|source| BackupError::Show { path: path.to_owned(), source })
    };
    for (epoch, file) in segments {
        let path = segment::path(Path::new("wal"), epoch);
        let end = end_of_batches(&file, epoch, &wal)?;
        show(&path, end, &mut Part { file, at: 0, end })?;
    }
    if let Some(note) = checkpoint {
        show(Path::new("checkpoint"), note.len() as u64, &mut note.as_slice())?;
    }
    for path in full_files(size) {
        let from = dir.join(&path);
        // Not derived yet: it is in the segments.
        let Some(bytes) = disk.read(&from).map_err(open_io(&from))? else { continue };
        show(&path, bytes.len() as u64, &mut bytes.as_slice())?;
    }
    Ok(size)
}

type Segments = BTreeMap<u64, Arc<dyn DiskFile>>;

/// Steps 1 to 3, again from the beginning when a segment went before it was opened.
fn held(disk: &dyn Disk, dir: &Path, wal: &Path) -> Result<(Segments, Option<Vec<u8>>), OpenError> {
    let path = dir.join("checkpoint");
    let mut gone = None;
    for _ in 0..ATTEMPTS {
        let mut segments = Segments::new();
        gone = open_segments(disk, wal, &mut segments)?;
        if gone.is_some() {
            continue;
        }
        let checkpoint = disk.read(&path).map_err(open_io(&path))?;
        gone = open_segments(disk, wal, &mut segments)?;
        if gone.is_none() {
            return Ok((segments, checkpoint));
        }
    }
    let path = gone.unwrap_or_else(|| wal.to_owned());
    Err(open_io(&path)(io::ErrorKind::NotFound.into()))
}

/// Opens the segments that are not open yet; answers one that was there and went.
fn open_segments(disk: &dyn Disk, wal: &Path, open: &mut Segments) -> Result<Option<PathBuf>, OpenError> {
    let names = disk.list(wal).map_err(open_io(wal))?;
    for epoch in names.iter().filter_map(|name| segment::epoch_of(name)) {
        if open.contains_key(&epoch) {
            continue;
        }
        let path = segment::path(wal, epoch);
        match disk.open(&path) {
            Ok(file) => drop(open.insert(epoch, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(path)),
            Err(error) => return Err(open_io(&path)(error)),
        }
    }
    Ok(None)
}

/// Where the last valid trailer of a segment ends.
fn end_of_batches(file: &Arc<dyn DiskFile>, epoch: u64, wal: &Path) -> Result<u64, OpenError> {
    let path = segment::path(wal, epoch);
    let mut reader = SegmentReader::new(Arc::clone(file), epoch).map_err(open_io(&path))?;
    reader
        .first()
        .map_err(open_io(&path))?
        .ok_or_else(|| corrupt(&path, 0, "the segment's first record is not valid"))?;
    let (mut offset, mut end) = (DATA_START, DATA_START);
    while let Some(record) = reader.record(offset).map_err(open_io(&path))? {
        offset += record.length() as u64;
        if record.kind == Kind::Trailer {
            end = offset;
        }
    }
    Ok(end)
}

fn size_of(note: &[u8], path: &Path) -> Result<u64, OpenError> {
    let text = Note::parse(note).ok();
    let checkpoint = text.and_then(|note| Checkpoint::parse(&note.text).ok());
    Ok(checkpoint.ok_or_else(|| corrupt(path, 0, "it is no signed checkpoint"))?.size)
}

/// The paths of all full tiles of both trees, and of all full bundles, of a log of this size.
fn full_files(size: u64) -> impl Iterator<Item = PathBuf> {
    let here = Path::new("");
    let places = (0..=MAX_LEVEL).flat_map(move |level| {
        (0..tile::nodes_at(level, size) / WIDTH).map(move |index| Coordinates { level, index })
    });
    let tiles =
        places.flat_map(move |place| [Tree::Sha256, Tree::Sha3].map(|tree| tile_path(here, tree, place)));
    tiles.chain((0..size / WIDTH).map(move |index| bundle_path(here, index)))
}

/// A part of a segment.
struct Part {
    file: Arc<dyn DiskFile>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(buffer.get_mut(..room).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
