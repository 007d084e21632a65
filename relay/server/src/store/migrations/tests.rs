#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::committed::{CHUNKS, UPLOAD_PASSWORDS};
use super::rehearsal::{NEXT, SCHEMA as NEXT_SCHEMA};
use super::*;

const THIS: Release = Release::STANDING;
/// A release that knew passwords of blobs, but no chunks.
const EARLY: u32 = 8;

fn early() -> Release {
    Release(MIGRATIONS.get(..EARLY as usize).unwrap())
}

fn database() -> Connection {
    Connection::open_in_memory().unwrap()
}

fn number(c: &Connection, sql: &str) -> u32 {
    c.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn asked(c: &Connection) -> u32 {
    number(c, "SELECT min_reader FROM migrations ORDER BY schema DESC LIMIT 1")
}

fn committed(c: &Connection) -> u32 {
    number(c, "SELECT schema FROM committed")
}

fn report(schema: &Schema) -> (u32, u32, u32) {
    let report = schema.report();
    (report.schema, report.min_reader, report.committed)
}

/// What `commit-upgrade` does, without the writer.
fn commit(c: &Connection, schema: &Schema, asked: u32) {
    if let Some(to) = schema.beyond(asked) {
        schema.commit(c, to).unwrap();
        schema.committed_to(to);
    }
}

#[test]
fn an_older_release_is_kept_out_only_while_there_is_something_it_would_lose() {
    let mut connection = database();
    let schema = Schema::open(&mut connection, THIS).unwrap();
    let again = |c: &mut Connection| report(&Schema::open(c, THIS).unwrap()).1;
    assert!(asked(&connection) < CHUNKS);
    schema.need_chunks(&connection).unwrap();
    assert_eq!((asked(&connection), schema.report().min_reader), (CHUNKS, CHUNKS));
    connection.execute("INSERT INTO chunks VALUES (x'01', 0, x'02', x'03', 4)", []).unwrap();
    assert_eq!((again(&mut connection), asked(&connection)), (CHUNKS, CHUNKS));
    connection.execute("DELETE FROM chunks", []).unwrap();
    assert!(again(&mut connection) < CHUNKS && asked(&connection) < CHUNKS);

    schema.need_upload_passwords(&connection).unwrap();
    connection
        .execute(
            "INSERT INTO uploads (id, account, state, size, chunk_size, ttl_ms, views, strict, slot, created_ms, touched_ms, password)
             VALUES (x'01', x'02', 0, 1, 1, 1, 1, 0, 0, 0, 0, 'sealed')",
            [],
        )
        .unwrap();
    assert_eq!((again(&mut connection), asked(&connection)), (UPLOAD_PASSWORDS, UPLOAD_PASSWORDS));
    connection.execute("UPDATE uploads SET password = NULL", []).unwrap();
    assert_eq!(again(&mut connection), CHUNKS, "it is open all the same");
}

#[test]
fn what_a_release_must_know_is_named_by_the_step_that_brought_it() {
    let step = |schema: u32| MIGRATIONS.get(schema as usize - 1).unwrap().sql;
    assert!(step(CHUNKS).contains("CREATE TABLE chunks"));
    assert!(step(UPLOAD_PASSWORDS).contains("ALTER TABLE uploads ADD COLUMN password"));
}

#[test]
fn a_second_start_changes_nothing() {
    let mut connection = database();
    apply(&mut connection, THIS).unwrap();
    let changes = connection.total_changes();
    Schema::open(&mut connection, THIS).unwrap();
    assert_eq!(number(&connection, "SELECT count(*) FROM migrations"), THIS.schema());
    assert_eq!(connection.total_changes(), changes);
}

#[test]
fn a_newer_schema_opens_only_when_it_says_that_this_release_can_read_it() {
    let mut connection = database();
    apply(&mut connection, THIS).unwrap();
    connection.execute("INSERT INTO migrations VALUES (900, 1, 0)", []).unwrap();
    apply(&mut connection, THIS).unwrap();
    connection.execute("INSERT INTO migrations VALUES (901, 900, 0)", []).unwrap();
    assert!(matches!(
        apply(&mut connection, THIS),
        Err(MigrationError::TooNew { found: 901, min_reader: 900, .. })
    ));
}

#[test]
fn a_new_database_may_be_used_in_full_at_once() {
    let mut connection = database();
    let schema = Schema::open(&mut connection, NEXT).unwrap();
    assert_eq!(report(&schema).2, NEXT_SCHEMA);
    schema.need_upload_passwords(&connection).unwrap();
}

#[test]
fn a_database_from_before_commits_is_as_its_release_left_it() {
    let mut connection = database();
    apply(&mut connection, early()).unwrap();
    connection.execute_batch("DROP TABLE committed").unwrap();
    let schema = Schema::open(&mut connection, THIS).unwrap();
    assert_eq!(report(&schema), (THIS.schema(), 1, EARLY));
}

#[test]
fn what_the_release_before_cannot_read_waits_for_the_commit() {
    let mut connection = database();
    apply(&mut connection, early()).unwrap();
    let schema = Schema::open(&mut connection, THIS).unwrap();
    let refused = schema.need_chunks(&connection);
    assert!(matches!(refused, Err(NeedError::NotCommitted { needs: CHUNKS, committed: EARLY })));
    assert_eq!(asked(&connection), 1, "and nothing is asked of older releases");

    commit(&connection, &schema, CHUNKS);
    schema.need_chunks(&connection).unwrap();
    assert!(schema.need_upload_passwords(&connection).is_err(), "so far and no further");
    assert_eq!(report(&schema), (THIS.schema(), CHUNKS, CHUNKS));
    assert!(matches!(
        apply(&mut connection, early()),
        Err(MigrationError::TooNew { min_reader: CHUNKS, .. })
    ));
    assert_eq!(committed(&connection), CHUNKS, "a release that may not start changes nothing");
}

#[test]
fn a_commit_goes_neither_back_nor_beyond_what_the_release_knows() {
    let mut connection = database();
    apply(&mut connection, early()).unwrap();
    let schema = Schema::open(&mut connection, THIS).unwrap();
    for (asked, then) in [(1, EARLY), (10, 10), (9, 10), (900, THIS.schema()), (1, THIS.schema())] {
        commit(&connection, &schema, asked);
        assert_eq!((committed(&connection), schema.report().committed), (then, then), "asked for {asked}");
    }
}

#[test]
fn a_crash_between_migration_and_commit_leaves_the_way_back() {
    // Cut off after the books were kept, in the step, and after it.
    for cut in ["before the step", "in the step", "after the step"] {
        let mut connection = database();
        apply(&mut connection, THIS).unwrap();
        match cut {
            "before the step" => drop(keep_books(&mut connection, NEXT).unwrap()),
            "in the step" => {
                static BROKEN: [Migration; NEXT_SCHEMA as usize] = {
                    let mut steps =
                        [Migration { min_reader: 1, sql: "SELECT no such thing" }; NEXT_SCHEMA as usize];
                    let mut step = 0;
                    while step < MIGRATIONS.len() {
                        steps[step] = MIGRATIONS[step];
                        step += 1;
                    }
                    steps
                };
                let broken = apply(&mut connection, Release(&BROKEN));
                assert!(matches!(broken, Err(MigrationError::Step { to: NEXT_SCHEMA, .. })));
            }
            _ => drop(apply(&mut connection, NEXT).unwrap()),
        }
        assert_eq!(committed(&connection), THIS.schema(), "{cut}");
        let next = Schema::open(&mut connection, NEXT).unwrap();
        assert_eq!(report(&next), (NEXT_SCHEMA, THIS.schema(), THIS.schema()), "{cut}");
        assert_eq!(report(&Schema::open(&mut connection, THIS).unwrap()).2, THIS.schema(), "{cut}");
    }
}

#[test]
fn a_release_that_was_rolled_back_to_makes_the_next_one_settle_anew() {
    let mut connection = database();
    apply(&mut connection, early()).unwrap();
    let this = Schema::open(&mut connection, THIS).unwrap();
    commit(&connection, &this, THIS.schema());
    assert_eq!(report(&Schema::open(&mut connection, early()).unwrap()), (EARLY, 1, EARLY));
    assert_eq!(report(&Schema::open(&mut connection, THIS).unwrap()), (THIS.schema(), 1, EARLY));
}

#[test]
fn the_rehearsed_release_has_a_way_back_until_it_is_committed() {
    let mut connection = database();
    apply(&mut connection, THIS).unwrap();
    let next = Schema::open(&mut connection, NEXT).unwrap();
    assert_eq!(NEXT.min_reader(), THIS.schema());
    Schema::open(&mut connection, THIS).unwrap();
    commit(&connection, &next, NEXT_SCHEMA);
    assert_eq!(report(&next), (NEXT_SCHEMA, NEXT_SCHEMA, NEXT_SCHEMA));
    assert!(matches!(
        apply(&mut connection, THIS),
        Err(MigrationError::TooNew { min_reader: NEXT_SCHEMA, .. })
    ));
    assert_eq!(
        report(&Schema::open(&mut connection, NEXT).unwrap()),
        (NEXT_SCHEMA, NEXT_SCHEMA, NEXT_SCHEMA)
    );
}
