//! Archives of the log: zips of 16 Mi entries each, with everything it takes to check them offline.
//!
//! An archive is never written anywhere: its layout follows from the sizes and sums of its members (`zip`, `plan`), which are
//! remembered beside the log (`sums`), and its bytes are read from tiles, bundles and tree heads while they are sent
//! (`cursor`). So any part of it can be sent, and nothing grows but twelve bytes for each tile, bundle and run of tree heads.
//! A complete archive never changes; the last one is made up anew at most once a minute, and older versions of it stay for
//! downloads that go on. Used by `public::log_archive`; decision record 0026 says why no library does this.

mod cursor;
mod frame;
mod plan;
mod sums;
mod zip;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use paramant_log::ReadError;
use paramant_tlog::tile::{self, MAX_LEVEL, WIDTH};
use sha2::{Digest, Sha256};

pub(crate) use self::cursor::Cursor;
use self::frame::Frame;
pub(crate) use self::plan::{Plan, lines};
use crate::data_dir::DataDir;
use crate::log_service::{LogService, RecordError};
use crate::witnesses::Witnesses;

/// Level of the tile node that is the root of one archive's entries: 256^3 entries.
const LEVEL: u8 = 3;
/// How long the last archive's content stays as it is while the log grows.
const FRESH: Duration = Duration::from_secs(60);
/// Plans that are kept in memory, a megabyte each at most.
const PLANS: usize = 6;
/// How long one request works on what it takes to send the first byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no archive to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The log.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The tree heads.
    #[error(transparent)]
    TreeHeads(#[from] RecordError),
    /// What is remembered of it.
    #[error("the folder archive in the data directory cannot be used: {0}")]
    Io(#[from] io::Error),
    /// A member's bytes are not those that were summed.
    #[error(
        "{0} in the log is not what it was when its archive was made up; both are read anew at the next request"
    )]
    Changed(String),
}

/// What became of a question for an archive.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Here it is.
    Ready(Arc<Plan>),
    /// There is no such archive.
    Absent,
    /// It takes more passes over the log than one request has time for; the next goes on.
    NotYet,
}

/// Which entries an archive is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its number, from 0.
    pub(crate) number: u64,
    /// Its first entry.
    pub(crate) first: u64,
    level: u8,
}

impl Span {
    fn new(number: u64, level: u8) -> Option<Self> {
        Some(Self { number, first: number.checked_mul(entries(level))?, level })
    }

    /// Behind its last entry, in a log of this size.
    pub(crate) fn end(self, size: u64) -> u64 {
        self.first.saturating_add(entries(self.level)).min(size)
    }

    /// Whether a log of this size has all its entries.
    pub(crate) fn is_complete(self, size: u64) -> bool {
        self.end(size) - self.first.min(size) == entries(self.level)
    }

    /// The tiles beside those of level 0: all within the span, and what the root of a tree of this size takes besides.
    fn upper_tiles(self, size: u64) -> Vec<(u8, Range<u64>)> {
        let end = self.end(size);
        let tiles = |level, of| tile::nodes_at(level, of).div_ceil(WIDTH);
        let within = (1..self.level)
            .map(|level| (level, tile::nodes_at(level, self.first) / WIDTH..tiles(level, end)));
        let edge = (0..self.level).filter(|_| end < size).filter_map(|level| {
            let full = tile::nodes_at(level, size) / WIDTH;
            (tiles(level, size) > full).then_some((level, full..full + 1))
        });
        let above = (self.level..=MAX_LEVEL).map(|level| (level, 0..tiles(level, size)));
        within.chain(edge).chain(above).filter(|(_, indices)| !indices.is_empty()).collect()
    }
}

fn entries(level: u8) -> u64 {
    1 << (u32::from(level) * 8)
}

/// All archives of one log.
#[derive(Debug)]
pub(crate) struct Archives {
    log: LogService,
    witnesses: Witnesses,
    folder: PathBuf,
    level: u8,
    plans: Mutex<VecDeque<Kept>>,
    /// One request at a time makes a plan.
    making: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Clone)]
struct Kept {
    number: u64,
    made: Instant,
    plan: Arc<Plan>,
}

impl Archives {
    /// Nothing is read before somebody asks.
    pub(crate) fn new(log: LogService, witnesses: Witnesses, data: &DataDir) -> Self {
        Self::of_level(log, witnesses, data, LEVEL)
    }

    fn of_level(log: LogService, witnesses: Witnesses, data: &DataDir, level: u8) -> Self {
        // After `log adopt` another log is in the same place.
        let origin = hex::encode(Sha256::digest(log.origin()).get(..8).unwrap_or_default());
        let folder = data.root().join("archive").join(origin);
        Self { log, witnesses, folder, level, plans: Mutex::default(), making: Arc::default() }
    }

    /// The spans of all archives of the log as it is published now, and its size.
    pub(crate) fn spans(&self) -> (Vec<Span>, u64) {
        let size = self.log.published().map_or(0, |published| published.head.size);
        let count = size.div_ceil(entries(self.level));
        ((0..count).filter_map(|number| Span::new(number, self.level)).collect(), size)
    }

    /// The plan of an archive; `continued` is the entity tag that a broken-off download names.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn plan(
        self: &Arc<Self>,
        number: u64,
        continued: Option<&str>,
    ) -> Result<Asked, ArchiveError> {
        let Some(span) = Span::new(number, self.level) else { return Ok(Asked::Absent) };
        let alone = tokio::time::timeout(PATIENCE, Arc::clone(&self.making).lock_owned());
        let Ok(alone) = alone.await else { return Ok(Asked::NotYet) };
        let Some(published) = self.log.published().filter(|published| span.first < published.head.size)
        else {
            return Ok(Asked::Absent);
        };
        if let Some(plan) = self.kept(span, published.head.size, continued) {
            return Ok(Asked::Ready(plan));
        }
        let complete = span.is_complete(published.head.size);
        // Sizes of tree heads only grow: once one is over the last entry, no further one belongs in here.
        let signed = self.log.tree_heads().newest().map_or(0, |head| head.tree_size);
        if complete && signed < span.end(published.head.size) {
            return Ok(Asked::NotYet);
        }
        let this = Arc::clone(self);
        let making = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&this.folder)?;
            let kept = if complete { Frame::kept(&this.folder, span) } else { None };
            let frame = match kept {
                Some(frame) if frame.size <= published.head.size => frame,
                _ => {
                    let frame = Frame::now(&this.log, this.witnesses.policy(), &published, span)?;
                    if complete {
                        frame.keep(&this.folder, span)?;
                    }
                    frame
                }
            };
            let plan = Plan::make(&this.log, &this.folder, span, frame, Instant::now() + PATIENCE)?;
            // Held until here, whether or not the client still waits.
            drop(alone);
            Ok(plan.map_or(Asked::NotYet, |plan| Asked::Ready(this.keep(number, plan))))
        });
        making.await.unwrap_or(Err(ArchiveError::Io(io::ErrorKind::Interrupted.into())))
    }

    /// Reads from the first byte to the last, both included.
    pub(crate) fn read(&self, plan: Arc<Plan>, first: u64, last: u64) -> Cursor {
        Cursor::new(plan, self.log.clone(), first, last.saturating_add(1))
    }

    /// Forgets what was remembered of an archive whose files turned out to be others.
    pub(crate) fn forget(&self, number: u64) {
        self.plans().retain(|kept| kept.number != number);
        for what in ["bundles", "tiles", "heads"] {
            // Should one stay, the next download says so again.
            let _ = std::fs::remove_file(self.folder.join(format!("{number}.{what}")));
        }
    }

    fn kept(&self, span: Span, size: u64, continued: Option<&str>) -> Option<Arc<Plan>> {
        let plans = self.plans();
        let mut of_it = plans.iter().rev().filter(|kept| kept.number == span.number);
        if let Some(found) = continued.and_then(|tag| of_it.clone().find(|kept| kept.plan.etag == tag)) {
            return Some(Arc::clone(&found.plan));
        }
        let newest = of_it.next()?;
        let was_complete = span.is_complete(newest.plan.frame.size);
        let still_true = newest.plan.frame.size == size || newest.made.elapsed() < FRESH;
        let stays = was_complete || (still_true && !span.is_complete(size));
        stays.then(|| Arc::clone(&newest.plan))
    }

    fn keep(&self, number: u64, plan: Plan) -> Arc<Plan> {
        let plan = Arc::new(plan);
        let mut plans = self.plans();
        plans.push_back(Kept { number, made: Instant::now(), plan: Arc::clone(&plan) });
        while plans.len() > PLANS {
            plans.pop_front();
        }
        plan
    }

    fn plans(&self) -> std::sync::MutexGuard<'_, VecDeque<Kept>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
