#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::{Value, json};

use crate::fake_api::FakeApi;

const HEALTH: &str = "/apis/paramant.app/v1alpha1/namespaces/transfers/paramantrelays/health";
const POLICY: &str = "/apis/paramant.app/v1alpha1/namespaces/transfers/paramantpolicies/production";
const KEY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const DRAIN: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const OLD: &str = "cccccccccccccccccccccccccccccccc";

fn pending(id: &str, kind: &str) -> Value {
    json!({
        "id": id, "kind": kind, "role": "Support", "reason": "incident", "asks": format!("what a {kind} does"),
        "endsAt": "2026-06-04T00:00:00Z",
    })
}

fn relay() -> Value {
    json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
        "metadata": { "name": "health", "namespace": "transfers", "resourceVersion": "41" },
        "spec": { "image": "r.example/relay:1", "policyRef": { "name": "production" } },
        "status": {
            "remoteActions": {
                "lastSequence": 3, "pending": [pending(KEY, "support_key"), pending(DRAIN, "drain")],
                "recent": [{
                    "id": OLD, "kind": "support_key", "role": "Owner", "reason": "audit", "outcome": "Accepted",
                    "receivedAt": "2026-05-01T00:00:00Z", "logIndex": 12,
                }],
                "problem": "two requests did not come",
            },
            "support": [
                { "keyId": KEY, "role": "Support", "state": "Pending", "expiresAt": "2026-06-04T00:00:00Z" },
                { "keyId": OLD, "role": "Owner", "state": "Active", "expiresAt": "2026-05-01T08:00:00Z" },
            ],
        },
    })
}

fn api(relay: Value, spec: Value) -> FakeApi {
    let policy = json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy",
        "metadata": { "name": "production", "namespace": "transfers", "resourceVersion": "7" }, "spec": spec,
    });
    FakeApi::holding(vec![(HEALTH, relay), (POLICY, policy)])
}

#[tokio::test]
async fn a_support_key_and_any_other_request_are_answered_where_they_belong() {
    for (line, spec) in [
        (format!("x allow health {KEY}"), json!({ "supportAccess": { "approved": [KEY] } })),
        (format!("x deny health {KEY}"), json!({ "supportAccess": { "revoked": [KEY] } })),
        (
            format!("x allow health {DRAIN}"),
            json!({ "remoteActions": { "approved": [DRAIN], "denied": [OLD] } }),
        ),
        (format!("x deny health {DRAIN}"), Value::Null),
    ] {
        let api = api(relay(), json!({ "remoteActions": { "denied": [OLD, DRAIN] } }));
        api.run(&line).await.unwrap();
        let patches = api.patches();
        let sent = patches.first().map(|patch| patch.body.clone()).unwrap_or_default();
        assert_eq!(sent["spec"], spec, "{line}");
        if let Some(patch) = patches.first() {
            assert_eq!(sent["metadata"]["resourceVersion"], "7", "nobody's change in between is lost");
            assert_eq!(patch.path, format!("{POLICY}?fieldManager=paramant-admin"));
        }
        assert!(patches.len() <= 1, "one patch");
    }
}

#[tokio::test]
async fn an_id_that_does_not_wait_is_an_error_that_lists_those_that_do() {
    let unknown = "d".repeat(32);
    for (id, says) in [(unknown.as_str(), "no request"), (OLD, "revoke-support-key health")] {
        let api = api(relay(), json!({}));
        let said = format!("{:#}", api.run(&format!("x allow health {id}")).await.unwrap_err());
        assert!(said.contains(says) && said.contains(KEY) && said.contains(DRAIN), "{said}");
        assert!(api.patches().is_empty());
    }
    let mut quiet = relay();
    quiet["status"]["remoteActions"] = Value::Null;
    let said = api(quiet, json!({})).run(&format!("x deny health {KEY}")).await.unwrap_err();
    assert!(format!("{said:#}").contains("nothing else waits"), "{said:#}");
}

#[tokio::test]
async fn without_a_policy_it_is_said_what_to_create() {
    let mut lone = relay();
    lone["spec"]["policyRef"] = Value::Null;
    let api = api(lone, json!({}));
    let said = format!("{:#}", api.run(&format!("x allow health {DRAIN}")).await.unwrap_err());
    assert!(said.contains(&format!(r#"spec: {{ remoteActions: {{ approved: ["{DRAIN}"] }} }}"#)), "{said}");
}

#[tokio::test]
async fn what_waits_what_was_settled_and_the_keys_are_shown() {
    let api = api(relay(), json!({}));
    let text = super::show(&api.cluster("transfers", false), "health").await.unwrap();
    for line in [
        format!(
            "Waiting    {KEY}   support_key   Support   incident   2026-06-04T00:00:00Z   what a support_key does"
        ),
        format!("Accepted   {OLD}   support_key   Owner     audit      2026-05-01T00:00:00Z   log entry 12"),
        format!("Active   {OLD}   Owner   2026-05-01T08:00:00Z"),
        "Problem: two requests did not come".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(!text.contains(&format!("Pending   {KEY}")), "told once, as what waits:\n{text}");
}
