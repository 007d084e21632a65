use super::*;
use crate::store::migrations;

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrations::apply(&mut connection).unwrap();
    connection
}

#[test]
fn no_query_that_runs_while_serving_reads_the_whole_table() {
    let connection = database();
    for sql in [UNREAD, READABLE, SUPERSEDED, EXPIRED, UNFINISHED] {
        let mut query = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = vec![1; query.parameter_count()];
        let steps = query.query_map(rusqlite::params_from_iter(parameters), |row| row.get("detail"));
        let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
        assert!(steps.iter().any(|step| step.starts_with("SEARCH blobs USING INDEX")), "{steps:?}: {sql}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{steps:?}: {sql}");
    }
}

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
