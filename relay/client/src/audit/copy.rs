//! Copies of a log on this machine: a directory that mirrors what a relay serves under `/log/`, or archive zips of it.
//!
//! A copy needs no network and no trust: what is in it is checked like an answer of a relay. It has no JSON interface. Names
//! come from the auditor, never from the copy, and every read is bounded.

mod directory;
mod tree_heads;
mod zips;

use std::ops::Range;
use std::path::PathBuf;

pub use directory::{Directory, HEADS};
pub use zips::Zips;

use paramant_protocol::sth::SignedSth;

use super::source::{HeadPage, Source};
use crate::error::ClientError;

/// The largest resource that is read: a full bundle of the largest entries has 4 MiB and 512 bytes.
pub(super) const MAX_RESOURCE: u64 = (4 << 20) + 4096;

/// A copy of a log.
#[derive(Debug)]
pub enum Copy {
    /// A directory.
    Directory(Directory),
    /// One zip, or several of one log.
    Zips(Zips),
}

impl Copy {
    /// Opens a directory, or one or several zips.
    ///
    /// # Errors
    /// When a file cannot be read, is no zip, or more than one directory is named.
    pub fn open(paths: &[PathBuf]) -> Result<Self, ClientError> {
        match paths {
            [directory] if directory.is_dir() => Ok(Self::Directory(Directory::open(directory)?)),
            zips => {
                if let Some(path) = zips.iter().find(|path| path.is_dir()) {
                    let reason = "name one directory, or zips only".into();
                    return Err(ClientError::Content { path: path.clone(), reason });
                }
                Zips::open(zips).map(Self::Zips)
            }
        }
    }
}

impl Source for Copy {
    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, ClientError> {
        let Some(name) = path.strip_prefix("/log/") else { return Ok(None) };
        match self {
            Self::Directory(directory) => directory.read(name),
            Self::Zips(zips) => zips.read(name),
        }
    }

    fn is_live(&self) -> bool {
        false
    }

    fn has_json(&self) -> bool {
        false
    }

    fn span(&self, size: u64) -> Range<u64> {
        match self {
            Self::Directory(_) => 0..size,
            Self::Zips(zips) => zips.span(size),
        }
    }

    fn last_head(&self) -> Result<Option<SignedSth>, ClientError> {
        match self {
            Self::Directory(directory) => directory.last_head(),
            Self::Zips(zips) => zips.last_head(),
        }
    }

    async fn heads(&self, from: u64) -> Result<Option<HeadPage>, ClientError> {
        match self {
            Self::Directory(directory) => directory.heads(from),
            Self::Zips(zips) => zips.heads(from),
        }
    }
}
