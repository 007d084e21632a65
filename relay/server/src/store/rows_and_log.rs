//! Whether the rows and the log beside them belong together.
//!
//! A row learns its entry's index only once the entry is durable, and notes the log's size when it is written. So a row that
//! speaks of an entry at or above the log's head means that the log lost acknowledged entries (an older copy was put back,
//! or the disk failed), and one whose entry has another leaf that it is another log. Asked before anything is changed.

use rusqlite::{Connection, OptionalExtension};

use super::meta::Meta;
use super::{Digest, RecoveryError};
use crate::log_service::LogService;

/// The tables whose rows have an entry of their own.
const TABLES: [&str; 3] = ["blobs", "devices", "dids"];

/// Rows and log do not belong together. The process ends with exit code 70: what is on disk needs a person.
#[derive(Debug, thiserror::Error)]
#[error(
    "meta.db and the log do not belong together: {rows} row(s) of its table {table} speak of entries that {log} does not hold ({what}). \
     Acknowledged entries are lost, or one of the two is an older copy: restore the newest copy of the whole data directory, \
     and keep what is there now"
)]
pub struct Torn {
    table: &'static str,
    rows: u64,
    log: String,
    what: String,
}

/// Why the comparison stopped the start.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// They do not belong together.
    #[error(transparent)]
    Torn(#[from] Torn),
    /// One of them could not be read.
    #[error(transparent)]
    Read(#[from] RecoveryError),
}

/// What the rows of one table say of the log.
struct Reach {
    /// The size the log must have at least.
    size: u64,
    /// Rows that need more than the log has.
    beyond: u64,
    /// The last entry that a row names, and its leaf.
    last: Option<(u64, Digest)>,
}

/// Compares every row with the log's head, and the last entry that each table names with its leaf. Blocking.
pub(super) fn compare(meta: &Meta, log: &LogService) -> Result<(), CompareError> {
    let held = log.head().size;
    for table in TABLES {
        let reach = meta.read_blocking(|c| Ok::<_, RecoveryError>(reach(c, table, held)?))?;
        let torn = |rows, what| Torn { table, rows, log: log.origin().to_owned(), what };
        if reach.beyond > 0 {
            let what = format!("they need {} entries, and it ends after {held}", reach.size);
            return Err(torn(reach.beyond, what).into());
        }
        if let Some((index, leaf)) = reach.last {
            let stored = log.engine().entry(index).map_err(|error| RecoveryError::Log(error.into()))?;
            if stored.is_none_or(|entry| entry.legacy_leaf != leaf.0) {
                return Err(torn(1, format!("its entry {index} has another leaf")).into());
            }
        }
    }
    Ok(())
}

fn reach(c: &Connection, table: &str, held: u64) -> Result<Reach, rusqlite::Error> {
    let needs = "max(coalesce(log_index + 1, 0), log_from)";
    let sql = format!("SELECT coalesce(max({needs}), 0), count(*) FILTER (WHERE {needs} > ?) FROM {table}");
    let (size, beyond): (i64, i64) =
        c.query_row(&sql, [held.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let sql = format!(
        "SELECT log_index, leaf FROM {table} WHERE log_index IS NOT NULL ORDER BY log_index DESC LIMIT 1"
    );
    let last =
        c.query_row(&sql, [], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))).optional()?;
    Ok(Reach { size: size.cast_unsigned(), beyond: beyond.cast_unsigned(), last })
}
