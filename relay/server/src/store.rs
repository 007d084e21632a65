//! Metadata, payloads and key slots on disk.

use crate::app::Core;

/// Everything below the transfer path that is kept on disk.
#[derive(Debug)]
pub struct Store;

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {}

impl Store {
    /// Opens or creates the store, finishes what a crash left half done, and starts its writer.
    ///
    /// # Errors
    /// When a file cannot be opened or holds something that this release cannot read.
    pub async fn open(_core: &Core) -> Result<Self, OpenError> {
        Ok(Self)
    }

    /// Waits for its writer to finish; called once, after the last request.
    pub async fn close(&self) {}
}
