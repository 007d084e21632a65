//! The copy that a deleted relay leaves behind: its `log/` directory, made complete, so that whoever holds the volume can audit
//! it as `paramant audit` does any copy: partial tiles, keys, policy and every tree head beside the last checkpoint.
//!
//! Written after the log was closed; what a kill in the middle leaves is a log without a whole copy.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use paramant_log::ReadError;

use crate::archive;
use crate::data_dir::durable;
use crate::log_service::{LogService, RecordError};
use crate::public::log_tiles::vkeys_text;

/// Tree heads that are read at once: five megabytes.
const HEADS_AT_ONCE: u64 = 1000;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// The log.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The tree heads.
    #[error(transparent)]
    TreeHeads(#[from] RecordError),
    /// The files beside it.
    #[error("cannot write a copy of the log: {0}")]
    Io(#[from] io::Error),
}

/// Completes the directory of a log that was closed.
pub(crate) fn complete(log: &LogService, directory: &Path, policy: &str) -> Result<(), CopyError> {
    durable::write(&directory.join("vkeys"), vkeys_text(log).as_bytes())?;
    durable::write(&directory.join("policy"), policy.as_bytes())?;
    let (heads, part) = (log.tree_heads(), directory.join("sth.ndjson.part"));
    let mut file = File::create(&part)?;
    let mut next = 0;
    while next < heads.total() {
        file.write_all(&archive::lines(&heads.range(next, HEADS_AT_ONCE)?)?)?;
        next += HEADS_AT_ONCE;
    }
    std::fs::rename(&part, directory.join("sth.ndjson"))?;
    let size = log.engine().complete_directory()?;
    tracing::info!(size, directory = %directory.display(), "the log's directory is a whole copy now");
    Ok(())
}
