#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::{Value, json};

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccccccccccccccc";

fn spec(spec: Value) -> ParamantPolicySpec {
    serde_json::from_value(spec).unwrap()
}

fn told(policy: Value) -> Value {
    serde_json::to_value(of(&spec(policy))).unwrap()
}

#[test]
fn what_a_policy_leaves_out_is_as_the_documents_say() {
    let built_in = json!({
        "answers": {"supportKey": "Ask", "updateOffer": "Allow", "drain": "Ask", "capability": "Allow"},
        "supportSeconds": 28_800, "approved": [], "denied": [],
    });
    for policy in [json!({}), json!({"remoteActions": {}}), json!({"supportAccess": {}})] {
        assert_eq!(told(policy), built_in);
    }
}

#[test]
fn each_answer_of_each_kind_reaches_the_relay() {
    for kind in ["supportKey", "updateOffer", "drain", "capability"] {
        for answer in ["Allow", "Ask", "Refuse"] {
            assert_eq!(told(json!({"remoteActions": {kind: answer}}))["answers"][kind], answer, "{kind}");
        }
    }
    assert_eq!(told(json!({"supportAccess": {"maxDuration": "15m"}}))["supportSeconds"], 900);
}

#[test]
fn both_lists_of_each_kind_are_one_and_no_beats_yes() {
    for (actions, access, approved, denied) in [
        (json!({"approved": [B]}), json!({"approved": [A]}), json!([A, B]), json!([])),
        (json!({"denied": [B]}), json!({"revoked": [A]}), json!([]), json!([A, B])),
        (json!({"approved": [A]}), json!({"revoked": [A]}), json!([]), json!([A])),
        (json!({"denied": [A]}), json!({"approved": [A, C]}), json!([C]), json!([A])),
        // In another order, twice, and one that names no request.
        (json!({"approved": [B, A]}), json!({"approved": [A, "sk-1"]}), json!([A, B]), json!([])),
    ] {
        let found = told(json!({"remoteActions": actions, "supportAccess": access}));
        assert_eq!((&found["approved"], &found["denied"]), (&approved, &denied), "{actions} {access}");
    }
}

#[test]
fn what_a_policy_that_is_not_accepted_denies_is_denied_and_nothing_else_of_it_counts() {
    let in_force = of(&spec(json!({"remoteActions": {"drain": "Refuse", "approved": [A, B]}})));
    let edited = spec(json!({
        "remoteActions": {"drain": "Allow", "approved": [C], "denied": [A]}, "supportAccess": {"revoked": [C]},
    }));
    let both = with_denied(in_force, &edited);
    assert_eq!(both.answers.drain, RemoteAnswer::Refuse);
    assert_eq!((both.approved, both.denied), (vec![B.to_owned()], vec![A.to_owned(), C.to_owned()]));
}

#[test]
fn while_nothing_new_may_reach_a_relay_it_is_only_told_to_be_stricter() {
    let before = of(&spec(json!({
        "remoteActions": {"supportKey": "Allow", "drain": "Refuse", "approved": [A, B]},
        "supportAccess": {"maxDuration": "1h"},
    })));
    let wanted = of(&spec(json!({
        "remoteActions": {"supportKey": "Refuse", "drain": "Allow", "approved": [A, C], "denied": [B]},
        "supportAccess": {"maxDuration": "2h"},
    })));
    let held = withheld(&wanted, Some(&before));
    assert_eq!((held.answers.support_key, held.answers.drain), (RemoteAnswer::Refuse, RemoteAnswer::Refuse));
    assert_eq!(held.support_seconds, Some(3600));
    assert_eq!((&held.approved, &held.denied), (&vec![A.to_owned()], &vec![B.to_owned()]));
    assert_eq!(withheld(&wanted, Some(&held)), held, "and there it rests");
    let lax = of(&spec(json!({"remoteActions": {"supportKey": "Allow", "approved": [A]}})));
    assert_eq!(
        withheld(&lax, None),
        of(&spec(json!({}))),
        "one that was told nothing has the built-in policy"
    );
}
