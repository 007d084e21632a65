//! A blob with a password: who gets it, what everybody else is told, and that trying costs no view.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::relay::{Relay, User, hash, noise, until};

async fn read_with(user: &User, payload: &[u8], password: &str) -> Response {
    let path = format!("/v2/outbound/{}", hash(payload));
    user.request(Method::GET, &path).header("X-Blob-Password", password).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_given_for_its_password_and_a_wrong_one_uses_no_view() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 4096);
    let sent = user.upload(&payload, json!({ "password": "correct horse" })).await;
    assert_eq!(sent.status(), StatusCode::OK);

    let without = user.download(&hash(&payload)).await;
    assert_eq!(without.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(without.headers()["www-authenticate"], "X-Blob-Password");
    for _ in 0..3 {
        assert_eq!(read_with(&user, &payload, "battery staple").await.status(), StatusCode::FORBIDDEN);
    }
    let read = read_with(&user, &payload, "correct horse").await;
    assert_eq!(read.status(), StatusCode::OK);
    assert_eq!(read.headers()["x-paramant-burned"], "true", "the one view was there until now");
    assert_eq!(read.bytes().await.unwrap(), payload);
    relay.all_burned().await;
    assert_eq!(read_with(&user, &payload, "correct horse").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_asks_for_the_password_again_and_so_does_one_that_broke_off() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(2, 5_000_000);
    user.upload(&payload, json!({ "password": "p", "max_views": 2 })).await;
    assert_eq!(read_with(&user, &payload, "p").await.bytes().await.unwrap(), payload);
    drop(read_with(&user, &payload, "p").await);
    until("the view comes back", async || user.available(&hash(&payload)).await).await;
    assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(read_with(&user, &payload, "q").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(read_with(&user, &payload, "p").await.bytes().await.unwrap(), payload);
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_passwords_tried_at_once_one_is_compared_and_the_others_wait() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(3, 100);
    user.upload(&payload, json!({ "password": "p" })).await;
    let answers = futures::future::join_all((0..16).map(|_| read_with(&user, &payload, "wrong"))).await;
    let told = |status| answers.iter().filter(|answer| answer.status() == status).count();
    assert!(told(StatusCode::FORBIDDEN) >= 1 && told(StatusCode::TOO_MANY_REQUESTS) >= 1);
    assert_eq!(told(StatusCode::FORBIDDEN) + told(StatusCode::TOO_MANY_REQUESTS), 16);
    let busy = answers.iter().find(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS).unwrap();
    assert!(busy.headers().contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ten_wrong_passwords_that_account_waits_and_the_blob_stays() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    // A drop: anybody with a key may try.
    let lookup = "ab".repeat(32);
    let payload = noise(4, 100);
    let body = crate::relay::inbound(
        &lookup,
        &payload,
        json!({ "password": "p", "ttl_ms": 60_000, "meta": { "drop": true } }),
    );
    assert_eq!(user.post_inbound(&body).await.status(), StatusCode::OK);
    let attempt = async |user: &User, password: &str| {
        let path = format!("/v2/outbound/{lookup}");
        user.request(Method::GET, &path).header("X-Blob-Password", password).send().await.unwrap()
    };
    for _ in 0..10 {
        assert_eq!(attempt(&other, "guess").await.status(), StatusCode::FORBIDDEN);
    }
    for password in ["guess", "p"] {
        let told = attempt(&other, password).await;
        assert_eq!(told.status(), StatusCode::TOO_MANY_REQUESTS, "{password}");
        let wait: u64 = told.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((600..=901).contains(&wait), "{wait}");
    }
    assert!(user.available(&lookup).await, "its sender sees it unread");
    let read = attempt(&user, "p").await;
    assert_eq!(read.status(), StatusCode::OK, "another's guesses are not counted against its sender");
    assert_eq!(read.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_sealed_form_of_a_password_is_kept() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(5, 100);
    user.upload(&payload, json!({ "password": "a password nobody else uses" })).await;
    let files = |needle: &str| {
        let dir = relay.dir.path().join("data");
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        names
            .filter(|path| path.is_file())
            .any(|path| std::fs::read(path).unwrap().windows(needle.len()).any(|at| at == needle.as_bytes()))
    };
    assert!(files("$argon2id$v=19$m=19456,t=2,p=1$"), "what is searched would be found");
    assert!(!files("a password nobody else uses"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_stands_for_the_first_upload_only_under_its_password() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(6, 100);
    for (password, status) in [
        (json!({ "password": "p" }), StatusCode::OK),
        (json!({ "password": "p" }), StatusCode::OK),
        (json!({ "password": "q" }), StatusCode::CONFLICT),
        (json!({}), StatusCode::CONFLICT),
    ] {
        assert_eq!(user.upload(&payload, password.clone()).await.status(), status, "{password}");
    }
    assert_eq!(read_with(&user, &payload, "p").await.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_password_is_refused() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    for (seed, (password, status)) in [
        (json!(7), 400),
        (json!(["p"]), 400),
        (json!("x".repeat(1025)), 400),
        (json!("x".repeat(1024)), 200),
        (json!(""), 200),
        (Value::Null, 200),
    ]
    .into_iter()
    .enumerate()
    {
        let sent = user.upload(&noise(seed as u64, 100), json!({ "password": password })).await;
        assert_eq!(sent.status().as_u16(), status, "{password}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_after_a_restart_too() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(7, 100);
    user.upload(&payload, json!({ "password": "grün", "ttl_ms": 600_000 })).await;
    let relay = Relay::over(relay.stop().await, |_| ()).await;
    let user = User { url: relay.url.clone(), http: relay.http.clone(), ..user };
    assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::UNAUTHORIZED);
    let path = format!("/v2/outbound/{}", hash(&payload));
    // As a browser's script has to write it.
    let read = user.request(Method::GET, &path).header("X-Blob-Password", &b"gr\xfcn"[..]).send().await;
    assert_eq!(read.unwrap().bytes().await.unwrap(), payload);
}
