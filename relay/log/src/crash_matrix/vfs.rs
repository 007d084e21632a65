//! A disk in memory that counts and names every call, fails the one it is told to, and keeps what each left behind.

use super::journal::{Journal, Seen};
use super::platter::{Platter, Reserved};
use super::turn::{Turns, thread_name};
use crate::disk::{DirLock, Disk, DiskFile, LockError};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::SystemTime;

/// An operation of the seam.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    CreateDir,
    List,
    Create,
    Open,
    Read,
    ReadAt,
    WriteAt,
    Reserve,
    Sync,
    Length,
    Rename,
    Remove,
    SyncDir,
    SyncFileSystem,
    Lock,
    Modified,
}

impl Operation {
    pub(super) fn changes_something(self) -> bool {
        use Operation::{Create, CreateDir, Remove, Rename, Reserve, Sync, SyncDir, SyncFileSystem, WriteAt};
        matches!(
            self,
            CreateDir | Create | WriteAt | Reserve | Sync | Rename | Remove | SyncDir | SyncFileSystem
        )
    }
}

/// One call, so that a failure can say which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) thread: String,
    /// The how manyeth call of this thread (of all threads that bore this name), from 0.
    pub(super) nth: usize,
    pub(super) operation: Operation,
    /// The kind of file.
    pub(super) class: &'static str,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} ({} #{})", self.operation, self.class, self.thread, self.nth)
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// Nothing is done. A sync leaves the platter stale.
    Eio,
    /// Nothing is done. A sync writes every second sector and leaves the others stale; half of a reservation is made.
    Enospc,
    /// A write that gets half way, then finds no room.
    Short,
    /// A file system that cannot reserve: no error, but nothing is done.
    Unsupported,
}

impl Fault {
    pub(super) const ALL: [Fault; 4] = [Fault::Eio, Fault::Enospc, Fault::Short, Fault::Unsupported];

    pub(super) fn fits(self, operation: Operation) -> bool {
        match self {
            Fault::Eio => true,
            Fault::Enospc => operation.changes_something() && operation != Operation::Remove,
            Fault::Short => operation == Operation::WriteAt,
            Fault::Unsupported => operation == Operation::Reserve,
        }
    }

    fn error(self) -> io::Error {
        let code = if self == Fault::Eio { rustix::io::Errno::IO } else { rustix::io::Errno::NOSPC };
        code.into()
    }
}

/// A wrong disk or a wrong order, planted to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// Batches are never synced.
    BatchSyncSkipped,
    /// A batch's sync takes effect only with the next batch: acknowledged, and signed, before it is durable.
    BatchSyncLate,
    /// The new name of a segment is not made durable.
    SegmentNameNotSynced,
    /// The checkpoint is renamed before its bytes are synced.
    CheckpointRenamedBeforeSync,
    /// The checkpoint's new name is not made durable.
    CheckpointNameNotSynced,
    /// What a start copies into its new segment is not synced.
    CopiedTailNotSynced,
    /// Tiles and bundles get their names unsynced.
    TilesNotSynced,
    /// Names of tiles and bundles are not made durable.
    TileNamesNotSynced,
    /// The length that a reservation gave a file is not made durable by its sync.
    ReservedLengthNotSynced,
    /// Batches in reserved room count as unwritten after a power cut, synced or not.
    ReservedStaysUnwritten,
    /// Reserved room that was never written shows what lay there before instead of zeros.
    ReservedShowsOldBytes,
}

/// What stood on disk just before a call, and what the world knew by then.
pub(super) struct Moment {
    pub(super) before: Call,
    pub(super) platter: Platter,
    pub(super) seen: Seen,
    /// For a write: what programs find when the process was killed in the middle of it.
    pub(super) torn: Vec<Platter>,
}

#[derive(Default)]
struct Inner {
    platter: Platter,
    counts: BTreeMap<String, usize>,
    /// Every call so far, when asked for.
    calls: Option<Vec<Call>>,
    /// The state before every changing call, when asked for.
    moments: Option<Vec<Moment>>,
    plan: Option<(Call, Fault)>,
    /// The state right after the planned fault.
    struck: Option<(Platter, Seen)>,
    dead: bool,
    holding: bool,
    lock: Weak<()>,
    defect: Option<Defect>,
    late: Option<u64>,
}

struct Shared {
    inner: Mutex<Inner>,
    released: Condvar,
    turns: Turns,
    in_turns: bool,
    journal: Journal,
}

/// The disk. Clones are the same one.
#[derive(Clone)]
pub(super) struct Vfs(Arc<Shared>);

struct VfsFile {
    vfs: Vfs,
    file: u64,
}

impl Vfs {
    fn with(platter: Platter, journal: &Journal, in_turns: bool, inner: Inner) -> Self {
        let inner = Mutex::new(Inner { platter, ..inner });
        let turns = Turns::new();
        Self(Arc::new(Shared { inner, released: Condvar::new(), turns, in_turns, journal: journal.clone() }))
    }

    /// A disk that works.
    pub(super) fn sound(platter: Platter, journal: &Journal) -> Self {
        Self::with(platter, journal, false, Inner::default())
    }

    /// A disk that works (but for a planted defect) and keeps every call and every moment before a change.
    pub(super) fn recording(
        platter: Platter,
        journal: &Journal,
        defect: Option<Defect>,
        in_turns: bool,
    ) -> Self {
        let inner = Inner { calls: Some(Vec::new()), moments: Some(Vec::new()), defect, ..Inner::default() };
        Self::with(platter, journal, in_turns, inner)
    }

    /// A disk on which one call fails.
    pub(super) fn failing(platter: Platter, journal: &Journal, call: Call, fault: Fault) -> Self {
        let inner = Inner { plan: Some((call, fault)), ..Inner::default() };
        Self::with(platter, journal, false, inner)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap()
    }

    /// Waits until no thread of the engine has anything left to do.
    pub(super) fn settle(&self) {
        self.0.turns.settle();
    }

    /// From now on the engine's next sync of a segment does not come back until [`Self::release`].
    pub(super) fn hold(&self) {
        self.lock().holding = true;
    }

    pub(super) fn release(&self) {
        self.lock().holding = false;
        self.0.released.notify_all();
    }

    /// The process dies: what stands on disk at that moment. No call does anything any more.
    pub(super) fn die(&self) -> (Platter, Seen) {
        let mut inner = self.lock();
        inner.dead = true;
        (inner.platter.clone(), self.0.journal.seen())
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.lock().calls.take().unwrap_or_default()
    }

    pub(super) fn moments(&self) -> Vec<Moment> {
        self.lock().moments.take().unwrap_or_default()
    }

    pub(super) fn struck(&self) -> Option<(Platter, Seen)> {
        self.lock().struck.take()
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Platter) -> T) -> T {
        look(&self.lock().platter)
    }

    /// Changes the disk behind the engine's back.
    pub(super) fn change(&self, change: impl FnOnce(&mut Platter)) {
        change(&mut self.lock().platter);
    }

    /// One call: counted, named, recorded, failed if it is the one to fail, done otherwise.
    fn call<T>(
        &self,
        operation: Operation,
        class: impl FnOnce(&Platter) -> &'static str,
        torn: impl FnOnce(&Platter) -> Vec<Platter>,
        act: impl FnOnce(&mut Inner, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.0.in_turns && !self.0.turns.is_driver() {
            self.0.turns.take();
        }
        let mut inner = self.lock();
        let class = class(&inner.platter);
        if operation == Operation::Sync && class == "segment" && !self.0.turns.is_driver() {
            while inner.holding && !inner.dead {
                inner = self.0.released.wait(inner).unwrap();
            }
        }
        if inner.dead {
            return Err(io::Error::other("the process is dead"));
        }
        let thread = thread_name();
        let count = inner.counts.entry(thread.clone()).or_default();
        let call = Call { thread, nth: *count, operation, class };
        *count += 1;
        if operation.changes_something() && inner.moments.is_some() {
            let (platter, seen) = (inner.platter.clone(), self.0.journal.seen());
            let moment = Moment { before: call.clone(), torn: torn(&platter), platter, seen };
            inner.moments.as_mut().unwrap().push(moment);
        }
        let fault = inner.plan.as_ref().filter(|(planned, _)| *planned == call).map(|(_, fault)| *fault);
        if let Some(calls) = &mut inner.calls {
            calls.push(call);
        }
        let outcome = act(&mut inner, fault);
        if fault.is_some() {
            inner.struck = Some((inner.platter.clone(), self.0.journal.seen()));
        }
        outcome
    }

    /// A call that does nothing when it fails.
    fn plain<T>(
        &self,
        operation: Operation,
        path: &Path,
        act: impl FnOnce(&mut Inner) -> io::Result<T>,
    ) -> io::Result<T> {
        self.call(
            operation,
            |_| class_of(path),
            |_| Vec::new(),
            |inner, fault| match fault {
                Some(fault) => Err(fault.error()),
                None => act(inner),
            },
        )
    }

    fn file(&self, file: u64) -> Arc<dyn DiskFile> {
        Arc::new(VfsFile { vfs: self.clone(), file })
    }
}

fn not_found() -> io::Error {
    rustix::io::Errno::NOENT.into()
}

impl Disk for Vfs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.plain(Operation::CreateDir, dir, |inner| {
            if !dir.parent().is_some_and(|parent| inner.platter.has_dir(parent)) {
                return Err(not_found());
            }
            if !inner.platter.exists(dir) {
                inner.platter.create_dir(dir);
            }
            Ok(())
        })
    }

    fn has_dir(&self, dir: &Path) -> bool {
        self.look(|platter| platter.has_dir(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.plain(Operation::List, dir, |inner| {
            let inside = inner.platter.paths().filter(|path| path.parent() == Some(dir));
            Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
        })
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.plain(Operation::Create, path, |inner| {
            let parent = path.parent().ok_or_else(not_found)?;
            if inner.platter.has_dir(parent) { Ok(inner.platter.create(path)) } else { Err(not_found()) }
        })?;
        Ok(self.file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file =
            self.plain(Operation::Open, path, |inner| inner.platter.file(path).ok_or_else(not_found))?;
        Ok(self.file(file))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.plain(Operation::Read, path, |inner| {
            Ok(inner.platter.file(path).map(|file| inner.platter.read(file)))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plain(Operation::Rename, to, |inner| {
            let renamed = inner.platter.rename(from, to);
            if renamed { Ok(()) } else { Err(not_found()) }
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.plain(Operation::Remove, path, |inner| {
            inner.platter.remove(path);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.plain(Operation::SyncDir, dir, |inner| {
            let skipped = match inner.defect {
                Some(Defect::SegmentNameNotSynced) => class_of(dir) == "wal",
                Some(Defect::CheckpointNameNotSynced) => class_of(dir) == "directory",
                Some(Defect::TileNamesNotSynced) => class_of(dir) == "tile directory",
                _ => false,
            };
            if inner.defect == Some(Defect::CheckpointRenamedBeforeSync)
                && let Some(file) = inner.late.take()
            {
                inner.platter.sync(file);
            }
            if !skipped {
                inner.platter.sync_dir(dir);
            }
            Ok(())
        })
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        let act = |inner: &mut Inner, fault: Option<Fault>| {
            for file in inner.platter.all_files() {
                match fault {
                    None if inner.defect == Some(Defect::TilesNotSynced) => {}
                    None => inner.platter.sync(file),
                    Some(fault) => inner.platter.fail_sync(file, (fault == Fault::Enospc).then_some(2)),
                }
            }
            fault.map_or(Ok(()), |fault| Err(fault.error()))
        };
        self.call(Operation::SyncFileSystem, |_| class_of(dir), |_| Vec::new(), act)
    }

    fn lock(&self, path: &Path) -> Result<DirLock, LockError> {
        let held = self.plain(Operation::Lock, path, |inner| {
            if inner.lock.upgrade().is_some() {
                return Ok(None);
            }
            let held = Arc::new(());
            inner.lock = Arc::downgrade(&held);
            Ok(Some(held))
        });
        match held {
            Ok(Some(held)) => Ok(DirLock::holding(held)),
            Ok(None) => Err(LockError::Held),
            Err(error) => Err(LockError::Io(error)),
        }
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        self.plain(Operation::Modified, path, |_| Ok(SystemTime::UNIX_EPOCH))
    }
}

impl VfsFile {
    fn call<T>(
        &self,
        operation: Operation,
        torn: impl FnOnce(&Platter) -> Vec<Platter>,
        act: impl FnOnce(&mut Inner, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.vfs.call(operation, |platter| class_of(platter.name_of(self.file)), torn, act)
    }
}

impl DiskFile for VfsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(
            Operation::ReadAt,
            |_| Vec::new(),
            |inner, fault| match fault {
                Some(fault) => Err(fault.error()),
                None => Ok(inner.platter.read_at(self.file, buffer, offset)),
            },
        )
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = |platter: &Platter, length: usize| {
            let mut torn = platter.clone();
            torn.write_at(self.file, &bytes[..length], offset);
            torn
        };
        let torn =
            |platter: &Platter| vec![written(platter, bytes.len() / 2), written(platter, bytes.len() - 1)];
        self.call(Operation::WriteAt, torn, |inner, fault| {
            if inner.defect == Some(Defect::BatchSyncLate)
                && let Some(file) = inner.late.take()
            {
                inner.platter.sync(file);
            }
            match fault {
                None => inner.platter.write_at(self.file, bytes, offset),
                Some(Fault::Short) => inner.platter.write_at(self.file, &bytes[..bytes.len() / 2], offset),
                Some(_) => {}
            }
            fault.map_or(Ok(()), |fault| Err(fault.error()))
        })
    }

    fn reserve(&self, length: u64) -> io::Result<bool> {
        let half = |platter: &Platter| {
            let mut torn = platter.clone();
            torn.reserve(self.file, length / 2, Reserved::Sound);
            vec![torn]
        };
        self.call(Operation::Reserve, half, |inner, fault| {
            let how = match inner.defect {
                Some(Defect::ReservedLengthNotSynced) => Reserved::LengthForgotten,
                Some(Defect::ReservedShowsOldBytes) => Reserved::OldBytes,
                _ => Reserved::Sound,
            };
            match fault {
                None => inner.platter.reserve(self.file, length, how),
                Some(Fault::Unsupported) => return Ok(false),
                Some(Fault::Enospc) => inner.platter.reserve(self.file, length / 2, how),
                Some(_) => {}
            }
            fault.map_or(Ok(true), |fault| Err(fault.error()))
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.call(
            Operation::Sync,
            |_| Vec::new(),
            |inner, fault| {
                if let Some(fault) = fault {
                    inner.platter.fail_sync(self.file, (fault == Fault::Enospc).then_some(2));
                    return Err(fault.error());
                }
                let name = inner.platter.name_of(self.file);
                let (class, is_start) = (class_of(name), name.ends_with("start.tmp"));
                match inner.defect {
                    Some(Defect::BatchSyncSkipped) if class == "segment" => {}
                    Some(Defect::BatchSyncLate) if class == "segment" => inner.late = Some(self.file),
                    Some(Defect::ReservedStaysUnwritten)
                        if class == "segment" && inner.platter.is_reserved(self.file) => {}
                    Some(Defect::CopiedTailNotSynced) if is_start => {}
                    Some(Defect::TilesNotSynced) if class == "tile" || class == "bundle" => {}
                    Some(Defect::CheckpointRenamedBeforeSync) if class == "checkpoint" => {
                        inner.late = Some(self.file);
                    }
                    _ => inner.platter.sync(self.file),
                }
                Ok(())
            },
        )
    }

    fn length(&self) -> io::Result<u64> {
        self.call(
            Operation::Length,
            |_| Vec::new(),
            |inner, fault| match fault {
                Some(fault) => Err(fault.error()),
                None => Ok(inner.platter.length(self.file)),
            },
        )
    }
}

/// What kind of file or directory a path names; one that is being made is of the kind it becomes.
fn class_of(path: &Path) -> &'static str {
    let text = path.to_string_lossy();
    let Some(inside) = text.strip_prefix(super::DIR) else { return "parent directory" };
    let is_tile_file = path.file_stem().is_some_and(|stem| stem.len() == 3);
    match inside.trim_start_matches('/') {
        "" => "directory",
        "wal" => "wal",
        "lock" => "lock",
        "checkpoint" | "checkpoint.tmp" => "checkpoint",
        inside if inside.starts_with("wal/") && inside.ends_with(".wal") => "segment",
        inside if inside.starts_with("wal/") => "blank segment",
        inside if inside.starts_with("tile/entries/") => "bundle",
        "tile/entries" => "tile directory",
        inside if is_tile_file && inside.trim_start_matches("sha3/").starts_with("tile/0/") => "tile",
        _ if is_tile_file => "upper tile",
        _ => "tile directory",
    }
}
