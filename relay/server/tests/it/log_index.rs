//! `/v2/ct/log` by kind and time, beside the published parameters, which are as they were.

use paramant_protocol::transparency::LogPage;
use paramant_tlog::Tree;
use reqwest::StatusCode;

use crate::log::{filled, get, json_of};
use crate::relay::Relay;

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_a_kind_come_with_the_roots_they_had() {
    let relay = Relay::start().await;
    filled(&relay, 6).await;
    let all: LogPage = json_of(&relay, "/v2/ct/log?limit=1000").await;
    assert_eq!(all.next_from, None);
    let wanted: Vec<_> =
        all.entries.iter().filter(|entry| entry.kind.as_deref() == Some("transfer")).cloned().collect();
    assert_eq!(wanted.len(), 6);
    let mut found = Vec::new();
    let mut from = Some(0);
    while let Some(at) = from {
        let page: LogPage = json_of(&relay, &format!("/v2/ct/log?kind=transfer&limit=2&from={at}")).await;
        assert_eq!((page.size, &page.root), (all.size, &all.root));
        found.extend(page.entries);
        from = page.next_from;
    }
    assert_eq!(found, wanted);
    let engine = relay.running.app.core.log.engine();
    for entry in found {
        assert_eq!(entry.tree_hash, hex::encode(engine.root(Tree::Sha3, entry.index + 1).unwrap()));
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_bound_what_is_looked_at() {
    let relay = Relay::start().await;
    filled(&relay, 3).await;
    let now = paramant_protocol::moment::hour(jiff::Timestamp::now());
    let all: LogPage = json_of(&relay, "/v2/ct/log").await;
    // The hour may turn while this runs: the entries' own hours are asked for.
    let first = &all.entries[0].ts;
    let since: LogPage = json_of(&relay, &format!("/v2/ct?since={first}")).await;
    assert_eq!(since.entries, all.entries);
    let before: LogPage = json_of(&relay, &format!("/v2/ct?until={first}")).await;
    assert!(before.entries.is_empty() && before.next_from.is_none());
    let later: LogPage = json_of(&relay, "/v2/ct?since=2999-01-01T00:00:00Z").await;
    assert!(later.entries.is_empty() && later.next_from.is_none());
    assert!(now >= *first);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_makes_no_sense_says_what_does() {
    let relay = Relay::start().await;
    for (query, hint) in [
        ("kind=transfers", "transfer_claimed"),
        ("since=yesterday", "2026-01-02T03:00:00Z"),
        ("since=2026-01-02T03:04:00Z", "2026-01-02T03:00:00Z"),
        ("until=2026-01-02", "2026-01-02T03:00:00Z"),
    ] {
        let answer = get(&relay, &format!("/v2/ct/log?{query}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.text().await.unwrap().contains(hint), "{query}");
    }
    relay.stop().await;
}
