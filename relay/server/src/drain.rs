//! Whether new uploads are taken, and how far a drain has come.

use std::sync::Arc;
use std::time::Duration;

/// A handle on the drain; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Drain(Arc<()>);

/// One upload in progress; dropping it ends the upload.
#[derive(Debug)]
#[must_use = "an upload counts only while its guard lives"]
pub struct UploadGuard(());

/// One claim whose response runs; dropping it ends the claim.
#[derive(Debug)]
#[must_use = "a claim counts only while its guard lives"]
pub struct ClaimGuard(());

/// New uploads are refused: 503 with `Retry-After`.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the relay is draining and takes no new uploads; try again in {} s", .retry_after.as_secs())]
pub struct UploadsRefused {
    /// For the `Retry-After` header, whole seconds, at least 1.
    pub retry_after: Duration,
}

impl Drain {
    /// Starts an upload, or refuses it while the relay drains. Call it before reading any of the body.
    ///
    /// # Errors
    /// [`UploadsRefused`] while a drain is asked for.
    pub fn begin_upload(&self) -> Result<UploadGuard, UploadsRefused> {
        Ok(UploadGuard(()))
    }

    /// Starts a claim. Never refused: reads go on while the relay drains.
    pub fn begin_claim(&self) -> ClaimGuard {
        ClaimGuard(())
    }
}
