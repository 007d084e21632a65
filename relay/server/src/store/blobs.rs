//! `blobs/ab/<id>`: sealed payloads as files, each wholly there or not at all.
//!
//! A payload is written under its name, synced, and its directory synced; only then may a row that is read speak of it, so nobody
//! meets half a payload and no second name is needed. Dropping an unfinished part removes it; what a crash leaves behind is
//! found by [`BlobFiles::sweep`]. Blocking: callers are on blocking threads. Only [`super::Store`] and the transfer path may call.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BlobId;
use crate::failed_sync;

/// Where sealed payloads are kept.
pub trait BlobStore: Send + Sync + std::fmt::Debug + 'static {
    /// Starts a payload.
    ///
    /// # Errors
    /// When there is no space or the volume fails.
    fn create(&self, id: BlobId) -> io::Result<Box<dyn BlobPart>>;
    /// Opens a finished payload for reading, in order, from a byte on.
    ///
    /// # Errors
    /// `NotFound` when it was removed.
    fn open(&self, id: BlobId, from: u64) -> io::Result<Box<dyn Read + Send>>;
    /// Removes a payload. Removing what is gone is no error.
    ///
    /// # Errors
    /// When the volume fails.
    fn remove(&self, id: BlobId) -> io::Result<()>;
    /// Removes everything that `known` does not accept, and answers how many; `known` is asked once for each payload found.
    /// Only at start, before the first upload.
    ///
    /// # Errors
    /// When the volume fails.
    fn sweep(&self, known: &mut dyn FnMut(BlobId) -> bool) -> io::Result<u64>;
    /// Bytes that may still be written.
    ///
    /// # Errors
    /// When the volume cannot be asked.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A payload being written. Dropped before [`BlobPart::finish`], it leaves nothing behind.
pub trait BlobPart: Send + std::fmt::Debug {
    /// Appends.
    ///
    /// # Errors
    /// When there is no space or the volume fails.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes the payload durable under its name.
    ///
    /// # Errors
    /// When there is no space; the part is removed then. A failed sync ends the process.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Payloads in files.
#[derive(Debug)]
pub struct BlobFiles {
    root: PathBuf,
    /// One open handle for each of the 256 directories, for syncing.
    directories: Vec<Arc<File>>,
}

impl BlobFiles {
    /// Opens the directory, creating it and its 256 subdirectories, all synced.
    ///
    /// # Errors
    /// When a directory cannot be made, opened or synced.
    pub fn open(root: &Path) -> io::Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(root)?;
        let mut directories = Vec::with_capacity(256);
        for byte in 0..=u8::MAX {
            let directory = root.join(hex::encode([byte]));
            builder.create(&directory)?;
            directories.push(Arc::new(File::open(directory)?));
        }
        File::open(root)?.sync_all()?;
        if let Some(parent) = root.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { root: root.to_owned(), directories })
    }

    fn path(&self, id: BlobId) -> PathBuf {
        path_below(&self.root, id)
    }
}

/// The file of a payload.
pub(super) fn path_below(root: &Path, id: BlobId) -> PathBuf {
    root.join(hex::encode([id.0[0]])).join(id.to_string())
}

impl BlobStore for BlobFiles {
    fn create(&self, id: BlobId) -> io::Result<Box<dyn BlobPart>> {
        let path = self.path(id);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let directory = self
            .directories
            .get(usize::from(id.0[0]))
            .cloned()
            .ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Box::new(FilePart { file, unfinished: Some(path), directory }))
    }

    fn open(&self, id: BlobId, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(self.path(id))?;
        if from > 0 {
            file.seek(SeekFrom::Start(from))?;
        }
        Ok(Box::new(file))
    }

    fn remove(&self, id: BlobId) -> io::Result<()> {
        match std::fs::remove_file(self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sweep(&self, known: &mut dyn FnMut(BlobId) -> bool) -> io::Result<u64> {
        let mut removed = 0;
        for byte in 0..=u8::MAX {
            for entry in std::fs::read_dir(self.root.join(hex::encode([byte])))? {
                let entry = entry?;
                // What earlier releases left half written has an extension, and so is never an id.
                let id = entry.file_name().to_str().and_then(BlobId::parse);
                if !id.is_some_and(&mut *known) {
                    std::fs::remove_file(entry.path())?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let volume = rustix::fs::statvfs(&self.root)?;
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }
}

#[derive(Debug)]
struct FilePart {
    file: File,
    /// Where it is; `None` once it is whole.
    unfinished: Option<PathBuf>,
    directory: Arc<File>,
}

impl BlobPart for FilePart {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        failed_sync::unless_full("a payload", self.file.sync_data())?;
        // Uploads share the handle, and only one of them would be told.
        if let Err(error) = self.directory.sync_all() {
            failed_sync::end("a directory of payloads", &error);
        }
        self.unfinished = None;
        Ok(())
    }
}

impl Drop for FilePart {
    fn drop(&mut self) {
        if let Some(path) = &self.unfinished {
            drop(std::fs::remove_file(path));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::test_relay::exit_code_of;

    fn files(root: &Path) -> usize {
        (0..=u8::MAX).map(|byte| std::fs::read_dir(root.join(hex::encode([byte]))).unwrap().count()).sum()
    }

    #[test]
    fn an_abandoned_part_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobFiles::open(&dir.path().join("blobs")).unwrap();
        let mut part = store.create(BlobId([1; 16])).unwrap();
        part.append(b"half").unwrap();
        assert_eq!(files(&store.root), 1, "the part must be seen before its absence means anything");
        drop(part);
        assert_eq!(files(&store.root), 0);
    }

    #[test]
    fn a_finished_payload_is_read_back_and_removed_twice() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobFiles::open(&dir.path().join("blobs")).unwrap();
        let mut part = store.create(BlobId([1; 16])).unwrap();
        part.append(b"whole").unwrap();
        part.finish().unwrap();
        let mut read = String::new();
        store.open(BlobId([1; 16]), 2).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, "ole");
        store.remove(BlobId([1; 16])).unwrap();
        store.remove(BlobId([1; 16])).unwrap();
        assert_eq!(store.open(BlobId([1; 16]), 0).err().map(|e| e.kind()), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn the_sweep_keeps_what_is_known_and_removes_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobFiles::open(&dir.path().join("blobs")).unwrap();
        for byte in [1, 2] {
            store.create(BlobId([byte; 16])).unwrap().finish().unwrap();
        }
        std::fs::write(store.path(BlobId([1; 16])).with_extension("part"), b"left by an earlier release")
            .unwrap();
        assert_eq!(store.sweep(&mut |id| id == BlobId([1; 16])).unwrap(), 2);
        assert_eq!(files(&store.root), 1);
        assert!(store.free_bytes().unwrap() > 0);
    }

    /// `/dev/null` takes every write and refuses every sync.
    fn finish_with(file: &str, directory: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"").unwrap();
        let open = |path: &str| OpenOptions::new().read(true).open(path).unwrap();
        let part = FilePart {
            file: if file.is_empty() { File::open(&path).unwrap() } else { open(file) },
            unfinished: Some(path),
            directory: Arc::new(if directory.is_empty() {
                File::open(dir.path()).unwrap()
            } else {
                open(directory)
            }),
        };
        drop(Box::new(part).finish());
    }

    #[test]
    fn a_payload_that_cannot_be_synced_ends_the_process() {
        let test = "store::blobs::tests::a_payload_that_cannot_be_synced_ends_the_process";
        assert_eq!(exit_code_of(test, || finish_with("/dev/null", "")), Some(failed_sync::EXIT_CODE));
    }

    #[test]
    fn a_payload_directory_that_cannot_be_synced_ends_the_process() {
        let test = "store::blobs::tests::a_payload_directory_that_cannot_be_synced_ends_the_process";
        assert_eq!(exit_code_of(test, || finish_with("", "/dev/null")), Some(failed_sync::EXIT_CODE));
    }
}
