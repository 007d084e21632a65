//! The rows of blobs, and every change of state they go through. Their views are leased in [`super::claim_rows`].
//!
//! A blob is `pending` until its log entry is durable, `live` while views are left, `claimed` when the last view is leased,
//! and `burned` from the moment its key is destroyed until its `transfer_burned` entry is known to be in the log; then the
//! row goes. All functions run inside a transaction of [`super::meta::Meta`]; the transfer path decides when.

use std::time::Duration;

use paramant_protocol::id::ReceiptId;
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::claim_rows::{may_be_leased, may_be_leased_to};
use super::slots::Slot;
use super::{AccountId, BlobId, Digest, NeedError, Schema, link_rows};

// The queries that run while serving. SQLite uses a partial index only where the index's own condition stands in the query,
// word for word: hence a `state < 3` or `state IN (0, 3)` that seems to say nothing new. A test asks SQLite for its plans.
const UNREAD: &str = "SELECT * FROM blobs WHERE account = ? AND space = ? AND lookup = ? AND state < 3";
const READABLE: &str =
    "SELECT * FROM blobs WHERE lookup = ?1 AND state < 3 AND state IN (1, 2) AND expires_ms > ?2
    AND (space = 1 OR account = ?3)
    AND (views_left > 0 OR EXISTS (SELECT 1 FROM claims WHERE blob = blobs.id AND account = ?3 AND state = 1))
    ORDER BY space, created_ms LIMIT 1";
const SUPERSEDED: &str =
    "SELECT * FROM blobs WHERE state IN (0, 3) AND state = 3 AND burn_entry IS NULL LIMIT ?";
const EXPIRED: &str = "SELECT * FROM blobs WHERE state < 3 AND state IN (1, 2) AND expires_ms <= ?
    AND NOT EXISTS (SELECT 1 FROM claims WHERE blob = blobs.id AND state = 0) LIMIT ?";
const UNFINISHED: &str =
    "SELECT * FROM blobs WHERE state IN (0, 3) AND (state = 0 OR burn_entry IS NOT NULL)";

/// Which names a lookup id competes with. Drops have their own, so nobody can block a future content hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// The lookup id is the SHA-256 of the payload; only the account that sent it may read it.
    Content,
    /// Whoever knows the lookup id may read, with any active key. For drops it is the sender's own; for what was sent without
    /// a key ([`AccountId::NOBODY`]) it is the SHA-256 of the payload.
    Drop,
}

/// What a reader asks for, and as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// By its name, with a key of this account.
    ByName {
        /// Who asks.
        account: AccountId,
        /// For what.
        lookup: Digest,
    },
    /// By the SHA-256 of a download link's token, with nothing else.
    ByLink(Digest),
}

impl Asked {
    /// Who a view is leased to, and may lease it again after a cut: the account, or for a link somebody of its own, made from
    /// the token. Of a view that was begun through a link, the link alone is owed the rest.
    #[must_use]
    pub fn claimant(self) -> AccountId {
        match self {
            Self::ByName { account, .. } => account,
            Self::ByLink(Digest(token)) => {
                let (start, _) = token.split_at(16);
                AccountId(start.try_into().unwrap_or([0; 16])) // total: 16 of 32 bytes
            }
        }
    }
}

/// Where a blob is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its bytes are durable, its log entry perhaps not: never acknowledged, never readable.
    Pending,
    /// Acknowledged, with views left.
    Live,
    /// No view is left, but a lease is open.
    Claimed,
    /// Its key is destroyed.
    Burned,
}

/// One blob.
#[derive(Debug, Clone)]
pub struct BlobRow {
    /// The upload's own id, also the file's name.
    pub id: BlobId,
    /// Who sent it.
    pub account: AccountId,
    /// Which names `lookup` competes with.
    pub space: Space,
    /// What it is asked for by.
    pub lookup: Digest,
    /// SHA-256 of the payload.
    pub hash: Digest,
    /// Bytes of the payload.
    pub size: u64,
    /// The effective time to live.
    pub ttl_ms: i64,
    /// When it was accepted.
    pub created_ms: i64,
    /// When it stops being readable.
    pub expires_ms: i64,
    /// Views it was accepted with.
    pub views: u32,
    /// Views not yet leased.
    pub views_left: u32,
    /// Where it is in its life.
    pub state: State,
    /// Where its key is.
    pub slot: Slot,
    /// Whether the sender's signature over the hash was checked and held.
    pub sig_valid: bool,
    /// The device name the sender gave.
    pub device: Option<String>,
    /// The sector in the leaf, whatever the setting says by now.
    pub sector: String,
    /// The exact time of the log entry.
    pub ts: String,
    /// The legacy leaf of the `transfer` entry.
    pub leaf: Digest,
    /// The log's size when the row was written.
    pub log_from: u64,
    /// Where the entry is, once known.
    pub log_index: Option<u64>,
    /// What a reader must know: Argon2id as a PHC string.
    pub password: Option<String>,
    /// The file's name, encrypted by the sender.
    pub enc_meta: Option<String>,
    /// The `transfer_burned` entry: bytes, legacy leaf, and the log's size when it was made.
    pub burn_entry: Option<(Vec<u8>, Digest, u64)>,
    /// It arrived in chunks of this size, each in a file of its own; `hash` is that of their list.
    pub chunk_size: Option<u64>,
    /// A view whose bytes began to go out is used, whatever becomes of the read.
    pub strict: bool,
}

impl BlobRow {
    /// How long it may still be read.
    #[must_use]
    pub fn remaining(&self, now_ms: i64) -> Duration {
        Duration::from_millis((self.expires_ms - now_ms).max(0).cast_unsigned())
    }
}

/// What became of a `pending` row that was to be written.
#[derive(Debug)]
pub enum Inserted {
    /// It is written.
    New,
    /// The account holds the same, with a view left: that upload stands for this one.
    Unread(Box<BlobRow>),
    /// The account holds the same, on its way in or in its last read: soon there will be an unread one, or none.
    Undecided,
}

/// Writes a `pending` row, unless the account already holds the same unread. `receipt` is kept with it, for when it is live.
pub fn insert_pending(
    c: &Connection,
    schema: &Schema,
    row: &BlobRow,
    receipt: &ReceiptId,
) -> Result<Inserted, NeedError> {
    if let Some(earlier) = unread(c, row.account, row.space, row.lookup)? {
        if earlier.state == State::Pending {
            return Ok(Inserted::Undecided);
        }
        if earlier.expires_ms > row.created_ms {
            return Ok(match may_be_leased(c, &earlier)? {
                true => Inserted::Unread(Box::new(earlier)),
                false => Inserted::Undecided,
            });
        }
        // Expired but not yet swept: it frees its name here, and the sweep finds it by its state.
        c.prepare_cached("UPDATE blobs SET state = 3 WHERE id = ?")?.execute([earlier.id])?;
    }
    if row.strict {
        schema.need_chunks(c)?;
    }
    c.prepare_cached(
        "INSERT INTO blobs (id, account, space, lookup, hash, size, ttl_ms, created_ms, expires_ms, views, views_left, state,
                            slot, sig_valid, device, sector, ts, leaf, log_from, password, enc_meta, chunk_size, strict,
                            receipt)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        row.id,
        row.account,
        row.space,
        row.lookup,
        row.hash,
        row.size.cast_signed(),
        row.ttl_ms,
        row.created_ms,
        row.expires_ms,
        row.views,
        row.views_left,
        row.slot.0,
        row.sig_valid,
        row.device,
        row.sector,
        row.ts,
        row.leaf,
        row.log_from.cast_signed(),
        row.password,
        row.enc_meta,
        row.chunk_size.map(u64::cast_signed),
        row.strict,
        Digest(receipt.digest()),
    ])?;
    #[cfg(any(test, feature = "rehearsal"))]
    super::migrations::rehearsal::upload(c, schema, row.id, row.created_ms)?;
    Ok(Inserted::New)
}

/// Makes a `pending` row `live` at the place of its log entry. `false`: it was not pending (any more).
pub fn mark_live(c: &Connection, id: BlobId, log_index: u64) -> Result<bool, rusqlite::Error> {
    let changed = c
        .prepare_cached("UPDATE blobs SET state = 1, log_index = ? WHERE id = ? AND state = 0")?
        .execute(params![log_index.cast_signed(), id])?;
    Ok(changed == 1)
}

/// Removes a row, whatever its state.
pub fn delete(c: &Connection, id: BlobId) -> Result<(), rusqlite::Error> {
    c.prepare_cached("DELETE FROM blobs WHERE id = ?")?.execute([id]).map(drop)
}

/// What the account may still read, or is writing, under this name.
pub fn unread(
    c: &Connection,
    account: AccountId,
    space: Space,
    lookup: Digest,
) -> Result<Option<BlobRow>, rusqlite::Error> {
    c.prepare_cached(UNREAD)?.query_row(params![account, space, lookup], blob).optional()
}

/// What may be read now: by name the account's own content first, then a drop of anybody's. Expired counts as gone, and so
/// does what has no view left for who asks: none never leased, and none whose lease they held and lost.
pub fn readable(c: &Connection, asked: Asked, now_ms: i64) -> Result<Option<BlobRow>, rusqlite::Error> {
    match asked {
        // One statement for every outcome, so that unknown, foreign, expired and burned cost the same.
        Asked::ByName { account, lookup } => {
            c.prepare_cached(READABLE)?.query_row(params![lookup, now_ms, account], blob).optional()
        }
        Asked::ByLink(token) => match link_rows::find(c, token, now_ms)? {
            Some(blob) if may_be_leased_to(c, &blob, asked.claimant())? => Ok(Some(blob)),
            _ => Ok(None),
        },
    }
}

/// Marks a blob burned, its key slot having been overwritten, and keeps the entry that will say so. `false`: it was already.
pub fn mark_burned(
    c: &Connection,
    id: BlobId,
    entry: &[u8],
    leaf: Digest,
    log_from: u64,
) -> Result<bool, rusqlite::Error> {
    c.prepare_cached("DELETE FROM claims WHERE blob = ?")?.execute([id])?;
    link_rows::delete_of(c, id)?;
    let sql = "UPDATE blobs SET state = 3, burn_entry = ?, burn_leaf = ?, burn_from = ? WHERE id = ? AND burn_entry IS NULL";
    Ok(c.prepare_cached(sql)?.execute(params![entry, leaf, log_from.cast_signed(), id])? == 1)
}

/// Blobs to burn now: expired with no lease running, spent, or marked burned without their entry.
pub fn to_burn(c: &Connection, now_ms: i64, limit: u32) -> Result<Vec<BlobRow>, rusqlite::Error> {
    let mut due: Vec<_> =
        c.prepare_cached(SUPERSEDED)?.query_map([limit], blob)?.collect::<Result<_, _>>()?;
    let mut expired = c.prepare_cached(EXPIRED)?;
    for row in expired.query_map(params![now_ms, limit], blob)? {
        due.push(row?);
    }
    Ok(due)
}

/// At start: blobs of which nothing can be read any more though they were never marked.
pub fn spent_at_start(c: &Connection) -> Result<Vec<BlobRow>, rusqlite::Error> {
    let sql = "SELECT * FROM blobs WHERE state IN (1, 2) AND views_left = 0
               AND NOT EXISTS (SELECT 1 FROM claims WHERE blob = blobs.id)";
    c.prepare(sql)?.query_map([], blob)?.collect()
}

/// Rows in a state that only a crash or a failed write leaves behind: `pending`, and `burned` with an entry to be logged.
pub fn unfinished(c: &Connection) -> Result<Vec<BlobRow>, rusqlite::Error> {
    c.prepare_cached(UNFINISHED)?.query_map([], blob)?.collect()
}

/// A blob whose payload should be there.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// Its id, and its file's name unless it is in chunks.
    pub id: BlobId,
    /// Where its key is.
    pub slot: Slot,
    /// Its bytes.
    pub size: u64,
    /// Its files are those of its chunks.
    pub in_chunks: bool,
}

/// Every blob whose payload should be there.
pub fn kept(c: &Connection) -> Result<Vec<Kept>, rusqlite::Error> {
    let kept = |row: &Row<'_>| {
        let size = row.get::<_, i64>(2)?.cast_unsigned();
        Ok(Kept { id: row.get(0)?, slot: Slot(row.get(1)?), size, in_chunks: row.get(3)? })
    };
    c.prepare("SELECT id, slot, size, chunk_size IS NOT NULL FROM blobs WHERE state < 3")?
        .query_map([], kept)?
        .collect()
}

/// How many uploads, and how many bytes, lost their name to a later upload of the same bytes and are not burned yet.
pub fn superseded(c: &Connection) -> Result<(u64, u64), rusqlite::Error> {
    let sql = "SELECT count(*), coalesce(sum(size), 0) FROM blobs WHERE state = 3 AND burn_entry IS NULL";
    c.query_row(sql, [], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
    })
}

/// One row.
pub fn by_id(c: &Connection, id: BlobId) -> Result<Option<BlobRow>, rusqlite::Error> {
    c.prepare_cached("SELECT * FROM blobs WHERE id = ?")?.query_row([id], blob).optional()
}

pub(super) fn blob(row: &Row<'_>) -> Result<BlobRow, rusqlite::Error> {
    let unsigned =
        |name: &str| -> Result<u64, rusqlite::Error> { Ok(row.get::<_, i64>(name)?.cast_unsigned()) };
    let burn_entry: Option<Vec<u8>> = row.get("burn_entry")?;
    Ok(BlobRow {
        id: row.get("id")?,
        account: row.get("account")?,
        space: row.get("space")?,
        lookup: row.get("lookup")?,
        hash: row.get("hash")?,
        size: unsigned("size")?,
        ttl_ms: row.get("ttl_ms")?,
        created_ms: row.get("created_ms")?,
        expires_ms: row.get("expires_ms")?,
        views: row.get("views")?,
        views_left: row.get("views_left")?,
        state: row.get("state")?,
        slot: Slot(row.get("slot")?),
        sig_valid: row.get("sig_valid")?,
        device: row.get("device")?,
        sector: row.get("sector")?,
        ts: row.get("ts")?,
        leaf: row.get("leaf")?,
        log_from: unsigned("log_from")?,
        log_index: row.get::<_, Option<i64>>("log_index")?.map(i64::cast_unsigned),
        password: row.get("password")?,
        enc_meta: row.get("enc_meta")?,
        burn_entry: match burn_entry {
            Some(entry) => Some((entry, row.get("burn_leaf")?, unsigned("burn_from")?)),
            None => None,
        },
        chunk_size: row.get::<_, Option<i64>>("chunk_size")?.map(i64::cast_unsigned),
        strict: row.get("strict")?,
    })
}

impl ToSql for Space {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        Ok(ToSqlOutput::from(match self {
            Self::Content => 0,
            Self::Drop => 1,
        }))
    }
}

impl FromSql for Space {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Content),
            1 => Ok(Self::Drop),
            other => Err(rusqlite::types::FromSqlError::OutOfRange(other)),
        }
    }
}

impl ToSql for State {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        Ok(ToSqlOutput::from(match self {
            Self::Pending => 0,
            Self::Live => 1,
            Self::Claimed => 2,
            Self::Burned => 3,
        }))
    }
}

impl FromSql for State {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Pending),
            1 => Ok(Self::Live),
            2 => Ok(Self::Claimed),
            3 => Ok(Self::Burned),
            other => Err(rusqlite::types::FromSqlError::OutOfRange(other)),
        }
    }
}

/// A live row for tests of what hangs on one.
#[cfg(test)]
pub(super) fn sample(account: AccountId, lookup: Digest, device: Option<&str>) -> BlobRow {
    BlobRow {
        id: BlobId(lookup.0.first_chunk().copied().unwrap_or_default()),
        account,
        space: Space::Content,
        lookup,
        hash: lookup,
        size: 5,
        ttl_ms: 60_000,
        created_ms: 0,
        expires_ms: 60_000,
        views: 1,
        views_left: 1,
        state: State::Live,
        slot: Slot(0),
        sig_valid: false,
        device: device.map(str::to_owned),
        sector: "relay".to_owned(),
        ts: String::new(),
        leaf: lookup,
        log_from: 0,
        log_index: Some(0),
        chunk_size: None,
        strict: false,
        password: None,
        enc_meta: None,
        burn_entry: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
