//! The one way a client writes a file: to a neighbour, synced, moved into place, directory synced.
//!
//! After a crash the file is the old one or the new one, whole. Files are readable by their owner only unless asked otherwise.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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
    done: bool,
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
        Ok(Self { target: target.to_owned(), path, file, done: false })
    }

    /// Writes everything, syncs, and moves the file into place.
    pub fn finish(self, bytes: &[u8]) -> Result<(), ClientError> {
        self.place(bytes, |from, to| fs::rename(from, to))
    }

    /// As [`Draft::finish`], but never replaces a file: false when one is there already.
    pub fn finish_new(self, bytes: &[u8]) -> Result<bool, ClientError> {
        let target = self.target.clone();
        match self.place(bytes, |from, to| fs::hard_link(from, to).and_then(|()| fs::remove_file(from))) {
            Err(ClientError::File { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Ok(false)
            }
            other => other.map(|()| target.exists()),
        }
    }

    fn place(
        mut self,
        bytes: &[u8],
        link: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_all());
        let placed = written.and_then(|()| link(&self.path, &self.target));
        placed.map_err(|source| fault("write", &self.target, source))?;
        self.done = true;
        sync_directory(&self.target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.path); // nothing better can be done with a leftover
        }
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

fn sync_directory(file: &Path) -> Result<(), ClientError> {
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
    fn a_directory_that_is_not_there_is_told_before_anything_else() {
        let error = Draft::create(Path::new("/nonexistent/x"), SECRET).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/x"));
    }
}
