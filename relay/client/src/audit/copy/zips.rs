//! Archive zips of a log: members stored uncompressed under the names they have below `/log/`.
//!
//! The directory of a zip is read once; members are then read in place. Several zips of one log are read as one: immutable
//! tiles and bundles from whichever has them, everything else from the one with the largest checkpoint.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use paramant_protocol::sth::SignedSth;
use paramant_tlog::Checkpoint;
use paramant_tlog::note::Note;
use paramant_tlog::tile::{self, Resource, WIDTH};
use zip::{CompressionMethod, ZipArchive};

use super::MAX_RESOURCE;
use super::directory::HEADS;
use super::tree_heads::Lines;
use crate::audit::source::HeadPage;
use crate::durable::fault;
use crate::error::ClientError;

/// The most members of a zip: one of 16 Mi entries has 131,330 and a few.
const MAX_MEMBERS: usize = 1 << 20;

/// Zips of one log, the one with the largest checkpoint first.
#[derive(Debug)]
pub struct Zips {
    zips: Vec<Zip>,
    bundles: BTreeSet<u64>,
    heads: Mutex<Heads>,
}

#[derive(Debug)]
struct Zip {
    path: PathBuf,
    file: Arc<File>,
    members: HashMap<String, Range<u64>>,
    checkpoint_size: u64,
    first_bundle: u64,
}

/// Files of tree heads in the order of the entries they belong to, and how many heads the ones before the current one hold.
#[derive(Debug, Default)]
struct Heads {
    files: Vec<Lines<Section>>,
    current: usize,
    before: u64,
}

impl Zips {
    /// Opens zips.
    ///
    /// # Errors
    /// When a file cannot be read, is no archive of a log, or holds entries that another one holds too.
    pub fn open(paths: &[PathBuf]) -> Result<Self, ClientError> {
        let mut zips = paths.iter().map(Zip::open).collect::<Result<Vec<_>, _>>()?;
        let mut bundles = BTreeSet::new();
        for (number, zip) in zips.iter().enumerate() {
            for bundle in zip.bundles() {
                if bundles.insert(bundle) {
                    continue;
                }
                let other =
                    zips.iter().take(number).find(|other| other.bundles().any(|known| known == bundle));
                let text = format!(
                    "{} and {} both hold the entries from {} on: name one copy of each part",
                    other.unwrap_or(zip).path.display(),
                    zip.path.display(),
                    bundle * WIDTH
                );
                return Err(ClientError::Address(text));
            }
        }
        zips.sort_by_key(|zip| zip.first_bundle);
        let files = zips.iter().filter_map(Zip::heads).collect();
        zips.sort_by_key(|zip| std::cmp::Reverse(zip.checkpoint_size));
        Ok(Self { zips, bundles, heads: Mutex::new(Heads { files, ..Heads::default() }) })
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ClientError> {
        let immutable = name.starts_with("tile/");
        let newest = if immutable { self.zips.len() } else { 1 };
        for zip in self.zips.iter().take(newest) {
            if let Some(bytes) = zip.read(name)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// From the first bundle that is there to the last. What is missing in between is noticed when it is read.
    pub(super) fn span(&self, size: u64) -> Range<u64> {
        let first = self.bundles.first().map_or(0, |first| first * WIDTH);
        let end = self.bundles.last().map_or(0, |last| (last + 1) * WIDTH);
        first.min(size)..end.min(size)
    }

    pub(super) fn last_head(&self) -> Result<Option<SignedSth>, ClientError> {
        let mut heads = self.heads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for lines in heads.files.iter_mut().rev() {
            if let Some(head) = lines.last()? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    pub(super) fn heads(&self, from: u64) -> Result<Option<HeadPage>, ClientError> {
        let mut heads = self.heads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if heads.files.is_empty() { Ok(None) } else { heads.page(from).map(Some) }
    }
}

impl Heads {
    fn page(&mut self, from: u64) -> Result<HeadPage, ClientError> {
        if from < self.before {
            (self.current, self.before) = (0, 0);
        }
        while let Some(lines) = self.files.get_mut(self.current) {
            let page = lines.page(from.saturating_sub(self.before))?;
            if !page.heads.is_empty() {
                return Ok(HeadPage { total: None, heads: page.heads });
            }
            // This file is at its end: all its lines were counted.
            self.before += lines.reached();
            self.current += 1;
        }
        Ok(HeadPage { total: None, heads: Vec::new() })
    }
}

impl Zip {
    fn open(path: &PathBuf) -> Result<Self, ClientError> {
        let wrong = |reason: String| ClientError::Content { path: path.clone(), reason };
        let file = File::open(path).map_err(|error| fault("open", path, error))?;
        let length = file.metadata().map_err(|error| fault("read", path, error))?.len();
        let reader = io::BufReader::new(file.try_clone().map_err(|error| fault("open", path, error))?);
        let mut archive = ZipArchive::new(reader)
            .map_err(|error| wrong(format!("it is no zip that can be read: {error}")))?;
        if archive.len() > MAX_MEMBERS {
            return Err(wrong(format!("it has more than {MAX_MEMBERS} members")));
        }
        // Two readers may take two members of one name differently.
        if archive.has_duplicate_names() {
            return Err(wrong("it holds a name twice".into()));
        }
        let mut members = HashMap::with_capacity(archive.len());
        for number in 0..archive.len() {
            let member = archive.by_index_raw(number).map_err(|error| wrong(error.to_string()))?;
            let name = member.name().map_err(|error| wrong(error.to_string()))?.into_owned();
            if name.starts_with('/') || name.split(['/', '\\']).any(|part| part == "..") {
                return Err(wrong(format!("{name:?} leads out of it")));
            }
            if member.is_dir() {
                continue;
            }
            if member.compression() != CompressionMethod::Stored || member.encrypted() {
                let advice =
                    "members of a log's archive are stored as they are: unpack it and name the directory";
                return Err(wrong(format!("{name} is compressed or encrypted; {advice}")));
            }
            // For what is stored as it is both say how long; a reader that goes by the other one would read something else.
            if member.compressed_size() != member.size() {
                return Err(wrong(format!("{name} has two lengths")));
            }
            let start = member.data_start().ok_or_else(|| wrong(format!("{name} cannot be found in it")))?;
            let end = start.checked_add(member.size()).filter(|end| *end <= length);
            let end = end.ok_or_else(|| wrong(format!("{name} goes beyond its end")))?;
            members.insert(name, start..end);
        }
        let mut zip =
            Self { path: path.clone(), file: Arc::new(file), members, checkpoint_size: 0, first_bundle: 0 };
        let note = zip.read("checkpoint")?.ok_or_else(|| wrong("it holds no checkpoint".into()))?;
        // Only to choose among several zips; whether it is signed is checked later.
        let checkpoint = Note::parse(&note).ok().and_then(|note| Checkpoint::parse(&note.text).ok());
        zip.checkpoint_size = checkpoint.map_or(0, |checkpoint| checkpoint.size);
        zip.first_bundle = zip.bundles().min().unwrap_or(0);
        Ok(zip)
    }

    fn bundles(&self) -> impl Iterator<Item = u64> + '_ {
        self.members.keys().filter_map(|name| match tile::parse_path(name)? {
            Resource::Bundle(index, _) => Some(index),
            Resource::Tile(..) => None,
        })
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ClientError> {
        let Some(place) = self.members.get(name) else { return Ok(None) };
        let length = place.end - place.start;
        if length > MAX_RESOURCE {
            let reason = format!("{name} has more than {MAX_RESOURCE} bytes");
            return Err(ClientError::Content { path: self.path.clone(), reason });
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, place.start).map_err(|error| fault("read", &self.path, error))?;
        Ok(Some(bytes))
    }

    fn heads(&self) -> Option<Lines<Section>> {
        let place = self.members.get(HEADS)?.clone();
        let section = Section { file: self.file.clone(), at: place.start, place };
        Some(Lines::new(self.path.clone(), section))
    }
}

/// A member, read in place.
#[derive(Debug)]
struct Section {
    file: Arc<File>,
    place: Range<u64>,
    at: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.place.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..length) else { return Ok(0) };
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let base = match to {
            SeekFrom::Start(offset) => self.place.start.checked_add(offset),
            SeekFrom::End(offset) => self.place.end.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = base
            .filter(|at| self.place.contains(at) || *at == self.place.end)
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at - self.place.start)
    }
}
