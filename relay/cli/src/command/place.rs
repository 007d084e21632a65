//! A file that is to be written once what it will hold cannot be had again.
//!
//! Everything that can be known beforehand is: the name is free, the directory takes files, the room is set aside. Nothing
//! that is there is replaced unless the person said so; a name that was taken in the meantime is avoided, never an error.

use std::fs;
use std::io;
use std::iter;
use std::path::{Path, PathBuf};

use anyhow::Result;
use paramant_client::ClientError;
use paramant_client::durable::{self, Draft, SECRET};
use paramant_protocol::id::BlobHash;

use crate::exit::Usage;

/// How many numbers are tried behind a name that is taken.
const NUMBERS: u32 = 100;

/// A name, and a draft with enough room.
pub(super) struct Place {
    target: PathBuf,
    draft: Draft,
    replace: bool,
}

impl Place {
    /// Sets `room` bytes aside for a file. Refuses a name that is taken, unless it may be replaced.
    pub(super) fn prepare(target: &Path, mode: u32, room: u64, replace: bool) -> Result<Self> {
        if let Ok(there) = fs::symlink_metadata(target)
            && (there.is_dir() || !replace)
        {
            let advice = if there.is_dir() { "name a file" } else { "name another file, or add --force" };
            return Err(Usage(format!("{} is there already: {advice}", target.display())).into());
        }
        let draft = Draft::create(target, mode)?;
        draft.reserve(room)?;
        Ok(Self { target: target.to_owned(), draft, replace })
    }

    /// Writes the file; under `otherwise` in the same directory when the name was taken in the meantime.
    pub(super) fn write(self, bytes: &[u8], otherwise: &str) -> Result<PathBuf, ClientError> {
        if self.replace {
            return self.draft.finish(bytes).map(|()| self.target);
        }
        let others = numbered(self.target.with_file_name(otherwise));
        placed(self.draft.finish_under(bytes, iter::once(self.target.clone()).chain(others)), &self.target)
    }

    /// The file, for content that is written piece by piece.
    pub(super) fn file(&self) -> Result<fs::File, ClientError> {
        self.draft.file()
    }

    /// Names what was written to [`Place::file`], the first `length` bytes of it; as [`Place::write`].
    pub(super) fn written(self, length: u64, otherwise: &str) -> Result<PathBuf, ClientError> {
        if self.replace {
            return self.draft.written(length).map(|()| self.target);
        }
        let others = numbered(self.target.with_file_name(otherwise));
        let names = iter::once(self.target.clone()).chain(others);
        placed(self.draft.written_under(length, names), &self.target)
    }

    /// Names it otherwise: it is not what was asked for, and cannot be had again.
    pub(super) fn doubtful(self, length: u64, name: &str) -> Result<PathBuf, ClientError> {
        let path = self.target.with_file_name(name);
        placed(self.draft.written_under(length, numbered(path.clone())), &path)
    }

    /// Uses the room for a blob that could not be opened.
    pub(super) fn keep(self, hash: &BlobHash, blob: &[u8]) -> Result<PathBuf, ClientError> {
        keep(self.draft, &self.target.with_file_name(kept_name(hash)), blob)
    }
}

/// Keeps a blob in the first directory that takes it, when its own place did not.
pub(super) fn rescue(directories: &[&Path], hash: &BlobHash, blob: &[u8]) -> Option<PathBuf> {
    directories.iter().find_map(|directory| {
        let path = directory.join(kept_name(hash));
        keep(Draft::create(&path, SECRET).ok()?, &path, blob).ok()
    })
}

/// The hash is in the name: blobs kept one after the other never meet, and each can be found again.
fn kept_name(hash: &BlobHash) -> String {
    format!("{hash}.pqhb")
}

fn keep(draft: Draft, path: &Path, blob: &[u8]) -> Result<PathBuf, ClientError> {
    // A blob with more than one view may have been kept before.
    if durable::read(path).is_ok_and(|there| there.as_deref() == Some(blob)) {
        return Ok(path.to_owned());
    }
    placed(draft.finish_under(blob, numbered(path.to_owned())), path)
}

fn placed(outcome: Result<Option<PathBuf>, ClientError>, path: &Path) -> Result<PathBuf, ClientError> {
    let taken = || ClientError::File {
        action: "write",
        path: path.to_owned(),
        source: io::ErrorKind::AlreadyExists.into(),
    };
    outcome?.ok_or_else(taken)
}

/// A name, and the same with numbers behind it.
fn numbered(path: PathBuf) -> impl Iterator<Item = PathBuf> {
    let with_number = path.clone();
    iter::once(path)
        .chain((1..NUMBERS).map(move |number| with_number.with_added_extension(number.to_string())))
}
