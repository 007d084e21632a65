//! The one directory that holds everything that matters, and the one way to write a file in it durably.

use std::path::{Path, PathBuf};

/// The data directory, locked for this process.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `meta.db`.
    pub fn meta_db(&self) -> PathBuf {
        self.root.join("meta.db")
    }

    /// `keys.slots`.
    pub fn key_slots(&self) -> PathBuf {
        self.root.join("keys.slots")
    }

    /// `blobs/`.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// `log/`.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }
}
