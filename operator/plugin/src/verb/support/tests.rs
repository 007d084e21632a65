#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::{Value, json};

use crate::fake_api::FakeApi;

const HEALTH: &str = "/apis/paramant.app/v1alpha1/namespaces/transfers/paramantrelays/health";
const POLICY: &str = "/apis/paramant.app/v1alpha1/namespaces/transfers/paramantpolicies/production";

fn api(policy: Option<&str>, access: Value) -> FakeApi {
    let policy = policy.map(|name| json!({ "name": name }));
    let relay = json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
        "metadata": { "name": "health", "namespace": "transfers", "resourceVersion": "41" },
        "spec": { "image": "r.example/relay:1", "policyRef": policy },
    });
    let policy = json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy",
        "metadata": { "name": "production", "namespace": "transfers", "resourceVersion": "7" },
        "spec": { "drain": { "active": true }, "supportAccess": access },
    });
    FakeApi::holding(vec![(HEALTH, relay), (POLICY, policy)])
}

async fn revoked(access: Value) -> Value {
    let api = api(Some("production"), access);
    api.run("x revoke-support-key health sk-2").await.unwrap();
    api.patches().pop().map(|patch| patch.body).unwrap_or_default()
}

#[tokio::test]
async fn a_key_is_added_to_the_revoked_ones_and_taken_from_the_approved_ones_in_one_patch() {
    let access = json!({ "maxDuration": "8h", "approved": ["sk-1", "sk-2"], "revoked": ["sk-0"] });
    assert_eq!(
        revoked(access).await,
        json!({
            "metadata": { "resourceVersion": "7" },
            "spec": { "supportAccess": { "approved": ["sk-1"], "revoked": ["sk-0", "sk-2"] } },
        })
    );
}

#[tokio::test]
async fn a_set_that_nobody_wrote_is_not_made_empty() {
    let expected = json!({ "supportAccess": { "revoked": ["sk-2"] } });
    assert_eq!(revoked(Value::Null).await["spec"], expected);
    assert_eq!(revoked(json!({ "approved": ["sk-1"] })).await["spec"], expected);
}

#[tokio::test]
async fn a_key_that_is_revoked_is_not_revoked_again() {
    assert_eq!(revoked(json!({ "revoked": ["sk-2"] })).await, Value::Null);
}

#[tokio::test]
async fn without_a_policy_it_is_said_what_to_create() {
    for named in [None, Some("gone")] {
        let api = api(named, Value::Null);
        let said = format!("{:#}", api.run("x revoke-support-key health sk-2").await.unwrap_err());
        assert!(said.contains("kind: ParamantPolicy") && said.contains(r#"revoked: ["sk-2"]"#), "{said}");
        assert!(said.contains(r#"{"spec":{"policyRef":{"name":"health"}}}"#), "{said}");
        assert!(api.patches().is_empty());
    }
}

#[tokio::test]
async fn a_full_set_is_said_and_not_cut() {
    let full: Vec<String> = (0..64).map(|number| format!("old-{number}")).collect();
    let api = api(Some("production"), json!({ "revoked": full }));
    let said = format!("{:#}", api.run("x revoke-support-key health sk-2").await.unwrap_err());
    assert!(said.contains("64 ids in supportAccess.revoked"), "{said}");
}
