//! What is in one archive: its members in their order, where each one's bytes come from, and how long the whole is.
//!
//! A plan holds eight bytes for each tile and bundle (a megabyte for a full archive) and whole texts only for the few small
//! ones. It never changes; a download that goes on later names it by its entity tag.

use std::io;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use paramant_protocol::canonical;
use paramant_protocol::sth::SignedSth;
use paramant_tlog::tile::{self, Coordinates, WIDTH};

use super::frame::Frame;
use super::sums::{Sum, SumsFile, joined};
use super::zip::{self, Member};
use super::{ArchiveError, Span};
use crate::log_service::LogService;

/// Tree heads that are read and summed together: a third of a megabyte.
const HEADS_AT_ONCE: u64 = 64;
const FULL: u16 = 256;

/// One archive, ready to be sent in whole or in part.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) etag: String,
    /// Length of the zip.
    pub(crate) length: u64,
    complete: bool,
    pub(super) frame: Frame,
    runs: Vec<Run>,
    /// Of each piece of the tree heads, and of all.
    heads: Vec<Sum>,
    heads_joined: (u64, u32),
    /// Number of members.
    pub(super) members: u64,
    /// Where the directory begins.
    pub(super) directory: u64,
}

/// Members of one sort, one after the other.
#[derive(Debug)]
enum Run {
    Text(&'static str, Bytes),
    /// From that number on; all are full but perhaps the last.
    Bundles {
        first: u64,
        last_width: u16,
        sums: Vec<Sum>,
    },
    Tiles {
        level: u8,
        first: u64,
        last_width: u16,
        sums: Vec<Sum>,
    },
    Heads,
}

/// Where the bytes of a member come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Text(Bytes),
    Bundle(u64, u16),
    Tile(Coordinates, u16),
    /// In pieces of [`HEADS_AT_ONCE`].
    Heads,
}

impl Plan {
    /// Reads and sums what was not summed before, until the time is over: then nothing, and the next call goes on.
    pub(super) fn make(
        log: &LogService,
        folder: &Path,
        span: Span,
        frame: Frame,
        until: Instant,
    ) -> Result<Option<Self>, ArchiveError> {
        let remembered = |what: &str| SumsFile::open(&folder.join(format!("{}.{what}", span.number)));
        let end = span.end(frame.size);
        let (first, full) = (span.first / WIDTH, (end - span.first) / WIDTH);
        let count = usize::try_from(full).unwrap_or(usize::MAX);
        let tile = |level, index, width| tile(log, Coordinates { level, index }, width);

        let read = |n| bundle(log, first + n, FULL);
        let Some(bundles) = remembered("bundles")?.complete(count, until, read)? else { return Ok(None) };
        let read = |n| tile(0, first + n, FULL);
        let Some(leaves) = remembered("tiles")?.complete(count, until, read)? else { return Ok(None) };
        let heads_read = |n: u64| heads(log, &frame, n);
        let full_heads = usize::try_from((frame.heads.end - frame.heads.start) / HEADS_AT_ONCE);
        let full_heads = full_heads.unwrap_or(usize::MAX);
        let Some(mut heads) = remembered("heads")?.complete(full_heads, until, heads_read)? else {
            return Ok(None);
        };
        let last = heads_read(full_heads as u64)?;
        if !last.is_empty() {
            heads.push(Sum::of(&last));
        }

        let mut runs =
            frame.texts(span).into_iter().map(|(name, text)| Run::Text(name, text)).collect::<Vec<_>>();
        let edge = Coordinates { level: 0, index: first + full }.width_at(end);
        let mut run = Run::Bundles { first, last_width: FULL, sums: bundles };
        if edge > 0 {
            run.push(edge, Sum::of(&bundle(log, first + full, edge)?));
        }
        runs.push(run);
        let mut run = Run::Tiles { level: 0, first, last_width: FULL, sums: leaves };
        if edge > 0 {
            run.push(edge, Sum::of(&tile(0, first + full, edge)?));
        }
        runs.push(run);
        for (level, indices) in span.upper_tiles(frame.size) {
            let mut run = Run::Tiles { level, first: indices.start, last_width: FULL, sums: Vec::new() };
            for index in indices {
                let width = Coordinates { level, index }.width_at(frame.size);
                run.push(width, Sum::of(&tile(level, index, width)?));
            }
            runs.push(run);
        }
        runs.push(Run::Heads);
        runs.retain(
            |run| !matches!(run, Run::Bundles { sums, .. } | Run::Tiles { sums, .. } if sums.is_empty()),
        );
        Ok(Some(Self::of(span, frame, runs, heads)))
    }

    /// Whether all its entries are in it, so that it never changes.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    fn of(span: Span, frame: Frame, runs: Vec<Run>, heads: Vec<Sum>) -> Self {
        let members = runs.iter().map(Run::count).sum();
        let etag = frame.etag();
        let heads_joined = joined(&heads);
        let complete = span.is_complete(frame.size);
        let mut plan =
            Self { etag, length: 0, complete, frame, runs, heads, heads_joined, members, directory: 0 };
        let (mut at, mut directory) = (0, 0);
        for (member, _) in (0..members).filter_map(|number| plan.member(number)) {
            directory += member.central_length(at);
            at += member.local_length() + member.size;
        }
        plan.directory = at;
        plan.length = at + directory + plan.end(directory).len() as u64;
        plan
    }

    /// What ends the zip.
    pub(super) fn end(&self, directory_length: u64) -> Vec<u8> {
        zip::end(self.members, self.directory, directory_length)
    }

    /// A member by its number.
    pub(super) fn member(&self, number: u64) -> Option<(Member, Source)> {
        let mut within = number;
        for run in &self.runs {
            match within.checked_sub(run.count()) {
                None => return self.member_of(run, within),
                Some(rest) => within = rest,
            }
        }
        None
    }

    fn member_of(&self, run: &Run, within: u64) -> Option<(Member, Source)> {
        let member = |name, sum: Sum| Member { name, size: sum.length.into(), crc: sum.crc };
        Some(match run {
            Run::Text(name, text) => (member((*name).to_owned(), Sum::of(text)), Source::Text(text.clone())),
            Run::Bundles { first, last_width, sums } => {
                let (sum, width) = nth(sums, within, *last_width)?;
                let index = first + within;
                (member(tile::bundle_path(index, width), sum), Source::Bundle(index, width))
            }
            Run::Tiles { level, first, last_width, sums } => {
                let (sum, width) = nth(sums, within, *last_width)?;
                let place = Coordinates { level: *level, index: first + within };
                (member(place.path(width), sum), Source::Tile(place, width))
            }
            Run::Heads => {
                let (size, crc) = self.heads_joined;
                (Member { name: "sth.ndjson".to_owned(), size, crc }, Source::Heads)
            }
        })
    }

    /// The length of a piece of a member's content, or nothing behind the last.
    pub(super) fn piece_length(&self, member: &Member, source: &Source, piece: usize) -> Option<u64> {
        match source {
            Source::Heads => self.heads.get(piece).map(|sum| sum.length.into()),
            _ => (piece == 0).then_some(member.size),
        }
    }

    /// A piece of a member's content, compared with its sum.
    pub(super) fn read(
        &self,
        log: &LogService,
        member: &Member,
        source: &Source,
        piece: usize,
    ) -> Result<Bytes, ArchiveError> {
        let bytes = match source {
            Source::Text(text) => return Ok(text.clone()),
            Source::Bundle(index, width) => bundle(log, *index, *width)?,
            Source::Tile(place, width) => tile(log, *place, *width)?,
            Source::Heads => heads(log, &self.frame, piece as u64)?,
        };
        let expected = match source {
            Source::Heads => self.heads.get(piece).copied(),
            _ => u32::try_from(member.size).ok().map(|length| Sum { length, crc: member.crc }),
        };
        if expected == Some(Sum::of(&bytes)) {
            Ok(bytes.into())
        } else {
            Err(ArchiveError::Changed(member.name.clone()))
        }
    }
}

impl Run {
    fn count(&self) -> u64 {
        match self {
            Self::Text(..) | Self::Heads => 1,
            Self::Bundles { sums, .. } | Self::Tiles { sums, .. } => sums.len() as u64,
        }
    }

    /// Adds one; it is the last if it is not full.
    fn push(&mut self, width: u16, sum: Sum) {
        if let Self::Bundles { last_width, sums, .. } | Self::Tiles { last_width, sums, .. } = self {
            *last_width = width;
            sums.push(sum);
        }
    }
}

fn nth(sums: &[Sum], within: u64, last_width: u16) -> Option<(Sum, u16)> {
    let within = usize::try_from(within).ok()?;
    let width = if within + 1 == sums.len() { last_width } else { FULL };
    sums.get(within).map(|sum| (*sum, width))
}

fn bundle(log: &LogService, index: u64, width: u16) -> Result<Vec<u8>, ArchiveError> {
    let missing = || ArchiveError::Changed(tile::bundle_path(index, width));
    log.engine().entry_bundle(index, width)?.ok_or_else(missing)
}

fn tile(log: &LogService, place: Coordinates, width: u16) -> Result<Vec<u8>, ArchiveError> {
    let missing = || ArchiveError::Changed(place.path(width));
    log.engine().tile(place.level, place.index, width)?.ok_or_else(missing)
}

/// A piece of `sth.ndjson`.
fn heads(log: &LogService, frame: &Frame, piece: u64) -> Result<Vec<u8>, ArchiveError> {
    let from = frame.heads.start + piece * HEADS_AT_ONCE;
    let limit = frame.heads.end.saturating_sub(from).min(HEADS_AT_ONCE);
    Ok(lines(&log.tree_heads().range(from, limit)?)?)
}

/// Lines of `sth.ndjson`: each tree head in its canonical form on a line of its own.
pub(crate) fn lines(heads: &[SignedSth]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for head in heads {
        lines.extend(canonical::to_vec(head).map_err(io::Error::other)?);
        lines.push(b'\n');
    }
    Ok(lines)
}
