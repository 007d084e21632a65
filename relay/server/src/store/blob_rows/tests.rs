use super::*;
use crate::store::migrations;

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    crate::store::meta::plan_once(&connection).unwrap();
    migrations::apply(&mut connection, migrations::Release::THIS).unwrap();
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
