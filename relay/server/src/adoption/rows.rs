//! The rows of `meta.db` that speak of the log, made to speak of the new one.
//!
//! What is unread has its entry in the new log, in the order of [`unread`], after the first entry. Everything else forgets
//! its place: a device's entry is appended again at the next start, an upload that was never acknowledged is removed, the answer to an
//! upload in chunks is forgotten, a burn that waits for its entry gets it in the new log.

use rusqlite::{Connection, params};

use super::AdoptError;
use crate::data_dir::DataDir;
use crate::store::meta::{Meta, MetaError};
use crate::store::{BlobId, Digest};

/// Entries of the new log before those of the unread: the one that names the old log.
pub(super) const FIRST: u64 = 1;

/// An acknowledged transfer with something left to read.
pub(super) struct Unread {
    pub(super) id: BlobId,
    pub(super) leaf: Digest,
    pub(super) created_ms: i64,
}

/// What is unread, in the order in which the new log holds it: that of the old.
pub(super) fn unread(data: &DataDir) -> Result<Vec<Unread>, AdoptError> {
    with(data, |meta| meta.read_blocking(|c| Ok(list(c)?)))
}

/// Writes the new places, in one transaction.
pub(super) fn rewrite(data: &DataDir) -> Result<(), AdoptError> {
    with(data, |meta| {
        meta.write_blocking::<_, MetaError, _>(|c| {
            let unread = list(c)?;
            c.execute_batch(
                "UPDATE blobs SET log_from = 0, log_index = NULL, burn_from = CASE WHEN burn_entry IS NULL THEN NULL ELSE 0 END;
                 UPDATE devices SET log_from = 0, log_index = NULL;
                 DELETE FROM uploads WHERE state = 1;
                 UPDATE dids SET log_from = 0, log_index = NULL, revoke_index = NULL,
                     revoke_from = CASE WHEN revoke_entry IS NULL THEN NULL ELSE 0 END;",
            )?;
            let mut place = c.prepare("UPDATE blobs SET log_index = ? WHERE id = ?")?;
            for (index, blob) in (FIRST..).zip(unread) {
                place.execute(params![index.cast_signed(), blob.id])?;
            }
            Ok(())
        })
    })
}

fn list(c: &Connection) -> Result<Vec<Unread>, rusqlite::Error> {
    // In order of time: in a log hours do not go back.
    let sql =
        "SELECT id, leaf, created_ms FROM blobs WHERE state IN (1, 2) ORDER BY created_ms, log_index, id";
    let row =
        |row: &rusqlite::Row<'_>| Ok(Unread { id: row.get(0)?, leaf: row.get(1)?, created_ms: row.get(2)? });
    c.prepare(sql)?.query_map([], row)?.collect()
}

fn with<T>(data: &DataDir, work: impl FnOnce(&Meta) -> Result<T, MetaError>) -> Result<T, AdoptError> {
    let meta = Meta::open(&data.meta_db()).map_err(|error| AdoptError::Rows(error.to_string()))?;
    let result = work(&meta).map_err(|error| AdoptError::Rows(error.to_string()));
    meta.close();
    result
}
