//! What a relay refuses so that it stays up: rates, bytes in flight, a full disk.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, hash, noise, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_over_its_rate_is_told_to_wait_and_the_log_is_read_all_the_same() {
    let relay = Relay::with(|settings| settings.limits.requests_per_minute = 20).await;
    let user = relay.user().await;
    let path = format!("/v2/status/{}", hash(b"x"));
    let mut refused = 0;
    for _ in 0..30 {
        let answer = user.request(Method::GET, &path).send().await.unwrap();
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
            refused += 1;
        }
    }
    assert!((5..=10).contains(&refused), "{refused}");
    for _ in 0..50 {
        let answer = relay.http.get(format!("{}/v2/ct/log", relay.url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_unread_bytes_than_allowed_are_refused_until_some_are_read() {
    let relay = Relay::with(|settings| settings.limits.max_in_flight = 250_000).await;
    let user = relay.user().await;
    let blobs: Vec<_> = (0..3).map(|seed| noise(seed, 100_000)).collect();
    assert_eq!(user.upload(&blobs[0], json!({})).await.status(), StatusCode::OK);
    assert_eq!(user.upload_raw(blobs[1].clone(), "").await.status(), StatusCode::OK);
    for answer in [user.upload(&blobs[2], json!({})).await, user.upload_raw(blobs[2].clone(), "").await] {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"], "10");
    }
    user.download(&hash(&blobs[0])).await.bytes().await.unwrap();
    let taken = async || user.upload(&blobs[2], json!({})).await.status() == StatusCode::OK;
    until("the room is given back", taken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_free_disk_is_507_and_reads_go_on() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 1000);
    user.upload(&payload, json!({})).await;
    let key = user.key;
    let relay = Relay::over(relay.stop().await, |settings| settings.limits.min_free_disk = u64::MAX).await;
    let user =
        crate::relay::User { url: relay.url.clone(), http: relay.http.clone(), key, account: user.account };
    for answer in [user.upload(&noise(2, 1000), json!({})).await, user.upload_raw(noise(2, 1000), "").await] {
        assert_eq!(answer.status(), StatusCode::INSUFFICIENT_STORAGE);
    }
    assert_eq!(relay.payload_files(), 1);
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_tell_a_stranger_nothing_and_keys_in_urls_are_refused() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let stranger = relay.http.get(format!("{}/v2/no-such-thing", relay.url)).send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        user.request(Method::GET, "/v2/no-such-thing").send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    let in_url = relay.http.get(format!("{}/health?k={}", relay.url, user.key)).send().await.unwrap();
    assert_eq!(in_url.status(), StatusCode::BAD_REQUEST);
    let options =
        relay.http.request(Method::OPTIONS, format!("{}/v2/inbound", relay.url)).send().await.unwrap();
    assert_eq!(options.status(), StatusCode::NO_CONTENT);
    let health: Value =
        relay.http.get(format!("{}/health", relay.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (health["ok"].as_bool(), health["edition"].as_str(), health["max_keys"].as_u64()),
        (Some(true), Some("community"), Some(5))
    );
}
