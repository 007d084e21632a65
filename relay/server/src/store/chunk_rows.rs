//! The rows of chunks: which file holds which part of an upload, or of the blob that it became.
//!
//! A row is written when its file is durable, and removed after it. The file's name is random and of one write, never reused: the
//! key it is sealed with is derived from it. All functions run inside a transaction of [`super::meta::Meta`].

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::slots::Slot;
use super::{BlobId, Digest};

/// One acknowledged chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRow {
    /// Which, from 0.
    pub number: u64,
    /// Its file.
    pub file: BlobId,
    /// SHA-256 of its bytes.
    pub hash: Digest,
    /// Its bytes.
    pub size: u64,
}

/// A chunk's file as the pass at start looks for it.
#[derive(Debug, Clone, Copy)]
pub struct KeptChunk {
    /// The upload or blob.
    pub owner: BlobId,
    /// Which chunk of it.
    pub number: u64,
    /// The file.
    pub file: BlobId,
    /// Where the owner's key is.
    pub slot: Slot,
    /// The owner still takes chunks: a lost one can be sent again.
    pub open: bool,
}

/// Writes a chunk's row; answers the one it replaces.
pub fn put(c: &Connection, upload: BlobId, chunk: ChunkRow) -> Result<Option<ChunkRow>, rusqlite::Error> {
    let before = find(c, upload, chunk.number)?;
    c.prepare_cached(
        "INSERT OR REPLACE INTO chunks (upload, number, file, hash, size) VALUES (?, ?, ?, ?, ?)",
    )?
    .execute(params![
        upload,
        chunk.number.cast_signed(),
        chunk.file,
        chunk.hash,
        chunk.size.cast_signed()
    ])?;
    Ok(before)
}

/// One chunk.
pub fn find(c: &Connection, upload: BlobId, number: u64) -> Result<Option<ChunkRow>, rusqlite::Error> {
    c.prepare_cached("SELECT * FROM chunks WHERE upload = ? AND number = ?")?
        .query_row(params![upload, number.cast_signed()], chunk)
        .optional()
}

/// Every chunk, in order.
pub fn of(c: &Connection, upload: BlobId) -> Result<Vec<ChunkRow>, rusqlite::Error> {
    c.prepare_cached("SELECT * FROM chunks WHERE upload = ? ORDER BY number")?
        .query_map([upload], chunk)?
        .collect()
}

/// The numbers of the chunks that are kept, ascending.
pub fn numbers(c: &Connection, upload: BlobId) -> Result<Vec<u64>, rusqlite::Error> {
    c.prepare_cached("SELECT number FROM chunks WHERE upload = ? ORDER BY number")?
        .query_map([upload], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))?
        .collect()
}

/// Forgets one chunk.
pub fn delete(c: &Connection, upload: BlobId, number: u64) -> Result<(), rusqlite::Error> {
    c.prepare_cached("DELETE FROM chunks WHERE upload = ? AND number = ?")?
        .execute(params![upload, number.cast_signed()])
        .map(drop)
}

/// Forgets every chunk.
pub fn delete_all(c: &Connection, upload: BlobId) -> Result<(), rusqlite::Error> {
    c.prepare_cached("DELETE FROM chunks WHERE upload = ?")?.execute([upload]).map(drop)
}

/// At start: forgets chunks of which neither upload nor blob is left.
pub fn delete_ownerless(c: &Connection) -> Result<usize, rusqlite::Error> {
    c.execute(
        "DELETE FROM chunks WHERE upload NOT IN (SELECT id FROM blobs)
         AND upload NOT IN (SELECT id FROM uploads WHERE state <> 1)",
        [],
    )
}

/// At start: every file that an open upload or a blob with something to read holds.
pub fn kept(c: &Connection) -> Result<Vec<KeptChunk>, rusqlite::Error> {
    let sql = "SELECT c.upload, c.number, c.file, b.slot AS slot, 0 AS open
               FROM chunks c JOIN blobs b ON b.id = c.upload WHERE b.state < 3 AND b.chunk_size IS NOT NULL
               UNION ALL
               SELECT c.upload, c.number, c.file, u.slot, 1
               FROM chunks c JOIN uploads u ON u.id = c.upload WHERE u.state = 0
               AND NOT EXISTS (SELECT 1 FROM blobs WHERE id = u.id)";
    let kept = |row: &Row<'_>| {
        Ok(KeptChunk {
            owner: row.get("upload")?,
            number: row.get::<_, i64>("number")?.cast_unsigned(),
            file: row.get("file")?,
            slot: Slot(row.get("slot")?),
            open: row.get("open")?,
        })
    };
    c.prepare(sql)?.query_map([], kept)?.collect()
}

fn chunk(row: &Row<'_>) -> Result<ChunkRow, rusqlite::Error> {
    Ok(ChunkRow {
        number: row.get::<_, i64>("number")?.cast_unsigned(),
        file: row.get("file")?,
        hash: row.get("hash")?,
        size: row.get::<_, i64>("size")?.cast_unsigned(),
    })
}
