#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::{Value, json};

use crate::fake_api::{FakeApi, refused};

const HEALTH: &str = "/apis/paramant.app/v1alpha1/namespaces/transfers/paramantrelays/health";
const RUNS: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const NEXT: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const OTHER: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

fn relay(update: Value) -> Value {
    json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
        "metadata": { "name": "health", "namespace": "transfers", "resourceVersion": "41", "annotations": {} },
        "spec": { "image": "r.example/relay:1" },
        "status": { "image": { "current": RUNS, "version": "1.0.0" }, "update": update },
    })
}

fn waiting() -> Value {
    json!({
        "step": "WaitingForApproval", "blockedBy": "AwaitingApproval", "lastGood": RUNS,
        "target": { "digest": NEXT, "sequence": 7 }, "available": { "digest": NEXT, "version": "1.1.0" },
    })
}

async fn patched(update: Value, line: &str) -> Result<Value, String> {
    let api = FakeApi::holding(vec![(HEALTH, relay(update))]);
    let ran = api.run(line).await;
    let mut patches = api.patches();
    match ran {
        Ok(_) => {
            let patch = patches.pop().unwrap();
            assert!(patches.is_empty(), "one change each");
            assert!(patch.path.contains("fieldManager=paramant-admin"), "{}", patch.path);
            Ok(patch.body)
        }
        Err(error) => {
            assert!(patches.is_empty(), "a refusal changes nothing: {patches:?}");
            Err(format!("{error:#}"))
        }
    }
}

#[tokio::test]
async fn approving_approves_what_was_seen_waiting_and_nothing_that_came_later() {
    let wanted = json!({
        "metadata": { "resourceVersion": "41" },
        "spec": { "update": { "approve": { "digest": NEXT, "sequence": 7 } } },
    });
    assert_eq!(patched(waiting(), "x approve health").await.unwrap(), wanted);
    assert_eq!(patched(waiting(), &format!("x approve health --digest {NEXT}")).await.unwrap(), wanted);
}

#[tokio::test]
async fn approving_is_refused_when_nothing_waits_or_the_target_moved() {
    let idle = json!({ "step": "Idle", "lastGood": RUNS });
    let said = patched(idle.clone(), "x approve health").await.unwrap_err();
    assert!(said.contains("nothing of health waits for approval (it is at Idle)"), "{said}");
    let said = patched(waiting(), &format!("x approve health --digest {OTHER}")).await.unwrap_err();
    assert!(said.contains("the target moved") && said.contains("version 1.1.0, offer 7"), "{said}");
    let said = patched(waiting(), "x approve health --sequence 8").await.unwrap_err();
    assert!(said.contains("offer 7 of health, not 8"), "{said}");
    // A target that is being rolled already waits for nobody.
    let rolling = json!({ "step": "Replacing", "target": { "digest": NEXT } });
    assert!(patched(rolling, "x approve health").await.is_err());
    // Ahead of time, by name, without the offer of something else.
    let ahead = patched(idle, &format!("x approve health --digest {OTHER}")).await.unwrap();
    assert_eq!(ahead["spec"]["update"]["approve"], json!({ "digest": OTHER, "sequence": null }));
}

#[tokio::test]
async fn somebody_elses_change_in_between_is_a_refusal() {
    let api = FakeApi::new(|asked| match asked.method.as_str() {
        "PATCH" => refused(409, HEALTH),
        _ => (200, relay(waiting()).to_string().into_bytes()),
    });
    let said = format!("{:#}", api.run("x approve health").await.unwrap_err());
    assert!(said.contains("relay health in namespace transfers changed after it was read"), "{said}");
}

#[tokio::test]
async fn rolling_back_pins_the_last_good_image_unless_that_is_what_runs() {
    let rolled = json!({ "step": "Settling", "lastGood": OTHER, "target": { "digest": RUNS } });
    assert_eq!(patched(rolled, "x rollback health").await.unwrap()["spec"]["update"]["pin"], OTHER);
    let said = patched(json!({ "step": "Idle", "lastGood": RUNS }), "x rollback health").await.unwrap_err();
    assert!(
        said.contains("name an earlier one with --to DIGEST") && said.contains("version 1.0.0"),
        "{said}"
    );
    let said = patched(json!({}), "x rollback health").await.unwrap_err();
    assert!(said.contains("no image of health has run well yet"), "{said}");
    let failed = json!({ "lastGood": RUNS, "rejected": [{ "digest": OTHER, "reason": "never became ready", "at": "2026-01-01T00:00:00Z" }] });
    let said = patched(failed, &format!("x rollback health --to {OTHER}")).await.unwrap_err();
    assert!(said.contains("never became ready") && said.contains("retry health --digest"), "{said}");
}

#[tokio::test]
async fn releasing_needs_something_to_release() {
    assert!(patched(waiting(), "x rollback health --release").await.unwrap_err().contains("not held"));
    let mut held = relay(waiting());
    held["spec"]["update"] = json!({ "pin": NEXT });
    let api = FakeApi::holding(vec![(HEALTH, held)]);
    api.run("x rollback health --release").await.unwrap();
    assert_eq!(api.patches()[0].body["spec"]["update"], json!({ "pin": null }));
    let said = format!("{:#}", api.run(&format!("x rollback health --to {NEXT}")).await.unwrap_err());
    assert!(said.contains("held at") && said.contains("already"), "{said}");
}

#[tokio::test]
async fn retrying_takes_the_newest_rejection() {
    let rejected = |digest: &str| json!({ "digest": digest, "reason": "died", "at": "2026-01-01T00:00:00Z" });
    let update = json!({ "rejected": [rejected(OTHER), rejected(NEXT)] });
    assert_eq!(patched(update.clone(), "x retry health").await.unwrap()["spec"]["update"]["retry"], NEXT);
    let named = patched(update.clone(), &format!("x retry health --digest {OTHER}")).await.unwrap();
    assert_eq!(named["spec"]["update"]["retry"], OTHER);
    let said = patched(update, &format!("x retry health --digest {RUNS}")).await.unwrap_err();
    assert!(said.contains("not rejected; these are"), "{said}");
    assert!(patched(json!({}), "x retry health").await.unwrap_err().contains("nothing to retry"));
}

#[tokio::test]
async fn updating_now_names_the_one_image_that_may() {
    let now = patched(waiting(), "x update-now health").await.unwrap();
    assert_eq!(
        now,
        json!({ "metadata": { "resourceVersion": "41", "annotations": { "paramant.app/update-now": NEXT } } })
    );
    let idle = json!({ "step": "Idle", "target": { "digest": RUNS } });
    assert!(patched(idle, "x update-now health").await.unwrap_err().contains("no update of health waits"));
}

#[tokio::test]
async fn a_dry_run_is_asked_of_the_server() {
    let api = FakeApi::holding(vec![(HEALTH, relay(waiting()))]);
    api.run("x approve health --dry-run=server").await.unwrap();
    assert!(api.patches()[0].path.contains("dryRun=All"));
}

#[tokio::test]
async fn a_missing_right_and_a_missing_relay_are_told_apart() {
    let api = FakeApi::new(|asked| match asked.method.as_str() {
        "PATCH" => refused(403, HEALTH),
        _ => (200, relay(waiting()).to_string().into_bytes()),
    });
    for line in ["x approve health", "x drain health"] {
        let said = format!("{:#}", api.run(line).await.unwrap_err());
        assert!(
            said.contains("may not patch paramantrelays (paramant.app) in namespace transfers"),
            "{said}"
        );
        assert!(said.contains("paramant-editor"), "{said}");
    }
    let empty = FakeApi::holding(vec![]);
    let said = format!("{:#}", empty.run("x approve health -n other").await.unwrap_err());
    assert!(said.contains("there is no relay health in namespace other"), "{said}");
    let bare = FakeApi::new(|_| (404, b"404 page not found".to_vec()));
    let said = format!("{:#}", bare.run("x status").await.unwrap_err());
    assert!(said.contains("knows no paramantrelays: install the operator's chart"), "{said}");
}
