use rusqlite::Connection;

use super::*;

#[test]
fn claims_of_an_older_release_keep_the_disclosures_they_had() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(include_str!("../schema/0001-foundation.sql")).unwrap();
    // Two ended leases and one that runs; three ended leases.
    connection
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             INSERT INTO claims VALUES (x'01', x'aa', x'bb', 3, 0, 0);
             INSERT INTO claims VALUES (x'02', x'aa', x'bb', 3, 1, 0);",
        )
        .unwrap();
    connection.execute_batch(include_str!("../schema/0002-disclosures.sql")).unwrap();
    let mut query = connection.prepare("SELECT disclosures FROM claims ORDER BY id").unwrap();
    let disclosures: Vec<u32> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(disclosures, [2, 3]);
}

#[test]
fn only_a_read_that_went_on_and_came_further_is_not_counted() {
    const MARK: u64 = 100 << 20;
    for (sent, before, free) in [
        (0..MARK, 0, false),                              // the first
        (MARK..MARK + UNDER_WAY, MARK, true),             // exactly on
        (MARK - UNDER_WAY..MARK + UNDER_WAY, MARK, true), // what was under way once more
        (MARK - UNDER_WAY - 1..2 * MARK, MARK, false),    // more than that
        (MARK..MARK + UNDER_WAY - 1, MARK, false),        // hardly further
        (MARK - UNDER_WAY..MARK, MARK, false),            // no further: the same bytes again
        (0..2 * MARK, MARK, false),                       // from the beginning
    ] {
        assert_eq!(went_on(&sent, before), free, "{sent:?} after {before}");
    }
}
