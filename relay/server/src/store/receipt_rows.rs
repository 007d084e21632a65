//! The rows of log receipts: which entry of the log an id that a client holds is for.
//!
//! A row is written in the transaction that leases its view or makes its upload live, which the pass at start does again for what a
//! crash lost, so an id that was handed out is found after any restart. Only the id's SHA-256 is stored. Written by the transfer path, read by `/log/receipt/{id}`.

use paramant_protocol::id::ReceiptId;
use rusqlite::{Connection, OptionalExtension, params};

use super::{BlobId, BlobRow, Digest};

/// The entry that a receipt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipted {
    /// Where it is.
    pub log_index: u64,
    /// Its legacy leaf, which tells it from an entry of another log at the same index.
    pub leaf: Digest,
}

/// Keeps an id for the entry of a blob whose place in the log is known; for others there is nothing to keep yet.
pub fn insert(c: &Connection, id: &ReceiptId, blob: &BlobRow) -> Result<(), rusqlite::Error> {
    let Some(log_index) = blob.log_index else { return Ok(()) };
    insert_for(c, id, Receipted { log_index, leaf: blob.leaf })
}

/// Keeps an id for an entry. The id is random and of one request: whatever that request kept before is replaced.
pub fn insert_for(c: &Connection, id: &ReceiptId, entry: Receipted) -> Result<(), rusqlite::Error> {
    let Receipted { log_index, leaf } = entry;
    c.prepare_cached("INSERT OR REPLACE INTO receipts (id, log_index, leaf) VALUES (?, ?, ?)")?
        .execute(params![Digest(id.digest()), log_index.cast_signed(), leaf])
        .map(drop)
}

/// Keeps the id that an upload came with, which is live now.
pub fn keep_of_upload(c: &Connection, blob: BlobId) -> Result<(), rusqlite::Error> {
    c.prepare_cached(
        "INSERT OR REPLACE INTO receipts (id, log_index, leaf)
         SELECT receipt, log_index, leaf FROM blobs WHERE id = ? AND receipt IS NOT NULL",
    )?
    .execute([blob])
    .map(drop)
}

/// The entry that an id is for.
pub fn find(c: &Connection, id: &ReceiptId) -> Result<Option<Receipted>, rusqlite::Error> {
    c.prepare_cached("SELECT log_index, leaf FROM receipts WHERE id = ?")?
        .query_row([Digest(id.digest())], |row| {
            Ok(Receipted { log_index: row.get::<_, i64>(0)?.cast_unsigned(), leaf: row.get(1)? })
        })
        .optional()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::migrations;

    #[test]
    fn a_receipt_is_found_by_its_id_alone_and_the_id_is_not_in_the_database() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::apply(&mut connection, migrations::Release::THIS).unwrap();
        let id = ReceiptId::from_random([7; 32]);
        let entry = Receipted { log_index: u64::MAX / 2, leaf: Digest([9; 32]) };
        insert_for(&connection, &id, entry).unwrap();
        assert_eq!(find(&connection, &id).unwrap(), Some(entry));
        assert_eq!(find(&connection, &ReceiptId::from_random([8; 32])).unwrap(), None);
        let stored: Vec<u8> = connection.query_row("SELECT id FROM receipts", [], |row| row.get(0)).unwrap();
        assert_ne!(stored, [7; 32]);
    }
}
