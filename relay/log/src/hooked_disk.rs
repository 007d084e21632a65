//! The real disk with a question asked before some of its calls: what the tests that fail or hold calls have in common.

use crate::disk::{DirLock, Disk, DiskFile, LockError, RealDisk};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Asked before the call; an error is the call's answer.
pub(crate) trait Hook: Send + Sync + 'static {
    fn create(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    fn write(&self) -> io::Result<()> {
        Ok(())
    }
    /// Of one file.
    fn sync(&self) -> io::Result<()>;
    /// Of a directory, or of the whole file system.
    fn sync_many(&self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct HookedDisk<H>(pub(crate) Arc<H>);
struct HookedFile<H>(Arc<dyn DiskFile>, Arc<H>);

impl<H: Hook> DiskFile for HookedFile<H> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.1.write()?;
        self.0.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.sync()?;
        self.0.sync()
    }
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}

impl<H: Hook> Disk for HookedDisk<H> {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }
    fn has_dir(&self, dir: &Path) -> bool {
        RealDisk.has_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(path)?;
        Ok(Arc::new(HookedFile(RealDisk.create(path)?, Arc::clone(&self.0))))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(HookedFile(RealDisk.open(path)?, Arc::clone(&self.0))))
    }
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        RealDisk.read(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_many()?;
        RealDisk.sync_dir(dir)
    }
    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_many()?;
        RealDisk.sync_file_system(dir)
    }
    fn lock(&self, path: &Path) -> Result<DirLock, LockError> {
        RealDisk.lock(path)
    }
    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        RealDisk.modified(path)
    }
}
