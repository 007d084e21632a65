//! What can go wrong, named after what went wrong. Damage always names file and offset.

use std::io;
use std::path::PathBuf;

/// Bytes on disk that the engine did not write there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log is damaged: {file} at offset {offset}: {what}. Nothing was changed; restore this file from a copy"
)]
pub struct Corruption {
    /// The damaged file.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// What was found, and what was expected.
    pub what: String,
}

/// Why a log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the log open.
    #[error("{0} is locked: another process has this log open")]
    Locked(PathBuf),
    /// The directory is on a network file system.
    #[error("{0} is on a network file system, where a sync proves nothing; use a local disk")]
    NetworkFileSystem(PathBuf),
    /// Settings that cannot work.
    #[error("log settings: {0}")]
    Settings(&'static str),
    /// Damage that is not a torn final batch.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The file system refused.
    #[error("opening the log: {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why an entry was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The entry is longer than [`crate::MAX_ENTRY`].
    #[error("an entry has at most 16384 bytes, this one has {0}")]
    TooLarge(usize),
    /// No room for the next segment, or it could not be made. Nothing was written; try again later.
    #[error("no write-ahead segment could be made: {0}")]
    NoSegment(String),
    /// So many published entries have no tiles yet, and none could be written for a while; the log tries on. Nothing of
    /// this entry was written; try again later.
    #[error(
        "{0} published entries wait for their tiles, which cannot be written: the relay's own log says why (no room, no file \
         handles, no rights). Nothing was appended; try again later"
    )]
    TilesBehind(u64),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// A write or sync failed. The entry may or may not be in the log; the process must end and start again.
    #[error("the log has failed and takes no more entries; the process must restart")]
    Failed,
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Asked beyond the durable head.
    #[error("asked for {asked}, the log has {size} entries")]
    BeyondHead {
        /// The index or size asked for.
        asked: u64,
        /// The durable size.
        size: u64,
    },
    /// An old size above a new one.
    #[error("the old size {from} is above the new size {to}")]
    SizesReversed {
        /// The size said to be old.
        from: u64,
        /// The size said to be new.
        to: u64,
    },
    /// Damage.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The file system refused.
    #[error("reading {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why no checkpoint was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint was not signed: {0}")]
pub struct SignError(pub String);

/// Why no checkpoint was published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The signer refused or failed; tried again at the next turn.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// What the signer returned is not a checkpoint of the head it was given.
    #[error("the signer returned a note for something else: {0}")]
    WrongNote(String),
    /// The file could not be written; tried again at the next turn.
    #[error("writing the checkpoint: {0}")]
    Io(String),
    /// The log has failed.
    #[error("the log has failed; the process must restart")]
    Failed,
}

/// Why closing was not clean. What was acknowledged is durable all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// The last checkpoint could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Shorthand for the system's errors with their file.
pub(crate) fn open_io(path: &std::path::Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// Shorthand for the system's errors with their file.
pub(crate) fn read_io(path: &std::path::Path) -> impl FnOnce(io::Error) -> ReadError {
    let path = path.to_owned();
    move |source| ReadError::Io { path, source }
}
