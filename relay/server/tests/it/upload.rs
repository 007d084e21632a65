//! What an upload answers, in every way it can go wrong and the few it can go right.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, hash, inbound, noise, until};

async fn refusal(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_answered_with_its_proof_and_read_once() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    for (seed, len) in [(1, 1), (2, 4096), (3, 65_536), (4, 65_537), (5, 1_048_576), (6, 5_242_880)] {
        let payload = noise(seed, len);
        let answer = user.upload(&payload, json!({ "ttl_ms": 60_000 })).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!((answer["ok"].as_bool(), answer["size"].as_u64()), (Some(true), Some(len as u64)));
        assert_eq!(answer["hash"], hash(&payload));
        let proof = &answer["merkle_proof"];
        assert!(proof["leaf_index"].is_u64() && proof["root"].is_string(), "{proof}");

        assert!(user.available(&hash(&payload)).await);
        let read = user.download(&hash(&payload)).await;
        assert_eq!(read.status(), StatusCode::OK);
        assert_eq!(read.bytes().await.unwrap(), payload);
        assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::NOT_FOUND);
    }
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_upload_is_the_same_upload() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 300_000);
    let answer = user.upload_raw(payload.clone(), "?ttl_ms=60000&max_views=2").await;
    assert_eq!(answer.status(), StatusCode::OK);
    for burned in ["false", "true"] {
        let read = user.download(&hash(&payload)).await;
        assert_eq!(read.headers()["x-paramant-burned"], burned);
        assert_eq!(read.bytes().await.unwrap(), payload);
    }
    assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::NOT_FOUND);

    let wrong = user
        .request(Method::PUT, &format!("/v3/blobs/{}", hash(b"else")))
        .body(payload)
        .send()
        .await
        .unwrap();
    assert_eq!(refusal(wrong).await, (400, "hash_mismatch".into()));
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_again_while_unread_get_the_first_answer() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 10_000);
    let first: Value = user.upload(&payload, json!({ "ttl_ms": 60_000 })).await.json().await.unwrap();
    let again: Value = user.upload(&payload, json!({ "ttl_ms": 1_000 })).await.json().await.unwrap();
    assert_eq!(first["merkle_proof"]["leaf_index"], again["merkle_proof"]["leaf_index"]);
    assert_eq!(again["ttl_ms"], 60_000);
    assert_eq!(relay.payload_files(), 1);

    // Many at once are one upload too.
    let other = noise(2, 10_000);
    let answers = futures::future::join_all((0..8).map(|_| user.upload(&other, json!({})))).await;
    let mut places = Vec::new();
    for answer in answers {
        assert_eq!(answer.status(), StatusCode::OK);
        places.push(answer.json::<Value>().await.unwrap()["merkle_proof"]["leaf_index"].clone());
    }
    places.dedup();
    assert_eq!(places.len(), 1);

    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
    assert_eq!(
        user.upload(&payload, json!({})).await.status(),
        StatusCode::OK,
        "after the read the hash is free again"
    );
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_with_the_same_bytes_has_a_blob_of_its_own() {
    let relay = Relay::start().await;
    let (a, b) = (relay.user().await, relay.user().await);
    let payload = noise(1, 5_000);
    a.upload(&payload, json!({})).await;
    assert!(!b.available(&hash(&payload)).await);
    let foreign = b.download(&hash(&payload)).await;
    let unknown = b.download(&hash(b"nobody sent this")).await;
    assert_eq!((foreign.status(), unknown.status()), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert_eq!(
        foreign.text().await.unwrap(),
        unknown.text().await.unwrap(),
        "what is not yours looks like what is not there"
    );

    b.upload(&payload, json!({})).await;
    assert_eq!(b.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
    assert_eq!(a.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_account_share_its_blobs() {
    let relay = Relay::start().await;
    let first = relay.user().await;
    let second = relay.user_with(json!({ "account_id": first.account })).await;
    let payload = noise(1, 100);
    first.upload(&payload, json!({})).await;
    assert_eq!(second.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_is_found_by_its_lookup_id_with_any_key() {
    let relay = Relay::start().await;
    let (sender, reader) = (relay.user().await, relay.user().await);
    let (payload, id) = (noise(1, 4096), hash(b"the lookup id"));
    let body = inbound(&id, &payload, json!({ "max_views": 9, "meta": { "drop": true } }));
    let answer = sender.post_inbound(&body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<Value>().await.unwrap()["hash"], id);

    // A drop takes no content hash: the same text as a hash can still be used by whoever has its bytes.
    let read = reader.download(&id).await;
    assert_eq!(read.headers()["x-paramant-burned"], "true", "a drop is read once, whatever was asked");
    assert_eq!(read.bytes().await.unwrap(), payload);
    assert_eq!(reader.download(&id).await.status(), StatusCode::NOT_FOUND);

    let body = inbound(&id, &payload, json!({ "meta": { "drop": "true" } }));
    assert_eq!(
        refusal(sender.post_inbound(&body).await).await,
        (400, "hash_mismatch".into()),
        "only the boolean makes a drop"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_its_answer_and_leaves_nothing() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 1000);
    let good = inbound(&hash(&payload), &payload, json!({}));
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let without = |field: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        body
    };
    let pqhb = |bytes: &[u8]| inbound(&hash(bytes), bytes, json!({}));
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        ("no hash", without("hash"), 400, ""),
        ("no payload", without("payload"), 400, ""),
        ("an empty payload", with("payload", "".into()), 400, ""),
        ("upper-case hash", with("hash", hash(&payload).to_uppercase().into()), 400, ""),
        ("short hash", with("hash", "ab".into()), 400, ""),
        ("not base64", with("payload", "!!!!".into()), 400, ""),
        ("a cut quad", with("payload", "QUJDR".into()), 400, ""),
        ("another hash", with("hash", hash(b"else").into()), 400, "hash_mismatch"),
        ("a long file name", with("enc_meta", "A".repeat(2049).into()), 400, ""),
        ("a strange file name", with("enc_meta", "a b".into()), 400, ""),
        ("time as a text", with("ttl_ms", "soon".into()), 400, ""),
        ("negative time", with("ttl_ms", (-5).into()), 400, ""),
        ("a password that is no text", with("password", 7.into()), 400, "password must be a string"),
        ("not an object", json!([good]), 400, ""),
        ("short PQHB", pqhb(b"PQHB\x01"), 400, "malformed_wire_v1"),
        ("PQHB version 2", pqhb(b"PQHB\x02\x00\x02\x00\x02\x00"), 415, "unsupported_wire_version"),
        ("PQHB with flags", pqhb(b"PQHB\x01\x00\x02\x00\x02\x01"), 400, "malformed_wire_v1"),
        ("PQHB without a KEM", pqhb(b"PQHB\x01\x00\x00\x00\x02\x00"), 415, "unsupported_algorithm"),
        (
            "PQHB past its end",
            pqhb(b"PQHB\x01\x00\x02\x00\x02\x00\xff\xff\xff\xff"),
            400,
            "malformed_wire_v1",
        ),
    ];
    for (what, body, status, error) in cases {
        let (found, text) = refusal(user.post_inbound(&body).await).await;
        assert_eq!(found, status, "{what}: {text}");
        assert!(error.is_empty() || text == error, "{what}: {text}");
    }
    let broken = user.request(Method::POST, "/v2/inbound").body("{\"hash\":").send().await.unwrap();
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    let stranger =
        user.http.post(format!("{}/v2/inbound", relay.url)).body(good.to_string()).send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);

    assert_eq!(relay.payload_files(), 0);
    assert_eq!(
        user.post_inbound(&good).await.status(),
        StatusCode::OK,
        "the good one must pass, or nothing was shown"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_fault_in_the_published_order_is_the_one_answered() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    // Bad base64 comes before the wrong hash, a bad hash before bad base64, bad enc_meta before bad base64.
    let body = json!({ "payload": "!!!!", "hash": hash(b"else") });
    assert!(refusal(user.post_inbound(&body).await).await.1.contains("base64"));
    let body = json!({ "payload": "!!!!", "hash": "nope" });
    assert!(refusal(user.post_inbound(&body).await).await.1.contains("hash"));
    let body = json!({ "payload": "!!!!", "hash": hash(b"else"), "enc_meta": "?" });
    assert!(refusal(user.post_inbound(&body).await).await.1.contains("enc_meta"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_413_and_exactly_the_limit_is_not() {
    let relay = Relay::with(|settings| settings.limits.max_blob = 100_000).await;
    let user = relay.user().await;
    for len in [100_001, 1_000_000, 8_000_000, 30_000_000] {
        let payload = noise(1, len);
        assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::PAYLOAD_TOO_LARGE, "{len}");
        assert_eq!(user.upload_raw(payload, "").await.status(), StatusCode::PAYLOAD_TOO_LARGE, "{len} raw");
    }
    assert_eq!(relay.payload_files(), 0);
    let payload = noise(2, 100_000);
    assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::OK);
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_read_even_by_a_client_that_is_still_sending() {
    let relay = Relay::start().await;
    let payload = noise(1, 5_000_000);
    let body = inbound(&hash(&payload), &payload, json!({})).to_string();
    let stranger =
        relay.http.post(format!("{}/v2/inbound", relay.url)).header("X-Api-Key", "pgp_wrong").body(body);
    assert_eq!(stranger.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let raw = relay.http.put(format!("{}/v3/blobs/{}", relay.url, hash(&payload))).body(payload);
    assert_eq!(raw.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_upload_leaves_nothing() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 3_000_000);
    let first = payload[..1_000_000].to_vec();
    let pieces = futures::stream::iter([Ok(first), Err(std::io::Error::other("the line broke"))]);
    let path = format!("/v3/blobs/{}", hash(&payload));
    let cut = user.request(Method::PUT, &path).body(reqwest::Body::wrap_stream(pieces)).send().await;
    assert!(cut.is_err());
    let nothing =
        async || relay.running.app.store.transfers.in_flight().bytes == 0 && relay.payload_files() == 0;
    until("nothing of it is left", nothing).await;
    assert!(!user.available(&hash(&payload)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_while_the_relay_drains_and_reads_go_on() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 1000);
    user.upload(&payload, json!({})).await;
    relay.running.app.core.drain.shut_down();
    let refused = user.upload(&noise(2, 1000), json!({})).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refusal(refused).await.1, "draining");
    assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
}
