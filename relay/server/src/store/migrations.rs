//! The schema of `meta.db`, brought forward one numbered step at a time and never back.
//!
//! Each step names the oldest schema number whose release can still read what it leaves (`min_reader`), so that a rolled-back
//! release either works or refuses with a clear sentence. A step, once released, is never edited.

use rusqlite::{Connection, OptionalExtension};

/// One step forward.
struct Migration {
    /// Releases that know at least this step can read the result.
    min_reader: u32,
    sql: &'static str,
}

/// Step `n` (from 1) is `MIGRATIONS[n - 1]`.
const MIGRATIONS: &[Migration] = &[
    Migration { min_reader: 1, sql: include_str!("schema/0001-foundation.sql") },
    // An older release leaves the new column alone and goes by generations, which only burns sooner.
    Migration { min_reader: 1, sql: include_str!("schema/0002-disclosures.sql") },
    // An older release hands out no receipts and leaves those there are alone.
    Migration { min_reader: 1, sql: include_str!("schema/0003-receipts.sql") },
    Migration { min_reader: 1, sql: include_str!("schema/0004-evidence.sql") },
    // An older release counts nothing.
    Migration { min_reader: 1, sql: include_str!("schema/0005-usage.sql") },
    // An older release follows no links, and asks for no password: it gives a blob that has one to keys of its account.
    Migration { min_reader: 1, sql: include_str!("schema/0006-access.sql") },
    // An older release adds no rows; what it does meanwhile is missing from audit chains, which stay valid.
    Migration { min_reader: 1, sql: include_str!("schema/0007-account-views.sql") },
    // An older release tells nobody, and what waits meanwhile is told late or not at all.
    Migration { min_reader: 1, sql: include_str!("schema/0008-webhooks.sql") },
    // New tables, and columns with defaults. While chunks or strict blobs are there, `need_chunks` asks for more.
    Migration { min_reader: 1, sql: include_str!("schema/0009-uploads.sql") },
    // An older release knows no DIDs: their requests are refused until the newer one is back.
    Migration { min_reader: 1, sql: include_str!("schema/0010-dids.sql") },
    // New columns. While an open upload has a password, `need_upload_passwords` asks for more.
    Migration { min_reader: 1, sql: include_str!("schema/0011-upload-access.sql") },
    // An older release leaves the new column alone: should it be the one that starts after a crash, the receipts of uploads that were
    // acknowledged in the last moment before are not found by their ids.
    Migration { min_reader: 1, sql: include_str!("schema/0012-receipt-of-upload.sql") },
];

/// The first schema whose releases know chunks and strict blobs.
const CHUNKS: u32 = 9;
/// The first schema whose releases give the password of an upload in chunks to its blob.
const UPLOAD_PASSWORDS: u32 = 11;

/// The schema this release writes.
pub(super) const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// The schema does not fit.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A newer release changed the database beyond what this one can read.
    #[error(
        "meta.db has schema {found}, which needs a release that knows schema {min_reader}; this one knows {SCHEMA}: run the newer release"
    )]
    TooNew {
        /// The schema found.
        found: u32,
        /// The oldest schema number that can read it.
        min_reader: u32,
    },
    /// A step failed.
    #[error("bringing meta.db to schema {to} failed: {source}")]
    Step {
        /// The schema the step leads to.
        to: u32,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The bookkeeping could not be read.
    #[error("meta.db: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Applies what is missing, each step in a transaction of its own.
pub(crate) fn apply(connection: &mut Connection) -> Result<(), MigrationError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (schema INTEGER PRIMARY KEY, min_reader INTEGER NOT NULL, applied_ms INTEGER NOT NULL)",
    )?;
    let newest: Option<(u32, u32)> = connection
        .query_row("SELECT schema, min_reader FROM migrations ORDER BY schema DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (found, min_reader) = newest.unwrap_or((0, 0));
    if found > SCHEMA {
        return if min_reader <= SCHEMA { Ok(()) } else { Err(MigrationError::TooNew { found, min_reader }) };
    }
    for (to, migration) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let step = |source| MigrationError::Step { to, source };
        let transaction = connection.transaction().map_err(step)?;
        transaction.execute_batch(migration.sql).map_err(step)?;
        transaction
            .execute("INSERT INTO migrations VALUES (?, ?, ?)", (to, migration.min_reader, super::now_ms()))
            .map_err(step)?;
        transaction.commit().map_err(step)?;
    }
    Ok(())
}

/// Asks for a release that knows chunks and strict blobs, from now on: an older one would take the files of chunks for orphans,
/// and read a strict blob out twice. In the transaction that writes the first of them.
pub(super) fn need_chunks(c: &Connection) -> Result<(), rusqlite::Error> {
    need(c, CHUNKS)
}

/// Asks for a release that knows passwords of uploads in chunks: an older one would complete such an upload without its password.
pub(super) fn need_upload_passwords(c: &Connection) -> Result<(), rusqlite::Error> {
    need(c, UPLOAD_PASSWORDS)
}

fn need(c: &Connection, schema: u32) -> Result<(), rusqlite::Error> {
    c.prepare_cached(
        "UPDATE migrations SET min_reader = ?1 WHERE schema = (SELECT max(schema) FROM migrations) AND min_reader < ?1",
    )?
    .execute([schema])
    .map(drop)
}

/// At start: asks for what the rows need, and for no more once they are gone.
pub(super) fn settle_need(c: &Connection) -> Result<(), rusqlite::Error> {
    let (chunks, passwords): (bool, bool) = c.query_row(
        "SELECT EXISTS (SELECT 1 FROM uploads WHERE state <> 1) OR EXISTS (SELECT 1 FROM chunks)
         OR EXISTS (SELECT 1 FROM blobs WHERE strict = 1 OR chunk_size IS NOT NULL),
         EXISTS (SELECT 1 FROM uploads WHERE state = 0 AND password IS NOT NULL)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some(newest) = MIGRATIONS.last() else { return Ok(()) };
    let asked = match (passwords, chunks) {
        (true, _) => UPLOAD_PASSWORDS,
        (false, true) => CHUNKS,
        (false, false) => 0,
    };
    let least = newest.min_reader.max(asked);
    c.execute("UPDATE migrations SET min_reader = ? WHERE schema = ?", (least, SCHEMA))?;
    need(c, asked) // where a newer release has left its schema
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_older_release_is_kept_out_only_while_there_is_something_it_would_lose() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection).unwrap();
        let asked = |c: &Connection| -> u32 {
            c.query_row("SELECT min_reader FROM migrations ORDER BY schema DESC LIMIT 1", [], |row| {
                row.get(0)
            })
            .unwrap()
        };
        assert!(asked(&connection) < CHUNKS);
        need_chunks(&connection).unwrap();
        connection.execute("INSERT INTO chunks VALUES (x'01', 0, x'02', x'03', 4)", []).unwrap();
        settle_need(&connection).unwrap();
        assert_eq!(asked(&connection), CHUNKS);
        connection.execute("DELETE FROM chunks", []).unwrap();
        settle_need(&connection).unwrap();
        assert!(asked(&connection) < CHUNKS);

        need_upload_passwords(&connection).unwrap();
        connection
            .execute(
                "INSERT INTO uploads (id, account, state, size, chunk_size, ttl_ms, views, strict, slot, created_ms, touched_ms, password)
                 VALUES (x'01', x'02', 0, 1, 1, 1, 1, 0, 0, 0, 0, 'sealed')",
                [],
            )
            .unwrap();
        settle_need(&connection).unwrap();
        assert_eq!(asked(&connection), UPLOAD_PASSWORDS);
        connection.execute("UPDATE uploads SET password = NULL", []).unwrap();
        settle_need(&connection).unwrap();
        assert_eq!(asked(&connection), CHUNKS, "it is open all the same");
    }

    #[test]
    fn what_a_release_must_know_is_named_by_the_step_that_brought_it() {
        let step = |schema: u32| MIGRATIONS.get(schema as usize - 1).unwrap().sql;
        assert!(step(CHUNKS).contains("CREATE TABLE chunks"));
        assert!(step(UPLOAD_PASSWORDS).contains("ALTER TABLE uploads ADD COLUMN password"));
    }

    #[test]
    fn a_second_start_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection).unwrap();
        apply(&mut connection).unwrap();
        let steps: u32 =
            connection.query_row("SELECT count(*) FROM migrations", [], |row| row.get(0)).unwrap();
        assert_eq!(steps, SCHEMA);
    }

    #[test]
    fn a_newer_schema_opens_only_when_it_says_that_this_release_can_read_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection).unwrap();
        connection.execute("INSERT INTO migrations VALUES (900, 1, 0)", []).unwrap();
        apply(&mut connection).unwrap();
        connection.execute("INSERT INTO migrations VALUES (901, 900, 0)", []).unwrap();
        assert!(matches!(
            apply(&mut connection),
            Err(MigrationError::TooNew { found: 901, min_reader: 900 })
        ));
    }
}
