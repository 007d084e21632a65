//! Device keys as every published client registers and reads them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, User, noise};

fn keys(seed: u64) -> (String, String) {
    (hex::encode(noise(seed, 1184)), hex::encode(noise(seed + 1, 1952)))
}

async fn register(user: &User, body: Value) -> (StatusCode, Value) {
    let answer = user.request(Method::POST, "/v2/pubkey").body(body.to_string()).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn get(user: &User, path: &str) -> (StatusCode, Value) {
    let answer = user.request(Method::GET, path).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_names_are_one_registration() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let (kem, sig) = keys(1);
    let ecdh = "AB".repeat(32);
    let old = json!({ "device_id": "phone/1 é", "kyber_pub": kem, "dsa_pub": sig, "ecdh_pub": ecdh });
    let (status, first) = register(&user, old.clone()).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    let size = relay.running.app.core.log.head().size;
    let (status, again) = register(&user, old).await;
    assert_eq!((status, &again), (StatusCode::OK, &first));
    assert_eq!(relay.running.app.core.log.head().size, size, "a repeat is no entry");

    let (status, other) = register(&user, json!({ "device_id": "phone/1 é", "kem_pub": keys(9).0 })).await;
    assert_eq!(status, StatusCode::CONFLICT, "{other}");
    let (status, _) =
        register(&user, json!({ "device_id": "laptop", "kem_pub": keys(5).0, "sig_pub": "" })).await;
    assert_eq!(status, StatusCode::OK);

    let (status, found) = get(&user, "/v2/pubkey/phone%2F1%20%C3%A9").await;
    assert_eq!(status, StatusCode::OK, "{found}");
    assert_eq!((&found["kem_pub"], &found["kyber_pub"]), (&json!(kem), &json!(kem)));
    assert_eq!((&found["sig_pub"], &found["dsa_pub"]), (&json!(sig), &json!(sig)));
    assert_eq!(found["ecdh_pub"], ecdh, "exactly as registered");
    assert_eq!(found["ct_index"], first["ct_index"]);
    assert!(found["registered_at"].is_string());

    let (_, shown) = get(&user, "/v2/fingerprint/phone%2F1%20%C3%A9").await;
    assert_eq!(shown["fingerprint"], first["fingerprint"]);
    let ask = async |fingerprint: &str| {
        let body = json!({ "device_id": "phone/1 é", "fingerprint": fingerprint }).to_string();
        let answer = user.request(Method::POST, "/v2/pubkey/verify").body(body).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap()["match"].as_bool())
    };
    let print = first["fingerprint"].as_str().unwrap();
    assert_eq!(ask(&print.replace('-', "").to_lowercase()).await, (StatusCode::OK, Some(true)));
    assert_eq!(ask("0000").await, (StatusCode::CONFLICT, Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_seen_by_their_account_alone_and_outlive_a_restart() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let (kem, sig) = keys(1);
    register(&user, json!({ "device_id": "d", "kem_pub": kem, "sig_pub": sig })).await;
    assert_eq!(get(&other, "/v2/pubkey/d").await.0, StatusCode::NOT_FOUND);
    let stranger = relay.http.get(format!("{}/v2/pubkey/d", relay.url)).send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);

    let (key, account) = (user.key, user.account);
    let relay = Relay::over(relay.stop().await, |_| ()).await;
    let user = User { url: relay.url.clone(), http: relay.http.clone(), key, account };
    assert_eq!(get(&user, "/v2/pubkey/d").await.1["kem_pub"], kem);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_wrong_shape_are_refused() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let (kem, sig) = keys(1);
    for body in [
        json!({}),
        json!({ "device_id": "d" }),
        json!({ "device_id": "", "kem_pub": kem }),
        json!({ "device_id": "x".repeat(257), "kem_pub": kem }),
        json!({ "device_id": "d", "kem_pub": "zz" }),
        json!({ "device_id": "d", "kem_pub": &kem[2..] }),
        json!({ "device_id": "d", "kem_pub": kem, "sig_pub": &sig[2..] }),
        json!({ "device_id": "d", "kem_pub": kem, "kyber_pub": keys(3).0 }),
        json!({ "device_id": 5, "kem_pub": kem }),
    ] {
        assert_eq!(register(&user, body.clone()).await.0, StatusCode::BAD_REQUEST, "{}", body["device_id"]);
    }
}
