//! Reads that go on where a line broke, and the readers that must not gain a view by asking for parts.

use futures::StreamExt as _;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, User, hash, noise, until};
use crate::uploads::list_hash;

const CHUNK: usize = 64 << 10;

async fn read_from(user: &User, name: &str, range: &str, if_range: Option<&str>) -> Response {
    let mut request = user.request(Method::GET, &format!("/v2/outbound/{name}")).header("Range", range);
    if let Some(tag) = if_range {
        request = request.header("If-Range", tag);
    }
    request.send().await.unwrap()
}

/// Begins to read, takes at least so many bytes and hangs up; answers what came.
async fn cut_after(user: &User, name: &str, bytes: usize) -> Vec<u8> {
    // A client of its own, so that its connection really ends.
    let user = User { http: reqwest::Client::new(), ..user.clone() };
    let response = user.download(name).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut pieces = response.bytes_stream();
    let mut got = Vec::new();
    while got.len() < bytes {
        got.extend_from_slice(&pieces.next().await.unwrap().unwrap());
    }
    got
}

async fn sent(user: &User, payload: &[u8], chunked: bool, more: Value) -> String {
    if chunked {
        let upload = user.opened(payload.len(), more).await;
        user.put_all(&upload, payload).await;
        assert_eq!(user.complete(&upload).await.status(), StatusCode::OK);
        list_hash(payload, CHUNK)
    } else {
        assert_eq!(user.upload(payload, more).await.status(), StatusCode::OK);
        hash(payload)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_broke_goes_on_where_it_stopped() {
    let relay = Relay::with(|settings| settings.limits.max_blob = 64 << 20).await;
    let user = relay.user().await;
    for chunked in [false, true] {
        // Larger than what the sockets between hold, so that hanging up really is a cut.
        let payload = noise(7, 40_000_001);
        let name = sent(&user, &payload, chunked, json!({})).await;
        let mut got = cut_after(&user, &name, 1_000_000).await;
        until("the cut is noticed", async || user.available(&name).await).await;

        let beyond = read_from(&user, &name, &format!("bytes={}-", payload.len()), None).await;
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(beyond.headers()["content-range"], format!("bytes */{}", payload.len()));
        assert!(user.available(&name).await, "a range that is not there uses no view");

        let tag = format!("\"{name}\"");
        let rest = read_from(&user, &name, &format!("bytes={}-", got.len()), Some(&tag)).await;
        assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
        let range = format!("bytes {}-{}/{}", got.len(), payload.len() - 1, payload.len());
        assert_eq!(rest.headers()["content-range"], range);
        assert_eq!(rest.headers()["etag"], tag);
        assert_eq!(rest.headers()["x-paramant-burned"], "true");
        assert_eq!(rest.content_length(), Some((payload.len() - got.len()) as u64));
        got.extend_from_slice(&rest.bytes().await.unwrap());
        assert!(got == payload, "the two parts are the payload");
        relay.all_burned().await;
        assert_eq!(read_from(&user, &name, "bytes=5-", None).await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tag_gets_the_whole_and_so_does_who_never_saw_the_beginning() {
    let relay = Relay::with(|settings| settings.limits.max_blob = 64 << 20).await;
    let user = relay.user().await;
    let payload = noise(3, 30_000_000);
    let name = sent(&user, &payload, false, json!({ "max_views": 2 })).await;
    let fresh = read_from(&user, &name, "bytes=1000-", None).await;
    assert_eq!(fresh.status(), StatusCode::OK, "a range on a view that never broke is the whole");
    assert!(fresh.bytes().await.unwrap() == payload);
    let got = cut_after(&user, &name, 1_000_000).await;
    until("the cut is noticed", async || user.available(&name).await).await;
    let other = format!("\"{}\"", hash(b"else"));
    let whole = read_from(&user, &name, &format!("bytes={}-", got.len()), Some(&other)).await;
    assert_eq!(whole.status(), StatusCode::OK, "a body of another tag is not appended to");
    assert!(whole.bytes().await.unwrap() == payload);
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_ranges_at_once_on_one_view_one_gets_bytes() {
    let relay = Relay::with(|settings| settings.limits.max_blob = 64 << 20).await;
    let user = relay.user().await;
    for seed in 0..10 {
        let payload = noise(seed, 2_000_000);
        let name = sent(&user, &payload, seed % 2 == 0, json!({})).await;
        let both = [read_from(&user, &name, "bytes=0-", None), read_from(&user, &name, "bytes=0-", None)];
        let mut answers: Vec<_> = Vec::new();
        for answer in futures::future::join_all(both).await {
            let status = answer.status();
            answers.push((status, answer.bytes().await.unwrap()));
        }
        answers.sort_by_key(|(status, _)| *status);
        let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [StatusCode::OK, StatusCode::NOT_FOUND]);
        assert!(answers[0].1 == payload);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_asked_for_one_by_one_use_up_a_view_all_the_same() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 500_000);
    let name = sent(&user, &payload, false, json!({})).await;
    let mut reads = 0;
    loop {
        let part = read_from(&user, &name, "bytes=0-99", None).await;
        if part.status() == StatusCode::NOT_FOUND {
            break;
        }
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.headers()["x-paramant-burned"], "false");
        assert_eq!(part.bytes().await.unwrap(), payload[..100]);
        reads += 1;
        let settled = async || relay.payload_files() == 0 || user.available(&name).await;
        until("the part is settled", settled).await;
    }
    assert_eq!(reads, 4, "a view is disclosed four times at most");
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_blobs_are_disclosed_once_whatever_becomes_of_the_read() {
    let relay = Relay::with(|settings| settings.limits.max_blob = 64 << 20).await;
    let user = relay.user().await;
    for chunked in [false, true] {
        let payload = noise(5, 30_000_000);
        let name = sent(&user, &payload, chunked, json!({ "disclosure": "strict" })).await;
        cut_after(&user, &name, 1_000_000).await;
        relay.all_burned().await;
        assert_eq!(read_from(&user, &name, "bytes=1000000-", None).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(user.download(&name).await.status(), StatusCode::NOT_FOUND);
    }
    let raw = noise(6, 1000);
    let path = format!("/v3/blobs/{}?disclosure=strict", hash(&raw));
    let sent = user.request(Method::PUT, &path).body(raw.clone()).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    assert_eq!(user.download(&hash(&raw)).await.bytes().await.unwrap(), raw);
    assert_eq!(user.upload(&raw, json!({ "disclosure": "once" })).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_set_to_strict_makes_every_blob_strict_that_does_not_say_otherwise() {
    let relay = Relay::with(|settings| {
        settings.limits.max_blob = 64 << 20;
        settings.disclosure = paramant_protocol::chunks::Disclosure::Strict;
    })
    .await;
    let user = relay.user().await;
    let payload = noise(5, 30_000_000);
    let kept = sent(&user, &payload, false, json!({ "disclosure": "recoverable" })).await;
    cut_after(&user, &kept, 1_000_000).await;
    until("the cut is noticed", async || user.available(&kept).await).await;
    assert!(user.download(&kept).await.bytes().await.unwrap() == payload);
    let payload = noise(6, 30_000_000);
    let lost = sent(&user, &payload, false, json!({})).await;
    cut_after(&user, &lost, 1_000_000).await;
    relay.all_burned().await;
    assert_eq!(user.download(&lost).await.status(), StatusCode::NOT_FOUND);
}
