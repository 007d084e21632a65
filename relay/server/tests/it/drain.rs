//! Drains that a relay has to see through alone: without an operator, without a licence, with payloads that end with it.

use jiff::{SignedDuration, Timestamp};
use paramant_protocol::control::{Directives, DrainDirective, DrainSource, DrainState};
use paramant_relay::settings::Payload;
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use crate::control::{Authority, OPERATOR, directives, put, relay, relay_over, relay_with, spec, state};
use crate::relay::{Relay, hash, noise, until};
use crate::uploads::{CHUNK, list_hash};

async fn metrics(relay: &Relay) -> String {
    let path = format!("http://{}/metrics", relay.running.addresses.probes);
    relay.http.get(path).send().await.unwrap().text().await.unwrap()
}

async fn ready(relay: &Relay) -> bool {
    let path = format!("http://{}/readyz", relay.running.addresses.probes);
    relay.http.get(path).send().await.unwrap().status() == StatusCode::OK
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_payloads_in_memory_hold_a_drain_open_and_are_read_meanwhile() {
    let authority = Authority::new();
    let dir = TempDir::new().unwrap();
    let relay = relay_with(dir, &authority, |settings| settings.payload = Payload::Memory).await;
    let operator = authority.client(&relay, &OPERATOR());
    let user = relay.user().await;
    let payload = noise(1, 5000);
    assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::OK);
    put(&operator, &relay, &directives(1, spec(true))).await;
    let drain = state(&operator, &relay).await.drain;
    assert_eq!((drain.state, drain.unclaimed, drain.uploads), (DrainState::Draining, 1, 0));
    assert!(drain.deadline.is_some() && ready(&relay).await);
    let shown = metrics(&relay).await;
    for line in ["paramant_drain_state{state=\"Draining\"} 1", "paramant_in_flight{kind=\"unclaimed\"} 1"] {
        assert!(shown.contains(line), "{line}");
    }
    assert_eq!(user.upload(&noise(2, 10), json!({})).await.status(), StatusCode::SERVICE_UNAVAILABLE);

    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
    until("it is drained", async || state(&operator, &relay).await.drain.state == DrainState::Drained).await;
    assert!(ready(&relay).await, "whoever asks is still answered");
    assert!(metrics(&relay).await.contains("paramant_drain_state{state=\"Drained\"} 1"));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_chunks_that_began_before_a_drain_is_finished_and_no_other_begins() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let user = relay.user().await;
    let payload = noise(1, 2 * CHUNK + 10);
    let upload = user.opened(payload.len(), json!({})).await;
    user.put(&upload, &payload, 0).await;
    put(&operator, &relay, &directives(1, spec(true))).await;
    let other = json!({ "size": payload.len(), "chunk_size": CHUNK, "ttl_ms": 600_000 });
    assert_eq!(user.open_upload(other).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(user.upload(&noise(2, 10), json!({})).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    user.put(&upload, &payload, 1).await;
    user.put(&upload, &payload, 2).await;
    assert_eq!(user.complete(&upload).await.status(), StatusCode::OK);
    assert_eq!(user.download(&list_hash(&payload, CHUNK)).await.bytes().await.unwrap(), payload);
    until("it is drained", async || state(&operator, &relay).await.drain.state == DrainState::Drained).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_licence_hinders_no_drain() {
    let authority = Authority::new();
    let dir = TempDir::new().unwrap();
    let licence = dir.path().join("licence");
    std::fs::create_dir(&licence).unwrap();
    std::fs::write(licence.join("licence"), "not a licence").unwrap();
    let relay = relay_with(dir, &authority, |settings| settings.license_directory = Some(licence)).await;
    let operator = authority.client(&relay, &OPERATOR());
    let user = relay.user().await;
    let payload = noise(1, 5000);
    assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::OK);
    assert!(!state(&operator, &relay).await.license.problems.is_empty(), "the licence is dead");
    put(&operator, &relay, &directives(1, spec(true))).await;
    assert_eq!(state(&operator, &relay).await.drain.state, DrainState::Drained);
    assert_eq!(user.upload(&noise(2, 10), json!({})).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
    put(&operator, &relay, &directives(2, spec(false))).await;
    assert_eq!(user.upload(&noise(2, 10), json!({})).await.status(), StatusCode::OK);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_source_stands_until_its_own_end() {
    let authority = Authority::new();
    let relay = relay(&authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let user = relay.user().await;
    let by = async || state(&operator, &relay).await.drain.requested_by;
    let soon = Timestamp::now() + SignedDuration::from_secs(4);
    let all = DrainDirective { policy: true, update_until: Some(soon), ..spec(true) };
    put(&operator, &relay, &directives(1, all.clone())).await;
    assert_eq!(by().await, [DrainSource::Spec, DrainSource::Policy, DrainSource::Update]);
    // The operator is gone; what has an end comes to it. The vendor's is in `remote_actions`.
    until("the one with an end is over", async || by().await == [DrainSource::Spec, DrainSource::Policy])
        .await;
    assert!(Timestamp::now() >= soon);
    // Those without stay, also over a restart; what has ended does not come back.
    let relay = relay_over(relay.stop().await, &authority).await;
    let operator = authority.client(&relay, &OPERATOR());
    let by = async || state(&operator, &relay).await.drain.requested_by;
    assert_eq!(by().await, [DrainSource::Spec, DrainSource::Policy]);
    put(&operator, &relay, &directives(2, DrainDirective { spec: Some(false), ..all })).await;
    assert_eq!(by().await, [DrainSource::Policy]);
    let user = crate::relay::User { url: relay.url.clone(), ..user };
    assert_eq!(user.upload(&noise(1, 10), json!({})).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    put(&operator, &relay, &directives(3, DrainDirective::default())).await;
    assert_eq!(user.upload(&noise(1, 10), json!({})).await.status(), StatusCode::OK);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_deposed_changes_nothing_also_after_a_restart() {
    let authority = Authority::new();
    let mut relay = relay(&authority).await;
    let leader = Directives { epoch: 7, ..directives(3, spec(true)) };
    let operator = authority.client(&relay, &OPERATOR());
    assert_eq!(put(&operator, &relay, &leader).await.0, StatusCode::OK);
    for _ in 0..2 {
        let operator = authority.client(&relay, &OPERATOR());
        for (epoch, seq) in [(6, 900), (7, 2)] {
            let stale = Directives { epoch, ..directives(seq, spec(false)) };
            let (status, answer) = put(&operator, &relay, &stale).await;
            assert_eq!((status, answer.accepted), (StatusCode::CONFLICT, false), "{epoch} {seq}");
            let held = answer.held.unwrap();
            assert_eq!((held.epoch, held.seq), (7, 3));
        }
        let other = Directives { epoch: 7, ..directives(3, spec(false)) };
        assert_eq!(put(&operator, &relay, &other).await.0, StatusCode::CONFLICT, "the number is taken");
        assert_eq!(state(&operator, &relay).await.drain.requested_by, [DrainSource::Spec]);
        relay = relay_over(relay.stop().await, &authority).await;
    }
    relay.stop().await;
}
