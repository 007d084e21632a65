//! The one way a client writes a file: to a neighbour, synced, moved into place, directory synced.
//!
//! After a crash the file is the old one or the new one, whole. Files are readable by their owner only unless asked otherwise.
//! A draft can have its room reserved, so that what cannot be fetched again is not lost to a disk that was full all along.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::error::ClientError;

/// For files that hold secrets.
pub const SECRET: u32 = 0o600;
/// For files that the person asked for; the umask narrows it.
pub const ORDINARY: u32 = 0o666;

/// A file being written beside its target. Dropped without [`Draft::finish`] it vanishes.
pub struct Draft {
    target: PathBuf,
    path: PathBuf,
    file: File,
}

impl Draft {
    /// Begins a file. Fails early when the directory is not there or not writable.
    pub fn create(target: &Path, mode: u32) -> Result<Self, ClientError> {
        let name =
            target.file_name().ok_or_else(|| fault("write", target, io::ErrorKind::IsADirectory.into()))?;
        let mut random = [0u8; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| ClientError::Crypto("give random bytes"))?;
        let path = target.with_file_name(format!(".{}.{}", name.to_string_lossy(), hex::encode(random)));
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let file = file.map_err(|source| fault("write", target, source))?;
        Ok(Self { target: target.to_owned(), path, file })
    }

    /// Sets room aside, so that writing up to so many bytes does not find the disk full. File systems that cannot do
    /// that are left alone.
    pub fn reserve(&self, bytes: u64) -> Result<(), ClientError> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes.max(1)) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(errno) => Err(fault("reserve room for", &self.target, errno.into())),
        }
    }

    /// Writes everything, syncs, and moves the file into place.
    pub fn finish(mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.fill(bytes)?;
        fs::rename(&self.path, &self.target).map_err(|source| fault("write", &self.target, source))?;
        sync_directory(&self.target)
    }

    /// As [`Draft::finish`], but never replaces a file: false when one is there already.
    pub fn finish_new(self, bytes: &[u8]) -> Result<bool, ClientError> {
        let target = self.target.clone();
        self.finish_under(bytes, [target]).map(|placed| placed.is_some())
    }

    /// As [`Draft::finish_new`], under the first of these names that is free; `None` when none is. They must be in the
    /// directory the draft was made for.
    pub fn finish_under(
        mut self,
        bytes: &[u8],
        names: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Option<PathBuf>, ClientError> {
        self.fill(bytes)?;
        self.place(names)
    }

    /// The file, for what is too large to be held: written at any place, then named by [`Draft::written`] or
    /// [`Draft::written_under`].
    pub fn file(&self) -> Result<File, ClientError> {
        self.file.try_clone().map_err(|source| fault("write", &self.target, source))
    }

    /// As [`Draft::finish`], with the first `length` bytes of what was written to [`Draft::file`].
    pub fn written(self, length: u64) -> Result<(), ClientError> {
        self.cut(length)?;
        fs::rename(&self.path, &self.target).map_err(|source| fault("write", &self.target, source))?;
        sync_directory(&self.target)
    }

    /// As [`Draft::finish_under`], with the first `length` bytes of what was written to [`Draft::file`].
    pub fn written_under(
        self,
        length: u64,
        names: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Option<PathBuf>, ClientError> {
        self.cut(length)?;
        self.place(names)
    }

    fn cut(&self, length: u64) -> Result<(), ClientError> {
        let cut = self.file.set_len(length).and_then(|()| self.file.sync_all());
        cut.map_err(|source| fault("write", &self.target, source))
    }

    fn place(self, names: impl IntoIterator<Item = PathBuf>) -> Result<Option<PathBuf>, ClientError> {
        for name in names {
            match place_new(&self.path, &name) {
                Ok(()) => return sync_directory(&name).map(|()| Some(name)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(fault("write", &name, source)),
            }
        }
        Ok(None)
    }

    fn fill(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let length = self.file.set_len(bytes.len() as u64); // gives back what was reserved beyond it
        let written = length.and_then(|()| self.file.write_all(bytes)).and_then(|()| self.file.sync_all());
        written.map_err(|source| fault("write", &self.target, source))
    }
}

/// Gives a file its name unless that is taken. Its draft's name may be left for [`Draft`] to remove.
fn place_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Not every file system has hard links. An empty file then holds the name; a crash here leaves it empty.
        Err(_) => {
            OpenOptions::new().write(true).create_new(true).mode(SECRET).open(to)?;
            fs::rename(from, to).inspect_err(|_| {
                let _ = fs::remove_file(to); // it is ours, and empty
            })
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // gone when it was moved; nothing better can be done with a leftover
    }
}

/// Replaces a file.
pub fn write(target: &Path, bytes: &[u8], mode: u32) -> Result<(), ClientError> {
    Draft::create(target, mode)?.finish(bytes)
}

/// Reads a file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, ClientError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault("read", path, error)),
    }
}

pub(crate) fn fault(action: &'static str, path: &Path, source: io::Error) -> ClientError {
    ClientError::File { action, path: path.to_owned(), source }
}

pub(crate) fn sync_directory(file: &Path) -> Result<(), ClientError> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| fault("sync", directory, source))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        drop(Draft::create(&path, SECRET).unwrap());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "a draft was left behind");
        write(&path, b"one", SECRET).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, b"two", SECRET).unwrap();
        assert!(!Draft::create(&path, SECRET).unwrap().finish_new(b"three").unwrap());
        assert_eq!(read(&path).unwrap().as_deref(), Some(&b"two"[..]));
        assert!(Draft::create(&directory.path().join("new"), SECRET).unwrap().finish_new(b"x").unwrap());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "a draft was left behind");
        assert_eq!(read(&directory.path().join("none")).unwrap(), None);
    }

    #[test]
    fn a_name_that_is_taken_is_left_alone_and_the_next_one_used() {
        let directory = tempfile::tempdir().unwrap();
        let name = |name: &str| directory.path().join(name);
        write(&name("a"), b"kept", SECRET).unwrap();
        let draft = Draft::create(&name("a"), SECRET).unwrap();
        assert_eq!(draft.finish_under(b"new", [name("a"), name("b")]).unwrap(), Some(name("b")));
        let draft = Draft::create(&name("a"), SECRET).unwrap();
        assert_eq!(draft.finish_under(b"newer", [name("a"), name("b")]).unwrap(), None);
        assert_eq!(fs::read(name("a")).unwrap(), b"kept");
        assert_eq!(fs::read(name("b")).unwrap(), b"new");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "a draft was left behind");
    }

    #[test]
    fn reserved_room_leaves_no_trace_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let draft = Draft::create(&path, SECRET).unwrap();
        draft.reserve(100_000).unwrap();
        draft.finish(b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        let draft = Draft::create(&path, SECRET).unwrap();
        let error = draft.reserve(1 << 60).unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_told_before_anything_else() {
        let error = Draft::create(Path::new("/nonexistent/x"), SECRET).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/x"));
    }
}
