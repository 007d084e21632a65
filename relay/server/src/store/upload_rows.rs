//! The rows of uploads that arrive in chunks.
//!
//! An upload is `open` while it takes chunks, `done` once its blob's row is live (then only its answer is kept, for a client that
//! asks again), `given up` from the moment it is aborted or has expired until its key, files and rows are gone. While a `pending`
//! blob row of the same id exists it takes no chunks: its list is being logged. All functions run inside a transaction of
//! [`super::meta::Meta`]; the transfer path decides when.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::blob_rows::BlobRow;
use super::slots::Slot;
use super::{AccountId, BlobId, Digest, NeedError, Schema};

const OPEN_OF: &str = "SELECT count(*), coalesce(sum(size), 0) FROM uploads WHERE state = 0 AND account = ?";

/// Where an upload is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadPhase {
    /// It takes chunks.
    Open,
    /// Its blob is live, or was.
    Done(Finished),
    /// What is left of it is being removed.
    GivenUp,
}

/// What a repeat of `complete` is answered with, whatever became of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// The blob's name.
    pub hash: Digest,
    /// Its bytes.
    pub size: u64,
    /// Its lifetime.
    pub ttl_ms: i64,
    /// As in its row.
    pub sig_valid: bool,
    /// The leaf of its entry.
    pub leaf: Digest,
    /// Where the entry is.
    pub log_index: u64,
}

/// One upload.
#[derive(Debug, Clone)]
pub struct UploadRow {
    /// Its id, and the blob's.
    pub id: BlobId,
    /// Whose.
    pub account: AccountId,
    /// Where it is in its life.
    pub phase: UploadPhase,
    /// Bytes of the whole.
    pub size: u64,
    /// Bytes of every chunk but the last.
    pub chunk_size: u64,
    /// The name the client announced.
    pub expected: Option<Digest>,
    /// The blob's lifetime, from its completion.
    pub ttl_ms: i64,
    /// Its views.
    pub views: u32,
    /// The sender's device.
    pub device: Option<String>,
    /// At most one disclosure of a view.
    pub strict: bool,
    /// What readers are asked for, as a PHC string, until it is complete.
    pub password: Option<String>,
    /// The file's name, encrypted by the sender, until it is complete.
    pub enc_meta: Option<String>,
    /// SHA-256 of the sender's own id of the file.
    pub file_id: Option<Digest>,
    /// Where its key is.
    pub slot: Slot,
    /// When it was opened.
    pub created_ms: i64,
    /// When the last chunk was acknowledged.
    pub touched_ms: i64,
}

/// How many uploads are open, and the bytes they announced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Open {
    /// Uploads.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Writes a new upload's row. From here on an older release could not read this database without losing chunks.
pub fn insert(c: &Connection, schema: &Schema, row: &UploadRow) -> Result<(), NeedError> {
    if row.password.is_some() {
        schema.need_upload_passwords(c)?;
    } else {
        schema.need_chunks(c)?;
    }
    c.prepare_cached(
        "INSERT INTO uploads (id, account, state, size, chunk_size, hash, ttl_ms, views, device, strict, password, enc_meta, file_id, slot, created_ms, touched_ms)
         VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        row.id,
        row.account,
        row.size.cast_signed(),
        row.chunk_size.cast_signed(),
        row.expected,
        row.ttl_ms,
        row.views,
        row.device,
        row.strict,
        row.password,
        row.enc_meta,
        row.file_id,
        row.slot.0,
        row.created_ms,
        row.touched_ms,
    ])?;
    Ok(())
}

/// What the account has open.
pub fn open_of(c: &Connection, account: AccountId) -> Result<Open, rusqlite::Error> {
    c.prepare_cached(OPEN_OF)?.query_row([account], counted)
}

/// What is open altogether.
pub fn open(c: &Connection) -> Result<Open, rusqlite::Error> {
    c.prepare_cached("SELECT count(*), coalesce(sum(size), 0) FROM uploads WHERE state = 0")?
        .query_row([], counted)
}

/// One upload of this account; given up counts as gone.
pub fn find(c: &Connection, account: AccountId, id: BlobId) -> Result<Option<UploadRow>, rusqlite::Error> {
    c.prepare_cached("SELECT * FROM uploads WHERE id = ? AND account = ? AND state < 2")?
        .query_row(params![id, account], upload)
        .optional()
}

/// Whether the upload takes chunks now.
pub fn takes_chunks(c: &Connection, id: BlobId) -> Result<bool, rusqlite::Error> {
    c.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM uploads WHERE id = ?1 AND state = 0) AND NOT EXISTS (SELECT 1 FROM blobs WHERE id = ?1)",
    )?
    .query_row([id], |row| row.get(0))
}

/// A chunk was acknowledged.
pub fn touch(c: &Connection, id: BlobId, now_ms: i64) -> Result<(), rusqlite::Error> {
    c.prepare_cached("UPDATE uploads SET touched_ms = ? WHERE id = ?")?.execute(params![now_ms, id]).map(drop)
}

/// The upload became this live blob, which has its password and name from here on, or the account held the same already. `false`:
/// it was not open any more.
pub fn finish(c: &Connection, id: BlobId, blob: &BlobRow, now_ms: i64) -> Result<bool, rusqlite::Error> {
    let changed = c
        .prepare_cached(
            "UPDATE uploads SET state = 1, hash = ?, blob_size = ?, blob_ttl = ?, sig_valid = ?, leaf = ?, log_index = ?, touched_ms = ?,
                password = NULL, enc_meta = NULL
             WHERE id = ? AND state = 0",
        )?
        .execute(params![
            blob.hash,
            blob.size.cast_signed(),
            blob.ttl_ms,
            blob.sig_valid,
            blob.leaf,
            blob.log_index.unwrap_or_default().cast_signed(),
            now_ms,
            id
        ])?;
    Ok(changed == 1)
}

/// Gives an open upload up. `false`: it is not open, or is being logged.
pub fn give_up(c: &Connection, id: BlobId) -> Result<bool, rusqlite::Error> {
    let changed = c
        .prepare_cached(
            "UPDATE uploads SET state = 2 WHERE id = ?1 AND state = 0 AND NOT EXISTS (SELECT 1 FROM blobs WHERE id = ?1)",
        )?
        .execute([id])?;
    Ok(changed == 1)
}

/// Uploads that no chunk came for since `touched`, or that are older than `created`.
pub fn stale(
    c: &Connection,
    touched: i64,
    created: i64,
    limit: u32,
) -> Result<Vec<UploadRow>, rusqlite::Error> {
    c.prepare_cached(
        "SELECT * FROM uploads WHERE state = 0 AND (touched_ms <= ? OR created_ms <= ?)
         AND NOT EXISTS (SELECT 1 FROM blobs WHERE id = uploads.id) LIMIT ?",
    )?
    .query_map(params![touched, created, limit], upload)?
    .collect()
}

/// Uploads that were given up and are not removed yet.
pub fn given_up(c: &Connection, limit: u32) -> Result<Vec<UploadRow>, rusqlite::Error> {
    c.prepare_cached("SELECT * FROM uploads WHERE state = 2 LIMIT ?")?.query_map([limit], upload)?.collect()
}

/// Forgets an upload.
pub fn delete(c: &Connection, id: BlobId) -> Result<(), rusqlite::Error> {
    c.prepare_cached("DELETE FROM uploads WHERE id = ?")?.execute([id]).map(drop)
}

/// Every open upload that is not being logged.
pub fn all_open(c: &Connection) -> Result<Vec<UploadRow>, rusqlite::Error> {
    c.prepare(
        "SELECT * FROM uploads WHERE state = 0 AND NOT EXISTS (SELECT 1 FROM blobs WHERE id = uploads.id)",
    )?
    .query_map([], upload)?
    .collect()
}

/// Whether there are uploads that were done before this.
pub fn has_done_before(c: &Connection, before_ms: i64) -> Result<bool, rusqlite::Error> {
    c.prepare_cached("SELECT EXISTS (SELECT 1 FROM uploads WHERE state = 1 AND touched_ms <= ?)")?
        .query_row([before_ms], |row| row.get(0))
}

/// Forgets what uploads were answered that were done before this.
pub fn forget_done(c: &Connection, before_ms: i64) -> Result<usize, rusqlite::Error> {
    c.prepare_cached("DELETE FROM uploads WHERE state = 1 AND touched_ms <= ?")?.execute([before_ms])
}

fn counted(row: &Row<'_>) -> Result<Open, rusqlite::Error> {
    Ok(Open { count: row.get::<_, i64>(0)?.cast_unsigned(), bytes: row.get::<_, i64>(1)?.cast_unsigned() })
}

fn upload(row: &Row<'_>) -> Result<UploadRow, rusqlite::Error> {
    let unsigned =
        |name: &str| -> Result<u64, rusqlite::Error> { Ok(row.get::<_, i64>(name)?.cast_unsigned()) };
    let phase = match row.get::<_, i64>("state")? {
        0 => UploadPhase::Open,
        1 => UploadPhase::Done(Finished {
            hash: row.get("hash")?,
            size: unsigned("blob_size")?,
            ttl_ms: row.get("blob_ttl")?,
            sig_valid: row.get("sig_valid")?,
            leaf: row.get("leaf")?,
            log_index: unsigned("log_index")?,
        }),
        _ => UploadPhase::GivenUp,
    };
    Ok(UploadRow {
        id: row.get("id")?,
        account: row.get("account")?,
        phase,
        size: unsigned("size")?,
        chunk_size: unsigned("chunk_size")?,
        expected: row.get("hash")?,
        ttl_ms: row.get("ttl_ms")?,
        views: row.get("views")?,
        device: row.get("device")?,
        strict: row.get("strict")?,
        password: row.get("password")?,
        enc_meta: row.get("enc_meta")?,
        file_id: row.get("file_id")?,
        slot: Slot(row.get("slot")?),
        created_ms: row.get("created_ms")?,
        touched_ms: row.get("touched_ms")?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_an_account_has_open_is_found_by_an_index() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::store::meta::plan_once(&connection).unwrap();
        crate::store::migrations::apply(&mut connection, crate::store::Release::THIS).unwrap();
        let mut query = connection.prepare(&format!("EXPLAIN QUERY PLAN {OPEN_OF}")).unwrap();
        let steps: Vec<String> =
            query.query_map([1], |row| row.get("detail")).unwrap().map(Result::unwrap).collect();
        assert!(steps.iter().any(|step| step.starts_with("SEARCH uploads USING INDEX")), "{steps:?}");
    }
}
