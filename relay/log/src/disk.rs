//! The seam to the file system: the few operations the engine uses, and nothing else in the crate touches files.
//!
//! Rules kept here: a file appears under its final name only when its bytes are durable ([`write_durably`]); a new
//! name counts as durable only after its directory was synced. Callers treat an error of a `sync` as the end of the
//! engine: pages after a failed sync are not to be believed. Tests put a failing disk in place of [`RealDisk`].

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// An open file, read and written at offsets.
pub(crate) trait DiskFile: Send + Sync {
    /// Reads until the buffer is full or the file ends; returns how much was read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Takes room for so many bytes, which read as zeros, without writing them. False where the file system cannot.
    fn reserve(&self, _length: u64) -> io::Result<bool> {
        Ok(false)
    }
    /// `fdatasync`.
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
}

/// The file system, as far as the engine needs it.
pub(crate) trait Disk: Send + Sync {
    /// Creates one directory; fine when it is there already. The parent must be synced by the caller.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether the directory is there.
    fn has_dir(&self, dir: &Path) -> bool;
    /// Names in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates an empty file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// The whole file, or nothing when there is none.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// Gives a file its final name, replacing what bears it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; fine when it is gone already.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes every file of the file system that holds this directory durable, in one call.
    fn sync_file_system(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock of a directory through the file given, which is created when it is missing.
    fn lock(&self, path: &Path) -> Result<DirLock, LockError>;
    /// When a file was last written.
    fn modified(&self, path: &Path) -> io::Result<SystemTime>;
}

/// Creates a directory and its missing parents below (and including) `root`, each name durable before the next. Those that
/// are there count as durable only now: a process may have died between creating one and syncing its parent.
pub(crate) fn create_dirs(disk: &dyn Disk, root: &Path, dir: &Path) -> Result<(), WriteError> {
    if dir != root
        && let Some(parent) = dir.parent()
    {
        create_dirs(disk, root, parent)?;
    }
    let is_new = !disk.has_dir(dir);
    if is_new {
        disk.create_dir(dir).map_err(WriteError::Refused)?;
    }
    let Some(parent) = dir.parent() else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match disk.sync_dir(parent) {
        // What this process may not even read it did not create.
        Err(error) if !is_new && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other.map_err(WriteError::SyncFailed),
    }
}

/// Why a file was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Before anything could be lost, as on a full disk: may be tried again.
    Refused(io::Error),
    /// A sync failed: the engine must end.
    SyncFailed(io::Error),
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(error) | WriteError::SyncFailed(error) => error,
        }
    }
}

/// Writes a file so that after a crash its name stands for the old bytes or all of the new ones: temporary name,
/// write, sync, rename, sync the directory.
pub(crate) fn write_durably(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let temporary = path.with_added_extension("tmp");
    let file = disk.create(&temporary).map_err(WriteError::Refused)?;
    file.write_at(bytes, 0).map_err(WriteError::Refused)?;
    file.sync().map_err(WriteError::SyncFailed)?;
    disk.rename(&temporary, path).map_err(WriteError::Refused)?;
    match path.parent() {
        Some(dir) => disk.sync_dir(dir).map_err(WriteError::SyncFailed),
        None => Ok(()),
    }
}

/// The file system of the machine.
pub(crate) struct RealDisk;

struct RealFile(fs::File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn reserve(&self, length: u64) -> io::Result<bool> {
        use rustix::io::Errno;
        let reserve = || rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, length);
        match rustix::io::retry_on_intr(reserve) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            other => other,
        }
    }

    fn has_dir(&self, dir: &Path) -> bool {
        dir.is_dir()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(dir)?.map(name).collect()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(fs::OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(&fs::File::open(dir)?)?)
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&fs::File::open(dir)?)?)
    }

    /// Network file systems are refused.
    fn lock(&self, path: &Path) -> Result<DirLock, LockError> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(LockError::Io)?;
        let stat = rustix::fs::fstatfs(&file).map_err(|e| LockError::Io(e.into()))?;
        if is_network(stat.f_type as u64) {
            return Err(LockError::Network);
        }
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DirLock::holding(Flocked(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held),
            Err(e) => Err(LockError::Io(e.into())),
        }
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        fs::metadata(path)?.modified()
    }
}

/// A locked file. Closing it would not do: a child of this process that has not come to its own program yet holds a copy of it.
struct Flocked(fs::File);

impl Drop for Flocked {
    fn drop(&mut self) {
        // Should that fail, the lock goes with the file.
        let _ = rustix::fs::flock(&self.0, rustix::fs::FlockOperation::Unlock);
    }
}

/// The lock on the log's directory, held as long as the value or a clone of it lives.
#[derive(Clone)]
pub(crate) struct DirLock(#[expect(dead_code, reason = "held for its lock")] Arc<dyn Send + Sync>);

impl DirLock {
    /// The lock is held for as long as what is given here lives.
    pub(crate) fn holding(held: impl Send + Sync + 'static) -> Self {
        Self(Arc::new(held))
    }
}

/// Why the directory cannot be taken.
pub(crate) enum LockError {
    /// Another process (or another open log in this one) holds it.
    Held,
    /// Locks and syncs of this file system cannot be relied on.
    Network,
    /// Anything else.
    Io(io::Error),
}

/// File system types (`statfs` magic numbers) that sync or lock over a network: NFS, SMB, CIFS, SMB2, AFS, Ceph, 9p, Lustre.
fn is_network(magic: u64) -> bool {
    const NETWORK: [u64; 8] =
        [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x5346_414F, 0x00C3_6400, 0x0102_1997, 0x0BD0_0BD0];
    NETWORK.contains(&(magic & 0xFFFF_FFFF))
}
