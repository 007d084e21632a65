//! The rows of download links: which blob a token reads.
//!
//! A row is written in the transaction that acknowledges its upload, so a token that was handed out works after any restart;
//! a repeat of an upload gets a token of its own. Only a token's SHA-256 is stored. A row goes with its blob.

use rusqlite::{Connection, OptionalExtension, params};

use super::blob_rows::{BlobRow, blob};
use super::{BlobId, Digest};

const LINKED: &str = "SELECT blobs.* FROM links JOIN blobs ON blobs.id = links.blob
    WHERE links.token = ?1 AND blobs.state IN (1, 2) AND blobs.expires_ms > ?2";

/// Keeps a token's digest for a blob. The token is random and of one request: whatever that request kept before is replaced.
pub fn insert(c: &Connection, token: Digest, blob: BlobId) -> Result<(), rusqlite::Error> {
    c.prepare_cached("INSERT OR REPLACE INTO links (token, blob) VALUES (?, ?)")?
        .execute(params![token, blob])
        .map(drop)
}

/// The blob behind a token, unless it is expired or burned. Its views may all be leased.
pub fn find(c: &Connection, token: Digest, now_ms: i64) -> Result<Option<BlobRow>, rusqlite::Error> {
    c.prepare_cached(LINKED)?.query_row(params![token, now_ms], blob).optional()
}

/// Ends the links of a blob that is burned.
pub fn delete_of(c: &Connection, blob: BlobId) -> Result<(), rusqlite::Error> {
    c.prepare_cached("DELETE FROM links WHERE blob = ?")?.execute([blob]).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::migrations;

    #[test]
    fn a_link_is_found_and_ended_by_its_indexes() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::store::meta::plan_once(&connection).unwrap();
        migrations::apply(&mut connection, migrations::Release::THIS).unwrap();
        for sql in [LINKED, "DELETE FROM links WHERE blob = ?1"] {
            let mut query = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let parameters = vec![1; query.parameter_count()];
            let steps = query.query_map(rusqlite::params_from_iter(parameters), |row| row.get("detail"));
            let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
            assert!(
                !steps.is_empty() && steps.iter().all(|step| step.starts_with("SEARCH")),
                "{steps:?}: {sql}"
            );
        }
    }
}
