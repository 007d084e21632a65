//! The health expressions that docs/gitops.md gives to Flux, evaluated on the situations of docs/operate.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kube_cel::cel::{Context, Program, Value as Cel, to_value};
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../docs/gitops.md");

/// The expressions of the page: when a relay failed, and when it is current.
fn expressions() -> (Program, Program) {
    let block =
        PAGE.split("```yaml\n").find(|block| block.trim_start().starts_with("healthCheckExprs:")).unwrap();
    let block: Value = serde_saphyr::from_str(block.split("```").next().unwrap()).unwrap();
    let check = &block["healthCheckExprs"][0];
    assert_eq!(
        (&check["apiVersion"], &check["kind"]),
        (&json!("paramant.app/v1alpha1"), &json!("ParamantRelay"))
    );
    let program = |key: &str| Program::compile(check[key].as_str().unwrap()).unwrap();
    (program("failed"), program("current"))
}

/// As Flux asks: failed first, then current, else in progress.
fn judged(generation: i64, observed: i64, conditions: &[(&str, &str)]) -> &'static str {
    let conditions: Vec<Value> =
        conditions.iter().map(|(type_, status)| json!({ "type": type_, "status": status })).collect();
    let mut context = Context::default();
    let mut bind = |name: &str, value: Value| context.add_variable_from_value(name, to_value(value).unwrap());
    bind("metadata", json!({ "generation": generation }));
    let mut status = json!({ "observedGeneration": observed });
    if !conditions.is_empty() {
        status["conditions"] = json!(conditions);
    }
    bind("status", status);
    let (failed, current) = expressions();
    let holds = |program: &Program| match program.execute(&context) {
        Ok(Cel::Bool(holds)) => holds,
        other => panic!("{other:?}"),
    };
    match (holds(&failed), holds(&current)) {
        (true, _) => "Failed",
        (false, true) => "Current",
        (false, false) => "InProgress",
    }
}

#[test]
fn a_relay_is_current_once_it_runs_what_was_committed_and_failed_when_only_a_person_can_help() {
    let ready = ("Ready", "True");
    for (situation, wanted, conditions) in [
        (
            "running",
            "Current",
            vec![ready, ("Reconciling", "False"), ("Stalled", "False"), ("UpdateBlocked", "False")],
        ),
        ("drained", "Current", vec![ready, ("Drained", "True")]),
        ("rolling", "InProgress", vec![ready, ("Reconciling", "True")]),
        ("waits for a window", "InProgress", vec![ready, ("UpdateBlocked", "True")]),
        ("paused", "InProgress", vec![("Ready", "Unknown"), ("Paused", "True")]),
        ("starts", "InProgress", vec![("Ready", "False"), ("Reconciling", "True")]),
        ("only a person can help", "Failed", vec![("Ready", "False"), ("Stalled", "True")]),
    ] {
        assert_eq!(judged(1, 1, &conditions), wanted, "{situation}");
    }
    assert_eq!(judged(1, -1, &[]), "InProgress", "a fresh object has no condition yet");
    assert_eq!(judged(2, 1, &[ready]), "InProgress", "the spec was not looked at yet");
}
