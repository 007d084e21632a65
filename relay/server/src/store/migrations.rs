//! The schema of `meta.db`, brought forward one numbered step at a time and never back.
//!
//! Each step names the oldest schema number whose release can still read what it leaves (`min_reader`), so that a rolled-back
//! release either works or refuses with a clear sentence. A step, once released, is never edited.
//!
//! A step only expands: what the release before cannot read is written once its schema is committed ([`Schema`]), so until then
//! there is a way back. Beside the steps the database remembers `committed`; it is written before the first step of an update, in a
//! table of the bookkeeping, so that no crash leaves a schema brought forward and the one before forgotten.

mod committed;
#[cfg(any(test, feature = "rehearsal"))]
pub(crate) mod rehearsal;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

pub use self::committed::{NeedError, Schema};

/// One step forward.
#[derive(Debug, Clone, Copy)]
struct Migration {
    /// Releases that know at least this step can read the result.
    min_reader: u32,
    sql: &'static str,
}

/// What one release makes of the database: its steps, the first of them number 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Release(&'static [Migration]);

impl Release {
    /// The release whose steps stand here.
    pub(crate) const STANDING: Self = Self(MIGRATIONS);
    /// The release that is built.
    #[cfg(not(feature = "rehearsal"))]
    pub(crate) const THIS: Self = Self::STANDING;
    /// The release that is built.
    #[cfg(feature = "rehearsal")]
    pub(crate) const THIS: Self = rehearsal::NEXT;

    /// The newest schema it knows.
    pub(crate) fn schema(self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// The oldest schema whose releases read what this one leaves before its own is committed.
    pub(crate) fn min_reader(self) -> u32 {
        self.0.last().map_or(0, |newest| newest.min_reader)
    }
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
    // An older release asks nobody, and is Community or goes by an offline licence until the newer one is back.
    Migration { min_reader: 1, sql: include_str!("schema/0013-check-ins.sql") },
    // An older release hears no requests: none has an effect until the newer one is back, and no support key works.
    Migration { min_reader: 1, sql: include_str!("schema/0014-remote-actions.sql") },
];

/// The schema does not fit.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A newer release changed the database beyond what this one can read.
    #[error(
        "meta.db has schema {found}, which needs a release that knows schema {min_reader}; this one knows {known}: run the newer release"
    )]
    TooNew {
        /// The schema found.
        found: u32,
        /// The oldest schema number that can read it.
        min_reader: u32,
        /// The newest schema of this release.
        known: u32,
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

/// Applies what is missing, each step in a transaction of its own; answers the schema that is committed.
pub(crate) fn apply(connection: &mut Connection, release: Release) -> Result<u32, MigrationError> {
    let (found, committed) = keep_books(connection, release)?;
    for (to, migration) in (1..).zip(release.0).skip(found as usize) {
        let step = |source| MigrationError::Step { to, source };
        let transaction = connection.transaction().map_err(step)?;
        transaction.execute_batch(migration.sql).map_err(step)?;
        transaction
            .execute("INSERT INTO migrations VALUES (?, ?, ?)", (to, migration.min_reader, super::now_ms()))
            .map_err(step)?;
        transaction.commit().map_err(step)?;
    }
    Ok(committed)
}

/// The schema found, and the one that is committed: durable before any step is taken. A database that is made now has nothing to go
/// back to, and one of a release that kept no such books is as that release left it. What runs is this release, so a later one has
/// to settle anew.
fn keep_books(connection: &mut Connection, release: Release) -> Result<(u32, u32), MigrationError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (schema INTEGER PRIMARY KEY, min_reader INTEGER NOT NULL, applied_ms INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS committed (one INTEGER PRIMARY KEY CHECK (one = 1), schema INTEGER NOT NULL)",
    )?;
    let (found, min_reader): (u32, u32) = transaction
        .query_row("SELECT schema, min_reader FROM migrations ORDER BY schema DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?
        .unwrap_or_default();
    let known = release.schema();
    if min_reader > known {
        return Err(MigrationError::TooNew { found, min_reader, known });
    }
    let before: Option<u32> =
        transaction.query_row("SELECT schema FROM committed", [], |row| row.get(0)).optional()?;
    let committed = match (before, found) {
        (Some(committed), _) => committed,
        (None, 0) => known,
        (None, found) => found,
    };
    let committed = committed.min(known);
    if before != Some(committed) {
        transaction.execute("INSERT OR REPLACE INTO committed VALUES (1, ?)", [committed])?;
    }
    transaction.commit()?;
    Ok((found, committed))
}

#[cfg(test)]
mod tests;
