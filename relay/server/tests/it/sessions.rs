//! PSS sessions and invitations: two devices meet, and a stranger learns nothing and fills nothing.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, User};

/// SHA-256 of "correct horse" (protocol §11).
const COMMITMENT: &str = "4104d36f8da2c254349f85836793ebe029e0c957063a34c91c2e9203187b5631";

async fn create(user: &User, body: Value) -> Response {
    user.request(Method::POST, "/v2/session/create").body(body.to_string()).send().await.unwrap()
}

async fn opened(user: &User) -> String {
    let answer: Value = create(user, json!({ "commitment": COMMITMENT })).await.json().await.unwrap();
    answer["session_id"].as_str().unwrap().to_owned()
}

async fn join(relay: &Relay, id: &str, pss: &str, keys: Value) -> Response {
    let mut body = json!({ "session_id": id, "pss": pss });
    body.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    relay.http.post(format!("{}/v2/session/join", relay.url)).body(body.to_string()).send().await.unwrap()
}

async fn see(user: &User, id: &str, what: &str) -> (u16, Value) {
    let answer = user.request(Method::GET, &format!("/v2/session/{id}/{what}")).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_meet_as_the_javascript_sdk_has_them_meet() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let made: Value =
        create(&user, json!({ "commitment": COMMITMENT, "ttl_ms": 1 })).await.json().await.unwrap();
    assert_eq!((made["ok"].as_bool(), made["ttl_ms"].as_u64()), (Some(true), Some(60_000)));
    assert!(made["expires_ms"].is_u64());
    let id = made["session_id"].as_str().unwrap();
    assert!(id.starts_with("pss_") && id.len() == 52);

    let (status, body) = see(&user, id, "pubkey").await;
    assert_eq!((status, &body["ok"], &body["joined"]), (202, &json!(false), &json!(false)));
    assert!(body["message"].is_string());
    let (kem, sig) = ("ab".repeat(1184), "cd".repeat(1952));
    let keys = json!({ "kem_pub": kem, "sig_pub": sig });
    assert_eq!(join(&relay, id, "wrong", keys.clone()).await.status(), StatusCode::FORBIDDEN);
    let joined: Value = join(&relay, id, "correct horse", keys.clone()).await.json().await.unwrap();
    assert_eq!((joined["ok"].as_bool(), joined["session_id"].as_str()), (Some(true), Some(id)));
    assert!(joined["joined_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(join(&relay, id, "correct horse", keys).await.status(), StatusCode::CONFLICT);

    let (status, body) = see(&user, id, "pubkey").await;
    assert_eq!((status, &body["joined"], &body["joined_at"]), (200, &json!(true), &joined["joined_at"]));
    for (name, key) in [("kem_pub", &kem), ("kyber_pub", &kem), ("sig_pub", &sig), ("dsa_pub", &sig)] {
        assert_eq!(body[name].as_str(), Some(key.as_str()), "{name}");
    }
    assert_eq!(body["expires_ms"], made["expires_ms"]);
    let (status, body) = see(&user, id, "status").await;
    assert_eq!(
        (status, body),
        (200, json!({ "ok": true, "joined": true, "expires_ms": made["expires_ms"] }))
    );
    for what in ["pubkey", "status"] {
        assert_eq!(see(&other, id, what).await.0, 403);
        assert_eq!(see(&user, &format!("pss_{}", "0".repeat(48)), what).await.0, 404);
        assert_eq!(see(&user, "nonsense", what).await.0, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_needs_is_asked_for_by_name() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    for commitment in ["", "ab", &"zz".repeat(32)] {
        let refused = create(&user, json!({ "commitment": commitment })).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{commitment}");
    }
    let id = opened(&user).await;
    for (keys, says) in [
        (json!({}), "ecdh_pub or kem_pub"),
        (json!({ "sig_pub": "aa" }), "ecdh_pub or kem_pub"),
        (json!({ "ecdh_pub": "zz" }), "ecdh_pub must be hex"),
        (json!({ "kem_pub": "aa", "kyber_pub": "bb" }), "differ"),
    ] {
        let refused = join(&relay, &id, "correct horse", keys.clone()).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{keys}");
        let error = refused.json::<Value>().await.unwrap()["error"].to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(join(&relay, "", "x", json!({})).await.status(), StatusCode::BAD_REQUEST);
    let old = join(&relay, &id, "correct horse", json!({ "ecdh_pub": "04Ab" })).await;
    assert_eq!(old.status(), StatusCode::OK, "the older clients' key is enough");
    assert_eq!(see(&user, &id, "pubkey").await.1["ecdh_pub"], "04Ab");
    let keyless =
        relay.http.post(format!("{}/v2/session/create", relay.url)).body("{}").send().await.unwrap();
    assert_eq!(keyless.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_the_secret_ends_after_ten_wrong_ones() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let id = opened(&user).await;
    let keys = json!({ "ecdh_pub": "04" });
    for _ in 0..10 {
        assert_eq!(join(&relay, &id, "guess", keys.clone()).await.status(), StatusCode::FORBIDDEN);
    }
    for secret in ["guess", "correct horse"] {
        let told = join(&relay, &id, secret, keys.clone()).await;
        assert_eq!(told.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(told.headers().contains_key("retry-after"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_under_an_invitation_need_no_key_and_leave_no_entry() {
    let relay = Relay::start().await;
    let id = format!("inv_{}", "aZ09".repeat(8));
    let url = format!("{}/v2/pubkey", relay.url);
    let size = relay.running.app.core.log.head().size;
    let left: Value = relay
        .http
        .post(&url)
        .body(json!({ "device_id": id, "kyber_pub": "aa", "ecdh_pub": "bb" }).to_string())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(left["ok"], true);
    let found: Value = relay.http.get(format!("{url}/{id}")).send().await.unwrap().json().await.unwrap();
    assert_eq!(found["fingerprint"], left["fingerprint"]);
    for (name, value) in [("kem_pub", "aa"), ("kyber_pub", "aa"), ("ecdh_pub", "bb"), ("device_id", &*id)] {
        assert_eq!(found[name], value, "{name}");
    }
    let again = json!({ "device_id": id, "kem_pub": "cc" }).to_string();
    assert_eq!(relay.http.post(&url).body(again).send().await.unwrap().status(), StatusCode::OK);
    let found: Value = relay.http.get(format!("{url}/{id}")).send().await.unwrap().json().await.unwrap();
    assert_eq!(found["kem_pub"], "cc");
    assert_eq!(relay.running.app.core.log.head().size, size, "nothing is logged");

    for (what, device, expected) in [
        ("unknown", format!("inv_{}", "b".repeat(32)), StatusCode::NOT_FOUND),
        ("no invitation", "inv_short".to_owned(), StatusCode::UNAUTHORIZED),
        ("a device", "phone".to_owned(), StatusCode::UNAUTHORIZED),
    ] {
        let asked = relay.http.get(format!("{url}/{device}")).send().await.unwrap();
        assert_eq!(asked.status(), expected, "{what}");
        let body = json!({ "device_id": device, "kem_pub": "aa" }).to_string();
        let left = relay.http.post(&url).body(body).send().await.unwrap();
        assert_eq!(left.status() == StatusCode::OK, what == "unknown", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_over_its_rate_leaves_no_invitation() {
    let relay = Relay::with(|settings| settings.limits.requests_per_minute = 5).await;
    let url = format!("{}/v2/pubkey", relay.url);
    let body = json!({ "device_id": format!("inv_{}", "a".repeat(32)), "kem_pub": "aa" }).to_string();
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(relay.http.post(&url).body(body.clone()).send().await.unwrap().status());
    }
    assert_eq!(told.iter().filter(|status| **status == StatusCode::OK).count(), 5, "{told:?}");
    assert_eq!(told.last(), Some(&StatusCode::TOO_MANY_REQUESTS));
}
