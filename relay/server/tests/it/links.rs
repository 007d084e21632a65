//! Download links: looking never reads, pressing does, and a link is worth no more than its views, its time and its password.

use futures::StreamExt;
use paramant_protocol::receipt::{self, Document};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::relay::{ADMIN, Relay, User, hash, noise, until};
use crate::spawned::{Process, said};

/// An upload's token.
async fn link(user: &User, payload: &[u8], more: Value) -> String {
    let sent = user.upload(payload, more).await;
    assert_eq!(sent.status(), StatusCode::OK);
    let sent: Value = sent.json().await.unwrap();
    let token = sent["download_token"].as_str().unwrap().to_owned();
    assert!(token.len() == 48 && token.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{token}");
    token
}

fn get(relay: &Relay, token: &str, rest: &str) -> RequestBuilder {
    // Redirects are answers here, not something to follow.
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    http.get(format!("{}/v2/dl/{token}{rest}", relay.url))
}

async fn press(relay: &Relay, token: &str, form: &'static str) -> Response {
    let request = relay.http.post(format!("{}/v2/dl/{token}/get", relay.url));
    let form_kind = "application/x-www-form-urlencoded";
    request.header(header::CONTENT_TYPE, form_kind).body(form).send().await.unwrap()
}

async fn take(relay: &Relay, token: &str) -> Response {
    relay.http.post(format!("{}/v2/dl/{token}/get", relay.url)).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_looks_and_presses_and_gets_the_file_once_with_a_receipt() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 5_000_000);
    let token = link(&user, &payload, json!({ "ttl_ms": 3_600_000, "enc_meta": "QUJD" })).await;

    let page = get(&relay, &token, "").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("script")
    );
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");
    let text = page.text().await.unwrap();
    for shown in
        ["4.8 MiB", "59 minutes", "<form method=\"post\"", "lang=\"en\"", "name=\"viewport\"", "<main"]
    {
        assert!(text.contains(shown), "{shown} is not in {text}");
    }
    for inline in ["<script", "<style", " style=", " onclick", "javascript:", "http://", "https://"] {
        assert!(!text.contains(inline), "the page has {inline}");
    }

    let info: Value = get(&relay, &token, "/info").send().await.unwrap().json().await.unwrap();
    assert_eq!(info["ok"], true);
    assert_eq!(info["enc_meta"], "QUJD");
    assert_eq!((info["file_size"].as_u64(), info["used"].as_bool()), (Some(5_000_000), Some(false)));
    assert!((3590..=3600).contains(&info["ttl_left_s"].as_u64().unwrap()), "{info}");

    let read = press(&relay, &token, "").await;
    assert_eq!(read.status(), StatusCode::OK);
    let header = |name: &str| read.headers()[name].to_str().unwrap().to_owned();
    assert!(header("content-disposition").starts_with("attachment"));
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!((header("x-burned"), header("x-hash")), ("true".to_owned(), hash(&payload)));
    let receipt = Document::parse(&header(receipt::HEADER)).unwrap();
    assert_eq!(receipt.receipt().blob_hash, hash(&payload));
    assert!(receipt.receipt().claim.is_some());
    assert_eq!(read.bytes().await.unwrap(), payload);
    relay.all_burned().await;

    assert_eq!(get(&relay, &token, "").send().await.unwrap().status(), StatusCode::GONE);
    assert_eq!(press(&relay, &token, "").await.status(), StatusCode::GONE);
    assert_eq!(get(&relay, &token, "/info").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(user.download(&hash(&payload)).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn following_a_link_never_uses_a_view_and_asking_for_bytes_does() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(2, 100);
    let token = link(&user, &payload, json!({})).await;
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    for (accept, mode) in [("*/*", None), (browser, Some("navigate")), ("image/*,*/*", Some("no-cors"))] {
        let mut request = get(&relay, &token, "/get").header(header::ACCEPT, accept);
        if let Some(mode) = mode {
            request = request.header("Sec-Fetch-Mode", mode);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{accept} {mode:?}");
        assert_eq!(answer.headers()[header::LOCATION], format!("/v2/dl/{token}"));
    }
    for path in ["", "/info", "/get"] {
        let url = format!("{}/v2/dl/{token}{path}", relay.url);
        let head = relay.http.head(url).send().await.unwrap();
        assert_eq!(head.status() == StatusCode::METHOD_NOT_ALLOWED, path == "/get", "{path}");
    }
    let read = get(&relay, &token, "/get").header(header::ACCEPT, "application/octet-stream").send().await;
    assert_eq!(read.unwrap().bytes().await.unwrap(), payload);
    relay.all_burned().await;

    let token = link(&user, &payload, json!({})).await;
    let script = get(&relay, &token, "/get").header("Sec-Fetch-Mode", "cors").send().await.unwrap();
    assert_eq!(script.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_and_the_key_share_the_views() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(3, 1000);
    let token = link(&user, &payload, json!({ "max_views": 3 })).await;
    for burned in ["false", "false", "true"] {
        let read =
            if burned == "true" { user.download(&hash(&payload)).await } else { take(&relay, &token).await };
        assert_eq!(read.headers()["x-paramant-burned"], burned);
        assert_eq!(read.bytes().await.unwrap(), payload);
    }
    relay.all_burned().await;
    assert_eq!(take(&relay, &token).await.status(), StatusCode::GONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_broke_off_can_be_begun_again_through_the_same_link_alone() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(4, 5_000_000);
    let token = link(&user, &payload, json!({})).await;
    let reading = take(&relay, &token).await;
    let mut pieces = reading.bytes_stream();
    pieces.next().await.unwrap().unwrap();
    let busy = take(&relay, &token).await;
    assert_eq!(busy.status(), StatusCode::CONFLICT, "while one reads");
    assert!(get(&relay, &token, "").send().await.unwrap().text().await.unwrap().contains("at this moment"));
    drop(pieces);
    until("the link works again", async || {
        let info: Value = get(&relay, &token, "/info").send().await.unwrap().json().await.unwrap();
        info["in_progress"] == false
    })
    .await;
    assert_eq!(
        user.download(&hash(&payload)).await.status(),
        StatusCode::NOT_FOUND,
        "what was begun through the link is not the key's to finish"
    );
    assert_eq!(take(&relay, &token).await.bytes().await.unwrap(), payload);
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_press_at_once_one_gets_the_file() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    for round in 0..10 {
        let payload = noise(round, 4096);
        let token = link(&user, &payload, json!({})).await;
        let answers = futures::future::join_all((0..16).map(|_| take(&relay, &token))).await;
        let won = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
        let lost = answers
            .iter()
            .filter(|answer| matches!(answer.status(), StatusCode::CONFLICT | StatusCode::GONE));
        assert_eq!((won, lost.count()), (1, 15), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_asks_for_the_password_on_its_page_and_of_programs() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(5, 1000);
    let token = link(&user, &payload, json!({ "password": "a & b", "max_views": 2 })).await;
    let page = get(&relay, &token, "").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("type=\"password\"") && page.contains("<label for=\"password\""), "{page}");
    for (form, status, says) in [
        ("", StatusCode::UNAUTHORIZED, "asks for a password"),
        ("password=wrong", StatusCode::FORBIDDEN, "The password is wrong"),
    ] {
        let answer = press(&relay, &token, form).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == StatusCode::UNAUTHORIZED);
        let page = answer.text().await.unwrap();
        assert!(page.contains(says) && page.contains("<form"), "{page}");
    }
    assert_eq!(press(&relay, &token, "password=a+%26+b").await.bytes().await.unwrap(), payload);
    let program = get(&relay, &token, "/get").header("X-Blob-Password", "a & c").send().await.unwrap();
    assert_eq!(program.status(), StatusCode::FORBIDDEN);
    assert!(program.json::<Value>().await.unwrap()["error"].is_string(), "programs get JSON");
    let program = get(&relay, &token, "/get").header("X-Blob-Password", "a & b").send().await.unwrap();
    assert_eq!(program.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_through_a_link_does_not_lock_out_the_sender() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(6, 100);
    let token = link(&user, &payload, json!({ "password": "p" })).await;
    for _ in 0..10 {
        assert_eq!(press(&relay, &token, "password=guess").await.status(), StatusCode::FORBIDDEN);
    }
    let told = press(&relay, &token, "password=p").await;
    assert_eq!(told.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(told.headers().contains_key("retry-after"));
    let path = format!("/v2/outbound/{}", hash(&payload));
    let read = user.request(reqwest::Method::GET, &path).header("X-Blob-Password", "p").send().await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_with_its_blob_and_outlives_a_restart() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let (kept, cancelled, expired) = (noise(7, 100), noise(8, 100), noise(9, 100));
    let kept_link = link(&user, &kept, json!({ "ttl_ms": 600_000 })).await;
    let again = link(&user, &kept, json!({})).await;
    assert_ne!(kept_link, again, "each answer has a link of its own, for the same upload");
    let cancelled_link = link(&user, &cancelled, json!({})).await;
    let expired_link = link(&user, &expired, json!({ "ttl_ms": 1000 })).await;
    let path = format!("/v2/inbound/{}", hash(&cancelled));
    user.request(reqwest::Method::DELETE, &path).send().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let relay = Relay::over(relay.stop().await, |_| ()).await;
    for (which, token) in [
        ("cancelled", &*cancelled_link),
        ("expired", &expired_link),
        ("unknown", &"ab".repeat(24)),
        ("no token", "x"),
    ] {
        assert_eq!(take(&relay, token).await.status(), StatusCode::GONE, "{which}");
    }
    assert_eq!(take(&relay, &kept_link).await.bytes().await.unwrap(), kept);
    relay.all_burned().await;
    assert_eq!(take(&relay, &again).await.status(), StatusCode::GONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_looks_alike_byte_for_byte() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let (read, cancelled, expired) = (noise(1, 100), noise(2, 100), noise(3, 100));
    let links = [
        link(&user, &read, json!({})).await,
        link(&user, &cancelled, json!({})).await,
        link(&user, &expired, json!({ "ttl_ms": 1000 })).await,
        "ab".repeat(24),
    ];
    take(&relay, &links[0]).await.bytes().await.unwrap();
    let path = format!("/v2/inbound/{}", hash(&cancelled));
    user.request(reqwest::Method::DELETE, &path).send().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    relay.all_burned().await;
    for rest in ["", "/info", "/get"] {
        let mut told = Vec::new();
        for token in &links {
            let request = get(&relay, token, rest).header(header::ACCEPT, "application/octet-stream");
            told.push(crate::relay::everything_said(request.send().await.unwrap()).await);
        }
        assert!(told.iter().all(|said| *said == told[0]), "{rest}: {told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_kept_as_it_is() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let token = link(&user, &noise(1, 100), json!({})).await;
    let raw = hex::decode(&token).unwrap();
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(&raw).to_vec();
    let data = relay.dir.path().join("data");
    let holds = |needle: &[u8]| {
        std::fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .any(|path| std::fs::read(path).unwrap().windows(needle.len()).any(|at| at == needle))
    };
    assert!(holds(&digest), "what is searched would be found");
    assert!(!holds(&raw) && !holds(token.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_s_own_log_names_no_token_no_password_and_no_key_however_much_it_says() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut verbose = std::process::Command::new("env");
    verbose.arg("PARAMANT_LOG=trace");
    let process = Process::traced(dir.path(), verbose).unwrap();
    let http = reqwest::Client::new();
    let made = http.post(format!("{}/v2/admin/keys", process.url)).header("X-Admin-Token", ADMIN).body("{}");
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    let key = made["key"].as_str().unwrap().to_owned();
    let user = User { url: process.url.clone(), http: http.clone(), key, account: String::new() };
    let token = link(&user, &noise(1, 100), json!({ "password": "sesame-opens" })).await;
    let url = format!("{}/v2/dl/{token}", process.url);
    for path in ["", "/info", "/get", "/nothing"] {
        http.get(format!("{url}{path}")).header("X-Blob-Password", "wrong-sesame").send().await.unwrap();
    }
    let read =
        http.post(format!("{url}/get")).header("X-Blob-Password", "sesame-opens").send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    read.bytes().await.unwrap();
    process.kill();
    let log = said(dir.path());
    assert!(log.contains("/v2/dl/{token}/get"), "what is searched would be found: {log}");
    for secret in [&*token, "sesame", &user.key, &hash(&noise(1, 100))] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
