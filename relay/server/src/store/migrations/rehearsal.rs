//! A release that does not exist: this one and one step more, by which an update and the way back are rehearsed.
//!
//! The step expands as steps do: a table, and a column with a default. Every upload writes both, committed or not, and the release
//! before lives with that. From its commit on the step asks for a release that knows it. Compiled into tests and into images
//! of `cargo xtask images --variants`, never into a release.

use rusqlite::Connection;

use super::{Migration, Release, Schema, committed};
use crate::store::BlobId;

/// The steps of the release that stands.
const BEFORE: &[Migration] = Release::STANDING.0;

/// The schema of the release.
pub(crate) const SCHEMA: u32 = BEFORE.len() as u32 + 1;

const STEP: Migration = Migration {
    min_reader: SCHEMA - 1,
    sql: "CREATE TABLE rehearsals (upload BLOB PRIMARY KEY, at_ms INTEGER NOT NULL) WITHOUT ROWID;
          ALTER TABLE blobs ADD COLUMN rehearsed INTEGER NOT NULL DEFAULT 0;",
};

// Evaluated while it is compiled: an index that is not there ends the build.
#[allow(clippy::indexing_slicing)]
const STEPS: [Migration; SCHEMA as usize] = {
    let mut steps = [STEP; SCHEMA as usize];
    let mut step = 0;
    while step < BEFORE.len() {
        steps[step] = BEFORE[step];
        step += 1;
    }
    steps
};

/// The release.
pub(crate) const NEXT: Release = Release(&STEPS);

/// What an upload writes besides.
pub(crate) fn upload(
    c: &Connection,
    schema: &Schema,
    id: BlobId,
    now_ms: i64,
) -> Result<(), rusqlite::Error> {
    if !schema.knows(SCHEMA) {
        return Ok(());
    }
    c.execute("INSERT OR REPLACE INTO rehearsals VALUES (?, ?)", (id, now_ms))?;
    c.execute("UPDATE blobs SET rehearsed = 1 WHERE id = ?", [id]).map(drop)
}

/// The oldest schema whose releases may read a database in which `committed` is committed.
pub(super) fn asked(committed: u32) -> u32 {
    if committed >= SCHEMA { SCHEMA } else { 0 }
}

pub(super) fn commit(c: &Connection, to: u32) -> Result<(), rusqlite::Error> {
    committed::raise(c, asked(to))
}
