//! What one may not read looks the same whatever the reason; and what every answer carries for web pages.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::relay::{Relay, everything_said, hash, noise};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_expired_burned_and_foreign_answer_alike_byte_for_byte() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let (expired, burned, cancelled, foreign, locked) =
        (noise(1, 100), noise(2, 100), noise(3, 100), noise(4, 100), noise(5, 100));
    user.upload(&expired, json!({ "ttl_ms": 1000 })).await;
    user.upload(&burned, json!({})).await;
    user.upload(&cancelled, json!({})).await;
    other.upload(&foreign, json!({})).await;
    other.upload(&locked, json!({ "password": "p" })).await;
    user.download(&hash(&burned)).await.bytes().await.unwrap();
    let path = format!("/v2/inbound/{}", hash(&cancelled));
    assert_eq!(user.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(1100)).await;

    let unknown = noise(6, 100);
    for (method, path) in [
        (Method::GET, "/v2/outbound/"),
        (Method::GET, "/v2/status/"),
        (Method::DELETE, "/v2/inbound/"),
        (Method::HEAD, "/v2/outbound/"),
    ] {
        let mut told = Vec::new();
        for payload in [&unknown, &expired, &burned, &cancelled, &foreign, &locked] {
            let request = user.request(method.clone(), &format!("{path}{}", hash(payload)));
            // A password tells nothing either.
            let answer = request.header("X-Blob-Password", "p").send().await.unwrap();
            told.push(everything_said(answer).await);
        }
        assert!(told.iter().all(|said| *said == told[0]), "{method} {path}: {told:#?}");
    }
    for payload in [&foreign, &locked] {
        assert!(other.available(&hash(payload)).await, "what was asked for in vain is untouched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_s_script_may_send_and_see_what_the_protocol_needs() {
    let relay = Relay::start().await;
    for path in ["/v2/inbound", "/v2/outbound/x", "/nothing/here", "/health"] {
        let request = relay.http.request(Method::OPTIONS, format!("{}{path}", relay.url));
        let answer = request.header("Origin", "http://localhost:5173").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{path}");
        let says = |name: &str| answer.headers()[name].to_str().unwrap().to_ascii_lowercase();
        assert_eq!(says("access-control-allow-origin"), "http://localhost:5173");
        assert!(says("access-control-allow-methods").contains("delete"));
        for header in ["x-api-key", "x-admin-token", "x-blob-password", "x-did-signature", "x-did-nonce"] {
            assert!(says("access-control-allow-headers").contains(header), "{header}");
        }
        for header in ["x-paramant-receipt", "x-paramant-burned", "x-paramant-hash"] {
            assert!(says("access-control-expose-headers").contains(header), "{header}");
        }
    }
    for path in ["/v2/status/x?k=pgp_1", "/v2/inbound?a=1&k", "/nothing?k="] {
        let answer = relay.http.get(format!("{}{path}", relay.url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setting_decides_which_pages_may_read() {
    use paramant_relay::settings::AllowedOrigins;
    let own = AllowedOrigins::only(&["https://app.example.org".to_owned()]).unwrap();
    let relay = Relay::with(|settings| settings.allowed_origins = own).await;
    let allowed = async |origin: &str| {
        let answer = relay.http.get(format!("{}/health", relay.url)).header("Origin", origin).send().await;
        let headers = answer.unwrap().headers().clone();
        headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(allowed("https://app.example.org").await.as_deref(), Some("https://app.example.org"));
    assert_eq!(allowed("https://paramant.app").await, None);
}
