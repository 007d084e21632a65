//! Secret seeds on disk: 32 random bytes as lower-case hex, 0600, written once.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use paramant_tlog::keys::{Seed, generate_seed};
use zeroize::Zeroizing;

use crate::data_dir::{DataDir, durable};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot use the key file {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not hold what this process once wrote.
    #[error("the key file {} is damaged; restore it from a backup", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// There is a log, but not the key it was signed with.
    #[error("the key file {} is missing although this directory holds a log; restore it from a backup, or start with an empty directory (a new relay)", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// The operating system gives no randomness.
    #[error("the operating system gives no random bytes: {0}")]
    NoRandomness(String),
}

/// Reads the seed at `path`, or makes one when this directory has never held a log.
pub(super) fn load_or_make(path: &Path, data: &DataDir) -> Result<Seed, KeyError> {
    match load(path) {
        Err(KeyError::Missing { .. }) if !data.holds_a_log() => make(path),
        other => other,
    }
}

/// Reads the seed at `path`.
pub(super) fn load(path: &Path) -> Result<Seed, KeyError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            let mut seed = Seed::new([0; 32]);
            hex::decode_to_slice(text.trim_end(), &mut *seed)
                .map_err(|_| KeyError::Malformed { path: path.to_owned() })?;
            Ok(seed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(KeyError::Missing { path: path.to_owned() })
        }
        Err(source) => Err(KeyError::Io { path: path.to_owned(), source }),
    }
}

/// Makes a new seed at `path`.
pub(super) fn make(path: &Path) -> Result<Seed, KeyError> {
    let seed = generate_seed().map_err(|error| KeyError::NoRandomness(error.to_string()))?;
    let text = Zeroizing::new(format!("{}\n", hex::encode(*seed)));
    durable::write(path, text.as_bytes()).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
    Ok(seed)
}

/// Overwrites the seed at `path` and removes it; one that is gone already is as good.
pub(super) fn destroy(path: &Path) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    match std::fs::OpenOptions::new().write(true).open(path) {
        Ok(mut file) => {
            file.write_all(&[b'0'; 64]).and_then(|()| file.sync_all()).map_err(io)?;
            std::fs::remove_file(path).map_err(io)?;
            path.parent().map_or(Ok(()), durable::sync_directory).map_err(io)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(error)),
    }
}
