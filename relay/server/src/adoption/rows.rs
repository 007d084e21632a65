//! The rows of `meta.db` that speak of the log, made to speak of the new one.
//!
//! What is unread, and each licence reply in force, has its entry in the new log, in the order of [`carried`], after the first entry.
//! Everything else forgets its place: a device's entry is appended again at the next start, an upload that was never acknowledged is
//! removed, the answer to an upload in chunks is forgotten, a burn that waits for its entry gets it in the new log; a check-in's request
//! is announced again before it leaves, and so is the switch of telemetry.

use jiff::Timestamp;
use paramant_log::Entry;
use paramant_protocol::entry;
use rusqlite::{Connection, params};

use super::AdoptError;
use crate::data_dir::DataDir;
use crate::store::meta::{Meta, MetaError};
use crate::store::{BlobId, Digest};

/// Entries of the new log before those that are carried: the one that names the old log.
pub(super) const FIRST: u64 = 1;

/// An entry of the old log that the new one has too.
pub(super) struct Carried {
    pub(super) entry: Entry,
    at_ms: i64,
    of: Of,
}

/// Whose entry it is.
enum Of {
    /// An acknowledged transfer with something left to read.
    Transfer(BlobId),
    /// A reply that counts: what was granted is not lost with a log.
    Reply(Digest, i64),
}

/// What is carried, in the order in which the new log holds it: that of the old.
pub(super) fn carried(data: &DataDir) -> Result<Vec<Carried>, AdoptError> {
    with(data, |meta| meta.read_blocking(|c| Ok(list(c)?)))
}

/// Writes the new places, in one transaction.
pub(super) fn rewrite(data: &DataDir) -> Result<(), AdoptError> {
    with(data, |meta| {
        meta.write_blocking::<_, MetaError, _>(|c| {
            let carried = list(c)?;
            c.execute_batch(
                "UPDATE blobs SET log_from = 0, log_index = NULL, burn_from = CASE WHEN burn_entry IS NULL THEN NULL ELSE 0 END;
                 UPDATE devices SET log_from = 0, log_index = NULL;
                 DELETE FROM uploads WHERE state = 1;
                 UPDATE dids SET log_from = 0, log_index = NULL, revoke_index = NULL,
                     revoke_from = CASE WHEN revoke_entry IS NULL THEN NULL ELSE 0 END;
                 UPDATE license_request SET entry = x'', log_from = 0, told = CASE WHEN log_index IS NULL THEN told & 4 ELSE 4 END;
                 UPDATE license_request SET log_index = NULL;
                 UPDATE license_replies SET log_from = 0;
                 UPDATE check_ins SET request_index = NULL, reply_index = NULL;
                 DELETE FROM vendor_entries;
                 DELETE FROM support_uses;
                 UPDATE vendor_silences SET placed = 0;
                 DELETE FROM license_waiting;
                 UPDATE support_keys SET ended = 'expired', told = 1 WHERE ended IS NULL;
                 UPDATE vendor_requests SET state = 'lapsed' WHERE state = 'accepted' AND kind IN ('support_key', 'drain');
                 UPDATE vendor_requests SET state = 'new', decision = NULL, decided_ms = NULL
                     WHERE state = 'waiting' OR state = 'accepted' AND kind = 'update_offer';
                 UPDATE vendor_requests SET log_index = NULL, covered = NULL;
                 UPDATE telemetry SET recorded_schema = NULL, recorded_preview = NULL;",
            )?;
            let mut blob = c.prepare("UPDATE blobs SET log_index = ? WHERE id = ?")?;
            let mut reply = c.prepare("UPDATE license_replies SET log_index = ? WHERE key = ? AND sequence = ?")?;
            // Those that are not carried are none any more.
            c.execute("UPDATE license_replies SET log_index = -1 WHERE log_index IS NOT NULL", [])?;
            for (index, carried) in (FIRST..).zip(carried) {
                let index = index.cast_signed();
                match carried.of {
                    Of::Transfer(id) => blob.execute(params![index, id])?,
                    Of::Reply(key, sequence) => reply.execute(params![index, key, sequence])?,
                };
            }
            c.execute("DELETE FROM license_replies WHERE log_index = -1", [])?;
            Ok(())
        })
    })
}

fn list(c: &Connection) -> Result<Vec<Carried>, rusqlite::Error> {
    let sql =
        "SELECT id, leaf, created_ms FROM blobs WHERE state IN (1, 2) ORDER BY created_ms, log_index, id";
    let transfer = |row: &rusqlite::Row<'_>| {
        let (leaf, at_ms): (Digest, i64) = (row.get(1)?, row.get(2)?);
        let entry = entry::Entry::transfer(leaf.0, Timestamp::from_millisecond(at_ms).unwrap_or_default());
        Ok(Carried { entry: of_log(entry), at_ms, of: Of::Transfer(row.get(0)?) })
    };
    let mut all: Vec<Carried> = c.prepare(sql)?.query_map([], transfer)?.collect::<Result<_, _>>()?;
    let sql = "SELECT key, sequence, entry, received_ms FROM license_replies WHERE log_index IS NOT NULL
               ORDER BY received_ms, sequence";
    let reply = |row: &rusqlite::Row<'_>| {
        let bytes: Vec<u8> = row.get(2)?;
        let of = Of::Reply(row.get(0)?, row.get(1)?);
        // One that is none any more cannot be proven, and counts no more.
        let entry = entry::Entry::parse(&bytes).ok().map(of_log);
        Ok(entry.map(|entry| (entry, row.get(3), of)))
    };
    for found in c.prepare(sql)?.query_map([], reply)? {
        if let Some((entry, at_ms, of)) = found? {
            all.push(Carried { entry, at_ms: at_ms?, of });
        }
    }
    // In order of time: in a log hours do not go back.
    all.sort_by_key(|carried| carried.at_ms);
    Ok(all)
}

fn of_log(entry: entry::Entry) -> Entry {
    Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() }
}

fn with<T>(data: &DataDir, work: impl FnOnce(&Meta) -> Result<T, MetaError>) -> Result<T, AdoptError> {
    let meta = Meta::open(&data.meta_db()).map_err(|error| AdoptError::Rows(error.to_string()))?;
    let result = work(&meta).map_err(|error| AdoptError::Rows(error.to_string()));
    meta.close();
    result
}
