//! What an update and an operator of another release ask of a relay over the control channel: commits, and words it does not know.

use paramant_protocol::control::{DataReport, Directives, DrainSource};
use reqwest::{Client, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control::{Authority, OPERATOR, at, directives, put, relay, relay_over, spec, state};
use crate::relay::{Relay, User, hash, noise};

/// The schema before the one that brought chunks.
const BEFORE_CHUNKS: u32 = 8;

/// A relay that a release without chunks ran until now.
async fn updated(authority: &Authority) -> (Relay, User) {
    let before = relay(authority).await;
    let user = before.user().await;
    let dir = before.stop().await;
    let db = Connection::open(dir.path().join("data/meta.db")).unwrap();
    assert_eq!(db.execute("UPDATE committed SET schema = ?", [BEFORE_CHUNKS]).unwrap(), 1);
    drop(db);
    again(dir, authority, user).await
}

async fn again(dir: TempDir, authority: &Authority, user: User) -> (Relay, User) {
    let relay = relay_over(dir, authority).await;
    let user = User { url: relay.url.clone(), ..user };
    (relay, user)
}

async fn data(operator: &Client, relay: &Relay) -> DataReport {
    state(operator, relay).await.data.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_release_before_cannot_read_is_taken_once_the_update_is_committed() {
    let authority = Authority::new();
    let (relay, user) = updated(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let before = data(&operator, &relay).await;
    assert!(before.schema > before.committed && before.committed == BEFORE_CHUNKS, "{before:?}");
    assert!(before.min_reader <= BEFORE_CHUNKS, "there is a way back: {before:?}");

    let opening = json!({ "size": 100_000, "chunk_size": 65_536, "ttl_ms": 600_000 });
    for refused in [
        user.open_upload(opening.clone()).await,
        user.upload(&noise(1, 3000), json!({ "disclosure": "strict" })).await,
    ] {
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["retry-after"], "60");
        let said: Value = refused.json().await.unwrap();
        assert!(said["error"].as_str().unwrap().contains("just updated"), "{said}");
    }
    assert_eq!(relay.payload_files(), 0, "nothing of them is kept");
    let plain = noise(2, 3000);
    assert_eq!(user.upload(&plain, json!({})).await.status(), StatusCode::OK);
    assert_eq!(user.download(&hash(&plain)).await.bytes().await.unwrap(), plain);

    // Who is not the leader any more commits nothing.
    let leader = Directives { epoch: 5, ..directives(1, spec(false)) };
    assert_eq!(put(&operator, &relay, &leader).await.0, StatusCode::OK);
    let commit =
        |epoch| Directives { epoch, commit_schema: Some(before.schema), ..directives(2, spec(false)) };
    assert_eq!(put(&operator, &relay, &commit(4)).await.0, StatusCode::CONFLICT);
    assert_eq!(data(&operator, &relay).await, before);
    assert_eq!(put(&operator, &relay, &commit(5)).await.0, StatusCode::OK);
    assert_eq!(data(&operator, &relay).await, DataReport { committed: before.schema, ..before });

    assert_eq!(user.open_upload(opening).await.status(), StatusCode::CREATED);
    let strict = noise(1, 3000);
    assert_eq!(user.upload(&strict, json!({ "disclosure": "strict" })).await.status(), StatusCode::OK);
    let used = data(&operator, &relay).await;
    assert_eq!(used.min_reader, BEFORE_CHUNKS + 1, "the way back is shorter now");

    let (relay, user) = again(relay.stop().await, &authority, user).await;
    let operator = authority.client(&relay, &OPERATOR());
    assert_eq!(data(&operator, &relay).await, used, "also after a restart");
    assert_eq!(user.download(&hash(&strict)).await.bytes().await.unwrap(), strict);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directives_that_come_back_with_a_start_commit_nothing() {
    let authority = Authority::new();
    let (relay, user) = updated(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let commit = Directives { commit_schema: Some(9), ..directives(1, spec(false)) };
    assert_eq!(put(&operator, &relay, &commit).await.0, StatusCode::OK);
    let dir = relay.stop().await;
    // As if an older release had run since.
    let db = Connection::open(dir.path().join("data/meta.db")).unwrap();
    db.execute("UPDATE committed SET schema = ?", [BEFORE_CHUNKS]).unwrap();
    drop(db);
    let (relay, _) = again(dir, &authority, user).await;
    let operator = authority.client(&relay, &OPERATOR());
    assert_eq!(data(&operator, &relay).await.committed, BEFORE_CHUNKS);
    assert_eq!(put(&operator, &relay, &commit).await.0, StatusCode::OK);
    assert_eq!(data(&operator, &relay).await.committed, 9, "heard again, they do");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_and_a_newer_operator_are_understood() {
    let authority = Authority::new();
    let (relay, _) = updated(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let older = json!({ "relayUid": "uid-1", "epoch": 1, "seq": 1, "drain": { "spec": true, "deadlineSeconds": 60, "settleSeconds": 0 } });
    let newer = json!({
        "relayUid": "uid-1", "epoch": 1, "seq": 2, "commitSchema": 900, "weather": { "rain": [1, 2] },
        "drain": { "spec": true, "deadlineSeconds": 60, "settleSeconds": 0, "mood": "calm" },
        "couriers": { "tokenKeys": "{}", "admitted": [
            { "purpose": "pigeon", "namespace": "n", "serviceAccount": "s", "wings": 2 } ] },
    });
    for (body, committed) in [(&older, BEFORE_CHUNKS), (&newer, data(&operator, &relay).await.schema)] {
        let answer = operator.put(at(&relay, "directives")).json(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{body}");
        let now = state(&operator, &relay).await;
        assert_eq!(now.drain.requested_by, [DrainSource::Spec]);
        assert_eq!(now.data.unwrap().committed, committed, "{body}");
    }
    // What it does not know it also reads again.
    let relay = relay_over(relay.stop().await, &authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    assert_eq!(state(&operator, &relay).await.directives.unwrap().seq, 2);
    relay.stop().await;
}

/// The labels in the Dockerfile are those of this release.
#[test]
fn the_release_images_say_which_data_they_read() {
    let said = paramant_relay::store::data_schema();
    let dockerfile =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Dockerfile")).unwrap();
    assert!(dockerfile.contains(&format!("'{said}'")), "the build compares");
    let said: Value = serde_json::from_str(&said).unwrap();
    for (label, name) in [("schema", "schema"), ("min-reader", "minReader")] {
        let label = format!("app.paramant.data.{label}=\"{}\"", said[name]);
        assert!(dockerfile.contains(&label), "{label}");
    }
}
