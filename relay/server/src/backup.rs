//! `paramant-relay backup` and `restore`: everything of a data directory but payloads and their keys, as one tar.
//!
//! A backup is made by a process of its own beside the running relay, which notices nothing. It holds no payload and no key
//! slot: a restored one could otherwise hand out again what was read and burned. What it holds is a moment of the relay that
//! a crash could have left: rows are read before the log, tree heads before the log, and the log in an order of its own
//! ([`paramant_log::backup`]), so that nothing speaks of an entry that is missing.
//!
//! | member | |
//! |---|---|
//! | `backup.json` | format, release, name of the log, when |
//! | `identity/`, `control-key`, `log-keys/`, `log-origin` | the relay's own keys: whoever has them is the relay |
//! | `directives.json`, `witnesses.json` | what others remember of the log |
//! | `meta.db` | accounts, devices, rows of transfers; compacted, so that nothing deleted is in it |
//! | `sth/`, `log/`, `retired-logs/` | the log |
//! | `SHA256SUMS` | last; without it a backup is not whole |

mod restore;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::restore::{RestoreError, Restored, Unread, restore};
pub use self::write::{BackupError, Written, backup};

const ABOUT: &str = "backup.json";
const SUMS: &str = "SHA256SUMS";
const FORMAT: u32 = 1;
/// Files at the top of the data directory that belong to a backup. Those that are not there are left out.
const FILES: [&str; 4] = ["control-key", "log-origin", "directives.json", "witnesses.json"];
/// Directories that do, whole.
const DIRECTORIES: [&str; 4] = ["identity", "log-keys", "sth", "retired-logs"];
/// The database and the log, which have an order of their own.
const META: &str = "meta.db";
const LOG: &str = "log";

/// `backup.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    format: u32,
    /// The release that made it.
    release: String,
    /// The name of the log.
    origin: String,
    /// RFC 3339, seconds.
    created: String,
}

/// Every file below a directory, sorted, as paths relative to `root`. Temporary files are left out.
fn files_below(root: &Path, directory: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut waiting) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = waiting.pop() {
        let entries = match std::fs::read_dir(root.join(&directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            let kind = entry.file_type()?;
            let temporary = path.extension().is_some_and(|extension| extension == "tmp");
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() && !temporary && path.file_name().is_some_and(|name| name != "lock") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
