//! Everything that leaves is told twice: by a line of the relay's own log, and in an entry of its transparency log.

use std::sync::Arc;

use paramant_protocol::entry::body::OutboundPurpose;
use paramant_protocol::entry::{Body, Entry};
use paramant_protocol::leaf::sha256;
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use crate::canary::Lines;
use crate::relay::{Relay, noise, until};
use crate::vendor::{Clock, Vendor, asking, licence_directory, online};
use crate::webhooks::Receiver;
use crate::witness::{FakeWitness, witnessed_by};

/// How many calls of a purpose the entries from here on cover.
fn covered(relay: &Relay, from: u64, purpose: OutboundPurpose) -> u64 {
    let log = &relay.running.app.core.log;
    let new = (from..log.head().size).map(|index| log.engine().entry(index).unwrap().unwrap().bytes);
    let count = |bytes: Vec<u8>| match Entry::parse(&bytes).unwrap().body() {
        Some(Body::OutboundCall(call)) if call.purpose == purpose => call.count,
        _ => 0,
    };
    new.map(count).sum()
}

/// One thread: what it says is caught.
#[tokio::test]
async fn every_call_is_a_line_and_is_covered_by_an_entry() {
    let (lines, _caught) = Lines::catch();
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let (receiver, witness) = (Receiver::start().await, FakeWitness::start(1).await);
    let dir = TempDir::new().unwrap();
    let directory = licence_directory(&dir);
    let relay = Relay::in_world(vendor.world(&clock), dir, |settings| {
        asking(&vendor, settings, directory);
        witnessed_by(1, &[&witness])(settings);
        settings.webhooks = Some(Arc::new(receiver.settings()));
    })
    .await;
    let from = relay.running.app.core.log.head().size;
    online(&relay).await;
    let user = relay.user().await;
    receiver.register(&user, "d", "/", "").await;
    let to = json!({ "meta": { "device_id": "d" } });
    assert_eq!(user.upload(&noise(1, 60), to).await.status(), StatusCode::OK);
    let made = || [vendor.checks().len(), receiver.calls().len(), witness.asked().len()];
    until("each is called", async || made().iter().all(|calls| *calls > 0)).await;
    // From here on nobody has a reason to call: the next check-in is hours away, and sums are no news for a witness.
    let core = &relay.running.app.core;
    let seen =
        async || core.witnesses.report().is_some_and(|it| it.size >= Some(core.log.worth_witnessing()));
    until("the witness has seen all that is worth it", seen).await;
    let text = || String::from_utf8(lines.bytes()).unwrap();
    let told = || {
        let words = ["asked about the licence", "called a webhook", "pushed a checkpoint to a witness"];
        words.map(|words| text().lines().filter(|line| line.contains(words)).count())
    };
    // A line comes after its answer.
    until("each call has its line", async || told() == made()).await;
    let sent = vendor.checks().into_iter().map(|check| check.request.unwrap());
    for digest in sent.chain(receiver.calls().iter().map(|call| hex::encode(sha256(&call.body)))) {
        assert!(text().contains(&digest), "no line names the request {digest}");
    }

    let store = &relay.running.app.store;
    store.check_ins.settle_calls().await;
    store.webhooks.settle_calls().await;
    core.witnesses.settle_calls().await;
    for (purpose, calls) in
        [OutboundPurpose::License, OutboundPurpose::Webhook, OutboundPurpose::Witness].into_iter().zip(made())
    {
        assert_eq!(covered(&relay, from, purpose), calls as u64, "{purpose:?}");
    }
    relay.stop().await;
}
