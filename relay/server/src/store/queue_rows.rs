//! Uploads that wait for a device's listener (`GET /v2/stream-next`, protocol §4.3).
//!
//! A row is written in the transaction that makes its upload live and goes with the first complete download by the account, or
//! with the blob. First in, first out; an upload waits once, whatever is uploaded under its name later; a device that nobody
//! listens for keeps the newest [`MAX_DEVICE_QUEUE`].

use rusqlite::{Connection, OptionalExtension, params};

use super::blob_rows::{BlobRow, Space};
use super::{AccountId, Digest};

/// Uploads that wait for one device, as published.
pub const MAX_DEVICE_QUEUE: u32 = 1000;

// As for `blob_rows`: a test asks SQLite for its plans.
const NEXT: &str =
    "SELECT device_queue.lookup, queued_ms FROM device_queue JOIN blobs ON blobs.id = device_queue.blob
    WHERE device_queue.account = ?1 AND device_queue.device = ?2 AND state IN (1, 2) AND expires_ms > ?3
    AND (views_left > 0 OR EXISTS (SELECT 1 FROM claims WHERE blob = blobs.id AND account = ?1 AND state = 1))
    ORDER BY position LIMIT 1";
const SURPLUS: &str = "DELETE FROM device_queue WHERE account = ?1 AND device = ?2 AND position <=
    (SELECT position FROM device_queue WHERE account = ?1 AND device = ?2 ORDER BY position DESC LIMIT 1 OFFSET ?3)";

/// What a listener should fetch next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// What to ask for.
    pub lookup: Digest,
    /// Since when it waits.
    pub queued_ms: i64,
}

/// Puts an upload at the end of its device's queue, if its sender named one. A drop is for whoever has its words: a listener
/// that fetched it would only destroy it.
pub fn push(c: &Connection, blob: &BlobRow, now_ms: i64) -> Result<(), rusqlite::Error> {
    let Some(device) = blob.device.as_ref().filter(|_| blob.space == Space::Content) else { return Ok(()) };
    c.prepare_cached(
        "INSERT INTO device_queue (account, device, lookup, blob, queued_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (account, device, lookup) DO UPDATE SET blob = excluded.blob, queued_ms = excluded.queued_ms",
    )?
    .execute(params![blob.account, device, blob.lookup, blob.id, now_ms])?;
    c.prepare_cached(SURPLUS)?.execute(params![blob.account, device, MAX_DEVICE_QUEUE]).map(drop)
}

/// The first that the account can read now. What is being read is passed over; it comes back if that breaks off.
pub fn next(
    c: &Connection,
    account: AccountId,
    device: &str,
    now_ms: i64,
) -> Result<Option<Next>, rusqlite::Error> {
    c.prepare_cached(NEXT)?
        .query_row(params![account, device, now_ms], |row| {
            Ok(Next { lookup: row.get(0)?, queued_ms: row.get(1)? })
        })
        .optional()
}

/// The account has read this to its end: it waits for none of its devices any more.
pub fn fetched(c: &Connection, account: AccountId, lookup: Digest) -> Result<(), rusqlite::Error> {
    c.prepare_cached("DELETE FROM device_queue WHERE account = ? AND lookup = ?")?
        .execute(params![account, lookup])
        .map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::migrations;

    const ACCOUNT: AccountId = AccountId([1; 16]);

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::store::meta::plan_once(&connection).unwrap();
        migrations::apply(&mut connection, migrations::Release::THIS).unwrap();
        connection
    }

    #[test]
    fn neither_question_reads_more_than_one_devices_queue() {
        let c = database();
        for sql in [NEXT, SURPLUS] {
            let mut query = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let parameters = vec![1; query.parameter_count()];
            let steps = query.query_map(rusqlite::params_from_iter(parameters), |row| row.get("detail"));
            let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
            assert!(steps.iter().any(|step| step.contains("device_queue_in_order")), "{steps:?}");
            assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{steps:?}: {sql}");
            assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}: {sql}");
        }
    }

    #[test]
    fn a_device_that_nobody_listens_for_keeps_the_newest() {
        let c = database();
        c.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        let row = |n: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            crate::store::blob_rows::sample(ACCOUNT, Digest(id), Some("d"))
        };
        for n in 0..MAX_DEVICE_QUEUE + 3 {
            push(&c, &row(n), i64::from(n)).unwrap();
        }
        push(&c, &row(MAX_DEVICE_QUEUE), 0).unwrap();
        let (count, first): (u32, i64) = c
            .query_row("SELECT count(*), min(queued_ms) FROM device_queue WHERE queued_ms <> 0", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!((count, first), (MAX_DEVICE_QUEUE - 1, 3), "one of them was queued again, in its place");
    }
}
