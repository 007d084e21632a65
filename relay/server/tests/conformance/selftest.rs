//! The runner shown red: for each kind of expectation a case that holds, and the same case with that expectation wrong, which
//! must fail and say so.

use serde::Deserialize;
use serde_json::Value as Json;

use crate::language::{self, Case};
use crate::relay::{Relay, setups};
use crate::runner::run;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Red {
    kind: String,
    /// The last step of the case as it holds, and as it must not.
    right: Json,
    wrong: Json,
    /// What the failure speaks of.
    says: String,
    #[serde(default)]
    before: Vec<Json>,
}

const REDS: &str = include_str!("selftest.yaml");

fn case(red: &Red, last: &Json) -> Case {
    let steps: Vec<&Json> = red.before.iter().chain([last]).collect();
    let case = serde_json::json!({
        "id": red.kind, "proves": ["selftest"], "says": red.kind, "accounts": { "alice": {} },
        "let": { "blob": { "$random": 100 }, "hash": { "$sha256": "${blob}" } }, "steps": steps,
    });
    serde_json::from_value(case).unwrap_or_else(|error| panic!("{}: {error}", red.kind))
}

#[test]
fn a_wrong_expectation_of_each_kind_is_seen() {
    let reds: Vec<Red> = serde_saphyr::from_str(REDS).unwrap();
    assert!(reds.len() >= 20);
    let relay = Relay::start(&setups()["plain"]).unwrap();
    for red in &reds {
        let right = run(&case(red, &red.right), relay.address).problem;
        assert_eq!(right, None, "{}: the right one", red.kind);
        let wrong = run(&case(red, &red.wrong), relay.address).problem.unwrap_or_default();
        assert!(wrong.contains(&red.says), "{}: it says {wrong:?}, nothing of {:?}", red.kind, red.says);
    }
}

#[test]
fn a_word_that_is_not_in_the_language_is_refused() {
    for step in [
        serde_json::json!({ "send": "GET /health", "expects": { "status": 500 } }),
        serde_json::json!({ "send": "GET /health", "expect": { "satus": 500 } }),
        serde_json::json!({ "sent": "GET /health" }),
        serde_json::json!({ "check": 1 }),
    ] {
        assert!(serde_json::from_value::<language::Step>(step.clone()).is_err(), "{step}");
    }
    let relay = Relay::start(&setups()["plain"]).unwrap();
    for json in [
        serde_json::json!({ "ok": { "$typ": "boolean" } }),
        serde_json::json!({ "ok": { "$matching": ".*" } }),
    ] {
        let step = serde_json::json!({ "send": "GET /health", "expect": { "json": json } });
        let red = Red {
            kind: "unknown".into(),
            right: step.clone(),
            wrong: step,
            says: String::new(),
            before: vec![],
        };
        let problem = run(&case(&red, &red.right), relay.address).problem.unwrap_or_default();
        assert!(problem.contains("there is no function"), "{problem}");
    }
}
