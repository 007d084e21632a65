//! The table of refusals that the API server is judged by, once more through what the operator makes of it.

use paramant_crds::table::{self, Kind, Row, Sketch};
use paramant_operator_core::validation;
use serde::de::DeserializeOwned;

fn read<T: DeserializeOwned>(row: &Row, sketch: &Sketch) -> T {
    serde_saphyr::from_str(&sketch.manifest(row.kind)).expect("a manifest of the table can be read")
}

/// What the operator would put into the message; `None` when it goes ahead.
fn problem(row: &Row, sketch: &Sketch) -> Option<String> {
    match row.kind {
        Kind::Relay => validation::relay_problem(&read(row, sketch)),
        Kind::Policy => validation::policy_problem(&read(row, sketch)),
        Kind::License => validation::license_problem(&read(row, sketch), &Default::default()),
    }
}

/// Rules about change need the object as it was, which only the API server has.
fn judged() -> impl Iterator<Item = &'static Row> {
    table::rows().filter(|row| row.before.is_none())
}

#[test]
fn what_the_api_server_refuses_the_operator_refuses_with_the_same_words() {
    assert!(judged().count() > 30, "the table is there");
    for row in judged() {
        let said = problem(row, &row.refused).unwrap_or_else(|| panic!("accepted: {row:#?}"));
        assert!(said.contains(row.clause.message), "{said}: {row:#?}");
        assert_eq!(problem(row, &row.accepted), None, "{row:#?}");
    }
}
