//! What an account did, in numbers, for `GET /v2/monitor` (protocol §4.6). Never another account's, never the relay's.

use rusqlite::{Connection, OptionalExtension, params};

use super::AccountId;

/// The numbers of one account, since it has existed on this relay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Its uploads that somebody may still read.
    pub in_flight: u64,
    /// Uploads acknowledged.
    pub inbound: u64,
    /// Of those, destroyed for whatever reason.
    pub burned: u64,
    /// Downloads that came to their end.
    pub read: u64,
    /// From each upload to the end of each download of it, summed, in milliseconds.
    pub waited_ms: u64,
    /// Acknowledgements its readers sent.
    pub acked: u64,
    /// Webhook calls that were answered with 2xx.
    pub hooked: u64,
}

/// Reads them.
pub fn read(c: &Connection, account: AccountId, now_ms: i64) -> Result<Activity, rusqlite::Error> {
    // The index on unread blobs answers this alone, up to the two columns that are looked at.
    let in_flight: i64 = c
        .prepare_cached(
            "SELECT count(*) FROM blobs WHERE account = ? AND state < 3 AND state IN (1, 2) AND expires_ms > ?",
        )?
        .query_row(params![account, now_ms], |row| row.get(0))?;
    let counted = c
        .prepare_cached(
            "SELECT inbound, burned, read, waited_ms, acked, hooked FROM activity WHERE account = ?",
        )?
        .query_row([account], |row| {
            let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
            Ok(Activity {
                in_flight: 0,
                inbound: number(0)?,
                burned: number(1)?,
                read: number(2)?,
                waited_ms: number(3)?,
                acked: number(4)?,
                hooked: number(5)?,
            })
        })
        .optional()?;
    Ok(Activity { in_flight: in_flight.cast_unsigned(), ..counted.unwrap_or_default() })
}

/// One of the account's uploads was destroyed.
pub fn burned(c: &Connection, account: AccountId) -> Result<(), rusqlite::Error> {
    c.prepare_cached("UPDATE activity SET burned = burned + 1 WHERE account = ?")?
        .execute([account])
        .map(drop)
}

/// A download by the account came to its end, so long after its upload.
pub fn waited(c: &Connection, account: AccountId, waited_ms: i64) -> Result<(), rusqlite::Error> {
    c.prepare_cached("UPDATE activity SET waited_ms = waited_ms + ? WHERE account = ?")?
        .execute(params![waited_ms.max(0), account])
        .map(drop)
}
