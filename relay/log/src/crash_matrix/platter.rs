//! What a machine holds of its files: what programs see (the page cache) and what a power cut would leave (the platter).
//!
//! - Written bytes are durable after their file's sync. Until then each sector of 512 bytes, and each change of the
//!   length, is on the platter or not, independently of every other.
//! - Room that was reserved changes the length at once and reads as zeros. On the platter its blocks of 4096 bytes are
//!   unwritten until their file's sync after a write; until then a whole block may be there or not, as well as a sector.
//! - A name (created, given by a rename, removed) is durable after its directory's sync. Until then each change is on
//!   the platter or not, independently of every other; a rename is one change.
//! - After a failed sync of a file its pages count as clean: programs go on seeing them, a later sync has nothing to
//!   do, and the platter keeps what it had. After a failed sync of a directory the changes stay to be written: a file
//!   system whose own metadata cannot be written goes read-only instead of forgetting.
//!
//! Pure: no threads, no faults; [`super::vfs`] adds those.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

const SECTOR: usize = 512;
/// Sectors of a block, which is what a file system reserves and marks as written.
const BLOCK: u64 = 8;

/// The bytes of a sector, with a sum of them, so that disks are compared quickly.
struct Sector {
    bytes: [u8; SECTOR],
    sum: u64,
}

impl Sector {
    /// Nothing for zeros.
    fn of(bytes: [u8; SECTOR]) -> Option<Arc<Self>> {
        if bytes == [0; SECTOR] {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        Some(Arc::new(Self { bytes, sum: hasher.finish() }))
    }
}

impl Hash for Sector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sum.hash(state);
    }
}

/// A file's bytes. A sector that is not there is all zeros.
#[derive(Clone, Default)]
struct Content {
    length: u64,
    sectors: BTreeMap<u64, Arc<Sector>>,
    /// Of both, once it was asked for: most files are compared many times between two changes.
    sum: OnceLock<u64>,
}

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let sum = || {
            let mut hasher = DefaultHasher::new();
            (self.length, &self.sectors).hash(&mut hasher);
            hasher.finish()
        };
        self.sum.get_or_init(sum).hash(state);
    }
}

impl Content {
    fn set(&mut self, number: u64, sector: Option<Arc<Sector>>) {
        self.sum = OnceLock::new();
        match sector {
            Some(sector) => self.sectors.insert(number, sector),
            None => self.sectors.remove(&number),
        };
    }

    fn resize(&mut self, length: u64) {
        self.sum = OnceLock::new();
        let whole = length / SECTOR as u64;
        let mut cut = self.sectors.split_off(&whole);
        if let Some(sector) = cut.remove(&whole) {
            let mut kept = sector.bytes;
            kept[(length % SECTOR as u64) as usize..].fill(0);
            self.set(whole, Sector::of(kept));
        }
        self.length = length;
    }

    /// Whether something stands behind the end, which a longer file would show.
    fn has_rest(&self) -> bool {
        let (whole, part) = (self.length / SECTOR as u64, (self.length % SECTOR as u64) as usize);
        match self.sectors.last_key_value() {
            Some((number, sector)) if *number == whole => sector.bytes[part..].iter().any(|byte| *byte != 0),
            Some((number, _)) => *number > whole,
            None => false,
        }
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = self.length.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let wanted = &mut buffer[..count];
        wanted.fill(0);
        let first = offset / SECTOR as u64;
        for (number, sector) in self.sectors.range(first..(offset + count as u64).div_ceil(SECTOR as u64)) {
            let at = number * SECTOR as u64;
            let from = offset.max(at);
            let to = (offset + count as u64).min(at + SECTOR as u64);
            let target = (from - offset) as usize..(to - offset) as usize;
            wanted[target].copy_from_slice(&sector.bytes[(from - at) as usize..(to - at) as usize]);
        }
        count
    }
}

/// One thing that a sync would make durable.
#[derive(Clone)]
enum Change {
    Sector(u64, Option<Arc<Sector>>),
    Length(u64),
}

#[derive(Clone)]
struct File {
    cache: Arc<Content>,
    durable: Arc<Content>,
    unsynced: Vec<Change>,
    /// Where the room ends, in sectors, that was reserved and not written: the end of a file, if it has any.
    reserved: u64,
    /// The name it has, for whoever tells of it.
    name: Arc<Path>,
}

impl File {
    fn new(name: &Path) -> Self {
        let (cache, durable) = <(Arc<Content>, Arc<Content>)>::default();
        Self { cache, durable, unsynced: Vec::new(), reserved: 0, name: name.into() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

/// One change of a directory.
#[derive(Clone)]
struct NameChange {
    dir: PathBuf,
    gone: Option<PathBuf>,
    put: Option<(PathBuf, Node)>,
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, node)) = &self.put {
            names.insert(path.clone(), *node);
        }
    }
}

/// Something that a power cut may keep or lose by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// A change of a directory: the position among the unsynced ones.
    Name(usize),
    /// A sector or a length of a file: the file's number and the position among its unsynced changes.
    Data(u64, usize),
}

/// What becomes of reserved room; all but the first are defects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserved {
    Sound,
    /// No sync makes the new length durable.
    LengthForgotten,
    /// After a power cut it shows what lay there before.
    OldBytes,
}

/// All files and names.
#[derive(Clone, Default)]
pub(super) struct Platter {
    files: BTreeMap<u64, File>,
    names: Arc<BTreeMap<PathBuf, Node>>,
    durable_names: Arc<BTreeMap<PathBuf, Node>>,
    unsynced_names: Vec<NameChange>,
    next: u64,
}

impl Platter {
    /// An empty file system with one directory, which is durable.
    pub(super) fn new(dir: &Path) -> Self {
        let names = Arc::new(BTreeMap::from([(dir.to_owned(), Node::Dir)]));
        Self { names: Arc::clone(&names), durable_names: names, ..Self::default() }
    }

    // What programs see and do.

    pub(super) fn has_dir(&self, dir: &Path) -> bool {
        self.names.get(dir) == Some(&Node::Dir)
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.names.contains_key(path)
    }

    pub(super) fn file(&self, path: &Path) -> Option<u64> {
        match self.names.get(path) {
            Some(Node::File(file)) => Some(*file),
            _ => None,
        }
    }

    /// All paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.names.keys().map(PathBuf::as_path)
    }

    fn change_names(&mut self, dir: &Path, gone: Option<&Path>, put: Option<(&Path, Node)>) {
        let (gone, put) = (gone.map(Path::to_owned), put.map(|(path, node)| (path.to_owned(), node)));
        let change = NameChange { dir: dir.to_owned(), gone, put };
        change.apply(Arc::make_mut(&mut self.names));
        self.unsynced_names.push(change);
    }

    pub(super) fn create_dir(&mut self, path: &Path) {
        self.change_names(parent(path), None, Some((path, Node::Dir)));
    }

    /// Creates an empty file or empties the one that is there.
    pub(super) fn create(&mut self, path: &Path) -> u64 {
        if let Some(number) = self.file(path) {
            let file = self.files.get_mut(&number).unwrap();
            Arc::make_mut(&mut file.cache).resize(0);
            file.unsynced.push(Change::Length(0));
            file.reserved = 0;
            return number;
        }
        let number = self.next;
        self.next += 1;
        self.files.insert(number, File::new(path));
        self.change_names(parent(path), None, Some((path, Node::File(number))));
        number
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let Some(number) = self.file(from) else { return false };
        self.change_names(parent(to), Some(from), Some((to, Node::File(number))));
        if let Some(file) = self.files.get_mut(&number) {
            file.name = to.into();
        }
        true
    }

    pub(super) fn remove(&mut self, path: &Path) {
        if self.file(path).is_some() {
            self.change_names(parent(path), Some(path), None);
        }
    }

    pub(super) fn name_of(&self, file: u64) -> &Path {
        self.files.get(&file).map_or(Path::new(""), |file| &file.name)
    }

    pub(super) fn length(&self, file: u64) -> u64 {
        self.files[&file].cache.length
    }

    /// Whether a file is the same, unchanged, as in an earlier state of this file system.
    pub(super) fn is_as_in(&self, path: &Path, earlier: &Platter) -> bool {
        let content =
            |platter: &Platter| platter.file(path).map(|file| Arc::clone(&platter.files[&file].cache));
        match (content(self), content(earlier)) {
            (Some(now), Some(then)) => Arc::ptr_eq(&now, &then),
            _ => false,
        }
    }

    pub(super) fn read_at(&self, file: u64, buffer: &mut [u8], offset: u64) -> usize {
        self.files[&file].cache.read(buffer, offset)
    }

    pub(super) fn read(&self, file: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.length(file) as usize];
        self.read_at(file, &mut bytes, 0);
        bytes
    }

    pub(super) fn write_at(&mut self, file: u64, bytes: &[u8], offset: u64) {
        let file = self.files.get_mut(&file).unwrap();
        let cache = Arc::make_mut(&mut file.cache);
        let end = offset + bytes.len() as u64;
        if end > cache.length {
            cache.resize(end);
            file.unsynced.push(Change::Length(end));
        }
        for number in offset / SECTOR as u64..end.div_ceil(SECTOR as u64) {
            let at = number * SECTOR as u64;
            let (from, to) = (offset.max(at), end.min(at + SECTOR as u64));
            let before = cache.sectors.get(&number).map_or([0; SECTOR], |sector| sector.bytes);
            let mut sector = before;
            let part = &bytes[(from - offset) as usize..(to - offset) as usize];
            sector[(from - at) as usize..(to - at) as usize].copy_from_slice(part);
            if before == sector {
                continue;
            }
            let sector = Sector::of(sector);
            cache.set(number, sector.clone());
            file.unsynced.push(Change::Sector(number, sector));
        }
    }

    /// Takes room up to a length without writing it.
    pub(super) fn reserve(&mut self, file: u64, length: u64, how: Reserved) {
        let file = self.files.get_mut(&file).unwrap();
        let end = length.div_ceil(SECTOR as u64);
        if how == Reserved::OldBytes {
            let old = Sector::of([0xA5; SECTOR]);
            file.unsynced.extend((0..end).map(|number| Change::Sector(number, old.clone())));
        }
        if length > file.cache.length {
            Arc::make_mut(&mut file.cache).resize(length);
            if how != Reserved::LengthForgotten {
                file.unsynced.push(Change::Length(length));
            }
        }
        file.reserved = end;
    }

    pub(super) fn is_reserved(&self, file: u64) -> bool {
        self.files[&file].reserved > 0
    }

    pub(super) fn sync(&mut self, file: u64) {
        let file = self.files.get_mut(&file).unwrap();
        for change in std::mem::take(&mut file.unsynced) {
            apply(&change, Arc::make_mut(&mut file.durable));
        }
    }

    /// A sync that fails after writing every n-th change, or none: the rest will never be written.
    pub(super) fn fail_sync(&mut self, file: u64, written: Option<usize>) {
        let file = self.files.get_mut(&file).unwrap();
        let changes = std::mem::take(&mut file.unsynced);
        if let Some(step) = written {
            changes.iter().step_by(step).for_each(|change| apply(change, Arc::make_mut(&mut file.durable)));
        }
    }

    pub(super) fn all_files(&self) -> Vec<u64> {
        self.files.keys().copied().collect()
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        let (synced, rest) =
            std::mem::take(&mut self.unsynced_names).into_iter().partition(|change| change.dir == dir);
        self.unsynced_names = rest;
        let durable = Arc::make_mut(&mut self.durable_names);
        Vec::into_iter(synced).for_each(|change| change.apply(durable));
    }

    // What a power cut may leave.

    /// Everything that is not durable yet.
    pub(super) fn units(&self) -> Vec<Unit> {
        let names = (0..self.unsynced_names.len()).map(Unit::Name);
        let data = |(number, file): (&u64, &File)| {
            let number = *number;
            (0..file.unsynced.len()).map(move |change| Unit::Data(number, change))
        };
        names.chain(self.files.iter().flat_map(data)).collect()
    }

    /// The unsynced sectors of each block of reserved room: a file system that marks a block as written does so for all of it.
    pub(super) fn blocks(&self) -> Vec<BTreeSet<Unit>> {
        let mut blocks: BTreeMap<(u64, u64), BTreeSet<Unit>> = BTreeMap::new();
        for (number, file) in self.files.iter().filter(|(_, file)| file.reserved > 0) {
            for (position, change) in file.unsynced.iter().enumerate() {
                if let Change::Sector(sector, _) = change
                    && *sector < file.reserved
                {
                    blocks
                        .entry((*number, sector / BLOCK))
                        .or_default()
                        .insert(Unit::Data(*number, position));
                }
            }
        }
        // One of a single sector is tried as such.
        blocks.into_values().filter(|units| units.len() > 1).collect()
    }

    /// What is found after a power cut that kept these of the unsynced changes. All of it is durable.
    pub(super) fn after_power_loss(&self, keeps: impl Fn(&Unit) -> bool) -> Platter {
        let mut names = Arc::clone(&self.durable_names);
        for (position, change) in self.unsynced_names.iter().enumerate() {
            if keeps(&Unit::Name(position)) {
                change.apply(Arc::make_mut(&mut names));
            }
        }
        // A directory that is lost takes along what is in it.
        let makes_dir = |change: &NameChange| matches!(change.put, Some((_, Node::Dir)));
        while self.unsynced_names.iter().any(makes_dir)
            && let Some(lost) =
                names.keys().find(|path| is_orphan(path, &names, &self.durable_names)).cloned()
        {
            Arc::make_mut(&mut names).remove(&lost);
        }
        let mut files = BTreeMap::new();
        for (path, node) in names.iter() {
            let Node::File(number) = node else { continue };
            let file = &self.files[number];
            let mut content = Arc::clone(&file.durable);
            for (position, change) in file.unsynced.iter().enumerate() {
                if keeps(&Unit::Data(*number, position)) {
                    apply(change, Arc::make_mut(&mut content));
                }
            }
            // Beyond the end there is nothing, even if the file grows again.
            if content.has_rest() {
                let length = content.length;
                Arc::make_mut(&mut content).resize(length);
            }
            let found = File {
                cache: Arc::clone(&content),
                durable: content,
                unsynced: Vec::new(),
                reserved: file.reserved,
                name: if *file.name == **path { Arc::clone(&file.name) } else { path.as_path().into() },
            };
            files.insert(*number, found);
        }
        Platter {
            files,
            names: Arc::clone(&names),
            durable_names: names,
            unsynced_names: Vec::new(),
            next: self.next,
        }
    }

    /// Equal for file systems in which programs find the same, and of which the same is durable.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, node) in self.names.iter() {
            path.as_os_str().hash(&mut hasher);
            if let Node::File(number) = node {
                self.files[number].cache.hash(&mut hasher);
            }
        }
        let is_clean = self.unsynced_names.is_empty()
            && self.files.values().all(|file| Arc::ptr_eq(&file.cache, &file.durable));
        if !is_clean {
            for (path, node) in self.durable_names.iter() {
                path.as_os_str().hash(&mut hasher);
                if let Node::File(number) = node {
                    self.files[number].durable.hash(&mut hasher);
                }
            }
            for file in self.files.values() {
                file.unsynced.len().hash(&mut hasher);
            }
            self.unsynced_names.len().hash(&mut hasher);
        }
        hasher.finish()
    }
}

fn apply(change: &Change, content: &mut Content) {
    match change {
        Change::Sector(number, sector) => content.set(*number, sector.clone()),
        Change::Length(length) => content.resize(*length),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn is_orphan(path: &Path, names: &BTreeMap<PathBuf, Node>, durable: &BTreeMap<PathBuf, Node>) -> bool {
    // The directory that everything is in has no parent here.
    let is_root = durable.keys().next().is_some_and(|root| root == path);
    !is_root && names.get(parent(path)) != Some(&Node::Dir)
}
