//! The rows of evidence: heads that this log's own keys signed and its entries contradict.
//!
//! Only what was verified under our own keys comes here, so nobody else can fill the table; a bound holds all the same.

use rusqlite::{Connection, params};

use super::Digest;

/// Documents kept. One is a disaster; more add nothing but the size of the answer.
const MOST: i64 = 32;

/// One document as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// When it first arrived, in Unix milliseconds.
    pub received_ms: i64,
    /// Its bytes.
    pub document: Vec<u8>,
}

/// Keeps a document, once.
pub fn insert(c: &Connection, sha256: Digest, evidence: &Evidence) -> Result<(), rusqlite::Error> {
    let sql = "INSERT OR IGNORE INTO evidence (sha256, received_ms, document)
               SELECT ?, ?, ? WHERE (SELECT count(*) FROM evidence) < ?";
    c.prepare_cached(sql)?.execute(params![sha256, evidence.received_ms, evidence.document, MOST]).map(drop)
}

/// All of it, oldest first.
pub fn all(c: &Connection) -> Result<Vec<Evidence>, rusqlite::Error> {
    c.prepare_cached("SELECT received_ms, document FROM evidence ORDER BY received_ms, sha256")?
        .query_map([], |row| Ok(Evidence { received_ms: row.get(0)?, document: row.get(1)? }))?
        .collect()
}

/// How many there are.
pub fn count(c: &Connection) -> Result<i64, rusqlite::Error> {
    c.query_row("SELECT count(*) FROM evidence", [], |row| row.get(0))
}
