//! DIDs: registered in the log, resolvable by everybody, and good for signing requests, with signatures that OpenSSL made.

use std::path::Path;
use std::process::Command;

use paramant_relay::store::now_ms;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, User, hash, inbound, noise};

/// A device with an ECDSA key in OpenSSL's hands.
struct Device {
    dir: tempfile::TempDir,
    /// SubjectPublicKeyInfo.
    der: Vec<u8>,
    did: String,
}

fn openssl(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").current_dir(dir).args(arguments).output();
    let output = output.expect("this test needs the openssl command");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

impl Device {
    fn new() -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        openssl(dir.path(), &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"]);
        let der = openssl(dir.path(), &["ec", "-in", "key.pem", "-pubout", "-outform", "DER"]);
        Self { dir, der, did: String::new() }
    }

    /// The uncompressed point.
    fn point(&self) -> String {
        hex::encode(&self.der[self.der.len() - 65..])
    }

    async fn registered(mut self, user: &User, name: &str, key: &str) -> Self {
        let answer = register(user, json!({ "device_id": name, "ecdh_pub": key })).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.unwrap();
        self.did = answer["did"].as_str().unwrap().to_owned();
        self
    }

    fn sign(&self, text: &str) -> String {
        std::fs::write(self.dir.path().join("text"), text).unwrap();
        hex::encode(openssl(self.dir.path(), &["dgst", "-sha256", "-sign", "key.pem", "text"]))
    }

    fn request(&self, relay: &Relay, method: Method, target: &str) -> RequestBuilder {
        self.signed(relay, method, target, now_ms(), &fresh_nonce())
    }

    fn signed(&self, relay: &Relay, method: Method, target: &str, time: i64, nonce: &str) -> RequestBuilder {
        let signature = self.sign(&format!("{method}\n{target}\n{time}\n{nonce}"));
        self.headers(relay.http.request(method, format!("{}{target}", relay.url)), time, nonce, &signature)
    }

    fn headers(&self, request: RequestBuilder, time: i64, nonce: &str, signature: &str) -> RequestBuilder {
        request
            .header("X-DID", &self.did)
            .header("X-DID-TS", time.to_string())
            .header("X-DID-Nonce", nonce)
            .header("X-DID-Signature", signature)
    }
}

fn fresh_nonce() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    hex::encode(bytes)
}

async fn register(user: &User, body: Value) -> Response {
    user.request(Method::POST, "/v2/did/register").body(body.to_string()).send().await.unwrap()
}

async fn entries(relay: &Relay) -> Vec<Value> {
    let log = relay.running.app.core.log.clone();
    let entries = tokio::task::spawn_blocking(move || log.engine().entries(0, 100)).await.unwrap().unwrap();
    entries.iter().map(|entry| serde_json::from_slice(&entry.bytes).unwrap()).collect()
}

async fn status_of(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_did_is_registered_in_the_log_resolved_by_anybody_and_listed_by_its_account() {
    let relay = Relay::with(|settings| settings.public_url = Some("https://relay.example".into())).await;
    let (user, other) = (relay.user().await, relay.user().await);
    let key = format!("04{}{}", "11".repeat(32), "22".repeat(32));
    let registered: Value =
        register(&user, json!({ "device_id": "plc-1", "ecdh_pub": key })).await.json().await.unwrap();
    let did = "did:paramant:3d5e3458a74017c19a4993aa5f17a9c5";
    assert_eq!((registered["ok"].as_bool(), registered["did"].as_str()), (Some(true), Some(did)));
    let index = registered["ct_index"].as_u64().unwrap();
    let entry = relay.running.app.core.log.engine().entry(index).unwrap().unwrap();
    let entry: Value = serde_json::from_slice(&entry.bytes).unwrap();
    let salt: [u8; 32] = hex::decode(registered["ct_salt"].as_str().unwrap()).unwrap().try_into().unwrap();
    let opened = paramant_protocol::leaf::commit(
        paramant_protocol::leaf::Purpose::Did,
        &salt,
        &paramant_protocol::did::digest("plc-1", &key),
    );
    assert_eq!((&entry["k"], &entry["b"]["key"]), (&json!("key_registered"), &json!(hex::encode(opened))));

    let again: Value =
        register(&user, json!({ "device_id": "plc-1", "ecdh_pub": key })).await.json().await.unwrap();
    assert_eq!(again, registered, "a repeat adds nothing");
    let foreign = register(&other, json!({ "device_id": "plc-1", "ecdh_pub": key })).await;
    assert_eq!(foreign.status(), StatusCode::CONFLICT);

    let resolved = relay.http.get(format!("{}/v2/did/{did}", relay.url)).send().await.unwrap();
    assert_eq!(resolved.headers()["content-type"], "application/did+json");
    let document: Value = resolved.json().await.unwrap();
    assert_eq!(document, registered["document"]);
    assert_eq!(document["service"][0]["serviceEndpoint"], "https://relay.example");
    for unknown in ["did:paramant:00000000000000000000000000000000", "did:web:x", "x"] {
        let answer = relay.http.get(format!("{}/v2/did/{unknown}", relay.url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{unknown}");
    }
    let list = async |user: &User| -> Value {
        user.request(Method::GET, "/v2/did").send().await.unwrap().json().await.unwrap()
    };
    let own = list(&user).await;
    assert_eq!((own["count"].as_u64(), own["dids"][0]["device"].as_str()), (Some(1), Some("plc-1")));
    assert_eq!((own["dids"][0]["did"].as_str(), &own["dids"][0]["ts"]), (Some(did), &document["created"]));
    assert_eq!(list(&other).await["count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_javascript_client_s_registration_fills_the_directory_and_never_changes_it() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let body = |kem: &str| json!({ "device_id": "phone", "kem_pub": kem.repeat(1184), "sig_pub": "cd".repeat(1952), "dsa_pub": "cd".repeat(1952) });
    assert_eq!(register(&user, body("ab")).await.status(), StatusCode::OK);
    let keys: Value =
        user.request(Method::GET, "/v2/pubkey/phone").send().await.unwrap().json().await.unwrap();
    assert_eq!(keys["kem_pub"], "ab".repeat(1184));
    assert_eq!(register(&user, body("ef")).await.status(), StatusCode::CONFLICT);
    for (body, says) in [
        (json!({ "device_id": "x" }), "kem_pub"),
        (json!({ "ecdh_pub": "04" }), "device_id"),
        (json!({ "device_id": "x", "ecdh_pub": "zz" }), "hex"),
    ] {
        let refused = register(&user, body).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let error = refused.json::<Value>().await.unwrap()["error"].to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_requests_act_as_the_key_that_registered_the_did() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let raw = Device::new();
    let key = raw.point();
    let raw = raw.registered(&user, "raw", &key).await;
    let der = Device::new();
    let key = hex::encode(&der.der);
    let der = der.registered(&user, "der", &key).await;
    for (seed, device) in [(1, &raw), (2, &der)] {
        let payload = noise(seed, 1000);
        let body = inbound(&hash(&payload), &payload, json!({})).to_string();
        let sent = device.request(&relay, Method::POST, "/v2/inbound").body(body).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK);
        assert!(!other.available(&hash(&payload)).await, "it has an owner");
        assert!(user.available(&hash(&payload)).await, "the account of the key");
        let target = format!("/v2/status/{}?a=b&c=%20", hash(&payload));
        let seen: Value =
            device.request(&relay, Method::GET, &target).send().await.unwrap().json().await.unwrap();
        assert_eq!(seen["available"], true);
        let target = format!("/v2/outbound/{}", hash(&payload));
        let read = device.request(&relay, Method::GET, &target).send().await.unwrap();
        assert_eq!(read.bytes().await.unwrap(), payload);
    }
    let checked: Value =
        raw.request(&relay, Method::GET, "/v2/check-key").send().await.unwrap().json().await.unwrap();
    assert_eq!(checked["valid"], true);
    assert_eq!(status_of(raw.request(&relay, Method::GET, "/nothing")).await, StatusCode::NOT_FOUND);
    let listed: Value =
        raw.request(&relay, Method::GET, "/v2/did").send().await.unwrap().json().await.unwrap();
    assert_eq!(listed["count"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_good_for_one_request_at_its_time_and_for_no_other() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let device = Device::new();
    let key = device.point();
    let device = device.registered(&user, "plc-1", &key).await;
    let target = "/v2/did";
    let now = now_ms();
    let nonce = "aBcDef0123456789";
    assert_eq!(status_of(device.signed(&relay, Method::GET, target, now, nonce)).await, StatusCode::OK);
    for again in [nonce, "ABCDEF0123456789"] {
        let replayed = device.signed(&relay, Method::GET, target, now + 1, again);
        assert_eq!(status_of(replayed).await, StatusCode::UNAUTHORIZED, "{again}");
    }
    for (what, time, nonce) in [
        ("long ago", now - 301_000, fresh_nonce()),
        ("far ahead", now + 310_000, fresh_nonce()),
        ("a short nonce", now, "a".repeat(15)),
        ("a long nonce", now, "a".repeat(129)),
        ("no hex", now, "x".repeat(16)),
    ] {
        let refused = device.signed(&relay, Method::GET, target, time, &nonce);
        assert_eq!(status_of(refused).await, StatusCode::UNAUTHORIZED, "{what}");
    }
    let (time, nonce) = (now_ms(), fresh_nonce());
    let signature = device.sign(&format!("GET\n{target}\n{time}\n{nonce}"));
    let with = |method: Method, target: &str, time: i64, nonce: &str, signature: &str| {
        let request = relay.http.request(method, format!("{}{target}", relay.url));
        device.headers(request, time, nonce, signature)
    };
    let other_signature = Device::new().sign(&format!("GET\n{target}\n{time}\n{nonce}"));
    for (what, request) in [
        ("another target", with(Method::GET, "/v2/did?a", time, &nonce, &signature)),
        ("another method", with(Method::DELETE, target, time, &nonce, &signature)),
        ("another time", with(Method::GET, target, time + 1, &nonce, &signature)),
        ("another nonce", with(Method::GET, target, time, &fresh_nonce(), &signature)),
        ("another key", with(Method::GET, target, time, &nonce, &other_signature)),
        ("no signature", with(Method::GET, target, time, &nonce, "00")),
        ("no hex", with(Method::GET, target, time, &nonce, "zz")),
    ] {
        let told = status_of(request).await;
        assert!(matches!(told, StatusCode::UNAUTHORIZED | StatusCode::METHOD_NOT_ALLOWED), "{what}: {told}");
    }
    let good = with(Method::GET, target, time, &nonce, &signature);
    assert_eq!(status_of(good).await, StatusCode::OK, "what was refused did not use up the nonce");
    let with_key = with(Method::GET, target, time, &nonce, &signature).header("X-Api-Key", "pgp_unknown");
    assert_eq!(status_of(with_key).await, StatusCode::UNAUTHORIZED, "a key that is there is what counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_did_or_one_whose_key_is_revoked_signs_nothing_any_more() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let mut devices = Vec::new();
    for name in ["one", "two", "three"] {
        let device = Device::new();
        let key = device.point();
        devices.push(device.registered(&user, name, &key).await);
    }
    let [one, two, three] = &devices[..] else { panic!() };
    let delete = format!("/v2/did/{}", one.did);
    assert_eq!(status_of(other.request(Method::DELETE, &delete)).await, StatusCode::NOT_FOUND);
    let revoked: Value = user.request(Method::DELETE, &delete).send().await.unwrap().json().await.unwrap();
    assert_eq!((revoked["ok"].as_bool(), revoked["did"].as_str()), (Some(true), Some(&*one.did)));
    let body = json!({ "did": two.did }).to_string();
    let named = user.request(Method::POST, "/v2/did/revoke").body(body).send().await.unwrap();
    assert!(named.json::<Value>().await.unwrap()["revoked_at"].as_str().unwrap().ends_with('Z'));
    for device in [one, two] {
        let told = status_of(device.request(&relay, Method::GET, "/v2/did")).await;
        assert_eq!(told, StatusCode::UNAUTHORIZED);
        let document: Value = relay
            .http
            .get(format!("{}/v2/did/{}", relay.url, device.did))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!((&document["deactivated"], &document["capabilityInvocation"]), (&json!(true), &json!([])));
    }
    let entries = entries(&relay).await;
    let of = |kind: &str| -> Vec<&Value> {
        entries.iter().filter(|entry| entry["k"] == kind).map(|entry| &entry["b"]["key"]).collect()
    };
    assert_eq!(of("did_revoked"), of("key_registered")[..2], "by the commitments of their registrations");

    assert_eq!(status_of(three.request(&relay, Method::GET, "/v2/did")).await, StatusCode::OK);
    let revoke = json!({ "key": user.key }).to_string();
    let revoke = relay.admin(Method::POST, "/v2/admin/keys/revoke").body(revoke);
    assert_eq!(status_of(revoke).await, StatusCode::OK);
    assert_eq!(status_of(three.request(&relay, Method::GET, "/v2/did")).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn dids_and_their_revocations_outlive_a_restart() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let (kept, revoked) = (Device::new(), Device::new());
    let (kept_key, revoked_key) = (kept.point(), revoked.point());
    let kept = kept.registered(&user, "kept", &kept_key).await;
    let revoked = revoked.registered(&user, "revoked", &revoked_key).await;
    let path = format!("/v2/did/{}", revoked.did);
    assert_eq!(status_of(user.request(Method::DELETE, &path)).await, StatusCode::OK);
    let relay = Relay::over(relay.stop().await, |_| ()).await;
    let entries = entries(&relay).await;
    let count = |kind: &str| entries.iter().filter(|entry| entry["k"] == kind).count();
    assert_eq!((count("key_registered"), count("did_revoked")), (2, 1), "nothing is logged again");
    assert_eq!(status_of(kept.request(&relay, Method::GET, "/v2/did")).await, StatusCode::OK);
    assert_eq!(status_of(revoked.request(&relay, Method::GET, "/v2/did")).await, StatusCode::UNAUTHORIZED);
}
