//! What goes over the wire, against a relay of a few lines that keeps everything in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use paramant_client::directory::{self, Demands};
use paramant_client::envelope::{Sender, SignatureForm};
use paramant_client::relay::{Progress, Step};
use paramant_client::transfer::{self, Sending};
use paramant_client::{Category, ClientError, Device, Relay, RelayAddress, StateDir};
use paramant_protocol::device::{KeysAnswer, RegisterKeys};
use paramant_protocol::id::BlobHash;
use paramant_protocol::pqhb::PadBlock;
use paramant_protocol::refusal::Refusal;
use paramant_protocol::upload::{UploadAnswer, UploadRequest};

const KEY: &str = "pgp_0123456789abcdef0123456789abcdef";

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    blobs: HashMap<String, Vec<u8>>,
    keys: HashMap<String, KeysAnswer>,
    content_length: Option<String>,
    draining: bool,
    lies: bool,
}

fn allowed(headers: &HeaderMap) -> bool {
    headers.get("x-api-key").is_some_and(|key| key == KEY)
}

async fn register(State(fake): State<Fake>, headers: HeaderMap, body: Bytes) -> Response {
    if !allowed(&headers) {
        return (StatusCode::UNAUTHORIZED, axum::Json(Refusal::new("unknown key\u{1b}[31m").hint("ask")))
            .into_response();
    }
    let keys = serde_json::from_slice::<RegisterKeys>(&body).unwrap().keys().unwrap();
    let answer = KeysAnswer::of(&keys, "2026-01-02T03:04:05.678Z".into(), None);
    fake.0.lock().unwrap().keys.insert(keys.device.to_string(), answer);
    let body = serde_json::json!({"ok": true, "fingerprint": keys.fingerprint(), "dsa_supported": true, "ct_index": null,
        "ct_tree_hash": null, "attested": false, "attestation_method": null});
    axum::Json(body).into_response()
}

async fn lookup(State(fake): State<Fake>, Path(device): Path<String>) -> Response {
    match fake.0.lock().unwrap().keys.get(&device) {
        Some(answer) => axum::Json(answer.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, axum::Json(Refusal::new("none"))).into_response(),
    }
}

async fn inbound(State(fake): State<Fake>, headers: HeaderMap, body: Bytes) -> Response {
    let mut stored = fake.0.lock().unwrap();
    if stored.draining {
        let refusal = axum::Json(Refusal::new("draining"));
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")], refusal).into_response();
    }
    stored.content_length = headers.get("content-length").map(|value| value.to_str().unwrap().to_owned());
    let request: UploadRequest = serde_json::from_slice(&body).unwrap();
    let blob = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, &request.payload).unwrap();
    assert_eq!(BlobHash::of(&blob), request.hash);
    paramant_protocol::pqhb::check(&blob).unwrap();
    let answer = UploadAnswer {
        ok: true,
        hash: request.hash,
        ttl_ms: request.terms.ttl_ms.unwrap_or(300_000),
        size: blob.len() as u64,
        sig_verified: false,
        download_token: "00".repeat(24),
        merkle_proof: None,
        log_receipt: None,
    };
    stored.blobs.insert(request.hash.to_string(), blob);
    axum::Json(answer).into_response()
}

async fn outbound(State(fake): State<Fake>, Path(hash): Path<String>) -> Response {
    let mut stored = fake.0.lock().unwrap();
    let Some(mut blob) = stored.blobs.remove(&hash) else { return StatusCode::NOT_FOUND.into_response() };
    if stored.lies {
        blob[100] ^= 1;
    }
    ([("x-paramant-burned", "true")], blob).into_response()
}

async fn moved() -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [("location", "http://127.0.0.1:1/steal")]).into_response()
}

async fn serve(fake: Fake) -> String {
    let router = Router::new()
        .route("/v2/pubkey", post(register).get(moved))
        .route("/v2/pubkey/{device}", get(lookup))
        .route("/v2/inbound", post(inbound))
        .route("/v2/outbound/{hash}", get(outbound))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(fake);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn relay(url: &str, key: &str) -> Relay {
    Relay::new(RelayAddress::parse(url, false).unwrap(), Some(key.parse().unwrap()), None).unwrap()
}

fn demands() -> Demands {
    Demands { without_log: true, ..Demands::default() }
}

#[tokio::test]
async fn a_file_goes_through_a_relay_once_and_each_byte_is_counted() {
    let fake = Fake::default();
    let relay = relay(&serve(fake.clone()).await, KEY);
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(directory.path()).unwrap();
    let (alice, bob) =
        (state.device_or_new(&"alice".parse().unwrap()), state.device_or_new(&"bob/1".parse().unwrap()));
    let (alice, bob) = (alice.unwrap(), bob.unwrap());
    relay.register(&bob.public()).await.unwrap();
    let to = directory::find(&relay, bob.name(), &demands(), &state).await.unwrap().keys;
    assert_eq!(to, bob.public());

    let counted = Arc::new(Mutex::new((0, 0)));
    let listener = counted.clone();
    let progress = Progress::to(move |step| match step {
        Step::Total(total) => listener.lock().unwrap().0 = total,
        Step::Before(more) | Step::Advance(more) => listener.lock().unwrap().1 += more,
    });
    let content: Vec<u8> = (0..700_000u32).map(|number| number as u8).collect();
    let how = Sending { ttl_ms: Some(60_000), ..Sending::default() };
    let sent = transfer::send(&relay, content.clone(), &alice, &to, &how, &progress).await.unwrap();
    assert_eq!((sent.size, sent.ttl_ms), (PadBlock::M5.bytes() as u64, 60_000));
    let (total, advanced) = *counted.lock().unwrap();
    assert_eq!(total, advanced);
    assert_eq!(
        fake.0.lock().unwrap().content_length,
        Some(total.to_string()),
        "the body was not sent with its length"
    );

    let received =
        transfer::receive(&relay, &sent.hash, &bob, None, None, &Progress::silent()).await.unwrap();
    let opened = received.content.unwrap();
    assert!(received.burned && opened.plaintext == content);
    assert_eq!(
        opened.sender,
        Sender::Signed { key: alice.signing_key().to_vec(), form: SignatureForm::Direct }
    );
    let again = transfer::receive(&relay, &sent.hash, &bob, None, None, &Progress::silent()).await;
    assert_eq!(again.err().unwrap().category(), Category::Gone);
}

#[tokio::test]
async fn refusals_are_told_apart_and_shown_harmlessly() {
    let fake = Fake::default();
    let url = serve(fake.clone()).await;
    let device = Device::generate("d".parse().unwrap()).unwrap();
    let error = relay(&url, "pgp_other").register(&device.public()).await.unwrap_err();
    assert_eq!(error.category(), Category::Refused);
    let text = error.to_string();
    assert!(text.contains("unknown key") && text.contains("ask") && !text.contains('\u{1b}'), "{text}");
    assert!(!text.contains("pgp_other"), "the key is in the error");

    fake.0.lock().unwrap().draining = true;
    let error = relay(&url, KEY).upload(&[0; 8], &Default::default(), &Progress::silent()).await.unwrap_err();
    assert!(error.to_string().contains("draining; try again in 7 s"), "{error}");

    let error = relay(&url, KEY).keys_of(&"nobody".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ClientError::UnknownDevice(_)));
    let error = relay("http://127.0.0.1:1", KEY).health().await.unwrap_err();
    assert_eq!(error.category(), Category::Network);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let error = relay(&serve(Fake::default()).await, KEY).identity().await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 307, .. }), "{error}");
}

#[tokio::test]
async fn other_bytes_than_those_asked_for_are_not_opened() {
    let fake = Fake::default();
    let relay = relay(&serve(fake.clone()).await, KEY);
    let device = Device::generate("d".parse().unwrap()).unwrap();
    let how = Sending { pad: PadBlock::K4, sign: false, ..Sending::default() };
    let sent = transfer::send(&relay, b"x".to_vec(), &device, &device.public(), &how, &Progress::silent())
        .await
        .unwrap();
    fake.0.lock().unwrap().lies = true;
    let error =
        transfer::receive(&relay, &sent.hash, &device, None, None, &Progress::silent()).await.err().unwrap();
    assert!(matches!(error, ClientError::OtherBytes { .. }), "{error}");
}

#[tokio::test]
async fn a_relay_that_swaps_a_key_is_refused() {
    let fake = Fake::default();
    let relay = relay(&serve(fake).await, KEY);
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(directory.path()).unwrap();
    let make = || Device::generate("bob".parse().unwrap()).unwrap();
    let (bob, mallory) = (make(), make());
    relay.register(&bob.public()).await.unwrap();
    directory::find(&relay, bob.name(), &demands(), &state).await.unwrap();
    relay.register(&mallory.public()).await.unwrap();
    let error = directory::find(&relay, bob.name(), &demands(), &state).await.unwrap_err();
    assert!(matches!(error, ClientError::KeyChanged { .. }), "{error}");
    let wrong = Demands { fingerprint: Some(bob.public().fingerprint()), ..demands() };
    let fresh = tempfile::tempdir().unwrap();
    let error = directory::find(&relay, bob.name(), &wrong, &StateDir::open(fresh.path()).unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::KeyChanged { .. }), "{error}");
    // Without the log's word a first contact is refused too, unless that was waived.
    let strict = Demands::default();
    let error = directory::find(&relay, bob.name(), &strict, &StateDir::open(fresh.path()).unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::NotLogged(_)), "{error}");
}
