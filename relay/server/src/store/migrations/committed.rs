//! What may be written: features that an older release could not read are used only once their schema is committed.
//!
//! Whoever writes the first row of such a feature asks for it here, in the transaction that writes it: until `commit-upgrade` that
//! is refused, afterwards it raises `min_reader`. So while an update settles, the release before can always come back. A relay
//! without an operator commits when it starts. The numbers are kept in memory as well: they are reported once a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use paramant_protocol::control::DataReport;
use rusqlite::Connection;

use super::{MigrationError, Release, apply};

/// The first schema whose releases know chunks and strict blobs.
pub(super) const CHUNKS: u32 = 9;
/// The first schema whose releases give the password of an upload in chunks to its blob.
pub(super) const UPLOAD_PASSWORDS: u32 = 11;

/// What an open database may be used for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schema(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    release: Release,
    committed: AtomicU32,
    /// Never below what the database says: a request that asked for more and failed leaves it too high until the next start, and it
    /// is at most `committed` all the same.
    min_reader: AtomicU32,
}

/// A row was not written.
#[derive(Debug, thiserror::Error)]
pub enum NeedError {
    /// It is of a kind that the release before could not read, and the update is not committed.
    #[error("schema {needs} is needed, and {committed} is committed")]
    NotCommitted {
        /// The first schema whose releases know it.
        needs: u32,
        /// The schema that is committed.
        committed: u32,
    },
    /// The database.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl Schema {
    /// Brings the database forward, and asks of older releases what its rows need.
    pub(in crate::store) fn open(
        connection: &mut Connection,
        release: Release,
    ) -> Result<Self, MigrationError> {
        let committed = apply(connection, release)?;
        let min_reader = settle_need(connection, release, committed)?;
        let schema = release.schema();
        if committed < schema {
            tracing::info!(
                schema,
                committed,
                "the database was brought forward; what the release before cannot read is written once the update is committed"
            );
        }
        let (committed, min_reader) = (committed.into(), min_reader.into());
        Ok(Self(Arc::new(Numbers { release, committed, min_reader })))
    }

    /// For the operator.
    #[must_use]
    pub fn report(&self) -> DataReport {
        DataReport {
            schema: self.0.release.schema(),
            min_reader: self.0.min_reader.load(Ordering::Acquire),
            committed: self.committed(),
        }
    }

    /// Asks for a release that knows chunks and strict blobs, from now on: an older one would take the files of chunks for orphans,
    /// and read a strict blob out twice. In the transaction that writes the first of them.
    pub(in crate::store) fn need_chunks(&self, c: &Connection) -> Result<(), NeedError> {
        self.need(c, CHUNKS)
    }

    /// Asks for a release that knows passwords of uploads in chunks: an older one would complete such an upload without its password.
    pub(in crate::store) fn need_upload_passwords(&self, c: &Connection) -> Result<(), NeedError> {
        self.need(c, UPLOAD_PASSWORDS)
    }

    pub(super) fn need(&self, c: &Connection, needs: u32) -> Result<(), NeedError> {
        let committed = self.committed();
        if needs > committed {
            return Err(NeedError::NotCommitted { needs, committed });
        }
        raise(c, needs)?;
        self.0.min_reader.fetch_max(needs, Ordering::AcqRel);
        Ok(())
    }

    /// What a commit up to `asked` would bring, if anything: never less than is committed, nor more than this release knows.
    pub(in crate::store) fn beyond(&self, asked: u32) -> Option<u32> {
        let to = asked.min(self.0.release.schema());
        (to > self.committed()).then_some(to)
    }

    /// Commits in a transaction; [`Schema::committed_to`] once that is durable.
    pub(in crate::store) fn commit(&self, c: &Connection, to: u32) -> Result<(), rusqlite::Error> {
        c.execute("UPDATE committed SET schema = max(schema, ?)", [to])?;
        #[cfg(any(test, feature = "rehearsal"))]
        super::rehearsal::commit(c, to)?;
        Ok(())
    }

    /// What needs the schema may be written from now on.
    pub(in crate::store) fn committed_to(&self, to: u32) {
        self.0.committed.fetch_max(to, Ordering::AcqRel);
        #[cfg(any(test, feature = "rehearsal"))]
        self.0.min_reader.fetch_max(super::rehearsal::asked(to), Ordering::AcqRel);
    }

    fn committed(&self) -> u32 {
        self.0.committed.load(Ordering::Acquire)
    }

    /// Whether this release knows a schema.
    #[cfg(any(test, feature = "rehearsal"))]
    pub(super) fn knows(&self, schema: u32) -> bool {
        self.0.release.schema() >= schema
    }
}

pub(super) fn raise(c: &Connection, schema: u32) -> Result<(), rusqlite::Error> {
    c.prepare_cached(
        "UPDATE migrations SET min_reader = ?1 WHERE schema = (SELECT max(schema) FROM migrations) AND min_reader < ?1",
    )?
    .execute([schema])
    .map(drop)
}

/// At start: asks for what the rows need, and for no more once they are gone. Answers what the database asks for.
fn settle_need(c: &Connection, release: Release, committed: u32) -> Result<u32, rusqlite::Error> {
    let (chunks, passwords): (bool, bool) = c.query_row(
        "SELECT EXISTS (SELECT 1 FROM uploads WHERE state <> 1) OR EXISTS (SELECT 1 FROM chunks)
         OR EXISTS (SELECT 1 FROM blobs WHERE strict = 1 OR chunk_size IS NOT NULL),
         EXISTS (SELECT 1 FROM uploads WHERE state = 0 AND password IS NOT NULL)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let asked = match (passwords, chunks) {
        (true, _) => UPLOAD_PASSWORDS,
        (false, true) => CHUNKS,
        (false, false) => 0,
    };
    #[cfg(any(test, feature = "rehearsal"))]
    let asked = asked.max(super::rehearsal::asked(committed));
    #[cfg(not(any(test, feature = "rehearsal")))]
    let _ = committed;
    let least = release.min_reader().max(asked);
    c.execute(
        "UPDATE migrations SET min_reader = ?1 WHERE schema = ?2 AND min_reader <> ?1",
        (least, release.schema()),
    )?;
    raise(c, asked)?; // where a newer release has left its schema
    c.query_row("SELECT min_reader FROM migrations ORDER BY schema DESC LIMIT 1", [], |row| row.get(0))
}
