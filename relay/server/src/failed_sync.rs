//! What a failed sync means: the process ends.
//!
//! The kernel tells of a failed write-back once, to one caller, and marks the pages clean; asking again succeeds though
//! nothing reached the disk. So nobody may go on with a file whose sync failed. The next start reads what is really there.

use std::io;

/// The exit code after a sync that failed (EX_SOFTWARE is what supervisors show as "internal software error").
pub(crate) const EXIT_CODE: i32 = 70;

/// Ends the process: `what` (a name, never a path or a key) may or may not be on disk.
pub(crate) fn end(what: &str, error: &dyn std::error::Error) -> ! {
    tracing::error!(what, %error, "a sync failed; ending, since nothing written since is certain");
    std::process::exit(EXIT_CODE)
}

/// The result of syncing a file of which only its own writer speaks; a full volume is told to that one, anything else ends
/// the process.
///
/// # Errors
/// When the volume is full.
pub(crate) fn unless_full(what: &str, synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if !is_full(&error) => end(what, &error),
        synced => synced,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
