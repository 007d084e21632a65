//! Rotating the keys that sign checkpoints, as the admin does it and auditors see it.

use paramant_protocol::entry::Entry;
use paramant_protocol::entry::body::Body;
use paramant_tlog::note::Note;
use paramant_tlog::vkey::VerifierKey;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::relay::Relay;

async fn text(relay: &Relay, path: &str) -> String {
    let answer = relay.http.get(format!("{}{path}", relay.url)).send().await.unwrap();
    answer.error_for_status().unwrap().text().await.unwrap()
}

/// The keys shown; each of them signed the checkpoint shown, and nobody else did.
async fn keys(relay: &Relay) -> Vec<VerifierKey> {
    let keys: Vec<VerifierKey> =
        text(relay, "/log/vkeys").await.lines().map(|key| key.parse().unwrap()).collect();
    let note = Note::parse(text(relay, "/log/checkpoint").await.as_bytes()).unwrap();
    assert_eq!(note.signatures.len(), keys.len());
    assert_eq!(note.open(&keys).unwrap().len(), keys.len());
    keys
}

async fn step(relay: &Relay, step: &str) -> (StatusCode, Value) {
    let answer = relay.admin(Method::POST, &format!("/v2/admin/log/{step}")).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn auditors_see_old_and_new_keys_side_by_side_and_an_entry_for_each_change() {
    let relay = Relay::start().await;
    let old = keys(&relay).await;
    let stranger = relay.http.post(format!("{}/v2/admin/log/rotate", relay.url)).send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(step(&relay, "rotate/finish").await.0, StatusCode::CONFLICT, "none was begun");

    let (status, answer) = step(&relay, "rotate").await;
    assert_eq!((status, answer["overlap"].as_bool()), (StatusCode::OK, Some(true)), "{answer}");
    let both = keys(&relay).await;
    assert_eq!(both.len(), 5);
    assert!(old.iter().all(|key| both.contains(key)));
    assert_eq!(step(&relay, "rotate").await.0, StatusCode::CONFLICT, "one at a time");

    let relay = Relay::over(relay.stop().await, |_| ()).await;
    assert_eq!(keys(&relay).await, both, "the overlap outlives a restart");
    let (status, answer) = step(&relay, "rotate/finish").await;
    assert_eq!((status, answer["overlap"].as_bool()), (StatusCode::OK, Some(false)), "{answer}");
    let new = keys(&relay).await;
    assert_eq!(new.len(), 3);
    assert_eq!(new[2], old[2], "the identity's line stays");
    assert!(!old[..2].iter().any(|key| new.contains(key)));

    let all = text(&relay, "/log/vkeys?all").await;
    for key in old.iter().chain(&new) {
        assert!(all.lines().any(|line| line == key.to_string()), "{all}");
    }
    assert!(all.contains("# signs trees of sizes from 0 to "), "{all}");

    // What an auditor does: who signs a tree of which size follows from the entries alone.
    let log = relay.running.app.core.log.clone();
    let mut signing: Vec<String> = old.iter().map(ToString::to_string).collect();
    for entry in log.engine().entries(0, 10_000).unwrap() {
        if let Some(Body::LogKeyRotated(change)) = Entry::parse(&entry.bytes).unwrap().body() {
            signing.extend(change.added.clone());
            signing.retain(|key| Some(key) != change.retired.as_ref());
        }
    }
    let mut shown: Vec<String> = new.iter().map(ToString::to_string).collect();
    signing.sort();
    shown.sort();
    assert_eq!(signing, shown);
    relay.stop().await;
}
