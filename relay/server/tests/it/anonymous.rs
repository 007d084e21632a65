//! Uploads without a key: off unless the admin says otherwise, few, small, read once by anybody with a key or the link.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, hash, inbound, noise};

async fn send(relay: &Relay, body: &Value) -> Response {
    relay.http.post(format!("{}/v2/anon-inbound", relay.url)).body(body.to_string()).send().await.unwrap()
}

async fn refusal(response: Response) -> (u16, String) {
    let deprecated = response.headers();
    assert_eq!(deprecated["deprecation"], "true");
    assert_eq!(deprecated["sunset"], "Wed, 31 Dec 2026 00:00:00 GMT");
    assert!(deprecated["link"].to_str().unwrap().contains("rel=\"successor-version\""));
    let status = response.status().as_u16();
    (status, response.json::<Value>().await.unwrap()["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_uploads_without_a_key_unless_the_setting_says_so() {
    let relay = Relay::start().await;
    let payload = noise(1, 100);
    let (status, error) = refusal(send(&relay, &inbound(&hash(&payload), &payload, json!({}))).await).await;
    assert_eq!(status, 403);
    assert!(error.contains("anonymousUploads: true"), "{error}");
    assert_eq!(relay.payload_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_without_a_key_is_read_once_by_any_key() {
    let relay = Relay::with(|settings| settings.anonymous_uploads = true).await;
    let (one, other) = (relay.user().await, relay.user().await);
    let payload = noise(1, 4096);
    let body = inbound(
        &hash(&payload),
        &payload,
        json!({ "max_views": 5, "ttl_ms": 999_999_999_999u64, "meta": { "drop": true, "device_id": "d" } }),
    );
    let sent = send(&relay, &body).await;
    assert_eq!(sent.status(), StatusCode::OK);
    assert_eq!(sent.headers()["deprecation"], "true");
    let sent: Value = sent.json().await.unwrap();
    assert_eq!((sent["ok"].as_bool(), sent["ttl_ms"].as_u64()), (Some(true), Some(86_400_000)));
    assert_eq!((sent["size"].as_u64(), sent["hash"].as_str()), (Some(4096), Some(&*hash(&payload))));
    assert_eq!(sent["download_token"].as_str().unwrap().len(), 48);

    let path = format!("/v2/status/{}", hash(&payload));
    let status: Value = other.request(Method::GET, &path).send().await.unwrap().json().await.unwrap();
    assert_eq!(status["available"], true);
    assert!(status.get("sig_valid").is_none(), "nobody could have signed: {status}");
    let cancel = format!("/v2/inbound/{}", hash(&payload));
    assert_eq!(other.request(Method::DELETE, &cancel).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(one.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
    assert_eq!(other.download(&hash(&payload)).await.status(), StatusCode::NOT_FOUND);
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_link_reads_it_too_and_its_name_blocks_nobody_s_content() {
    let relay = Relay::with(|settings| settings.anonymous_uploads = true).await;
    let user = relay.user().await;
    let payload = noise(1, 100);
    let body = inbound(&hash(&payload), &payload, json!({}));
    let sent: Value = send(&relay, &body).await.json().await.unwrap();
    assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::OK);
    let token = sent["download_token"].as_str().unwrap();
    let read = relay.http.post(format!("{}/v2/dl/{token}/get", relay.url)).send().await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), payload);
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload, "its own is untouched");
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_uploads_as_often_as_the_setting_says_and_faults_do_not_count() {
    let relay = Relay::with(|settings| {
        settings.anonymous_uploads = true;
        settings.limits.anonymous_per_hour = 2;
    })
    .await;
    let payload = noise(1, 100);
    for (what, body, status) in [
        ("another hash", inbound(&hash(b"x"), &payload, json!({})), 400),
        ("no payload", json!({ "hash": hash(&payload) }), 400),
        ("a wrong envelope", inbound(&hash(b"PQHB\x02"), b"PQHB\x02", json!({})), 400),
        ("a strange name", inbound(&hash(&payload), &payload, json!({ "enc_meta": "a b" })), 400),
        ("six megabytes", inbound(&hash(&noise(2, 6_000_000)), &noise(2, 6_000_000), json!({})), 413),
    ] {
        assert_eq!(refusal(send(&relay, &body).await).await.0, status, "{what}");
    }
    for seed in 10..12 {
        let payload = noise(seed, 100);
        let sent = send(&relay, &inbound(&hash(&payload), &payload, json!({}))).await;
        assert_eq!(sent.status(), StatusCode::OK, "{seed}");
    }
    let payload = noise(12, 100);
    let over = send(&relay, &inbound(&hash(&payload), &payload, json!({}))).await;
    let wait: u64 = over.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3500..=3601).contains(&wait), "{wait}");
    assert_eq!(refusal(over).await.0, 429);
}
