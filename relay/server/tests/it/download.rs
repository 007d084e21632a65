//! What a download gives, to whom, how often, and what it leaves behind.

use std::time::Duration;

use futures::StreamExt;
use paramant_protocol::receipt::{self, Document};
use paramant_relay::store::now_ms;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, hash, noise, until};

#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_four_racing_readers_exactly_one_gets_the_bytes() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let rounds: u64 =
        std::env::var("PARAMANT_RACE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    for round in 0..rounds {
        let payload = noise(round, 4096);
        user.upload(&payload, json!({})).await;
        let hash = hash(&payload);
        let answers = futures::future::join_all((0..64).map(|_| user.download(&hash))).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status() == StatusCode::OK);
        assert_eq!(won.len(), 1, "round {round}");
        assert!(lost.iter().all(|answer| answer.status() == StatusCode::NOT_FOUND), "round {round}");
        for answer in won {
            assert_eq!(answer.bytes().await.unwrap(), payload, "round {round}");
        }
    }
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_broke_off_can_be_leased_again_three_times_and_no_more() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 5_000_000);
    user.upload(&payload, json!({})).await;
    let hash = hash(&payload);
    for lease in 1..=4 {
        let answer = user.download(&hash).await;
        assert_eq!(answer.status(), StatusCode::OK, "lease {lease}");
        assert_eq!(
            user.download(&hash).await.status(),
            StatusCode::NOT_FOUND,
            "while one reads, others find nothing"
        );
        assert!(!user.available(&hash).await, "nor is it said to be there");
        let mut pieces = answer.bytes_stream();
        assert!(!pieces.next().await.unwrap().unwrap().is_empty());
        drop(pieces);
        if lease < 4 {
            until("the view to come back", async || user.available(&hash).await).await;
        }
    }
    relay.all_burned().await;
    assert_eq!(user.download(&hash).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_broke_off_is_whole_the_next_time() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 5_000_000);
    user.upload(&payload, json!({})).await;
    let hash = hash(&payload);
    drop(user.download(&hash).await.bytes_stream().next().await);
    until("the view comes back", async || {
        let answer = user.download(&hash).await;
        if answer.status() != StatusCode::OK {
            return false;
        }
        assert_eq!(answer.bytes().await.unwrap(), payload);
        true
    })
    .await;
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_with_head_uses_no_view() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 100);
    user.upload(&payload, json!({})).await;
    let path = format!("/v2/outbound/{}", hash(&payload));
    let head = user.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_verifies_and_all_headers_fit_every_client() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 100);
    user.upload(&payload, json!({})).await;
    let answer = user.download(&hash(&payload)).await;
    let size: usize =
        answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    assert!(size < receipt::MAX_HEADERS, "{size} bytes of headers");
    let text = answer.headers()[receipt::HEADER].to_str().unwrap().to_owned();
    let found = Document::parse(&text).unwrap();
    assert_eq!(found.receipt().blob_hash, hash(&payload));
    assert!(found.receipt().burn_confirmed && found.receipt().claim.is_some());
    assert!(found.receipt().inclusion_proof.sth.is_some(), "a reader gets a proof under a signed head");

    let verify = async |receipt: Value| {
        let path = format!("{}/v2/verify-receipt", relay.url);
        let answer =
            relay.http.post(path).body(json!({ "receipt": receipt }).to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    for form in [json!(text), found.value(), json!(found.value().to_string())] {
        let (status, verdict) = verify(form).await;
        assert_eq!((status, verdict["valid"].as_bool()), (200, Some(true)), "{verdict}");
    }
    let mut forged = found.value();
    forged["retrieved_at"] = json!(now_ms() + 1);
    let (status, verdict) = verify(forged).await;
    assert_eq!((status, verdict["reason"].as_str()), (200, Some("signature_invalid")));
    assert_eq!(verify(json!("?")).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_read_in_time_is_gone_from_disk_too() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 100_000);
    let kept: Value = user.upload(&payload, json!({ "ttl_ms": 1 })).await.json().await.unwrap();
    assert_eq!(kept["ttl_ms"], 1000, "the shortest life is a second, whatever was asked");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::NOT_FOUND);
    relay.all_burned().await;
    assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_can_be_sent_again_the_moment_they_expire() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 100);
    user.upload(&payload, json!({ "ttl_ms": 1000 })).await;
    tokio::time::sleep(Duration::from_millis(1010)).await;
    assert_eq!(user.upload(&payload, json!({ "ttl_ms": 60_000 })).await.status(), StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(
        user.download(&hash(&payload)).await.bytes().await.unwrap(),
        payload,
        "the sweep of the first spares the second"
    );
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_sender_takes_a_blob_back_and_nobody_else_does() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let payload = noise(1, 100);
    user.upload(&payload, json!({})).await;
    let path = format!("/v2/inbound/{}", hash(&payload));
    assert_eq!(other.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(user.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(user.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::NOT_FOUND);
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_blobs_outlive_a_restart_and_a_burned_one_does_not_come_back() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let (kept, read) = (noise(1, 200_000), noise(2, 200_000));
    user.upload(&kept, json!({})).await;
    user.upload(&read, json!({})).await;
    assert_eq!(user.download(&hash(&read)).await.bytes().await.unwrap(), read);
    let key = user.key;
    let relay = Relay::over(relay.stop().await, |_| ()).await;
    let user =
        crate::relay::User { url: relay.url.clone(), http: relay.http.clone(), key, account: user.account };
    assert_eq!(relay.running.app.store.unclaimed_blobs(), 1);
    assert_eq!(user.download(&hash(&read)).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(user.download(&hash(&kept)).await.bytes().await.unwrap(), kept);
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_holds_the_key_of_a_burned_payload() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 100_000);
    user.upload(&payload, json!({})).await;
    let data = relay.dir.path().join("data");
    let slots = std::fs::read(data.join("keys.slots")).unwrap();
    // Mark, checksum, key: the layout of a slot in use.
    let slot = slots.chunks(64).find(|slot| slot.iter().any(|byte| *byte != 0)).unwrap();
    let key = &slot[8..40];
    assert_eq!(
        files_with(&data, key),
        ["keys.slots"],
        "a live payload's key is in its slot and nowhere else"
    );
    assert!(files_with(&data, &payload[..32]).is_empty(), "payloads are sealed at rest");
    user.download(&hash(&payload)).await.bytes().await.unwrap();
    relay.all_burned().await;
    assert!(files_with(&data, key).is_empty());
    let dir = relay.stop().await;
    assert!(files_with(&dir.path().join("data"), key).is_empty());
}

/// The log's files end in megabytes of zeros, which no key or payload is.
fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes[..end].windows(needle.len()).any(|window| window == needle)
}

/// Names of the files at or below `dir` that hold `needle`. The relay may run: what vanishes meanwhile holds nothing.
fn files_with(dir: &std::path::Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in unless_gone(std::fs::read_dir(dir)).into_iter().flatten() {
        let entry = entry.unwrap();
        let Some(kind) = unless_gone(entry.file_type()) else { continue };
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), needle));
        } else if unless_gone(std::fs::read(entry.path())).is_some_and(|bytes| holds(&bytes, needle)) {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found
}

fn unless_gone<T>(result: std::io::Result<T>) -> Option<T> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        other => Some(other.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_in_memory_leave_the_disk_alone_and_end_with_the_process() {
    use paramant_relay::settings::Payload;
    let relay = Relay::with(|settings| settings.payload = Payload::Memory).await;
    let user = relay.user().await;
    let (read, unread) = (noise(1, 300_000), noise(2, 300_000));
    for payload in [&read, &unread] {
        assert_eq!(user.upload(payload, json!({})).await.status(), StatusCode::OK);
    }
    assert_eq!(relay.payload_files(), 0);
    assert!(!crate::relay::keys_left(relay.dir.path()));
    assert_eq!(relay.running.app.core.drain.report().unclaimed, 2);
    assert_eq!(user.download(&hash(&read)).await.bytes().await.unwrap(), read);
    until("the read one is burned", async || relay.running.app.core.drain.report().unclaimed == 1).await;
    let key = user.key;
    let relay = Relay::over(relay.stop().await, |settings| settings.payload = Payload::Memory).await;
    let user =
        crate::relay::User { url: relay.url.clone(), http: relay.http.clone(), key, account: user.account };
    assert_eq!(user.download(&hash(&unread)).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(relay.running.app.store.unclaimed_blobs(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_and_a_burn_are_entries_of_the_log() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 100);
    user.upload(&payload, json!({})).await;
    user.download(&hash(&payload)).await.bytes().await.unwrap();
    relay.all_burned().await;
    let log = relay.running.app.core.log.clone();
    let kinds = async || {
        let log = log.clone();
        let entries =
            tokio::task::spawn_blocking(move || log.engine().entries(0, 100)).await.unwrap().unwrap();
        let kind =
            |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["k"].as_str().unwrap().to_owned();
        entries.iter().map(|entry| kind(&entry.bytes)).collect::<Vec<_>>()
    };
    for _ in 0..100 {
        let kinds = kinds().await;
        if kinds.ends_with(&["transfer".into(), "transfer_claimed".into(), "transfer_burned".into()]) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", kinds().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_reads_one_after_the_other_the_tenth_and_no_other_says_that_it_was_the_last() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    for round in 0..20 {
        let payload = noise(round, 500);
        assert_eq!(user.upload(&payload, json!({ "max_views": 10 })).await.status(), StatusCode::OK);
        for read in 1..=10 {
            let answer = user.download(&hash(&payload)).await;
            assert_eq!(answer.status(), StatusCode::OK, "round {round}, read {read}");
            let burned = answer.headers()["x-paramant-burned"] == "true";
            assert_eq!(answer.bytes().await.unwrap(), payload);
            assert_eq!(burned, read == 10, "round {round}, read {read}");
        }
        assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::NOT_FOUND);
    }
}
