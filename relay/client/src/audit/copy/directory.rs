//! A directory that mirrors `/log/`, tree heads in `sth.ndjson`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use paramant_protocol::sth::SignedSth;

use super::MAX_RESOURCE;
use super::tree_heads::Lines;
use crate::audit::source::HeadPage;
use crate::durable::fault;
use crate::error::ClientError;

/// The file of tree heads: one signed head a line, oldest first.
pub const HEADS: &str = "sth.ndjson";

/// The directory.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    heads: Mutex<Option<Lines<File>>>,
}

impl Directory {
    /// Opens a directory.
    ///
    /// # Errors
    /// When its file of tree heads is there and cannot be opened.
    pub fn open(root: &Path) -> Result<Self, ClientError> {
        let path = root.join(HEADS);
        let heads = match File::open(&path) {
            Ok(file) => Some(Lines::new(path, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fault("open", &path, error)),
        };
        Ok(Self { root: root.to_owned(), heads: Mutex::new(heads) })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ClientError> {
        let path = self.root.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            // A partial tile's directory stands where a full tile would be a file, and the other way round.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(fault("open", &path, error)),
        };
        let length = file.metadata().map_err(|error| fault("read", &path, error))?.len();
        let capacity = usize::try_from(length.min(MAX_RESOURCE)).unwrap_or(0);
        let mut bytes = Vec::with_capacity(capacity);
        file.take(MAX_RESOURCE + 1).read_to_end(&mut bytes).map_err(|error| fault("read", &path, error))?;
        if bytes.len() as u64 > MAX_RESOURCE {
            return Err(ClientError::Content {
                path,
                reason: format!("it has more than {MAX_RESOURCE} bytes"),
            });
        }
        Ok(Some(bytes))
    }

    pub(crate) fn last_head(&self) -> Result<Option<SignedSth>, ClientError> {
        let mut heads = self.heads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        heads.as_mut().map_or(Ok(None), Lines::last)
    }

    pub(crate) fn heads(&self, from: u64) -> Result<Option<HeadPage>, ClientError> {
        let mut heads = self.heads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        heads.as_mut().map(|lines| lines.page(from)).transpose()
    }
}
