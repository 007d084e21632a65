#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use kube_cel::Validator;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::{
    ParamantLicense, ParamantPolicy, ParamantRelay, clause, definition,
    validation::{self, Violation},
};

fn schema_of(kind: Kind) -> Value {
    match kind {
        Kind::Relay => definition::schema::<ParamantRelay>(),
        Kind::License => definition::schema::<ParamantLicense>(),
        Kind::Policy => definition::schema::<ParamantPolicy>(),
    }
}

fn object(row: &Row, sketch: &Sketch) -> Value {
    let mut object: Value = serde_saphyr::from_str(&sketch.manifest(row.kind)).expect("a manifest is YAML");
    if let Some(reported) = row.reported {
        object["status"] = serde_saphyr::from_str(reported).expect("a status is YAML");
    }
    object
}

fn typed<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"))
}

fn by_rust(row: &Row, sketch: &Sketch) -> Vec<Violation> {
    let now = object(row, sketch);
    match row.kind {
        Kind::Relay => {
            let relay = typed::<ParamantRelay>(&now);
            let mut found = validation::relay(&relay);
            if let Some(before) = &row.before {
                found.extend(validation::relay_change(&typed(&object(row, before)), &relay));
            }
            found
        }
        Kind::License => validation::license(&typed(&now)),
        Kind::Policy => validation::policy(&typed(&now)),
    }
}

fn by_cel(row: &Row, sketch: &Sketch) -> Vec<String> {
    let before = row.before.as_ref().map(|before| object(row, before));
    match Validator::new().validate(&schema_of(row.kind), &object(row, sketch), before.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
    }
}

#[test]
fn every_rule_of_the_definitions_has_a_row_and_every_row_a_rule() {
    let mut in_table = BTreeSet::new();
    for row in rows() {
        let (cel, message) = (row.clause.cel.to_owned(), row.clause.message.to_owned());
        in_table.insert((row.kind, PlacedRule { at: row.at.to_owned(), cel, message }));
    }
    let mut in_definitions = BTreeSet::new();
    for kind in [Kind::Relay, Kind::License, Kind::Policy] {
        let rules = placed_rules(&schema_of(kind));
        assert!(!rules.is_empty(), "{kind:?}: the walk finds rules");
        in_definitions.extend(rules.into_iter().map(|rule| (kind, rule)));
    }
    let proofless: Vec<_> = in_definitions.difference(&in_table).collect();
    assert!(proofless.is_empty(), "rules without a row: {proofless:#?}");
    let idle: Vec<_> = in_table.difference(&in_definitions).collect();
    assert!(idle.is_empty(), "rows without a rule: {idle:#?}");
}

#[test]
fn every_clause_hangs_somewhere() {
    for (name, clause) in clause::ALL {
        assert!(rows().any(|row| row.clause == *clause), "{name} hangs nowhere");
        assert!(!clause.message.contains('\n'), "{name}: a message is one line");
    }
}

#[test]
fn the_rust_rules_refuse_and_accept_as_the_table_says() {
    for row in rows() {
        let found = by_rust(row, &row.refused);
        let [only] = found.as_slice() else { panic!("{row:#?} is refused for one reason: {found:#?}") };
        assert_eq!(only.message, row.clause.message, "{row:#?}");
        assert_eq!(by_rust(row, &row.accepted), [], "{row:#?} is accepted");
    }
}

#[test]
fn a_cel_interpreter_refuses_and_accepts_as_the_table_says() {
    for row in rows() {
        assert_eq!(by_cel(row, &row.refused), [row.clause.message], "{row:#?} is refused for one reason");
        assert_eq!(by_cel(row, &row.accepted), [""; 0], "{row:#?} is accepted");
    }
}
