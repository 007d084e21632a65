//! Anchors: all tree heads chained into the log, and an idle log that stays idle.

use std::time::Duration;

use paramant_protocol::entry::Entry;
use paramant_protocol::entry::body::{Body, SthAnchor};
use paramant_protocol::sth;
use paramant_relay::log_service::LogService;

use crate::relay::{Relay, noise};

/// Every anchor of the log, in order.
fn anchors(log: &LogService) -> Vec<SthAnchor> {
    let entries = log.engine().entries(0, 10_000).unwrap();
    let bodies = entries.iter().map(|entry| Entry::parse(&entry.bytes).unwrap().body().cloned());
    bodies
        .filter_map(|body| match body {
            Some(Body::SthAnchor(anchor)) => Some(anchor),
            _ => None,
        })
        .collect()
}

/// The chain as an auditor computes it, from the heads that are served.
fn chain(log: &LogService, count: u64) -> [u8; 32] {
    let heads = (0..count).map(|number| log.tree_heads().nth(number).unwrap().unwrap());
    heads.fold(sth::CHAIN_START, |previous, head| sth::chain(previous, &head).unwrap())
}

async fn anchor(log: &LogService) -> bool {
    log.settle_heads(Duration::from_secs(60)).await;
    let log = log.clone();
    tokio::task::spawn_blocking(move || log.anchor()).await.unwrap().unwrap()
}

async fn upload(relay: &Relay, seed: u64) {
    let user = relay.user().await;
    user.upload(&noise(seed, 100), serde_json::json!({})).await.error_for_status().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_chains_every_head_and_an_idle_log_gets_no_second_one() {
    let relay = Relay::start().await;
    let log = relay.running.app.core.log.clone();
    upload(&relay, 1).await;
    assert!(anchor(&log).await);
    let before = log.head().size;
    for _ in 0..3 {
        assert!(!anchor(&log).await, "the head over the anchor is no reason for another");
    }
    assert_eq!(log.head().size, before);
    upload(&relay, 2).await;
    assert!(anchor(&log).await);
    let found = anchors(&log);
    assert_eq!(found.len(), 2);
    for anchor in &found {
        assert!(anchor.count > 0);
        assert_eq!(anchor.chain.0, chain(&log, anchor.count));
    }
    assert!(found[0].count < found[1].count);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_run_is_anchored_and_the_next_run_goes_on_from_there() {
    let relay = Relay::start().await;
    upload(&relay, 1).await;
    let dir = relay.stop().await;
    let memory = dir.path().join("data/sth/anchor.json");
    let relay = Relay::over(dir, |_| ()).await;
    let log = relay.running.app.core.log.clone();
    let first = anchors(&log);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].chain.0, chain(&log, first[0].count));
    let size = log
        .engine()
        .entries(0, 10_000)
        .unwrap()
        .iter()
        .position(|entry| matches!(Entry::parse(&entry.bytes).unwrap().body(), Some(Body::SthAnchor(_))));
    let last = log.tree_heads().nth(first[0].count - 1).unwrap().unwrap();
    assert_eq!(last.tree_size, size.unwrap() as u64, "it covers a head over everything before it");
    let dir = relay.stop().await;

    // What remembers the chain is lost, then says something else: the chain is computed from the first head on.
    for damage in [
        None,
        Some(
            r#"{"count":1,"chain":"0000000000000000000000000000000000000000000000000000000000000000","index":0}"#,
        ),
    ] {
        match damage {
            None => std::fs::remove_file(&memory).unwrap(),
            Some(text) => std::fs::write(&memory, text).unwrap(),
        }
        let temp = tempfile::TempDir::new().unwrap();
        crate::log::copy(dir.path(), temp.path());
        let relay = Relay::over(temp, |_| ()).await;
        let log = relay.running.app.core.log.clone();
        assert!(anchor(&log).await);
        let newest = anchors(&log).pop().unwrap();
        assert_eq!(newest.chain.0, chain(&log, newest.count));
        assert!(!anchor(&log).await);
        relay.stop().await;
        std::fs::write(&memory, "{}").unwrap();
    }
}
